"""SqueezeNet (Iandola et al., 2016): AlexNet's accuracy with fifty times fewer parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import layers
from ..initializers import RandomNormal
from ..layers.node import Tensor
from ..models import Model
from ._frame import Frame, InputShape
from ._parts import Width, conv_relu
from .imagenet import decode_predictions, preprocessing_of

__all__ = ["SqueezeNet", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing_of("SqueezeNet")


class _Version(NamedTuple):
    """Filters and kernel of conv1, the Fire modules that a pool follows, and the smallest image."""

    filters: int
    kernel_size: int
    pools: tuple[int, int]
    minimum: int


_VERSIONS = {"1.0": _Version(96, 7, (4, 8), 29), "1.1": _Version(64, 3, (3, 5), 25)}
#: Squeeze filters of fire2 to fire9; each of the two expand layers has four times as many.
_SQUEEZE = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}
_BYPASSES = (None, "simple", "complex")


def SqueezeNet(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "squeezenet",
    *,
    version: str = "1.0",
    bypass: str | None = None,
    width: float = 1.0,
) -> Model:
    """SqueezeNet: "AlexNet-level accuracy with 50x fewer parameters and < 0.5 MB model size", arXiv:1602.07360.

    A Fire module (table 1) squeezes its input to few channels by 1 x 1 filters and expands them by 1 x 1 and 3 x 3
    filters side by side. Input (N, 227, 227, 3), pixels 0 to 255, BGR, less their mean; output (N, classes).

    | version | bypass | parameters | multiply-adds | published top-1, top-5 (ILSVRC-2012) |
    |---|---|---|---|---|
    | 1.0 | None | 1,248,424 | 832,667,936 | 57.5 %, 80.3 % |
    | 1.0 | "simple" | 1,248,424 | 832,667,936 | 60.4 %, 82.5 % |
    | 1.0 | "complex" | 1,589,672 | 1,183,953,184 | 58.8 %, 82.0 % |
    | 1.1 | None | 1,235,496 | 387,747,520 | as 1.0, say the authors |

    Version 1.1 is the authors' later one: fewer and smaller filters in conv1, pools two modules earlier. Table 1 says
    224 pixels, but its 111 x 111 outputs of conv1 come from 227. Pools round up. Weights start after He et al. (2015),
    conv10 with N(0, 0.01), as the authors' does. The count with complex bypasses follows the paper's text and figure 2
    (6.4 MB in float32); its table 3 says 7.7 MB.

    Args:
        include_top: whether there are conv10, one map a class, and its mean.
        weights: None for new ones, or the path of a file.
        input_tensor: of another model, to build on.
        input_shape: (height, width, channels), at least 29 x 29 (1.1: 25 x 25); heights and widths may be None.
        pooling: of the output without a top: None for (N, h, w, 512), ``"avg"`` or ``"max"`` for (N, 512).
        classes: maps of conv10.
        classifier_activation: after the mean; None for scores.
        name: of the model.
        version: ``"1.0"`` or ``"1.1"``.
        bypass: None; ``"simple"``: the input of fire3, 5, 7 and 9 is added to their output; ``"complex"``: also that of
            fire2, 4, 6 and 8, whose channels a 1 x 1 convolution brings to the number of the output's.
        width: factor on all numbers of filters but the classes; 1 is the paper's network.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range. CheckpointError: a file that does not fit.
    """
    frame = Frame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    if version not in _VERSIONS:
        raise ValueError(f"version must be '1.0' or '1.1', got {version!r}")
    if bypass not in _BYPASSES:
        raise ValueError(f"bypass must be None, 'simple' or 'complex', got {bypass!r}")
    n, kind = Width(width), _VERSIONS[version]
    inputs = frame.begin((227, 227, 3), kind.minimum)
    x = conv_relu(inputs, n(kind.filters), kind.kernel_size, "conv1", strides=2, padding="valid")
    x = layers.MaxPool2D(3, 2, ceil_mode=True, name="pool1")(x)
    for i, squeeze in _SQUEEZE.items():
        x = _fire(x, n(squeeze), n(4 * squeeze), f"fire{i}", _bypass_of(i, bypass))
        if i in kind.pools:
            x = layers.MaxPool2D(3, 2, ceil_mode=True, name=f"pool{i}")(x)

    def top(x: Tensor) -> Tensor:
        x = layers.Dropout(0.5, name="drop9")(x)
        conv10 = layers.Conv2D(classes, 1, activation="relu", kernel_initializer=RandomNormal(0.0, 0.01), name="conv10")
        x = layers.GlobalAvgPool2D(name="pool10")(conv10(x))
        return layers.Activation(classifier_activation, name="predictions")(x)

    return frame.finish(inputs, frame.end(x, top))


def _bypass_of(i: int, bypass: str | None) -> str | None:
    """The bypass around module ``i``: modules with even numbers change the number of channels."""
    if i % 2:
        return bypass and "simple"
    return "complex" if bypass == "complex" else None


def _fire(x: Tensor, squeeze: int, expand: int, name: str, bypass: str | None) -> Tensor:
    """A Fire module: (N, h, w, C) -> (N, h, w, 2 * expand)."""
    y = conv_relu(x, squeeze, 1, f"{name}_squeeze1x1")
    one = conv_relu(y, expand, 1, f"{name}_expand1x1")
    three = conv_relu(y, expand, 3, f"{name}_expand3x3")
    y = layers.Concatenate(name=f"{name}_concat")([one, three])
    if bypass is None:
        return y
    if bypass == "complex":
        x = layers.Conv2D(2 * expand, 1, kernel_initializer="he_uniform", name=f"{name}_bypass1x1")(x)
    return layers.Add(name=f"{name}_add")([x, y])
