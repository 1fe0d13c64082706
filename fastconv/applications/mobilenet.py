"""MobileNet: depthwise separable convolutions throughout (Howard et al. 2017, arXiv:1704.04861)."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from .. import layers
from ..checks import integer
from ..layers.arguments import positive
from ..layers.node import Tensor
from ..models import Model
from ._frame import InputShape, KerasFrame
from ._parts import scaled
from ._weights import mobilenet_name
from .imagenet import decode_predictions, preprocessing_of

__all__ = ["MobileNet", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing_of("MobileNet")

# Filters and stride of the 13 separable convolutions: the paper's table 1.
BLOCKS = (
    (64, 1),
    (128, 2), (128, 1),
    (256, 2), (256, 1),
    (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip


def MobileNet(
    input_shape: InputShape = None,
    alpha: float = 1.0,
    depth_multiplier: int = 1,
    dropout: float = 1e-3,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str | None = None,
) -> Model:
    """MobileNet v1: 224 x 224 x 3, 4,253,864 parameters, 569 M multiply-adds (alpha 1).

    Howard et al. 2017, arXiv:1704.04861, table 1. Top-1: 70.6 % of the paper, 70.4 % of Keras' weights. As in Keras:
    ReLU6, zeros at the bottom and right before a stride of 2, dropout before the classifier, which is a 1 x 1
    convolution. Keras' argument order and layer names.

    Args:
        input_shape: (height, width, channels), each of the first two at least 32, or None for any.
        alpha: width of the network: every layer has that many times the filters.
        depth_multiplier: filters per channel of the depthwise convolutions.
        dropout: rate before the classifier, in [0, 1).
        include_top: whether the classifier follows.
        weights: None: newly initialised; the path of a weight file; or ``"imagenet"``: Keras' published ones, for alpha
            0.25, 0.5, 0.75 and 1, those of 128, 160, 192 or 224 pixels if the images are of that size, else of 224.
        input_tensor: to build on, from another model.
        pooling: without a top: None for feature maps, ``"avg"`` or ``"max"`` for a vector.
        classes: filters of the last layer.
        classifier_activation: at the end; None for logits.
        name: of the model; by default with alpha and size, ``"mobilenet_1.00_224"``.

    Raises:
        TypeError, ValueError: arguments of the wrong type, out of range, or that exclude each other.
        CheckpointError: a weight file that does not fit. DatasetError: published weights that cannot be had.
    """
    # The name says the size of the images, which is known when the frame has begun.
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, "")
    alpha = positive(alpha, "alpha")
    inputs = frame.begin((224, 224, 3), minimum=32)
    height, width = inputs.shape[1:3]
    frame = replace(frame, name=name or f"mobilenet_{alpha:0.2f}_{height}")
    published_name = None
    if integer(depth_multiplier, "depth_multiplier") != 1 and frame.wants_imagenet:
        raise ValueError(f"weights='imagenet' exist for depth_multiplier 1, not for {depth_multiplier}")
    if frame.wants_imagenet:
        published_name = mobilenet_name("mobilenet", alpha, height, width)

    x = layers.Conv2D(scaled(32, alpha), 3, strides=2, padding="same", use_bias=False, name="conv1")(inputs)
    x = _bn_relu6(x, "conv1")
    for i, (filters, strides) in enumerate(BLOCKS, 1):
        if strides == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{i}")(x)
        x = layers.DepthwiseConv2D(
            3, strides, "same" if strides == 1 else "valid", depth_multiplier, use_bias=False, name=f"conv_dw_{i}"
        )(x)
        x = _bn_relu6(x, f"conv_dw_{i}")
        x = layers.Conv2D(scaled(filters, alpha), 1, padding="same", use_bias=False, name=f"conv_pw_{i}")(x)
        x = _bn_relu6(x, f"conv_pw_{i}")

    def top(x: Tensor) -> Tensor:
        x = layers.GlobalAvgPool2D(keepdims=True)(x)
        x = layers.Dropout(dropout, name="dropout")(x)
        x = layers.Conv2D(classes, 1, padding="same", name="conv_preds")(x)
        x = layers.Reshape((classes,), name="reshape_2")(x)
        return layers.Activation(classifier_activation, name="predictions")(x)

    return frame.finish(inputs, frame.end(x, top), published_name)


def _bn_relu6(x: Tensor, name: str) -> Tensor:
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)
