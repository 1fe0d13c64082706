"""What joins the branches of a network: sums and concatenation."""

from collections.abc import Sequence

import numpy as np

from fastconv.reference.geometry import Array


def add(a: Array, b: Array) -> Array:
    """``a + b`` of two arrays of one shape."""
    return a + b


def concatenate(arrays: Sequence[Array], axis: int = -1) -> Array:
    """Arrays side by side along ``axis``."""
    return np.concatenate(arrays, axis)


def concatenate_backward(dy: Array, sizes: Sequence[int], axis: int = -1) -> tuple[Array, ...]:
    """The parts of ``dy`` that belong to arrays of these ``sizes`` along ``axis``."""
    return tuple(np.split(dy, np.cumsum(sizes)[:-1], axis))
