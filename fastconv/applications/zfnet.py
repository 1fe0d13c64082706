"""ZFNet (Zeiler and Fergus, 2014): AlexNet with a smaller kernel and stride at its beginning."""

from __future__ import annotations

from typing import Any

from .. import layers
from ..layers.node import Tensor
from ..models import Model
from ._frame import Frame, InputShape
from ._parts import ALEXNET_LRN, Width, conv_relu
from .alexnet import dense_layers, last_convolutions
from .imagenet import decode_predictions, preprocessing_of

__all__ = ["ZFNet", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing_of("ZFNet")


def ZFNet(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "zfnet",
    *,
    width: float = 1.0,
) -> Model:
    """ZFNet: "Visualizing and understanding convolutional networks", ECCV 2014, figure 3.

    Input (N, 224, 224, 3), pixels 0 to 255 less their mean over the training set; output (N, classes). 62,357,608
    parameters, 1,168,032,896 multiply-adds. Published: 61.6 % top-1, 83.5 % top-5 on ILSVRC-2012 (ten crops).

    Each of the first two layers is rectified, then pooled, then normalised, as the figure says (AlexNet normalises
    first). The paper gives the sizes 224, 110, 55, 26, 13 and 6 and no padding; they follow from one pixel around the
    image and pools that round up. It does not give the constants of its contrast normalisation: AlexNet's are used.
    Weights start after He et al. (2015) in place of 0.01.

    Args:
        include_top: whether there are the dense layers fc6 to fc8.
        weights: None for new ones, or the path of a file.
        input_tensor: of another model, to build on.
        input_shape: (height, width, channels), at least 63 x 63.
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
    inputs = frame.begin((224, 224, 3), minimum=63, flattens=True)
    x = conv_relu(inputs, n(96), 7, "conv1", strides=2, padding=1)
    x = layers.MaxPool2D(3, 2, ceil_mode=True, name="pool1")(x)
    x = layers.LocalResponseNormalization(**ALEXNET_LRN, name="norm1")(x)
    x = conv_relu(x, n(256), 5, "conv2", strides=2, padding="valid")
    x = layers.MaxPool2D(3, 2, ceil_mode=True, name="pool2")(x)
    x = layers.LocalResponseNormalization(**ALEXNET_LRN, name="norm2")(x)
    x = last_convolutions(x, n)
    outputs = frame.end(x, lambda x: dense_layers(x, n, classes, classifier_activation))
    return frame.finish(inputs, outputs)
