"""Inception v3: modules of factorised convolutions (Szegedy et al. 2015, arXiv:1512.00567)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .. import layers
from ..layers.node import Tensor
from ..models import Model
from ._frame import InputShape, KerasFrame
from ._parts import scaled
from .imagenet import decode_predictions, preprocessing_of

__all__ = ["InceptionV3", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing_of("InceptionV3")

Conv = Callable[..., Tensor]

# What distinguishes the modules of one kind.
FIVE_BY_FIVE = (32, 64, 64)  # filters after the pool, in mixed0 ... mixed2
SEVEN_BY_SEVEN = (128, 160, 160, 192)  # filters between the 1 x 7 and 7 x 1 convolutions, in mixed4 ... mixed7
EXPANDED = 2  # mixed9 and mixed10


def InceptionV3(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "inception_v3",
    *,
    _width: float = 1.0,
) -> Model:
    """Inception v3: 299 x 299 x 3, 23,851,784 parameters, 5.71 G multiply-adds.

    Szegedy et al. 2015, arXiv:1512.00567, table 1. Top-1: 78.8 % of the paper (one crop), 77.9 % of Keras' weights.
    As in Keras the auxiliary classifier, label smoothing and dropout of the paper's training are left out, batch
    normalisation has no gamma, and only the modules ("mixed0" ... "mixed10") and the top have names of their own.

    Args:
        include_top: whether the classifier follows.
        weights: None: newly initialised; the path of a weight file; or ``"imagenet"``: Keras' published ones.
        input_tensor: to build on, from another model.
        input_shape: (height, width, channels), each of the first two at least 75, or None for any.
        pooling: without a top: None for feature maps, ``"avg"`` or ``"max"`` for a vector.
        classes: units of the last layer.
        classifier_activation: of the last layer; None for logits.
        name: of the model.

    Raises:
        TypeError, ValueError: arguments of the wrong type, out of range, or that exclude each other.
        CheckpointError: a weight file that does not fit. DatasetError: published weights that cannot be had.
    """
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    inputs = frame.begin((299, 299, 3), minimum=75)

    def conv(x: Tensor, filters: int, *size: int, strides: int = 1, padding: str = "same") -> Tensor:
        """Convolution without bias, batch normalisation without gamma, ReLU; ``size``: height and width, or both."""
        kernel = size if len(size) == 2 else size * 2
        x = layers.Conv2D(scaled(filters, _width), kernel, strides, padding, use_bias=False)(x)
        x = layers.BatchNormalization(scale=False)(x)
        return layers.Activation("relu")(x)

    x = conv(inputs, 32, 3, strides=2, padding="valid")
    x = conv(x, 32, 3, padding="valid")
    x = conv(x, 64, 3)
    x = layers.MaxPool2D(3, strides=2)(x)
    x = conv(x, 80, 1, padding="valid")
    x = conv(x, 192, 3, padding="valid")
    x = layers.MaxPool2D(3, strides=2)(x)
    for i, pool_filters in enumerate(FIVE_BY_FIVE):  # 35 x 35
        x = _five_by_five(conv, x, pool_filters, f"mixed{i}")
    x = _to_17(conv, x, "mixed3")
    for i, filters in enumerate(SEVEN_BY_SEVEN, 4):  # 17 x 17
        x = _seven_by_seven(conv, x, filters, f"mixed{i}")
    x = _to_8(conv, x, "mixed8")
    for i in range(EXPANDED):  # 8 x 8
        x = _expanded(conv, x, i)
    return frame.finish(inputs, frame.end(x, frame.top), "inception_v3")


def _pool_and_project(conv: Conv, x: Tensor, filters: int) -> Tensor:
    return conv(layers.AvgPool2D(3, strides=1, padding="same")(x), filters, 1)


def _five_by_five(conv: Conv, x: Tensor, pool_filters: int, name: str) -> Tensor:
    """Figure 5: a 5 x 5 convolution, and one made of two 3 x 3."""
    a = conv(x, 64, 1)
    b = conv(conv(x, 48, 1), 64, 5)
    c = conv(conv(conv(x, 64, 1), 96, 3), 96, 3)
    return layers.Concatenate(name=name)([a, b, c, _pool_and_project(conv, x, pool_filters)])


def _to_17(conv: Conv, x: Tensor, name: str) -> Tensor:
    """Figure 10: convolutions and a pool of stride 2, side by side."""
    a = conv(x, 384, 3, strides=2, padding="valid")
    b = conv(conv(conv(x, 64, 1), 96, 3), 96, 3, strides=2, padding="valid")
    return layers.Concatenate(name=name)([a, b, layers.MaxPool2D(3, strides=2)(x)])


def _seven_by_seven(conv: Conv, x: Tensor, filters: int, name: str) -> Tensor:
    """Figure 6: 7 x 7 convolutions as 1 x 7 and 7 x 1, once and twice."""
    a = conv(x, 192, 1)
    b = conv(conv(conv(x, filters, 1), filters, 1, 7), 192, 7, 1)
    c = conv(conv(conv(x, filters, 1), filters, 7, 1), filters, 1, 7)
    c = conv(conv(c, filters, 7, 1), 192, 1, 7)
    return layers.Concatenate(name=name)([a, b, c, _pool_and_project(conv, x, 192)])


def _to_8(conv: Conv, x: Tensor, name: str) -> Tensor:
    a = conv(conv(x, 192, 1), 320, 3, strides=2, padding="valid")
    b = conv(conv(conv(x, 192, 1), 192, 1, 7), 192, 7, 1)
    b = conv(b, 192, 3, strides=2, padding="valid")
    return layers.Concatenate(name=name)([a, b, layers.MaxPool2D(3, strides=2)(x)])


def _expanded(conv: Conv, x: Tensor, i: int) -> Tensor:
    """Figure 7: 3 x 3 convolutions as 1 x 3 beside 3 x 1, so that the features become more."""
    a = conv(x, 320, 1)
    b = conv(x, 384, 1)
    b = layers.Concatenate(name=f"mixed9_{i}")([conv(b, 384, 1, 3), conv(b, 384, 3, 1)])
    c = conv(conv(x, 448, 1), 384, 3)
    c = layers.Concatenate()([conv(c, 384, 1, 3), conv(c, 384, 3, 1)])
    return layers.Concatenate(name=f"mixed{9 + i}")([a, b, c, _pool_and_project(conv, x, 192)])
