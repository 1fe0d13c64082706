"""What training minimises: Keras' losses by Keras' names, each with its derivative.

A loss is an object with

    ``forward(y_true, y_pred) -> (loss, cache)``    the loss, a float, and what backward needs
    ``backward(cache) -> dy``                       its gradient with respect to ``y_pred``

Write your own as a class with these two methods; one that shall accept sample weights takes a third argument,
``forward(y_true, y_pred, sample_weight=None)``. :class:`Loss` is a base that leaves only the formula to write.
"""

from typing import Any, ClassVar

import numpy as np

from . import ops
from .registry import Configurable, by_name, resolve, serialize, snake_case

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "get",
    "serialize",
]

# Probabilities are kept this far from 0 and 1 before a logarithm is taken, as in Keras.
EPSILON = 1e-7


class Loss(Configurable):
    """Base class: reduction and sample weights around a formula per sample.

    Subclasses write :meth:`values` and :meth:`gradient`. The values are summed, each times its sample weight, and
    with ``reduction="sum_over_batch_size"`` divided by their **number** (not by the sum of the weights), as in Keras.

    Args:
        reduction: ``"sum_over_batch_size"`` or ``"sum"``.
        name: what the loss is called in logs; by default the class name in snake case.
    """

    def __init__(self, reduction: str = "sum_over_batch_size", name: str | None = None) -> None:
        if reduction not in ("sum_over_batch_size", "sum"):
            raise ValueError(f"reduction must be 'sum_over_batch_size' or 'sum', got {reduction!r}")
        self.reduction = reduction
        self.name = name or snake_case(type(self).__name__)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        """Return the losses of the samples, (N, ...), and what :meth:`gradient` needs."""
        raise NotImplementedError

    def gradient(self, cache: Any, scale: np.ndarray) -> np.ndarray:
        """Return ``d(sum(scale * values)) / dy_pred``; ``scale`` broadcasts against ``values``."""
        raise NotImplementedError

    def forward(self, y_true: Any, y_pred: np.ndarray, sample_weight: Any = None) -> tuple[float, Any]:
        """Return the loss of a batch and the cache for :meth:`backward`.

        Args:
            y_true: targets.
            y_pred: the model's output, (N, ...).
            sample_weight: one weight per sample (N,), or per value; None weighs all alike.

        Raises:
            ValueError: shapes that do not fit, labels out of range or NaN. TypeError: labels that are not integers.
        """
        values, cache = self.values(np.asarray(y_true), y_pred)
        return self._reduce(values, cache, sample_weight)

    def backward(self, cache: Any) -> np.ndarray:
        """Return the gradient of :meth:`forward`'s loss with respect to ``y_pred``."""
        formula_cache, scale = cache
        return self.gradient(formula_cache, scale)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Return the loss of a batch."""
        y_pred = np.asarray(y_pred)
        return self.forward(y_true, y_pred if y_pred.dtype.kind == "f" else y_pred.astype(np.float64), sample_weight)[0]

    def get_config(self) -> dict[str, Any]:
        return {"reduction": self.reduction, "name": self.name}

    def _reduce(self, values: np.ndarray, cache: Any, sample_weight: Any) -> tuple[float, Any]:
        factor = 1.0 / max(values.size, 1) if self.reduction == "sum_over_batch_size" else 1.0
        if sample_weight is None:
            return float(values.sum()) * factor, (cache, values.dtype.type(factor))
        weights = _weights_like(values, sample_weight)
        return float((values * weights).sum()) * factor, (cache, weights * values.dtype.type(factor))


class _Elementwise(Loss):
    """A formula per element, averaged over the last axis; targets have the predictions' shape."""

    def elements(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        """Return the loss per element and what :meth:`element_gradient` needs."""
        raise NotImplementedError

    def element_gradient(self, cache: Any) -> np.ndarray:
        """Return the derivative of every element with respect to its prediction."""
        raise NotImplementedError

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        elements, cache = self.elements(_targets_like(y_true, y_pred), y_pred)
        return elements.mean(axis=-1), (cache, y_pred.shape[-1])

    def gradient(self, cache: Any, scale: np.ndarray) -> np.ndarray:
        element_cache, size = cache
        return self.element_gradient(element_cache) * (np.asarray(scale)[..., None] / size)


class MeanSquaredError(_Elementwise):
    """Mean over the last axis of ``(y_pred - y_true) ** 2``. Names: ``"mean_squared_error"``, ``"mse"``."""

    def elements(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        error = y_pred - y_true
        return np.square(error), error

    def element_gradient(self, cache: Any) -> np.ndarray:
        return 2 * cache


class MeanAbsoluteError(_Elementwise):
    """Mean over the last axis of ``|y_pred - y_true|``. Names: ``"mean_absolute_error"``, ``"mae"``."""

    def elements(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        error = y_pred - y_true
        return np.abs(error), error

    def element_gradient(self, cache: Any) -> np.ndarray:
        return np.sign(cache)


class Huber(_Elementwise):
    """Squared (times 1/2) for errors up to ``delta``, linear beyond (Huber, 1964).

    Args:
        delta: positive; where the parabola turns into its tangent.
        reduction, name: see :class:`Loss`.
    """

    def __init__(
        self, delta: float = 1.0, reduction: str = "sum_over_batch_size", name: str | None = None
    ) -> None:
        super().__init__(reduction, name)
        if not delta > 0:
            raise ValueError(f"delta must be positive, got {delta}")
        self.delta = float(delta)

    def elements(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        error = y_pred - y_true
        clipped = np.clip(error, -self.delta, self.delta)
        # delta * |e| - delta**2 / 2 beyond delta, e**2 / 2 within: one expression for both.
        return clipped * (error - 0.5 * clipped), clipped

    def element_gradient(self, cache: Any) -> np.ndarray:
        return cache

    def get_config(self) -> dict[str, Any]:
        return {"delta": self.delta, **super().get_config()}


class BinaryCrossentropy(_Elementwise):
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
                f"categorical cross-entropy needs one row per prediction{hint}"
            )
        y_true = _float_targets(y_true, y_pred.dtype)
        _check_probabilities(y_true)
        return y_true

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        y_true = self.check_targets(y_true, y_pred)
        if self.from_logits:
            losses, probabilities = ops.softmax_cross_entropy(y_pred, y_true, self.label_smoothing)
            return losses, (y_true, probabilities)
        rows = self._rows(y_true, y_pred)
        total = y_pred.sum(axis=-1, keepdims=True)
        normalized = y_pred / total
        clipped = np.clip(normalized, EPSILON, 1 - EPSILON)
        return -(rows * np.log(clipped)).sum(axis=-1), (rows, normalized, clipped, total)

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
        targets = self.check_targets(np.asarray(y_true), logits)
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
                f"expected one label per prediction, shape {y_pred.shape[:-1]}{hint}"
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
    if labels.size and not (0 <= labels.min() and labels.max() < classes):
        raise ValueError(f"labels must lie in [0, {classes}), got labels from {labels.min()} to {labels.max()}")


def _check_probabilities(targets: np.ndarray) -> None:
    # Written so that NaN fails it.
    if targets.size and not (targets.min() >= 0 and targets.max() <= 1):
        raise ValueError(f"targets must lie in [0, 1], got values from {targets.min()} to {targets.max()}")


def _check_smoothing(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"label_smoothing must lie in [0, 1], got {value}")
    return float(value)


def _float_targets(y_true: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if y_true.dtype.kind not in "biuf":
        raise TypeError(f"targets must be numbers, got dtype {y_true.dtype}")
    return y_true.astype(dtype, copy=False)


def _targets_like(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Give targets the predictions' shape and dtype. Only a last axis of size 1 may be missing or too many."""
    targets = y_true
    if targets.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
        targets = targets[..., None]
    elif targets.ndim == y_pred.ndim + 1 and targets.shape[-1] == 1:
        targets = targets[..., 0]
    if targets.shape != y_pred.shape:
        raise ValueError(f"targets of shape {y_true.shape} do not fit predictions of shape {y_pred.shape}")
    return _float_targets(targets, y_pred.dtype)


def _weights_like(values: np.ndarray, sample_weight: Any) -> np.ndarray:
    """Give sample weights the dtype of the values and axes to broadcast against them: (N,), (N, 1) or per value."""
    weights = np.asarray(sample_weight)
    if weights.dtype.kind not in "biuf":
        raise TypeError(f"sample_weight must be numbers, got dtype {weights.dtype}")
    if weights.ndim == values.ndim + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if weights.shape != values.shape[: weights.ndim] or not weights.ndim:
        raise ValueError(
            f"sample_weight of shape {weights.shape} does not fit losses of shape {values.shape}: one weight per sample"
        )
    return weights.astype(values.dtype, copy=False).reshape(weights.shape + (1,) * (values.ndim - weights.ndim))


_TABLE = by_name(
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)
_TABLE.update(mse=MeanSquaredError, MSE=MeanSquaredError, mae=MeanAbsoluteError, MAE=MeanAbsoluteError)


def get(identifier: Any) -> Any:
    """Return a loss.

    Args:
        identifier: Keras' name (``"sparse_categorical_crossentropy"``, ``"mse"``, ...), a description from
            :func:`serialize`, or an object with ``forward`` and ``backward``.

    Raises:
        ValueError: an unknown name. TypeError: not a loss; a function has no derivative and cannot be one.
    """
    loss = resolve(identifier, _TABLE, "loss")
    if not (callable(getattr(loss, "forward", None)) and callable(getattr(loss, "backward", None))):
        raise TypeError(
            "a loss is a name or an object with forward(y_true, y_pred) -> (loss, cache) and backward(cache) -> dy, "
            f"got {loss!r}"
        )
    return loss
