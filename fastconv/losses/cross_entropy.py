"""Losses for targets that are classes."""

import warnings
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..checks import as_array
from .base import Elementwise, Loss, float_targets

# Probabilities are kept this far from 0 and 1 before a logarithm is taken, as in Keras.
EPSILON = 1e-7


def planes_hint(y_pred: np.ndarray) -> str:
    """What a message adds when predictions still have the axes of an image."""
    return "; a Flatten or GlobalAvgPool2D before the Dense layers is missing" if y_pred.ndim == 4 else ""


class BinaryCrossentropy(Elementwise):
    """Mean over the last axis of ``-t log p - (1 - t) log(1 - p)`` for yes-or-no targets.

    Args:
        from_logits: predictions are logits (before the sigmoid); computed stably. Otherwise they are probabilities
            and are clipped to [1e-7, 1 - 1e-7].
        label_smoothing: in [0, 1]; moves targets towards 1/2.
        reduction, name: see :class:`Loss`.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.from_logits, self.label_smoothing = bool(from_logits), _check_smoothing(label_smoothing)

    def elements(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        _check_probabilities(y_true)
        if self.label_smoothing:
            y_true = y_true * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.from_logits:
            loss = np.maximum(y_pred, 0) - y_pred * y_true + np.log1p(np.exp(-np.abs(y_pred)))
            return loss, (y_true, y_pred)
        probability = np.clip(y_pred, EPSILON, 1 - EPSILON)
        loss = -(y_true * np.log(probability) + (1 - y_true) * np.log1p(-probability))
        # The clipped value equals the prediction exactly where the gradient passes.
        return loss, (y_true, probability, probability == y_pred)

    def element_gradient(self, cache: Any) -> np.ndarray:
        if self.from_logits:
            y_true, logits = cache
            return ops.sigmoid(logits) - y_true
        y_true, probability, inside = cache
        return (probability - y_true) / (probability * (1 - probability)) * inside

    def get_config(self) -> dict[str, Any]:
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing, **super().get_config()}


class CategoricalCrossentropy(Loss):
    """``-sum(t * log p)`` over the classes (the last axis); targets are one-hot or soft rows like the predictions.

    For integer labels use :class:`SparseCategoricalCrossentropy`.

    Args:
        from_logits: predictions are logits (before the softmax). Otherwise they are probabilities: rows are divided
            by their sum and clipped to [1e-7, 1 - 1e-7], as in Keras. A model that ends in a softmax which nothing
            else uses is trained on its logits in any case, which is the same function computed stably.
        label_smoothing: in [0, 1]; ``t`` becomes ``t * (1 - s) + s / classes`` (Szegedy et al., CVPR 2016, section 7).
        reduction, name: see :class:`Loss`.
    """

    # The trainer may hand the logits over instead of the softmax's output: see forward_logits.
    accepts_logits: ClassVar[bool] = True

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.from_logits, self.label_smoothing = bool(from_logits), _check_smoothing(label_smoothing)

    def check_targets(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Return the targets in the form the formula needs, or raise."""
        if y_true.shape != y_pred.shape:
            hint = ""
            if y_true.dtype.kind in "iu" and (y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1):
                hint = "; for integer labels use sparse_categorical_crossentropy, or utils.to_categorical(labels)"
            raise ValueError(
                f"targets of shape {y_true.shape} do not fit predictions of shape {y_pred.shape}: "
                f"categorical cross-entropy needs one row per prediction{hint}{planes_hint(y_pred)}"
            )
        y_true = float_targets(y_true, y_pred.dtype)
        _check_probabilities(y_true)
        return y_true

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        y_true = self.check_targets(y_true, y_pred)
        if self.from_logits:
            losses, probabilities = ops.softmax_cross_entropy(y_pred, y_true, self.label_smoothing)
            return losses, (y_true, probabilities)
        rows = self._rows(y_true, y_pred)
        total = y_pred.sum(axis=-1, keepdims=True)
        self._check_predictions(y_pred, total)
        normalized = y_pred / total
        clipped = np.clip(normalized, EPSILON, 1 - EPSILON)
        return -(rows * np.log(clipped)).sum(axis=-1), (rows, normalized, clipped, total)

    def _check_predictions(self, y_pred: np.ndarray, total: np.ndarray) -> None:
        """Warn about predictions that cannot be probabilities: the usual cause of a loss that does not fall."""
        worst = total.flat[np.abs(total - 1).argmax()] if total.size else 1
        if abs(worst - 1) > 0.01 or (y_pred < 0).any():
            warnings.warn(
                f"these predictions are not probabilities (a row sums to {worst:.3g}): end the model in "
                'activation="softmax", or use a loss with from_logits=True',
                RuntimeWarning,
                stacklevel=2,
            )

    def gradient(self, cache: Any, scale: np.ndarray) -> np.ndarray:
        if self.from_logits:
            return self._logits_gradient(cache, scale)
        rows, normalized, clipped, total = cache
        d_normalized = -rows / clipped * (clipped == normalized)
        # The quotient rule of normalized = y_pred / sum(y_pred).
        dy = (d_normalized - (d_normalized * normalized).sum(axis=-1, keepdims=True)) / total
        return dy * np.asarray(scale)[..., None]

    def forward_logits(
        self, y_true: Any, logits: np.ndarray, sample_weight: Any = None
    ) -> tuple[float, Any, np.ndarray]:
        """Return loss, cache and the softmax of the logits: softmax and cross-entropy in one.

        The cache is for :meth:`backward_logits`.
        """
        targets = self.check_targets(as_array(y_true, "y_true"), logits)
        losses, probabilities = ops.softmax_cross_entropy(logits, targets, self.label_smoothing)
        loss, cache = self._reduce(losses, (targets, probabilities), sample_weight)
        return loss, cache, probabilities

    def backward_logits(self, cache: Any) -> np.ndarray:
        """Return the gradient with respect to the logits."""
        return self._logits_gradient(*cache)

    def get_config(self) -> dict[str, Any]:
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing, **super().get_config()}

    def _logits_gradient(self, cache: Any, scale: np.ndarray) -> np.ndarray:
        targets, probabilities = cache
        if np.ndim(scale):
            scale = np.broadcast_to(scale, probabilities.shape[:-1])
        return ops.softmax_cross_entropy_backward(probabilities, targets, scale, self.label_smoothing)

    def _rows(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        if not self.label_smoothing:
            return y_true
        return y_true * (1 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]


class SparseCategoricalCrossentropy(CategoricalCrossentropy):
    """``-log p[label]``: categorical cross-entropy for integer labels of shape ``y_pred.shape[:-1]`` (or ``+ (1,)``).

    Args:
        from_logits, label_smoothing, reduction, name: see :class:`CategoricalCrossentropy`.
    """

    def check_targets(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
            y_true = y_true[..., 0]
        if y_true.shape != y_pred.shape[:-1]:
            hint = "; for one-hot rows use categorical_crossentropy" if y_true.shape == y_pred.shape else ""
            raise ValueError(
                f"labels of shape {y_true.shape} do not fit predictions of shape {y_pred.shape}: "
                f"expected one label per prediction, shape {y_pred.shape[:-1]}{hint}{planes_hint(y_pred)}"
            )
        check_labels(y_true, y_pred.shape[-1])
        return y_true

    def _rows(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        one_hot = (y_true[..., None] == np.arange(y_pred.shape[-1])).astype(y_pred.dtype)
        return super()._rows(one_hot, y_pred)


def check_labels(labels: np.ndarray, classes: int) -> None:
    """Raise unless ``labels`` are integers (TypeError) in [0, classes) (ValueError)."""
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got dtype {labels.dtype}; if they are whole, use y.astype(int)")
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        hint = f": count them from 0, or give the last layer {labels.max() + 1} units" if labels.min() >= 0 else ""
        raise ValueError(f"labels must lie in [0, {classes}), got labels from {labels.min()} to {labels.max()}{hint}")


def _check_probabilities(targets: np.ndarray) -> None:
    # Written so that NaN fails it.
    if targets.size and not (targets.min() >= 0 and targets.max() <= 1):
        raise ValueError(f"targets must lie in [0, 1], got values from {targets.min()} to {targets.max()}")


def _check_smoothing(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1], got {value}")
    return float(value)
