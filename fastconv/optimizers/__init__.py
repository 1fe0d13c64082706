"""How weights follow their gradients: Keras' optimizers by Keras' names, defaults and formulas."""

from typing import Any

from ..errors import suggest_names
from ..registry import by_name, resolve, serialize
from . import schedules
from .algorithms import SGD, Adagrad, Adam, AdamW, RMSprop
from .base import Optimizer

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "get", "schedules", "serialize"]
suggest_names(__name__)

_TABLE = by_name(SGD, RMSprop, Adam, AdamW, Adagrad)


def get(identifier: Any) -> Optimizer:
    """Return an optimizer.

    Args:
        identifier: ``"sgd"``, ``"rmsprop"``, ``"adam"``, ``"adamw"``, ``"adagrad"`` (each with its defaults), a
            description from :func:`serialize`, or an optimizer.

    Raises:
        ValueError: an unknown name. TypeError: not an optimizer.
    """
    optimizer = resolve(identifier, _TABLE, "optimizer")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a name or an Optimizer, got {optimizer!r}")
    return optimizer
