"""Argument checks shared by the ops: strict about dtypes and shapes, tolerant of memory layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastconv._kernels import is_plain
from fastconv.checks import as_array

_FLOAT_TYPES = (np.dtype(np.float32), np.dtype(np.float64))


def array(value: Any, name: str, ndim: int | None = None, like: np.ndarray | None = None) -> np.ndarray:
    """Return ``value`` as a C-contiguous, aligned, native float32 or float64 array, copying only where needed.

    Raises TypeError for any other dtype (an op never casts silently) or one that differs from ``like``'s, ValueError
    for another number of axes than ``ndim``.
    """
    plain = is_plain(value)  # the common case, and the fast one
    if not plain:
        value = _float_array(value, name)
    if like is not None and value.dtype is not like.dtype and value.dtype != like.dtype:
        raise TypeError(f"{name} is {value.dtype} but the first array is {like.dtype}: pass both in one dtype")
    if ndim is not None and value.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, got shape {value.shape}")
    if not (plain or (value.flags.c_contiguous and value.flags.aligned)):
        value = np.array(value, order="C")
    return value


def rows(value: Any, name: str, like: np.ndarray | None = None) -> np.ndarray:
    """Likewise (..., C), but the rows of C values may lie apart, as the first channels of a wider array do."""
    if type(value) is np.ndarray and value.dtype in _FLOAT_TYPES and value.dtype.isnative and _is_rows(value):
        if like is not None and value.dtype != like.dtype:
            raise TypeError(f"{name} is {value.dtype} but the first array is {like.dtype}: pass both in one dtype")
        return value
    return array(value, name, None, like)


def _is_rows(value: np.ndarray) -> bool:
    """Whether all axes but the last are one, whose steps are at least a row long."""
    size = value.itemsize
    if value.ndim < 2 or 0 in value.shape or not value.flags.aligned or value.strides[-1] != size:
        return False
    steps = [(n, step) for n, step in zip(value.shape[:-1], value.strides[:-1], strict=True) if n > 1]
    if not steps:
        return True
    pitch = steps[-1][1]
    if pitch < value.shape[-1] * size or pitch % size:
        return False
    return all(step == n * inner for (_, step), (n, inner) in pairwise(steps))


def _float_array(value: Any, name: str) -> np.ndarray:
    """``value`` as an array of a native float type in any memory layout."""
    if type(value) is not np.ndarray:
        value = as_array(value, name)
    dtype = value.dtype
    if dtype not in _FLOAT_TYPES:
        native = dtype.newbyteorder("=")
        if native not in _FLOAT_TYPES:
            raise TypeError(_dtype_message(name, dtype))
        value = value.astype(native)
    return value


def converted(value: np.ndarray, dtype: Any) -> np.ndarray:
    """``value`` as a C-contiguous, aligned array of ``dtype`` (indices, labels), copying only where needed."""
    if value.dtype == dtype and value.flags.c_contiguous and value.flags.aligned:
        return value
    return np.require(value, dtype, ["C", "A"])


def _dtype_message(name: str, dtype: np.dtype) -> str:
    if dtype.kind in "iub":
        return f"{name} is {dtype}: convert it first, e.g. {name}.astype(np.float32)"
    return f"{name} must be float32 or float64, got {dtype}"


def image(value: Any, name: str, like: np.ndarray | None = None) -> np.ndarray:
    """An array (N, H, W, C); only N may be 0."""
    value = array(value, name, 4, like)
    if 0 in value.shape[1:]:
        raise ValueError(f"{name} has shape {value.shape}: height, width and channels must be at least 1")
    return value


def expect_shape(value: np.ndarray, shape: Sequence[int], name: str, why: str) -> None:
    """ValueError unless ``value`` has ``shape``; ``why`` says where that shape comes from."""
    if value.shape != tuple(shape):
        raise ValueError(f"{name} has shape {value.shape}, expected {tuple(shape)} ({why})")


def vector(value: Any, length: int, name: str, like: np.ndarray) -> np.ndarray | None:
    """An optional array (length,)."""
    if value is None:
        return None
    value = array(value, name, None, like)
    expect_shape(value, (length,), name, "one value a channel")
    return value


def fraction(value: Any, name: str) -> float:
    """A float in [0, 1)."""
    number = real(value, name)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value}")
    return number


def real(value: Any, name: str) -> float:
    """A finite float; TypeError for a bool or anything that is no number."""
    if isinstance(value, bool | str | bytes) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return number


def positive(value: Any, name: str) -> float:
    """A float > 0."""
    number = real(value, name)
    if number <= 0:
        raise ValueError(f"{name} must be above 0, got {number}")
    return number
