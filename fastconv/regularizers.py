"""Penalties on weights, added to the training loss and to the weights' gradients: L1, L2 and both.

A regularizer is any object with ``loss(weights) -> float`` and ``gradient(weights) -> array``.
"""

import math
from typing import Any

import numpy as np

from .errors import suggest_names
from .registry import Configurable, by_name, resolve, serialize

__all__ = ["L1", "L1L2", "L2", "Regularizer", "get", "serialize"]
suggest_names(__name__)


class Regularizer(Configurable):
    """Base class: a penalty and its derivative."""

    def loss(self, weights: np.ndarray) -> float:
        """Return the penalty, a number to add to the loss."""
        raise NotImplementedError

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """Return the derivative of :meth:`loss`, of the shape and dtype of ``weights``."""
        raise NotImplementedError


class L1L2(Regularizer):
    """``l1 * sum(|w|) + l2 * sum(w ** 2)``."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1, self.l2 = _factor(l1, "l1"), _factor(l2, "l2")

    def loss(self, weights: np.ndarray) -> float:
        penalty = 0.0
        if self.l1:
            penalty += self.l1 * float(np.abs(weights).sum())
        if self.l2:
            penalty += self.l2 * float(np.square(weights).sum())
        return penalty

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        gradient = (2 * self.l2) * weights
        if self.l1:
            gradient += self.l1 * np.sign(weights)
        return gradient

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


class L1(L1L2):
    """``l1 * sum(|w|)``: drives weights to exactly zero."""

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


class L2(L1L2):
    """``l2 * sum(w ** 2)``: keeps weights small. (No factor 1/2, as in Keras.)"""

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


def _factor(value: float, name: str) -> float:
    if not value >= 0 or math.isinf(value):
        raise ValueError(f"{name} must be a finite number >= 0, got {value}")
    return float(value)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """Return an :class:`L1L2` with both factors 0.01 by default (Keras' ``"l1_l2"``)."""
    return L1L2(l1, l2)


_TABLE: dict[str, Any] = by_name(L1, L2, L1L2)


def get(identifier: Any) -> Any | None:
    """Return a regularizer, or None for None.

    Args:
        identifier: ``"l1"``, ``"l2"``, ``"l1_l2"``, a description from :func:`serialize`, or an object with
            ``loss`` and ``gradient``.

    Raises:
        ValueError: an unknown name. TypeError: an object without these methods.
    """
    if identifier is None:
        return None
    regularizer = l1_l2() if identifier == "l1_l2" else resolve(identifier, _TABLE, "regularizer")
    if not (callable(getattr(regularizer, "loss", None)) and callable(getattr(regularizer, "gradient", None))):
        raise TypeError(f"a regularizer has methods loss(weights) and gradient(weights), got {regularizer!r}")
    return regularizer
