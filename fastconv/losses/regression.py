"""Losses for targets that are numbers."""

from typing import Any

import numpy as np

from .base import Elementwise


class MeanSquaredError(Elementwise):
    """Mean over the last axis of ``(y_pred - y_true) ** 2``. Names: ``"mean_squared_error"``, ``"mse"``."""

    def elements(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        error = y_pred - y_true
        return np.square(error), error

    def element_gradient(self, cache: Any) -> np.ndarray:
        return 2 * cache


class MeanAbsoluteError(Elementwise):
    """Mean over the last axis of ``|y_pred - y_true|``. Names: ``"mean_absolute_error"``, ``"mae"``."""

    def elements(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Any]:
        error = y_pred - y_true
        return np.abs(error), error

    def element_gradient(self, cache: Any) -> np.ndarray:
        return np.sign(cache)


class Huber(Elementwise):
    """Squared (times 1/2) for errors up to ``delta``, linear beyond (Huber, 1964).

    Args:
        delta: positive; where the parabola turns into its tangent.
        reduction, name: see :class:`Loss`.
    """

    def __init__(self, delta: float = 1.0, reduction: str = "sum_over_batch_size", name: str | None = None) -> None:
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
