"""Shape arithmetic of sliding windows, and the views that the other files of this package compute with.

One dimension at a time: a window of ``kernel`` taps, ``dilation`` apart, covers ``(kernel - 1) * dilation + 1``
elements. It starts at ``0, stride, 2 * stride, ...`` of the padded input, as long as it fits:
``output = floor((size + before + after - covered) / stride) + 1``.

This file is independent of ``fastconv.ops`` on purpose, so that the two can be held against each other.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Pair: TypeAlias = tuple[int, int]
#: ``((top, bottom), (left, right))``
Padding: TypeAlias = tuple[Pair, Pair]
#: What a user may write for a kernel size, a stride, ...: one int for both axes or (height, width).
IntOrPair: TypeAlias = int | Sequence[int]
#: What a user may write for a padding.
PaddingLike: TypeAlias = str | int | Sequence[int] | Sequence[Sequence[int]]


def pair(value: IntOrPair) -> Pair:
    """``3 -> (3, 3)``; ``(3, 5) -> (3, 5)``."""
    if isinstance(value, (int, np.integer)):
        return int(value), int(value)
    height, width = value
    return int(height), int(width)


def explicit_padding(padding: Any) -> Padding:
    """``1``, ``(1, 2)`` or ``((1, 1), (2, 2))`` as ``((top, bottom), (left, right))``."""
    if isinstance(padding, (int, np.integer)):
        padding = (padding, padding)
    vertical, horizontal = padding
    return pair(vertical), pair(horizontal)


def covered(kernel: Pair, dilation: Pair) -> Pair:
    """How many elements a dilated kernel covers: ``(k - 1) * d + 1`` on each axis."""
    return (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1


def resolve_padding(padding: PaddingLike, size: Pair, window: Pair, strides: Pair) -> Padding:
    """Turn any padding a user may write into ``((top, bottom), (left, right))``.

    ``"same"`` is TensorFlow's rule: just enough for ``ceil(size / stride)`` outputs, the odd one at the bottom and
    right. ``window`` is the covered (dilated) size of the kernel.
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, window, strides, strict=True)]
        return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)
    return explicit_padding(padding)


def output_size(size: Pair, window: Pair, strides: Pair, padding: Padding, ceil_mode: bool = False) -> Pair:
    """How many windows fit on each axis.

    With ``ceil_mode`` a last window may hang over the end of the padded input, unless it would start in the right
    (bottom) padding or beyond: such a window would see no input at all.
    """
    result = []
    for n, k, s, (before, after) in zip(size, window, strides, padding, strict=True):
        room = n + before + after - k
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + before:
            count -= 1
        result.append(count)
    return result[0], result[1]


def pad(x: Array, padding: Padding, value: float = 0.0) -> Array:
    """Pad height and width of ``x`` (N, H, W, C) with a constant."""
    return np.pad(x, ((0, 0), padding[0], padding[1], (0, 0)), constant_values=value)


def tap_slices(tap: Pair, dilation: Pair, strides: Pair, outputs: Pair) -> tuple[slice, slice]:
    """The pixels of the padded input that tap (i, j) of the window meets, one for each of the ``outputs``."""
    top, left = tap[0] * dilation[0], tap[1] * dilation[1]
    return (
        slice(top, top + (outputs[0] - 1) * strides[0] + 1, strides[0]),
        slice(left, left + (outputs[1] - 1) * strides[1] + 1, strides[1]),
    )
