"""What all networks share: the input, the end without a classifier, and where weights come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import layers
from ..checks import integer
from ..layers.input import Input
from ..layers.node import Tensor
from ..models import Model

InputShape = Sequence[int | None] | None


def image_input(
    input_shape: InputShape,
    input_tensor: Tensor | None,
    default: tuple[int, int, int],
    minimum: int,
    fixed_size: bool,
) -> Tensor:
    """Return the tensor that a network begins with.

    Args:
        input_shape: (height, width, channels) as the user gave it, or None: ``default``.
        input_tensor: of another model, to build on.
        default: the shape of the paper.
        minimum: smallest height and width.
        fixed_size: whether the classifier needs to know the size (it flattens), and None is no size.

    Raises:
        TypeError, ValueError: not three numbers, a size below the minimum, or an unknown one that must be known.
    """
    if input_tensor is not None:
        if input_shape is not None and tuple(input_shape) != input_tensor.shape[1:]:
            raise ValueError(f"input_shape is {tuple(input_shape)}, but input_tensor has {input_tensor.shape[1:]}")
        return input_tensor
    if input_shape is None:
        return Input(default)
    shape = tuple(input_shape)
    if len(shape) != 3:
        raise ValueError(f"input_shape must be (height, width, channels), got {shape}")
    for size, name in zip(shape[:2], ("height", "width"), strict=True):
        if size is None and fixed_size:
            raise ValueError(
                f"input_shape {shape}: with include_top=True this network needs a known {name}: its dense layers have "
                "a weight for every pixel"
            )
        if size is not None and integer(size, f"{name} of input_shape") < minimum:
            raise ValueError(f"input_shape {shape}: {name} must be at least {minimum}")
    integer(shape[2], "channels of input_shape")
    return Input(shape)


def pooled(x: Tensor, pooling: str | None) -> Tensor:
    """Return what a network without a top ends in: feature maps, or their mean (``"avg"``) or maximum (``"max"``).

    Raises:
        ValueError: another pooling.
    """
    if pooling is None:
        return x
    if pooling == "avg":
        return layers.GlobalAvgPool2D()(x)
    if pooling == "max":
        return layers.GlobalMaxPool2D()(x)
    raise ValueError(f"pooling must be None, 'avg' or 'max', got {pooling!r}")


def finish(
    inputs: Tensor,
    outputs: Any,
    name: str,
    weights: Any = None,
    imagenet: Callable[[], Any] | None = None,
) -> Model:
    """Build the model and load its weights.

    Args:
        inputs, outputs: of the graph.
        name: of the model.
        weights: None: newly initialised; a path; or ``"imagenet"``.
        imagenet: returns the path of the published file, or raises a DatasetError that says which file to put where.

    Raises:
        ValueError: no ImageNet weights are published for this network. CheckpointError: a file that does not fit.
    """
    model = Model(inputs, outputs, name=name)
    if weights is None:
        return model
    if isinstance(weights, str) and weights == "imagenet":
        if imagenet is None:
            raise ValueError(f"no ImageNet weights are published for {name}: give a path, or weights=None")
        weights = imagenet()
    from ..interop import load_weights

    load_weights(model, weights)
    return model
