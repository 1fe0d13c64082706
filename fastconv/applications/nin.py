"""Network in Network (Lin, Chen and Yan, 2014), for CIFAR-10."""

from __future__ import annotations

from typing import Any

from .. import layers
from ..layers.node import Tensor
from ..models import Model
from ._frame import Frame, InputShape
from ._parts import Width, conv_relu
from .imagenet import preprocessing_of

__all__ = ["NiN", "preprocess_input"]

preprocess_input = preprocessing_of("NiN")


def NiN(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    name: str = "nin",
    *,
    width: float = 1.0,
) -> Model:
    """Network in Network: ICLR 2014 (arXiv:1312.4400), figure 2, in the authors' version for CIFAR-10.

    After each convolution two 1 x 1 convolutions (cccp: cascaded cross-channel parametric pooling) are a small dense
    network at every pixel; the last has one map a class, and the mean of a map is the class's score: no dense layer.

    Input (N, 32, 32, 3), pixels with global contrast normalisation and ZCA whitening; output (N, classes). 966,986
    parameters, 222,486,528 multiply-adds. Published: 10.41 % error on CIFAR-10 (89.59 % top-1), 8.81 % with moved and
    mirrored images.

    The pools round up, as the authors' do: 32, 16, 8. Weights start after He et al. (2015) in place of N(0, 0.05).

    Args:
        include_top: whether there are cccp6, one map a class, and its mean.
        weights: None for new ones, or the path of a file.
        input_tensor: of another model, to build on.
        input_shape: (height, width, channels), at least 6 x 6; heights and widths may be None.
        pooling: of the output without a top: None for (N, h, w, 192), ``"avg"`` or ``"max"`` for (N, 192).
        classes: maps of cccp6.
        classifier_activation: after the mean; None for scores.
        name: of the model.
        width: factor on all numbers of filters but the classes; 1 is the paper's network.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range. CheckpointError: a file that does not fit.
    """
    frame = Frame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    n = Width(width)
    inputs = frame.begin((32, 32, 3), minimum=6)
    x = conv_relu(inputs, n(192), 5, "conv1")
    x = conv_relu(x, n(160), 1, "cccp1")
    x = conv_relu(x, n(96), 1, "cccp2")
    x = layers.MaxPool2D(3, 2, ceil_mode=True, name="pool1")(x)
    x = layers.Dropout(0.5, name="drop1")(x)
    x = conv_relu(x, n(192), 5, "conv2")
    x = conv_relu(x, n(192), 1, "cccp3")
    x = conv_relu(x, n(192), 1, "cccp4")
    x = layers.AvgPool2D(3, 2, ceil_mode=True, name="pool2")(x)
    x = layers.Dropout(0.5, name="drop2")(x)
    x = conv_relu(x, n(192), 3, "conv3")
    x = conv_relu(x, n(192), 1, "cccp5")

    def top(x: Tensor) -> Tensor:
        x = conv_relu(x, classes, 1, "cccp6")
        x = layers.GlobalAvgPool2D(name="pool3")(x)
        return layers.Activation(classifier_activation, name="predictions")(x)

    return frame.finish(inputs, frame.end(x, top))
