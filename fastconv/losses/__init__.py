"""What training minimises: Keras' losses by Keras' names, each with its derivative.

A loss is an object with

    ``forward(y_true, y_pred) -> (loss, cache)``    the loss, a float, and what backward needs
    ``backward(cache) -> dy``                       its gradient with respect to ``y_pred``

Write your own as a class with these two methods; one that shall accept sample weights takes a third argument,
``forward(y_true, y_pred, sample_weight=None)``. :class:`Loss` is a base that leaves only the formula to write;
:class:`JointLoss` one for a loss that gets all outputs of a model at once.
"""

from typing import Any

from ..errors import suggest_names
from ..registry import by_name, resolve, serialize
from .base import JointLoss, Loss
from .cross_entropy import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy, check_labels
from .regression import Huber, MeanAbsoluteError, MeanSquaredError

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Huber",
    "JointLoss",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "check_labels",
    "get",
    "serialize",
]
suggest_names(__name__)

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
