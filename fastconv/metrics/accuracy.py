"""Accuracies, by Keras' names and rules."""

from typing import Any

import numpy as np

from ..losses import check_labels
from .base import Metric


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


class Accuracy(Metric):
    """What ``"accuracy"`` stands for: the one that fits the shapes of the first batch, see :func:`accuracy_for`."""

    _kind: Metric | None = None

    def __call__(self, y_true: Any, y_pred: Any) -> np.ndarray:
        if self._kind is None:
            self._kind = accuracy_for(y_true, y_pred)
        return self._kind(y_true, y_pred)

    def reset(self) -> None:
        super().reset()
        self._kind = None


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
