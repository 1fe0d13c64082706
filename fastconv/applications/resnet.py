"""ResNet: layers learn what to add to their input (He, Zhang, Ren and Sun 2015, arXiv:1512.03385)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import layers
from ..layers.node import Tensor
from ..models import Model
from ._frame import InputShape, KerasFrame
from ._variants import resolve_variant
from .imagenet import decode_predictions, preprocessing_of

__all__ = ["ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing_of("ResNet50")

# Blocks in conv2_x ... conv5_x: the columns of the paper's table 1.
DEPTHS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
WIDTH = 64  # of the first layer; a stage has twice the width of the one before


class Form(NamedTuple):
    """What differs between Keras' ResNet and torchvision's."""

    bias: bool  # of the convolutions, although batch normalisation follows
    epsilon: float
    momentum: float
    stride_in_3x3: bool  # where a bottleneck halves the image: "v1.5", or in its first 1 x 1 convolution
    pad_layers: bool  # zeros around the image come from layers of their own


FORMS = {
    "keras": Form(bias=True, epsilon=1.001e-5, momentum=0.99, stride_in_3x3=False, pad_layers=True),
    "torchvision": Form(bias=False, epsilon=1e-5, momentum=0.9, stride_in_3x3=True, pad_layers=False),
}
Block = Callable[[Tensor, int, int, bool, str, Form], Tensor]


def ResNet18(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet18",
) -> Model:
    """ResNet-18: 224 x 224 x 3, 11,689,512 trainable parameters, 1.81 G multiply-adds.

    The count is of kernels, gamma, beta and classifier, as PyTorch counts; ``count_params()`` also has the moving means
    and variances: 11,699,112. He et al. 2015, arXiv:1512.03385, table 1. Top-1: 72.1 % of the paper (ten crops, table
    2, with parameter-free shortcuts), 69.8 % of torchvision's weights (one crop). Two 3 x 3 convolutions a block,
    without bias, each with batch normalisation (epsilon 1e-5, momentum 0.9), and projections where the size changes
    (option B), as torchvision. Keras has no such network; layers are named like those of its ResNet50.

    Args:
        include_top: whether the classifier follows.
        weights: None: newly initialised; or the path of a weight file.
        input_tensor: to build on, from another model.
        input_shape: (height, width, channels), each of the first two at least 32, or None for any.
        pooling: without a top: None for feature maps, ``"avg"`` or ``"max"`` for a vector.
        classes: units of the last layer.
        classifier_activation: of the last layer; None for logits.
        name: of the model.

    Raises:
        TypeError, ValueError: arguments of the wrong type, out of range, or that exclude each other.
        CheckpointError: a weight file that does not fit.
    """
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    return _resnet(frame, "resnet18", _basic, FORMS["torchvision"])


def ResNet34(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet34",
) -> Model:
    """ResNet-34: 224 x 224 x 3, 21,797,672 trainable parameters, 3.66 G multiply-adds.

    With moving statistics 21,814,696. Top-1: 75.5 % of the paper (ten crops, option B), 73.3 % of torchvision's weights
    (one crop). Otherwise, and in its arguments and errors, as :func:`ResNet18`.
    """
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    return _resnet(frame, "resnet34", _basic, FORMS["torchvision"])


def ResNet50(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet50",
    *,
    variant: str | None = None,
) -> Model:
    """ResNet-50: 224 x 224 x 3, 25,636,712 parameters (25,583,592 trainable), 3.86 G multiply-adds.

    He et al. 2015, arXiv:1512.03385, table 1. Top-1: 77.2 % of the paper (ten crops), 74.9 % of Keras' weights.
    Bottleneck blocks with Keras' layer names; as in Keras the convolutions have a bias, which the paper does not have.

    Args:
        include_top: whether the classifier follows.
        weights: None: newly initialised; the path of a weight file; or ``"imagenet"``: Keras' published ones.
        input_tensor: to build on, from another model.
        input_shape: (height, width, channels), each of the first two at least 32, or None for any.
        pooling: without a top: None for feature maps, ``"avg"`` or ``"max"`` for a vector.
        classes: units of the last layer.
        classifier_activation: of the last layer; None for logits.
        name: of the model.
        variant: ``"keras"``, or ``"torchvision"`` for "v1.5": stride in the 3 x 3 convolution, no bias, epsilon 1e-5
            and momentum 0.9 (25,557,032 trainable parameters, 4.09 G multiply-adds, top-1 76.1 %). None: torchvision's
            where ``weights`` is a PyTorch file (.pth, .pt, .safetensors), else Keras'.

    Raises:
        TypeError, ValueError: arguments of the wrong type, out of range, or that exclude each other.
        CheckpointError: a weight file that does not fit. DatasetError: published weights that cannot be had.
    """
    form = FORMS[resolve_variant(variant, weights)]
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    return _resnet(frame, "resnet50", _bottleneck, form)


def ResNet101(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet101",
    *,
    variant: str | None = None,
) -> Model:
    """ResNet-101: 224 x 224 x 3, 44,707,176 parameters, 7.57 G multiply-adds.

    Top-1: 78.3 % of the paper (ten crops), 76.4 % of Keras' weights. Otherwise, and in its arguments and errors, as
    :func:`ResNet50`.
    """
    form = FORMS[resolve_variant(variant, weights)]
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    return _resnet(frame, "resnet101", _bottleneck, form)


def ResNet152(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet152",
    *,
    variant: str | None = None,
) -> Model:
    """ResNet-152: 224 x 224 x 3, 60,419,944 parameters, 11.3 G multiply-adds.

    Top-1: 78.6 % of the paper (ten crops), 76.6 % of Keras' weights. Otherwise, and in its arguments and errors, as
    :func:`ResNet50`.
    """
    form = FORMS[resolve_variant(variant, weights)]
    frame = KerasFrame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    return _resnet(frame, "resnet152", _bottleneck, form)


def _resnet(
    frame: KerasFrame,
    architecture: str,
    block: Block,
    form: Form,
    width: int = WIDTH,
    depths: Sequence[int] | None = None,
) -> Model:
    inputs = frame.begin((224, 224, 3), minimum=32)
    x = _stem(inputs, width, form)
    for stage, depth in enumerate(depths or DEPTHS[architecture]):
        for i in range(depth):
            strides = 2 if stage and not i else 1
            # A basic block keeps the channels in conv2_x, so its first shortcut needs no projection.
            project = not i and (block is _bottleneck or stage > 0)
            x = block(x, width * 2**stage, strides, project, f"conv{stage + 2}_block{i + 1}", form)
    outputs = frame.end(x, frame.top, named_pooling=True)
    return frame.finish(inputs, outputs, architecture if form is FORMS["keras"] else None)


def _stem(x: Tensor, width: int, form: Form) -> Tensor:
    """7 x 7 convolution and 3 x 3 max pool, both of stride 2; its input is not negative, so zeros pad like -inf."""
    if form.pad_layers:
        x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    padding: Any = "valid" if form.pad_layers else 3
    x = layers.Conv2D(width, 7, strides=2, padding=padding, use_bias=form.bias, name="conv1_conv")(x)
    x = _bn(x, "conv1_bn", form)
    x = layers.Activation("relu", name="conv1_relu")(x)
    if form.pad_layers:
        x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return layers.MaxPool2D(3, strides=2, padding="valid" if form.pad_layers else 1, name="pool1_pool")(x)


def _bottleneck(x: Tensor, filters: int, strides: int, project: bool, name: str, form: Form) -> Tensor:
    """1 x 1 to ``filters`` channels, 3 x 3, 1 x 1 to four times as many (figure 5, right)."""
    first, second = (1, strides) if form.stride_in_3x3 else (strides, 1)
    # A stride of 2 is padded alike on both sides, as PyTorch does; "same" would pad more at the bottom and right.
    padding: Any = 1 if form.stride_in_3x3 else "same"
    shortcut = _conv_bn(x, 4 * filters, 1, strides, 0, f"{name}_0", form) if project else x
    y = layers.Activation("relu", name=f"{name}_1_relu")(_conv_bn(x, filters, 1, first, 0, f"{name}_1", form))
    y = layers.Activation("relu", name=f"{name}_2_relu")(_conv_bn(y, filters, 3, second, padding, f"{name}_2", form))
    y = _conv_bn(y, 4 * filters, 1, 1, 0, f"{name}_3", form)
    y = layers.Add(name=f"{name}_add")([shortcut, y])
    return layers.Activation("relu", name=f"{name}_out")(y)


def _basic(x: Tensor, filters: int, strides: int, project: bool, name: str, form: Form) -> Tensor:
    """3 x 3 twice (figure 5, left)."""
    shortcut = _conv_bn(x, filters, 1, strides, 0, f"{name}_0", form) if project else x
    y = layers.Activation("relu", name=f"{name}_1_relu")(_conv_bn(x, filters, 3, strides, 1, f"{name}_1", form))
    y = _conv_bn(y, filters, 3, 1, 1, f"{name}_2", form)
    y = layers.Add(name=f"{name}_add")([shortcut, y])
    return layers.Activation("relu", name=f"{name}_out")(y)


def _conv_bn(x: Tensor, filters: int, size: int, strides: int, padding: Any, name: str, form: Form) -> Tensor:
    x = layers.Conv2D(filters, size, strides, padding, use_bias=form.bias, name=f"{name}_conv")(x)
    return _bn(x, f"{name}_bn", form)


def _bn(x: Tensor, name: str, form: Form) -> Tensor:
    return layers.BatchNormalization(momentum=form.momentum, epsilon=form.epsilon, name=name)(x)
