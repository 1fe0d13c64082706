"""ENet (Paszke, Chaurasia, Kim and Culurciello, 2016): a class for every pixel of a street scene, in real time."""

from __future__ import annotations

from typing import Any

from .. import layers
from ..initializers import Constant
from ..layers.node import Tensor
from ..models import Model
from ._frame import Frame, InputShape
from ._parts import Width
from .imagenet import preprocessing_of

__all__ = ["ENet", "preprocess_input"]

preprocess_input = preprocessing_of("ENet")

#: Section 2 (and 3) of table 1 after the module that shrinks: kernel, dilation; (5, 1) is a 5 x 1 and a 1 x 5.
_REGULAR, _ASYMMETRIC = (3, 1), (5, 1)
_CONTEXT = (_REGULAR, (3, 2), _ASYMMETRIC, (3, 4), _REGULAR, (3, 8), _ASYMMETRIC, (3, 16))


def ENet(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 19,
    classifier_activation: Any = "softmax",
    name: str = "enet",
    *,
    width: float = 1.0,
) -> Model:
    """ENet: "A deep neural network architecture for real-time semantic segmentation", arXiv:1606.02147, table 1.

    Input (N, 512, 512, 3), pixels 0 to 1; output (N, height, width, classes): probabilities for every pixel. An
    encoder brings the image to an eighth of its size, a small decoder back, putting values where the encoder's max
    pools took theirs from (max unpooling). Trainable parameters 358,060 with 19 classes, 2,060,648,448 multiply-adds.
    Published: 58.3 % mean intersection over union on Cityscapes' 19 classes.

    The convolutions are those of ``pytorchcv``, whose count that is; the authors' code differs in this: a bottleneck
    has a quarter of its output's channels (here: of its input's); PReLUs have a slope per channel (here one per layer);
    nothing but dropout stands between the batch norm after a bottleneck's last convolution and the sum (here an
    activation too), and nothing between a 5 x 1 and its 1 x 5 (here batch norm and PReLU); 3 x 3 convolutions have a
    bias; the last convolution is 2 x 2 (here 3 x 3); batch norms have epsilon 1e-3 (here 1e-5). Max pools are the
    authors' 2 x 2, where no index occurs twice (``pytorchcv``: 3 x 3 in the two modules with indices).

    Args:
        include_top: whether there is the decoder; without it the output is the encoder's, which the paper trains first.
        weights: None for new ones, or the path of a file.
        input_tensor: of another model, to build on.
        input_shape: (height, width, channels), multiples of 8; or None, which leaves the check to the arrays that come.
        pooling: of the output without a top: None for (N, h / 8, w / 8, 128), ``"avg"`` or ``"max"`` for (N, 128).
        classes: per pixel.
        classifier_activation: over the classes of a pixel; None for logits.
        name: of the model.
        width: factor on all numbers of filters but the classes; 1 is the paper's network. The first module passes the
            image's channels on and has one filter at least, so very small factors are no smaller.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range. CheckpointError: a file that does not fit.
    """
    frame = Frame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    n = Width(width)
    inputs = frame.begin((512, 512, 3), minimum=8)
    if any(size is not None and size % 8 for size in inputs.shape[1:3]):
        raise ValueError(f"height and width must be multiples of 8, got input shape {inputs.shape[1:]}")
    x = _initial(inputs, n(16))
    base = int(x.shape[-1] or 0)
    x, indices1 = _shrink(x, 4 * base, 0.01, "bottleneck1_0")
    for i in range(1, 5):
        x = _bottleneck(x, *_REGULAR, 0.01, "prelu", f"bottleneck1_{i}")
    x, indices2 = _shrink(x, 8 * base, 0.1, "bottleneck2_0")
    for section in (2, 3):
        for i, (kernel, dilation) in enumerate(_CONTEXT, 1):
            x = _bottleneck(x, kernel, dilation, 0.1, "prelu", f"bottleneck{section}_{i}")

    def decoder(x: Tensor) -> Tensor:
        x = _grow(x, indices2, 4 * base, "bottleneck4_0")
        for i in range(1, 3):
            x = _bottleneck(x, *_REGULAR, 0.1, "relu", f"bottleneck4_{i}")
        x = _grow(x, indices1, base, "bottleneck5_0")
        x = _bottleneck(x, *_REGULAR, 0.1, "relu", "bottleneck5_1")
        last = layers.Conv2DTranspose(
            classes, 3, 2, 1, 1, activation=classifier_activation, use_bias=False, name="fullconv"
        )
        return last(x)

    return frame.finish(inputs, frame.end(x, decoder))


def _initial(x: Tensor, filters: int) -> Tensor:
    """Figure 2(a), a strided convolution beside a pool: (N, h, w, C) -> (N, h / 2, w / 2, filters), at least C + 1."""
    channels = int(x.shape[-1] or 0)
    conv = _convolution(max(1, filters - channels), 3, "initial_conv", strides=2, padding=1)(x)
    x = layers.Concatenate(name="initial_concat")([conv, layers.MaxPool2D(2, name="initial_pool")(x)])
    return _normalised(x, "prelu", "initial")


