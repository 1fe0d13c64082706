"""What the networks of ``keras.applications`` share: how they begin and end, and arguments that exclude each other."""

from __future__ import annotations

from typing import Any

from .. import layers
from ..checks import integer
from ..layers.arguments import activation_spec
from ..layers.node import Tensor
from ._common import InputShape, image_input, pooled


def keras_input(
    input_shape: InputShape,
    input_tensor: Tensor | None,
    include_top: bool,
    size: int,
    minimum: int,
    fixed_size: bool = False,
) -> Tensor:
    """Return the tensor a network begins with; without a top and without a shape, one for images of any size.

    Args:
        input_shape, input_tensor: as the user gave them.
        include_top: whether the classifier follows.
        size: height and width of the default image.
        minimum: smallest height and width.
        fixed_size: whether the classifier has a weight for every pixel.

    Raises:
        TypeError, ValueError: as :func:`image_input`.
    """
    if input_shape is None and input_tensor is None and not include_top:
        input_shape = (None, None, 3)
    return image_input(input_shape, input_tensor, (size, size, 3), minimum, fixed_size and include_top)


def keras_top(
    x: Tensor, include_top: bool, pooling: str | None, classes: int, activation: Any, named_pooling: bool = False
) -> Tensor:
    """Return the end of a network: mean over the image and a dense classifier, or what ``pooling`` says.

    Args:
        x: feature maps (N, H, W, C).
        include_top: whether to classify.
        pooling: None, ``"avg"`` or ``"max"``, without a top.
        classes: units of the classifier.
        activation: of the classifier; None for logits.
        named_pooling: whether Keras names the pooling of this network's feature vector.
    """
    if include_top:
        x = layers.GlobalAvgPool2D(name="avg_pool")(x)
        return layers.Dense(classes, activation=activation, name="predictions")(x)
    x = pooled(x, pooling)
    if named_pooling and pooling is not None:
        x.node.layer.assign_name(f"{pooling}_pool")
    return x


def check_top(include_top: bool, weights: Any, classes: int, activation: Any) -> None:
    """Raise ValueError for a classifier that cannot have the weights that are asked for.

    Args:
        include_top, weights, classes, activation: of a network, as the user gave them.

    Raises:
        TypeError: classes that are no integer. ValueError: ``"imagenet"`` with another number of classes than 1000,
            or trained weights under another activation than softmax or none.
    """
    integer(classes, "classes")
    if not include_top or weights is None:
        return
    if isinstance(weights, str) and weights == "imagenet" and classes != 1000:
        raise ValueError(f"weights='imagenet' with include_top=True has 1000 classes, got classes={classes}")
    if activation_spec(activation) not in (None, "softmax"):
        raise ValueError(f"trained weights need classifier_activation 'softmax' or None, got {activation!r}")


def scaled(filters: int, alpha: float) -> int:
    """Return ``int(filters * alpha)``, the width of a layer in a network ``alpha`` times as wide.

    Raises:
        ValueError: nothing is left of it.
    """
    width = int(filters * alpha)
    if width < 1:
        raise ValueError(f"alpha = {alpha} leaves no filter of a layer's {filters}: it must be at least {1 / filters}")
    return width
