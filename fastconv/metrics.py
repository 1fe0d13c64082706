"""What is reported beside the loss: accuracy and friends, by Keras' names.

A metric is a function ``(y_true, y_pred) -> number or array of one number per sample``. An epoch's value is the mean
over all its samples; a single number counts for every sample of its batch. Write your own as a plain function.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import losses
from .errors import suggest_names
from .losses import check_labels
from .registry import Configurable, by_name, custom_object, resolve, serialize, snake_case

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

MetricFunction = Callable[[np.ndarray, np.ndarray], Any]


class Metric(Configurable):
    """Base class of metrics with a configuration.

    Args:
        name: what the metric is called in logs; by default the class name in snake case.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)

    def __call__(self, y_true: Any, y_pred: Any) -> np.ndarray:
        """Return one number per sample (more for predictions with inner axes, such as pixels)."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


class BinaryAccuracy(Metric):
    """Whether predictions above ``threshold`` (default 0.5) agree with targets of 0 and 1."""

    def __init__(self, threshold: float = 0.5, name: str | None = None) -> None:
        super().__init__(name)
        self.threshold = threshold

    def __call__(self, y_true: Any, y_pred: Any) -> np.ndarray:
        y_pred = np.asarray(y_pred)
        return (_same_shape(y_true, y_pred) == (y_pred > self.threshold)).mean(axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {"threshold": self.threshold, **super().get_config()}


class CategoricalAccuracy(Metric):
    """Whether the largest prediction stands where the largest target stands (one-hot targets)."""

    def __call__(self, y_true: Any, y_pred: Any) -> np.ndarray:
        y_pred = np.asarray(y_pred)
        return _same_shape(y_true, y_pred).argmax(axis=-1) == y_pred.argmax(axis=-1)


class SparseCategoricalAccuracy(Metric):
    """Whether the largest prediction stands at the label (integer labels)."""

    def __call__(self, y_true: Any, y_pred: Any) -> np.ndarray:
        y_pred = np.asarray(y_pred)
        return _labels(y_true, y_pred) == y_pred.argmax(axis=-1)


class SparseTopKCategoricalAccuracy(Metric):
    """Whether the label is among the ``k`` largest predictions (integer labels).

    A class counts as ahead of the label only if its prediction is strictly larger; NaN is never among the top.
    """

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.k = k

    def __call__(self, y_true: Any, y_pred: Any) -> np.ndarray:
        y_pred = np.asarray(y_pred)
        return self._in_top_k(_labels(y_true, y_pred), y_pred)

    def get_config(self) -> dict[str, Any]:
        return {"k": self.k, **super().get_config()}

    def _in_top_k(self, labels: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        score = np.take_along_axis(y_pred, labels[..., None], axis=-1)
        return ((y_pred > score).sum(axis=-1) < self.k) & np.isfinite(score[..., 0])


class TopKCategoricalAccuracy(SparseTopKCategoricalAccuracy):
    """Whether the class of the largest target is among the ``k`` largest predictions (one-hot targets)."""

    def __call__(self, y_true: Any, y_pred: Any) -> np.ndarray:
        y_pred = np.asarray(y_pred)
        return self._in_top_k(_same_shape(y_true, y_pred).argmax(axis=-1), y_pred)


class _LossMetric(Metric):
    """A loss per sample as a metric; made by :func:`get` for names of losses."""

    def __init__(self, loss: losses.Loss, name: str) -> None:
        super().__init__(name)
        self.loss = loss

    def __call__(self, y_true: Any, y_pred: Any) -> np.ndarray:
        return self.loss.values(np.asarray(y_true), np.asarray(y_pred))[0]


class Mean:
    """A running mean, weighted by the number of samples."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, value: Any, samples: int) -> None:
        """Take in a batch: ``value`` is its mean or an array of its values, ``samples`` its size."""
        self.total += mean_of(value) * samples
        self.count += samples

    def result(self) -> float:
        """Return the mean so far, 0 before the first sample."""
        return self.total / self.count if self.count else 0.0


def mean_of(value: Any) -> float:
    """Return the mean of a number or an array; 0 for an empty one."""
    if isinstance(value, float):
        return value
    array = np.asarray(value)
    return float(array.sum(dtype=np.float64)) / array.size if array.size else 0.0


def accuracy_for(y_true: np.ndarray, y_pred: np.ndarray) -> Metric:
    """Choose what ``"accuracy"`` means for a batch, by Keras' rule.

    Binary if the predictions' last axis is 1; sparse categorical if the targets have one axis less, or a last axis
    of 1; else categorical.
    """
    if y_pred.shape[-1] == 1:
        return BinaryAccuracy()
    if y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1:
        return SparseCategoricalAccuracy()
    return CategoricalAccuracy()


def _labels(y_true: Any, y_pred: np.ndarray) -> np.ndarray:
    labels = np.asarray(y_true)
    if labels.ndim == y_pred.ndim and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.shape != y_pred.shape[:-1]:
        raise ValueError(f"labels of shape {labels.shape} do not fit predictions of shape {y_pred.shape}")
    check_labels(labels, y_pred.shape[-1])
    return labels


def _same_shape(y_true: Any, y_pred: np.ndarray) -> np.ndarray:
    targets = np.asarray(y_true)
    if targets.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
        targets = targets[..., None]
    if targets.shape != y_pred.shape:
        raise ValueError(f"targets of shape {targets.shape} do not fit predictions of shape {y_pred.shape}")
    return targets


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


def get(identifier: Any) -> MetricFunction:
    """Return a metric.

    Args:
        identifier: Keras' name of a metric or of a loss, a description from :func:`serialize`, or a function
            ``(y_true, y_pred)``. ``"accuracy"`` is resolved by the model, which knows the shapes: see
            :func:`accuracy_for`.

    Raises:
        ValueError: an unknown name. TypeError: not a function.
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
    if not callable(metric):
        raise TypeError(f"a metric is a name or a function (y_true, y_pred) -> value, got {metric!r}")
    return metric


def name_of(identifier: Any) -> str:
    """Return what a metric is called in logs."""
    if isinstance(identifier, str):
        return identifier
    name = getattr(identifier, "name", None) or getattr(identifier, "__name__", None)
    return str(name or snake_case(type(identifier).__name__))
