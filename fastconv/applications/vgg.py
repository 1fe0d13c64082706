"""VGG: nothing but 3 x 3 convolutions and 2 x 2 pools (Simonyan and Zisserman 2014, arXiv:1409.1556)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .. import layers
from ..layers.node import Tensor
from ..models import Model
from ._frame import InputShape, KerasFrame
from .imagenet import decode_predictions, preprocessing_of

__all__ = ["VGG16", "VGG19", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing_of("VGG16")

# Convolutions in each of the five blocks: columns D and E of the paper's table 1.
D = (2, 2, 3, 3, 3)
E = (2, 2, 4, 4, 4)
WIDTHS = (64, 128, 256, 512, 512)
UNITS = 4096


def VGG16(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "vgg16",
) -> Model:
    """VGG with 16 layers of weights (column D): 224 x 224 x 3, 138,357,544 parameters, 15.5 G multiply-adds.

    Simonyan and Zisserman 2014, arXiv:1409.1556. Top-1: 75.2 % of the paper (three sizes, table 4), 71.3 % of Keras'
    weights on one crop. Keras' layer names. As in Keras and unlike the paper, the classifier has no dropout:
    add it for training from scratch.

    Args:
        include_top: whether the three dense layers follow; without them any image of 32 x 32 and more will do.
        weights: None: newly initialised; the path of a weight file; or ``"imagenet"``: Keras' published ones.
        input_tensor: to build on, from another model.
        input_shape: (height, width, channels), each of the first two at least 32.
        pooling: without a top: None for feature maps, ``"avg"`` or ``"max"`` for a vector.
        classes: units of the last layer.
        classifier_activation: of the last layer; None for logits.
        name: of the model.

    Raises:
        TypeError, ValueError: arguments of the wrong type, out of range, or that exclude each other.
        CheckpointError: a weight file that does not fit. DatasetError: published weights that cannot be had.
    """
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    return _vgg(frame, "vgg16", D)


def VGG19(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "vgg19",
) -> Model:
    """VGG with 19 layers of weights (column E): 224 x 224 x 3, 143,667,240 parameters, 19.6 G multiply-adds.

    Top-1: 75.2 % of the paper (three sizes, table 4), 71.3 % of Keras' weights on one crop. Otherwise, and
    in its arguments and errors, as :func:`VGG16`.
    """
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    return _vgg(frame, "vgg19", E)


def _vgg(
    frame: KerasFrame,
    published_name: str,
    depths: Sequence[int],
    widths: Sequence[int] = WIDTHS,
    units: int = UNITS,
) -> Model:
    inputs = x = frame.begin((224, 224, 3), minimum=32, flattens=True)
    for block, (depth, filters) in enumerate(zip(depths, widths, strict=True), 1):
        for i in range(1, depth + 1):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"block{block}_conv{i}")(x)
        x = layers.MaxPool2D(2, strides=2, name=f"block{block}_pool")(x)

    def top(x: Tensor) -> Tensor:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(units, activation="relu", name="fc1")(x)
        x = layers.Dense(units, activation="relu", name="fc2")(x)
        return layers.Dense(frame.classes, activation=frame.activation, name="predictions")(x)

    return frame.finish(inputs, frame.end(x, top), published_name)
