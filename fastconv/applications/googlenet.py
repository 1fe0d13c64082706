"""GoogLeNet (Szegedy et al., 2015): Inception modules, with or without the auxiliary heads of its training."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import layers
from ..layers.node import Tensor
from ..models import Model
from ._frame import Frame, InputShape
from ._parts import Width, conv_relu, dense_relu
from .imagenet import decode_predictions, preprocessing_of

__all__ = ["AUXILIARY_LOSS_WEIGHT", "LOSS_WEIGHTS", "GoogLeNet", "decode_predictions", "preprocess_input"]

preprocess_input = preprocessing_of("GoogLeNet")

#: What each auxiliary head's loss counts in the total, section 5 of the paper.
AUXILIARY_LOSS_WEIGHT = 0.3
#: ``loss_weights`` for ``compile`` of a model with ``auxiliary=True``: the classifier, the two auxiliary heads.
LOSS_WEIGHTS = (1.0, AUXILIARY_LOSS_WEIGHT, AUXILIARY_LOSS_WEIGHT)

#: Caffe's normalisation, whose alpha of 1e-4 multiplies the mean of 5 squares, not their sum.
_LRN: dict[str, Any] = {"depth_radius": 2, "bias": 1.0, "alpha": 1e-4 / 5, "beta": 0.75}


class _Module(NamedTuple):
    """A row of table 1: filters of an Inception module."""

    one: int
    reduce3: int
    three: int
    reduce5: int
    five: int
    projection: int


_TABLE = {
    "3a": _Module(64, 96, 128, 16, 32, 32),
    "3b": _Module(128, 128, 192, 32, 96, 64),
    "4a": _Module(192, 96, 208, 16, 48, 64),
    "4b": _Module(160, 112, 224, 24, 64, 64),
    "4c": _Module(128, 128, 256, 24, 64, 64),
    "4d": _Module(112, 144, 288, 32, 64, 64),
    "4e": _Module(256, 160, 320, 32, 128, 128),
    "5a": _Module(256, 160, 320, 32, 128, 128),
    "5b": _Module(384, 192, 384, 48, 128, 128),
}
_POOLED_AFTER = {"3b": "pool3", "4e": "pool4"}
_HEAD_AFTER = {"4a": "loss1", "4d": "loss2"}


def GoogLeNet(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "googlenet",
    *,
    auxiliary: bool = False,
    width: float = 1.0,
) -> Model:
    """GoogLeNet: "Going deeper with convolutions", CVPR 2015, table 1.

    Input (N, 224, 224, 3), pixels 0 to 255, BGR, less their mean; output (N, classes). 6,998,552 parameters (13,378,280
    with auxiliary heads), 1,582,671,872 multiply-adds. Published: 89.9 % top-5 on ILSVRC-2012 with one network and one
    crop, 92.1 % with 144 crops; the paper gives no top-1, the model published for Caffe has 68.7 %.

    The auxiliary heads classify the outputs of modules 4a and 4d, so that gradients reach the early layers; they are
    for training and thrown away afterwards::

        model = GoogLeNet(auxiliary=True)  # outputs: loss3_classifier, loss1_classifier, loss2_classifier
        model.compile("sgd", "sparse_categorical_crossentropy", loss_weights=list(LOSS_WEIGHTS))
        model.fit(x, [y, y, y])

    Where the paper is silent this follows the model that was published for Caffe: pools round up, normalisation comes
    after pool1 and after conv2, its constants are 5 channels, 1, 1e-4 / 5 and 0.75. Weights start after He et al.
    (2015).

    Args:
        include_top: whether there is the classifier on the mean of the last maps.
        weights: None for new ones, or the path of a file.
        input_tensor: of another model, to build on.
        input_shape: (height, width, channels), at least 47 x 47, with auxiliary heads 79 x 79; heights
            and widths may be None without them.
        pooling: of the output without a top: None for (N, h, w, 1024), ``"avg"`` or ``"max"`` for (N, 1024).
        classes: units of the classifiers.
        classifier_activation: of the classifiers; None for logits.
        name: of the model.
        auxiliary: whether to add the two heads; the model then has three outputs.
        width: factor on all numbers of filters and units but the classes; 1 is the paper's network.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; auxiliary heads without a top.
        CheckpointError: a file that does not fit.
    """
    frame = Frame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    if auxiliary and not include_top:
        raise ValueError("auxiliary=True needs include_top=True: the heads are classifiers")
    n = Width(width)
    inputs = frame.begin((224, 224, 3), minimum=79 if auxiliary else 47, flattens=auxiliary)
    x = _beginning(inputs, n)
    heads: list[Tensor] = []
    for module, row in _TABLE.items():
        x = _inception(x, _Module(*map(n, row)), f"inception_{module}")
        if module in _POOLED_AFTER:
            x = layers.MaxPool2D(3, 2, ceil_mode=True, name=_POOLED_AFTER[module])(x)
        if auxiliary and module in _HEAD_AFTER:
            heads.append(_auxiliary_head(x, n, classes, classifier_activation, _HEAD_AFTER[module]))

    def top(x: Tensor) -> Tensor | list[Tensor]:
        x = layers.GlobalAvgPool2D(name="pool5")(x)
        x = layers.Dropout(0.4, name="drop5")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="loss3_classifier")(x)
        return [x, *heads] if auxiliary else x

    return frame.finish(inputs, frame.end(x, top))


def _beginning(x: Tensor, n: Width) -> Tensor:
    """conv1 to pool2: (N, 224, 224, C) -> (N, 28, 28, 192)."""
    x = conv_relu(x, n(64), 7, "conv1", strides=2, padding=3)
    x = layers.MaxPool2D(3, 2, ceil_mode=True, name="pool1")(x)
    x = layers.LocalResponseNormalization(**_LRN, name="norm1")(x)
    x = conv_relu(x, n(64), 1, "conv2_reduce")
    x = conv_relu(x, n(192), 3, "conv2")
    x = layers.LocalResponseNormalization(**_LRN, name="norm2")(x)
    return layers.MaxPool2D(3, 2, ceil_mode=True, name="pool2")(x)


def _inception(x: Tensor, filters: _Module, name: str) -> Tensor:
    """An Inception module, figure 2(b): (N, h, w, C) -> (N, h, w, one + three + five + projection)."""
    one = conv_relu(x, filters.one, 1, f"{name}_1x1")
    three = conv_relu(x, filters.reduce3, 1, f"{name}_3x3_reduce")
    three = conv_relu(three, filters.three, 3, f"{name}_3x3")
    five = conv_relu(x, filters.reduce5, 1, f"{name}_5x5_reduce")
    five = conv_relu(five, filters.five, 5, f"{name}_5x5")
    projection = layers.MaxPool2D(3, 1, padding="same", name=f"{name}_pool")(x)
    projection = conv_relu(projection, filters.projection, 1, f"{name}_pool_proj")
    return layers.Concatenate(name=f"{name}_output")([one, three, five, projection])


def _auxiliary_head(x: Tensor, n: Width, classes: int, activation: Any, name: str) -> Tensor:
    """A classifier in the middle of the network, section 5: (N, 14, 14, C) -> (N, classes)."""
    x = layers.AvgPool2D(5, 3, name=f"{name}_ave_pool")(x)
    x = conv_relu(x, n(128), 1, f"{name}_conv")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = dense_relu(x, n(1024), f"{name}_fc")
    x = layers.Dropout(0.7, name=f"{name}_drop_fc")(x)
    return layers.Dense(classes, activation=activation, name=f"{name}_classifier")(x)
