"""Xception: Inception driven to its end, separable convolutions with residuals (Chollet 2016, arXiv:1610.02357)."""

from __future__ import annotations

import os
from typing import Any

from .. import layers
from ..layers.node import Tensor
from ..models import Model
from ._frame import InputShape, KerasFrame
from ._parts import scaled
from .imagenet import decode_predictions, preprocessing_of

__all__ = ["Xception", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing_of("Xception")


def Xception(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "xception",
    *,
    _width: float = 1.0,
    _middle: int = 8,
) -> Model:
    """Xception: 299 x 299 x 3, 22,910,480 parameters, 8.36 G multiply-adds, top-1 79.0 % (paper and Keras).

    Chollet 2016, arXiv:1610.02357, figure 5. Keras' layer names; where Keras leaves a layer unnamed (the residual
    projections and sums) so does this. As in Keras there is no dropout before the classifier (the paper: 0.5).

    Args:
        include_top: whether the classifier follows.
        weights: None: newly initialised; the path of a weight file; or ``"imagenet"``: Keras' published ones.
        input_tensor: to build on, from another model.
        input_shape: (height, width, channels), each of the first two at least 71, or None for any.
        pooling: without a top: None for feature maps, ``"avg"`` or ``"max"`` for a vector.
        classes: units of the last layer.
        classifier_activation: of the last layer; None for logits.
        name: of the model.

    Raises:
        TypeError, ValueError: arguments of the wrong type, out of range, or that exclude each other.
        CheckpointError: a weight file that does not fit. DatasetError: published weights that cannot be had.
    """
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    inputs = frame.begin((299, 299, 3), minimum=71)

    def width(filters: int) -> int:
        return scaled(filters, _width)

    # Entry flow
    x = _conv(inputs, width(32), 3, 2, "valid", "block1_conv1")
    x = layers.Activation("relu", name="block1_conv1_act")(x)
    x = _conv(x, width(64), 3, 1, "valid", "block1_conv2")
    x = layers.Activation("relu", name="block1_conv2_act")(x)
    x = _shrinking(x, 2, width(128), width(128), relu_first=False)
    x = _shrinking(x, 3, width(256), width(256))
    x = _shrinking(x, 4, width(728), width(728))
    # Middle flow
    for block in range(5, 5 + _middle):
        y = x
        for i in (1, 2, 3):
            y = layers.Activation("relu", name=f"block{block}_sepconv{i}_act")(y)
            y = _sepconv(y, width(728), f"block{block}_sepconv{i}")
        x = layers.Add()([y, x])
    # Exit flow
    x = _shrinking(x, 13, width(728), width(1024))
    for i, filters in ((1, 1536), (2, 2048)):
        x = _sepconv(x, width(filters), f"block14_sepconv{i}")
        x = layers.Activation("relu", name=f"block14_sepconv{i}_act")(x)
    return frame.finish(inputs, frame.end(x, frame.top), "xception")


def _shrinking(x: Tensor, block: int, first: int, second: int, relu_first: bool = True) -> Tensor:
    """Two separable convolutions and a pool, beside a 1 x 1 convolution of stride 2."""
    y = layers.Activation("relu", name=f"block{block}_sepconv1_act")(x) if relu_first else x
    y = _sepconv(y, first, f"block{block}_sepconv1")
    y = layers.Activation("relu", name=f"block{block}_sepconv2_act")(y)
    y = _sepconv(y, second, f"block{block}_sepconv2")
    y = layers.MaxPool2D(3, strides=2, padding="same", name=f"block{block}_pool")(y)
    return layers.Add()([y, _conv(x, second, 1, 2, "same")])


def _conv(x: Tensor, filters: int, size: int, strides: int, padding: str, name: str | None = None) -> Tensor:
    x = layers.Conv2D(filters, size, strides, padding, use_bias=False, name=name)(x)
    return layers.BatchNormalization(name=name and f"{name}_bn")(x)


def _sepconv(x: Tensor, filters: int, name: str) -> Tensor:
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    return layers.BatchNormalization(name=f"{name}_bn")(x)
