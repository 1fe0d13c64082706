"""What the losses share: reduction, sample weights, targets that must fit the predictions."""

from typing import Any

import numpy as np

from ..checks import as_array
from ..registry import Configurable, snake_case


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
        values, cache = self.values(as_array(y_true, "y_true"), y_pred)
        return self._reduce(values, cache, sample_weight)

    def backward(self, cache: Any) -> np.ndarray:
        """Return the gradient of :meth:`forward`'s loss with respect to ``y_pred``."""
        formula_cache, scale = cache
        return self.gradient(formula_cache, scale)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Return the loss of a batch."""
        y_pred = as_array(y_pred, "y_pred")
        return self.forward(y_true, y_pred if y_pred.dtype.kind == "f" else y_pred.astype(np.float64), sample_weight)[0]

    def get_config(self) -> dict[str, Any]:
        return {"reduction": self.reduction, "name": self.name}

    def _reduce(self, values: np.ndarray, cache: Any, sample_weight: Any) -> tuple[float, Any]:
        factor = 1.0 / max(values.size, 1) if self.reduction == "sum_over_batch_size" else 1.0
        if sample_weight is None:
            return float(values.sum()) * factor, (cache, values.dtype.type(factor))
        weights = _weights_like(values, sample_weight)
        return float((values * weights).sum()) * factor, (cache, weights * values.dtype.type(factor))


class JointLoss(Configurable):
    """Base class of a loss over all outputs of a model at once, such as a detector's over boxes and classes.

    With such a loss ``y`` may hold any number of arrays, also :func:`fastconv.data.ragged` ones, and metrics get all
    targets and all outputs: ``metric(y_true, y_pred)`` with two lists.
    """

    def forward(self, y_true: list[Any], y_pred: list[np.ndarray]) -> tuple[float, Any]:
        """Return the loss of a batch and what :meth:`backward` needs.

        Args:
            y_true: the targets of the batch, arrays in the order in which they were given.
            y_pred: the outputs of the model. A third argument, if there is one, gets the sample weights.
        """
        raise NotImplementedError

    def backward(self, cache: Any) -> list[np.ndarray | None]:
        """Return the gradient of the loss for each output; None for an output that it does not depend on."""
        raise NotImplementedError


class Elementwise(Loss):
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


def float_targets(y_true: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Cast numeric targets to the predictions' dtype."""
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
    return float_targets(targets, y_pred.dtype)


def _weights_like(values: np.ndarray, sample_weight: Any) -> np.ndarray:
    """Give sample weights the dtype of the values and axes to broadcast against them: (N,), (N, 1) or per value."""
    weights = as_array(sample_weight, "sample_weight")
    if weights.dtype.kind not in "biuf":
        raise TypeError(f"sample_weight must be numbers, got dtype {weights.dtype}")
    if weights.ndim == values.ndim + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if weights.shape != values.shape[: weights.ndim] or not weights.ndim:
        raise ValueError(
            f"sample_weight of shape {weights.shape} does not fit losses of shape {values.shape}: one weight per sample"
        )
    return weights.astype(values.dtype, copy=False).reshape(weights.shape + (1,) * (values.ndim - weights.ndim))
