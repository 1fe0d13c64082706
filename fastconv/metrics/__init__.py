"""What is reported beside the loss: accuracy and friends, by Keras' names.

A metric is a function ``(y_true, y_pred) -> number or array of one number per sample``, whose value for an epoch is the
mean over all its samples (a single number counts for every sample of its batch); or a :class:`Metric`, which may keep
any state from batch to batch. Write your own as either.
"""

from typing import Any

import numpy as np

from .. import losses
from ..errors import suggest_names
from ..registry import by_name, custom_object, resolve, serialize, snake_case
from .accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    accuracy_for,
)
from .base import FunctionMetric, Mean, Metric

__all__ = [
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "Mean",
    "Metric",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "accuracy_for",
    "get",
    "serialize",
]
suggest_names(__name__)


class _LossMetric(Metric):
    """A loss per sample as a metric; made by :func:`get` for names of losses."""

    def __init__(self, loss: losses.Loss, name: str) -> None:
        super().__init__(name)
        self.loss = loss

    def __call__(self, y_true: Any, y_pred: Any) -> np.ndarray:
        return self.loss.values(np.asarray(y_true), np.asarray(y_pred))[0]


_TABLE = by_name(
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
# Keras spells these two so.
_TABLE.update(
    top_k_categorical_accuracy=TopKCategoricalAccuracy,
    sparse_top_k_categorical_accuracy=SparseTopKCategoricalAccuracy,
)


def get(identifier: Any) -> Any:
    """Return a metric.

    Args:
        identifier: Keras' name of a metric or of a loss, a description from :func:`serialize`, a :class:`Metric`, or
            a function ``(y_true, y_pred)``. ``"accuracy"`` is resolved by the model, which knows the shapes: see
            :func:`accuracy_for`.

    Raises:
        ValueError: an unknown name. TypeError: neither a metric nor a function.
    """
    if isinstance(identifier, str) and identifier not in _TABLE and custom_object(identifier) is None:
        try:
            loss = losses.get(identifier)
        except ValueError:
            pass  # not a loss either: the message below lists the metrics
        else:
            if isinstance(loss, losses.Loss):
                return _LossMetric(loss, identifier)
    metric = resolve(identifier, _TABLE, "metric")
    if not callable(metric) and not has_state(metric):
        raise TypeError(f"a metric is a name or a function (y_true, y_pred) -> value, got {metric!r}")
    return metric


def name_of(identifier: Any) -> str:
    """Return what a metric is called in logs."""
    if isinstance(identifier, str):
        return identifier
    name = getattr(identifier, "name", None) or getattr(identifier, "__name__", None)
    return str(name or snake_case(type(identifier).__name__))


def has_state(metric: Any) -> bool:
    """Whether an object has a metric's ``update``, ``result`` and ``reset``, be it a :class:`Metric` or not."""
    return all(callable(getattr(metric, name, None)) for name in ("update", "result", "reset"))


def is_accuracy(identifier: Any) -> bool:
    """Whether a name is the accuracy whose kind the shapes decide."""
    return isinstance(identifier, str) and identifier.lower() in ("accuracy", "acc")


def with_state(identifier: Any) -> Any:
    """Return what ``compile`` was given as an object with ``update``, ``result`` and ``reset``."""
    metric = Accuracy() if is_accuracy(identifier) else get(identifier)
    return metric if has_state(metric) else FunctionMetric(metric, name_of(identifier))
