"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, 1998)."""

from __future__ import annotations

from typing import Any

from .. import layers
from ..layers.node import Tensor
from ..models import Model
from ._frame import Frame, InputShape
from ._parts import Width
from .imagenet import preprocessing_of

__all__ = ["LeNet5", "preprocess_input"]

preprocess_input = preprocessing_of("LeNet5")


def LeNet5(
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor | None = None,
    input_shape: InputShape = None,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    name: str = "lenet5",
    *,
    width: float = 1.0,
) -> Model:
    """LeNet-5: "Gradient-based learning applied to document recognition", Proceedings of the IEEE 1998, figure 2.

    Input (N, 28, 28, 1), grey digits from 0 to 1; output (N, classes). 61,706 parameters, 416,520 multiply-adds.
    Published: 0.95 % error on MNIST (99.05 % top-1), 0.8 % with distorted digits added.

    What differs from the paper is what today's usual form does: ReLU, max pooling and softmax in place of scaled tanh,
    trained sub-sampling and radial basis functions; C3 reads all maps of S2 in place of chosen ones; 28 x 28 pixels
    with two rows and columns of padding in C1 in place of 32 x 32 pixels.

    Args:
        include_top: whether there are the dense layers C5, F6 and the classifier.
        weights: None for new ones, or the path of a file.
        input_tensor: of another model, to build on.
        input_shape: (height, width, channels), at least 12 x 12.
        pooling: of the output without a top: None for (N, h, w, 16), ``"avg"`` or ``"max"`` for (N, 16).
        classes: units of the classifier.
        classifier_activation: of the classifier; None for logits.
        name: of the model.
        width: factor on all numbers of filters and units but the classes; 1 is the paper's network.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range. CheckpointError: a file that does not fit.
    """
    frame = Frame(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name)
    n = Width(width)
    inputs = frame.begin((28, 28, 1), minimum=12, flattens=True)
    x = layers.Conv2D(n(6), 5, padding="same", activation="relu", name="c1")(inputs)
    x = layers.MaxPool2D(2, name="s2")(x)
    x = layers.Conv2D(n(16), 5, activation="relu", name="c3")(x)
    x = layers.MaxPool2D(2, name="s4")(x)

    def top(x: Tensor) -> Tensor:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(n(120), activation="relu", name="c5")(x)
        x = layers.Dense(n(84), activation="relu", name="f6")(x)
        return layers.Dense(classes, activation=classifier_activation, name="output")(x)

    return frame.finish(inputs, frame.end(x, top))
