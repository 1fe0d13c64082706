"""DenseNet: every layer reads all before it in its block (Huang et al. 2016, arXiv:1608.06993)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .. import layers
from ..layers.node import Tensor
from ..models import Model
from ._frame import InputShape, KerasFrame
from .imagenet import decode_predictions, preprocessing_of

__all__ = ["DenseNet121", "DenseNet169", "DenseNet201", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing_of("DenseNet121")

EPSILON = 1.001e-5
GROWTH_RATE = 32  # channels that a layer adds


def DenseNet121(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "densenet121",
) -> Model:
    """DenseNet-121: 224 x 224 x 3, 8,062,504 parameters, 2.83 G multiply-adds, top-1 75.0 % (paper and Keras).

    Huang, Liu, van der Maaten and Weinberger 2016, arXiv:1608.06993, table 1: DenseNet-BC, growth rate 32,
    compression 0.5. Keras' layer names and epsilon.

    Args:
        include_top: whether the classifier follows.
        weights: None: newly initialised; the path of a weight file; or ``"imagenet"``: Keras' published ones.
        input_tensor: to build on, from another model.
        input_shape: (height, width, channels), each of the first two at least 32, or None for any.
        pooling: without a top: None for feature maps, ``"avg"`` or ``"max"`` for a vector.
        classes: units of the last layer.
        classifier_activation: of the last layer; None for logits.
        name: of the model.

    Raises:
        TypeError, ValueError: arguments of the wrong type, out of range, or that exclude each other.
        CheckpointError: a weight file that does not fit. DatasetError: published weights that cannot be had.
    """
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    return _densenet(frame, "densenet121", (6, 12, 24, 16))


def DenseNet169(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "densenet169",
) -> Model:
    """DenseNet-169: 224 x 224 x 3, 14,307,880 parameters, 3.36 G multiply-adds, top-1 76.2 % (paper and Keras).

    Otherwise, and in its arguments and errors, as :func:`DenseNet121`.
    """
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    return _densenet(frame, "densenet169", (6, 12, 32, 32))


def DenseNet201(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "densenet201",
) -> Model:
    """DenseNet-201: 224 x 224 x 3, 20,242,984 parameters, 4.29 G multiply-adds, top-1 77.4 % (paper).

    Keras' weights: 77.3 %. Otherwise, and in its arguments and errors, as :func:`DenseNet121`.
    """
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    return _densenet(frame, "densenet201", (6, 12, 48, 32))


def _densenet(frame: KerasFrame, published_name: str, depths: Sequence[int], growth_rate: int = GROWTH_RATE) -> Model:
    inputs = frame.begin((224, 224, 3), minimum=32)
    x = layers.ZeroPadding2D(3)(inputs)
    x = layers.Conv2D(2 * growth_rate, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = _bn_relu(x, "conv1_bn", "conv1_relu")
    x = layers.ZeroPadding2D(1)(x)
    x = layers.MaxPool2D(3, strides=2, name="pool1")(x)
    for block, depth in enumerate(depths, 2):
        if block > 2:
            x = _transition(x, f"pool{block - 1}")
        for i in range(1, depth + 1):
            x = _dense_layer(x, growth_rate, f"conv{block}_block{i}")
    x = _bn_relu(x, "bn", "relu")
    return frame.finish(inputs, frame.end(x, frame.top, named_pooling=True), published_name)


def _dense_layer(x: Tensor, growth_rate: int, name: str) -> Tensor:
    """A 1 x 1 and a 3 x 3 convolution, each after batch normalisation and ReLU; the result beside the input."""
    y = _bn_relu(x, f"{name}_0_bn", f"{name}_0_relu")
    y = layers.Conv2D(4 * growth_rate, 1, use_bias=False, name=f"{name}_1_conv")(y)
    y = _bn_relu(y, f"{name}_1_bn", f"{name}_1_relu")
    y = layers.Conv2D(growth_rate, 3, padding="same", use_bias=False, name=f"{name}_2_conv")(y)
    return layers.Concatenate(name=f"{name}_concat")([x, y])


def _transition(x: Tensor, name: str) -> Tensor:
    """Half the channels, half the size."""
    channels = x.shape[-1] or 0
    x = _bn_relu(x, f"{name}_bn", f"{name}_relu")
    x = layers.Conv2D(channels // 2, 1, use_bias=False, name=f"{name}_conv")(x)
    return layers.AvgPool2D(2, strides=2, name=f"{name}_pool")(x)


def _bn_relu(x: Tensor, bn_name: str, relu_name: str) -> Tensor:
    x = layers.BatchNormalization(epsilon=EPSILON, name=bn_name)(x)
    return layers.Activation("relu", name=relu_name)(x)