def _shrink(x: Tensor, filters: int, dropout: float, name: str) -> tuple[Tensor, Tensor]:
    """Half the height and width, more channels: (N, h, w, C) -> (N, h / 2, w / 2, filters), a multiple of C; indices.

    Beside the convolutions runs a pool, filled up with channels of zeros.
    """
    channels = int(x.shape[-1] or 0)
    # Rounding up where the convolution rounds down, so that the sum refuses odd sizes, which unpooling would garble.
    identity, indices = layers.MaxPool2D(2, ceil_mode=True, return_argmax=True, name=f"{name}_pool")(x)
    zeros = layers.Rescaling(0.0, name=f"{name}_zeros")(identity)
    identity = layers.Concatenate(name=f"{name}_fill")([identity, *[zeros] * (filters // channels - 1)])
    y = _convolution(max(1, channels // 4), 2, f"{name}_conv1", strides=2, padding="valid")(x)
    y = _normalised(y, "prelu", f"{name}_conv1")
    y = _convolution(max(1, channels // 4), 3, f"{name}_conv2")(y)
    y = _normalised(y, "prelu", f"{name}_conv2")
    return _joined(identity, y, filters, dropout, "prelu", name), indices


def _bottleneck(x: Tensor, kernel: int, dilation: int, dropout: float, activation: str, name: str) -> Tensor:
    """Figure 2(b): 1 x 1 to a quarter of the channels, the convolution proper, 1 x 1 back, added to the input."""
    channels = int(x.shape[-1] or 0)
    middle = max(1, channels // 4)
    y = _normalised(_convolution(middle, 1, f"{name}_conv1")(x), activation, f"{name}_conv1")
    if kernel == 5:
        for size, part in (((5, 1), "a"), ((1, 5), "b")):
            y = _convolution(middle, size, f"{name}_conv2{part}")(y)
            y = _normalised(y, activation, f"{name}_conv2{part}")
    else:
        y = _convolution(middle, kernel, f"{name}_conv2", dilation_rate=dilation)(y)
        y = _normalised(y, activation, f"{name}_conv2")
    return _joined(x, y, channels, dropout, activation, name)


def _grow(x: Tensor, indices: Tensor, filters: int, name: str) -> Tensor:
    """Twice the height and width, fewer channels: (N, h, w, C) -> (N, 2 * h, 2 * w, filters).

    Beside a transposed convolution runs an unpool, by the indices of the pool that it undoes.
    """
    middle = max(1, int(x.shape[-1] or 0) // 4)
    identity = _convolution(filters, 1, f"{name}_project")(x)
    identity = _normalised(identity, None, f"{name}_project")
    identity = layers.MaxUnpool2D(2, name=f"{name}_unpool")([identity, indices])
    y = _normalised(_convolution(middle, 1, f"{name}_conv1")(x), "relu", f"{name}_conv1")
    up = layers.Conv2DTranspose(
        middle, 3, 2, 1, 1, use_bias=False, kernel_initializer="he_uniform", name=f"{name}_conv2"
    )
    y = _normalised(up(y), "relu", f"{name}_conv2")
    return _joined(identity, y, filters, 0.1, "relu", name)


def _joined(identity: Tensor, y: Tensor, filters: int, dropout: float, activation: str, name: str) -> Tensor:
    """The end of a module: 1 x 1 to ``filters``, whole channels dropped in training, the sum, an activation."""
    y = _normalised(_convolution(filters, 1, f"{name}_conv3")(y), activation, f"{name}_conv3")
    y = layers.SpatialDropout2D(dropout, name=f"{name}_drop")(y)
    return _activated(layers.Add(name=f"{name}_add")([identity, y]), activation, name)


def _convolution(filters: int, kernel_size: Any, name: str, **options: Any) -> layers.Conv2D:
    """A convolution without bias: a batch norm follows."""
    options = {"padding": "same", **options}
    return layers.Conv2D(filters, kernel_size, use_bias=False, kernel_initializer="he_uniform", name=name, **options)


def _normalised(x: Tensor, activation: str | None, name: str) -> Tensor:
    """Batch norm and activation of a convolution; momentum as in the authors' code."""
    return _activated(layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x), activation, name)


def _activated(x: Tensor, activation: str | None, name: str) -> Tensor:
    """ReLU; or PReLU with one slope for the whole layer, which starts at 0.25."""
    if activation is None:
        return x
    if activation == "relu":
        return layers.ReLU(name=f"{name}_relu")(x)
    slope = layers.PReLU(Constant(0.25), shared_axes=(1, 2, 3), name=f"{name}_prelu")
    return slope(x)
