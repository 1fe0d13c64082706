"""AlexNet (Krizhevsky, Sutskever and Hinton, 2012), and the layers that ZFNet shares with it."""

from __future__ import annotations

from typing import Any

from .. import layers
from ..layers.node import Tensor
from ..models import Model
from ._frame import Frame, InputShape
from ._parts import ALEXNET_LRN, Width, conv_relu, dense_relu
from .imagenet import decode_predictions, preprocessing_of

__all__ = ["AlexNet", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing_of("AlexNet")


def AlexNet(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "alexnet",
    *,
    width: float = 1.0,
) -> Model:
    """AlexNet: "ImageNet classification with deep convolutional neural networks", NIPS 2012, section 3.

    Input (N, 227, 227, 3), pixels 0 to 255 less their mean over the training set; output (N, classes). 62,378,344
    parameters (conv1 34,944, conv2 614,656), 1,135,256,096 multiply-adds. Published: 59.3 % top-1, 81.8 % top-5 on
    ILSVRC-2012 (ten crops).

    What differs from the paper: one tower in place of two with half the filters each, so conv2, conv4 and conv5 read
    all channels (the paper's pair has 60,965,224 parameters); 227 pixels, as the paper's 224 do not give its 55 x 55
    outputs; weights start after He et al. (2015) with biases 0 in place of N(0, 0.01) and biases 1.

    Args:
        include_top: whether there are the dense layers fc6 to fc8.
        weights: None for new ones, or the path of a file.
        input_tensor: of another model, to build on.
        input_shape: (height, width, channels), at least 67 x 67.
        pooling: of the output without a top: None for (N, h, w, 256), ``"avg"`` or ``"max"`` for (N, 256).
        classes: units of the classifier.
        classifier_activation: of the classifier; None for logits.
        name: of the model.
        width: factor on all numbers of filters and units but the classes; 1 is the paper's network.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range. CheckpointError: a file that does not fit.
    """
    frame = Frame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    n = Width(width)
    inputs = frame.begin((227, 227, 3), minimum=67, flattens=True)
    x = conv_relu(inputs, n(96), 11, "conv1", strides=4, padding="valid")
    x = layers.LocalResponseNormalization(**ALEXNET_LRN, name="norm1")(x)
    x = layers.MaxPool2D(3, 2, name="pool1")(x)
    x = conv_relu(x, n(256), 5, "conv2")
    x = layers.LocalResponseNormalization(**ALEXNET_LRN, name="norm2")(x)
    x = layers.MaxPool2D(3, 2, name="pool2")(x)
    x = last_convolutions(x, n)
    outputs = frame.end(x, lambda x: dense_layers(x, n, classes, classifier_activation))
    return frame.finish(inputs, outputs)


def last_convolutions(x: Tensor, n: Width) -> Tensor:
    """conv3 to pool5 of AlexNet and ZFNet: (N, h, w, C) -> (N, (h - 1) // 2, (w - 1) // 2, n(256))."""
    for name, filters in (("conv3", 384), ("conv4", 384), ("conv5", 256)):
        x = conv_relu(x, n(filters), 3, name)
    return layers.MaxPool2D(3, 2, name="pool5")(x)


def dense_layers(x: Tensor, n: Width, classes: int, activation: Any) -> Tensor:
    """fc6 to fc8 of AlexNet and ZFNet, half of the units dropped in training: (N, h, w, C) -> (N, classes)."""
    x = layers.Flatten(name="flatten")(x)
    for i in (6, 7):
        x = dense_relu(x, n(4096), f"fc{i}")
        x = layers.Dropout(0.5, name=f"drop{i}")(x)
    return layers.Dense(classes, activation=activation, name="fc8")(x)
