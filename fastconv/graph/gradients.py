"""Gradients for what goes into a model: for saliency, and for everything that optimises a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..checks import integer
from .layer import GraphLayer

PROBABILITIES = ("softmax", "sigmoid")  # activations that turn a score into a probability

Classes = int | Sequence[int] | None


def input_gradients(
    model: GraphLayer,
    x: Any,
    target: Classes | Callable[[Any], Any] = None,
    linear_outputs: Iterable[int] | None = None,
) -> Any:
    """Return the gradient of a target for a model's input; the model's weights and their gradients stay as they are.

    The model runs in inference mode::

        dx = input_gradients(model, images, 3)  # of the score of class 3
        dx = input_gradients(model, images, lambda y: 2 * (y - wanted))  # of ((y - wanted) ** 2).sum()

    Args:
        model: a built model; to start from another layer than its last, ``Model(model.inputs, layer.output)``.
        x: a batch as the model takes it (a list of arrays with several inputs).
        target: a class for all samples, or one each, of a model with one output ``(N, classes)``: the sum of their
            scores is differentiated. None: each sample's highest score. Or a function that gets the model's output (a
            list with several) and returns the gradient for it.
        linear_outputs: outputs to take without their final activation, see :attr:`GraphLayer.final_activations`; by
            default a softmax or sigmoid where ``target`` are classes: their scores are the values before it.

    Returns:
        An array of the shape of ``x`` (a list with several inputs).

    Raises:
        ValueError: another shape than the model's, a class that does not exist. TypeError: another dtype.
    """
    if linear_outputs is None:
        linear_outputs = () if callable(target) else probability_outputs(model)
    linear = frozenset(linear_outputs)
    with no_weight_gradients(model):
        y, tape = model.forward(*(x if isinstance(x, list | tuple) else [x]), linear_outputs=linear)
        dy = target(y) if callable(target) else one_hot_scores(y, target)
        return model.backward(dy, tape, linear_outputs=linear)


def probability_outputs(model: GraphLayer) -> list[int]:
    """Return the positions of outputs that end in a softmax or sigmoid."""
    return [i for i, name in enumerate(model.final_activations) if name in PROBABILITIES]


def one_hot_scores(scores: np.ndarray, classes: Classes) -> np.ndarray:
    """Return the gradient of the chosen classes' scores for all scores ``(N, classes)``: 1 at the class.

    Args:
        scores: the model's.
        classes: one for all samples, or one each; None: each sample's highest score.

    Raises:
        ValueError: a class that does not exist, another number of classes than samples. TypeError: no integers.
    """
    samples, count = scores.shape
    if classes is None:
        chosen = scores.argmax(axis=1)
    else:
        wanted: Any = [classes] * samples if np.ndim(classes) == 0 else list(classes)  # type: ignore[arg-type]
        if len(wanted) != samples:
            raise ValueError(f"got {len(wanted)} classes for {samples} samples")
        chosen = np.array([integer(c, "class_index", 0) for c in wanted])
        if chosen.max() >= count:
            raise ValueError(f"class_index {chosen.max()}: the model has {count} classes, 0 to {count - 1}")
    one_hot = np.zeros_like(scores)
    one_hot[np.arange(samples), chosen] = 1
    return one_hot


@contextmanager
def no_weight_gradients(model: GraphLayer) -> Iterator[None]:
    """Within, a backward pass computes gradients for inputs only, and leaves those of the weights as they are."""
    trainable = [parameter for parameter in model.parameters if parameter.trainable]
    for parameter in trainable:
        parameter.trainable = False
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.trainable = True
