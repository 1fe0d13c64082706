"""What joins the branches of a network: sums and concatenation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv.checks import integer
from fastconv.ops import _checks


def add(a: Any, b: Any) -> np.ndarray:
    """``a + b`` of two arrays of one shape.

    Raises:
        ValueError: shapes that differ. TypeError: dtypes other than one of float32 and float64.
    """
    a = _checks.rows(a, "a")
    b = _checks.rows(b, "b", a)
    _checks.expect_shape(b, a.shape, "b", "the shape of a")
    y = _kernels.empty(a.shape, a.dtype)
    _kernels.add(a, b, y)
    return y


def concatenate(arrays: Sequence[Any], axis: int = -1) -> np.ndarray:
    """Arrays side by side along ``axis``; the other sizes are the same.

    Raises:
        ValueError: no arrays, an axis that they do not have, or shapes that do not fit. TypeError: dtypes other than
            one of float32 and float64, or no list of arrays.
    """
    _check_list(arrays, "arrays")
    if not len(arrays):
        raise ValueError("there is nothing to concatenate")
    first = _checks.array(arrays[0], "the first array")
    parts = [first, *(_checks.array(a, "an array", first.ndim, first) for a in arrays[1:])]
    axis = _axis(axis, first.ndim)
    before, after = first.shape[:axis], first.shape[axis + 1 :]
    for part in parts:
        if part.shape[:axis] != before or part.shape[axis + 1 :] != after:
            shapes = ", ".join(str(p.shape) for p in parts)
            raise ValueError(f"shapes must agree except along axis {axis}: {shapes}")
    y = _kernels.empty((*before, sum(part.shape[axis] for part in parts), *after), first.dtype)
    rows, start = math.prod(before), 0
    for part in parts:
        if part.size:
            _kernels.copy_rows(part, 0, y, start, rows, part.size // rows)
            start += part.size // rows
    return y


def concatenate_growing(arrays: Sequence[np.ndarray], room: int, append: bool) -> np.ndarray:
    """:func:`concatenate` along the last axis into memory with space for ``room`` channels in all.

    ``append``: the first array is what an earlier call with the same room returned, and only the others are copied,
    behind its own channels. So an array may be the first of one later call only, which is for a graph to know
    (``fastconv.graph.fusion``); DenseNet's chains of concatenations then copy every channel once.

    Raises:
        ValueError: no arrays, no room for all channels, or shapes that disagree in another axis. TypeError: no list of
            float arrays.
    """
    _check_list(arrays, "arrays")
    if not len(arrays):
        raise ValueError("there is nothing to concatenate")
    parts = [_checks.rows(part, "an array") for part in arrays]
    first, total = parts[0], sum(part.shape[-1] for part in parts)
    if total > integer(room, "room") or any(part.shape[:-1] != first.shape[:-1] for part in parts):
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ValueError(f"{room} channels have no room for arrays of shapes {shapes}, or these do not agree")
    wide = first.base
    grows = append and isinstance(wide, np.ndarray) and wide.shape == (*first.shape[:-1], room)
    if not grows:
        wide = _kernels.empty((*first.shape[:-1], room), first.dtype)
    rows, start = math.prod(first.shape[:-1]), first.shape[-1] if grows else 0
    for part in parts[1:] if grows else parts:
        part = _checks.array(part, "an array", first.ndim, first)
        if part.size:
            _kernels.copy_rows(part, 0, wide, start, rows, part.shape[-1])
            start += part.shape[-1]
    return wide[..., :total]  # type: ignore[index, no-any-return]


def concatenate_backward(dy: Any, sizes: Sequence[int], axis: int = -1) -> tuple[np.ndarray, ...]:
    """The parts of ``dy`` that belong to arrays of these ``sizes`` along ``axis``.

    Raises:
        ValueError: sizes that do not add up to dy's. TypeError: dtypes other than float32 and float64, or no list of
            integers.
    """
    dy = _checks.array(dy, "dy")
    _check_list(sizes, "sizes")
    if any(isinstance(size, bool) or not isinstance(size, int | np.integer) for size in sizes):
        raise TypeError(f"sizes must be integers, got {sizes}")
    axis = _axis(axis, dy.ndim)
    if sum(sizes) != dy.shape[axis] or min(sizes, default=0) < 0:
        raise ValueError(f"sizes {tuple(sizes)} do not add up to {dy.shape[axis]}, the size of axis {axis} of dy")
    before, after = dy.shape[:axis], dy.shape[axis + 1 :]
    parts = tuple(_kernels.empty((*before, size, *after), dy.dtype) for size in sizes)
    rows, start = math.prod(before), 0
    for part in parts:
        if part.size:
            _kernels.copy_rows(dy, start, part, 0, rows, part.size // rows)
            start += part.size // rows
    return parts


def _check_list(value: Any, name: str) -> None:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name} must be a list, got {type(value).__name__}")


def _axis(axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis {axis} does not exist in arrays of {ndim} axes")
    return axis % ndim
