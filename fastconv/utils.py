"""Small helpers: one-hot labels, seeds, memory layouts."""

from typing import Any

import numpy as np

from .checks import as_array
from .errors import suggest_names
from .ops import hwio_to_oihw, nchw_to_nhwc, nhwc_to_nchw, oihw_to_hwio
from .random import set_random_seed
from .registry import custom_object_scope

__all__ = [
    "custom_object_scope",
    "hwio_to_oihw",
    "nchw_to_nhwc",
    "nhwc_to_nchw",
    "oihw_to_hwio",
    "set_random_seed",
    "to_categorical",
]
suggest_names(__name__)


def to_categorical(labels: Any, num_classes: int | None = None, dtype: Any = "float32") -> np.ndarray:
    """Turn integer labels into one-hot rows.

    Args:
        labels: integers of any shape, 0 <= label < num_classes; a last axis of size 1 is dropped, as in Keras.
        num_classes: length of a row; by default the largest label + 1.
        dtype: of the result.

    Returns:
        Array of shape ``labels.shape + (num_classes,)``.

    Raises:
        TypeError: the labels are not integers.
        ValueError: a label is negative or not below ``num_classes``.

    >>> to_categorical([0, 2], num_classes=3)
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    labels = as_array(labels, "labels")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got dtype {labels.dtype}; labels.astype(int) if they are whole")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    lowest, highest = (int(labels.min()), int(labels.max())) if labels.size else (0, -1)
    if num_classes is None:
        num_classes = highest + 1
    if lowest < 0 or highest >= num_classes:
        raise ValueError(f"labels must lie in [0, {num_classes}), got labels from {lowest} to {highest}")
    one_hot = np.zeros((labels.size, num_classes), dtype)
    one_hot[np.arange(labels.size), labels.reshape(-1)] = 1
    return one_hot.reshape(*labels.shape, num_classes)
