"""Pooling of NHWC images: the maximum or the mean of every window, and their gradients.

Windows are those of :mod:`fastconv.reference.geometry`; ``strides=None`` means the pool size (no overlap). Y. LeCun
et al. (1998) for subsampling, M. Ranzato et al. (CVPR 2007) for the maximum, M. Zeiler, R. Fergus (ECCV 2014) for
unpooling, M. Lin et al. (ICLR 2014) for global pooling.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from fastconv.reference.geometry import (
    Array,
    IntOrPair,
    Padding,
    PaddingLike,
    Pair,
    output_size,
    pair,
    resolve_padding,
    tap_slices,
)


def _windows(
    size: Pair, pool_size: IntOrPair, strides: IntOrPair | None, padding: PaddingLike, ceil_mode: bool
) -> tuple[Pair, Pair, Padding, Pair]:
    """Pool size, strides, padding and output size, all resolved."""
    pool = pair(pool_size)
    stride = pool if strides is None else pair(strides)
    pads = resolve_padding(padding, size, pool, stride)
    outputs = output_size(size, pool, stride, pads, ceil_mode)
    return pool, stride, pads, outputs


def _canvas(size: Pair, pool: Pair, stride: Pair, pads: Padding, outputs: Pair) -> Padding:
    """Padding that holds every window whole: ``pads``, more at the end where a ``ceil_mode`` window hangs over."""
    needed = [(o - 1) * s + k for o, s, k in zip(outputs, stride, pool, strict=True)]
    (top, bottom), (left, right) = pads
    return (
        (top, max(bottom, needed[0] - size[0] - top)),
        (left, max(right, needed[1] - size[1] - left)),
    )


def max_pool2d(
    x: Array,
    pool_size: IntOrPair,
    strides: IntOrPair | None = None,
    padding: PaddingLike = "valid",
    ceil_mode: bool = False,
    return_argmax: bool = True,
) -> tuple[Array, Any]:
    """Maximum of every window of ``x`` (N, H, W, C): ``y`` and ``argmax``, both (N, OH, OW, C).

    ``argmax`` is the flat index ``h * W + w`` of the winner in its input plane, int32 (int64 where a plane is
    larger), or None without ``return_argmax``. Ties go to the first in row-major order, padding never wins, and the
    first NaN wins over everything.
    """
    n, h, w, c = x.shape
    pool, stride, pads, (oh, ow) = _windows((h, w), pool_size, strides, padding, ceil_mode)
    margins = ((0, 0), *_canvas((h, w), pool, stride, pads, (oh, ow)))
    padded = np.pad(x, (*margins, (0, 0)))
    index_type = np.int32 if h * w <= np.iinfo(np.int32).max else np.int64
    positions = np.arange(h * w, dtype=index_type).reshape(1, h, w, 1)
    positions = np.pad(positions, (*margins, (0, 0)), constant_values=-1)  # -1: padding
    y = np.full((n, oh, ow, c), -np.inf, x.dtype)
    argmax = np.full((n, oh, ow, c), -1, index_type)
    for i, j in product(range(pool[0]), range(pool[1])):
        rows, columns = tap_slices((i, j), (1, 1), stride, (oh, ow))
        value, position = padded[:, rows, columns], positions[:, rows, columns]
        wins = (position >= 0) & ((argmax < 0) | (value > y) | (np.isnan(value) & ~np.isnan(y)))
        y = np.where(wins, value, y)
        argmax = np.where(wins, position, argmax)
    return y, (argmax if return_argmax else None)


def max_pool2d_backward(
    dy: Array,
    argmax: Array,
    input_shape: Sequence[int],
    pool_size: IntOrPair | None = None,
    strides: IntOrPair | None = None,
    padding: PaddingLike = "valid",
    ceil_mode: bool = False,
) -> Array:
    """``dx`` of ``input_shape``: every winner receives its ``dy``; winners of several windows receive the sum.

    The geometry of the windows, which only makes a kernel faster, changes nothing.
    """
    n, h, w, c = input_shape
    dx = np.zeros((n, h * w, c), dy.dtype)
    image, channel = np.ogrid[:n, :c]
    for p, q in product(range(dy.shape[1]), range(dy.shape[2])):
        dx[image, argmax[:, p, q], channel] += dy[:, p, q]  # one winner per image and channel: no index repeats
    return dx.reshape(n, h, w, c)


def _divisors(size: Pair, pool: Pair, stride: Pair, pads: Padding, outputs: Pair, count_include_pad: bool) -> Array:
    """How many elements the mean of each window is over: (1, OH, OW, 1)."""
    counts = []
    for n, k, s, (before, after), o in zip(size, pool, stride, pads, outputs, strict=True):
        low, high = (-before, n + after) if count_include_pad else (0, n)
        start = np.arange(o) * s - before
        counts.append(np.minimum(start + k, high) - np.maximum(start, low))
    return (counts[0][:, None] * counts[1][None, :])[None, :, :, None]


def avg_pool2d(
    x: Array,
    pool_size: IntOrPair,
    strides: IntOrPair | None = None,
    padding: PaddingLike = "valid",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Array:
    """Mean of every window of ``x`` (N, H, W, C): (N, OH, OW, C).

    The sum is divided by the number of elements of the window that lie in the input or, with ``count_include_pad``,
    in the input and its padding (what hangs over the end in ``ceil_mode`` counts in neither: PyTorch's rule).
    """
    n, h, w, c = x.shape
    pool, stride, pads, outputs = _windows((h, w), pool_size, strides, padding, ceil_mode)
    padded = np.pad(x, ((0, 0), *_canvas((h, w), pool, stride, pads, outputs), (0, 0)))
    total = np.zeros((n, *outputs, c), x.dtype)
    for i, j in product(range(pool[0]), range(pool[1])):
        total += padded[:, *tap_slices((i, j), (1, 1), stride, outputs)]
    return total / _divisors((h, w), pool, stride, pads, outputs, count_include_pad).astype(x.dtype)


def avg_pool2d_backward(
    dy: Array,
    input_shape: Sequence[int],
    pool_size: IntOrPair,
    strides: IntOrPair | None = None,
    padding: PaddingLike = "valid",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Array:
    """``dx`` of ``input_shape``: every element of a window receives ``dy`` / (what forward divided by)."""
    n, h, w, c = input_shape
    pool, stride, pads, outputs = _windows((h, w), pool_size, strides, padding, ceil_mode)
    (top, bottom), (left, right) = _canvas((h, w), pool, stride, pads, outputs)
    share = dy / _divisors((h, w), pool, stride, pads, outputs, count_include_pad).astype(dy.dtype)
    padded = np.zeros((n, top + h + bottom, left + w + right, c), dy.dtype)
    for i, j in product(range(pool[0]), range(pool[1])):
        padded[:, *tap_slices((i, j), (1, 1), stride, outputs)] += share
    return padded[:, top : top + h, left : left + w].copy()


def global_max_pool2d(x: Array) -> tuple[Array, Array]:
    """Maximum of every plane of ``x`` (N, H, W, C): ``y`` and ``argmax`` (flat ``h * W + w``), both (N, C)."""
    y, argmax = max_pool2d(x, x.shape[1:3])
    return y[:, 0, 0], argmax[:, 0, 0]


def global_max_pool2d_backward(dy: Array, argmax: Array, input_shape: Sequence[int]) -> Array:
    """``dx`` of ``input_shape`` from ``dy`` (N, C): every plane's winner receives its ``dy``."""
    return max_pool2d_backward(dy[:, None, None], argmax[:, None, None], input_shape)


def global_avg_pool2d(x: Array) -> Array:
    """Mean of every plane of ``x`` (N, H, W, C): (N, C)."""
    return x.mean(axis=(1, 2))


def global_avg_pool2d_backward(dy: Array, input_shape: Sequence[int]) -> Array:
    """``dx`` of ``input_shape`` from ``dy`` (N, C): every pixel receives ``dy / (H * W)``."""
    n, h, w, c = input_shape
    return np.broadcast_to(dy[:, None, None] / dy.dtype.type(h * w), (n, h, w, c)).copy()


def max_unpool2d(x: Array, argmax: Array, output_shape: Sequence[int]) -> Array:
    """Put ``x`` (N, OH, OW, C) back where ``argmax`` of the pooling says; the rest of ``output_shape`` is 0.

    ``output_shape`` is (N, H, W, C). Where an index repeats, the last in row-major order of ``x`` wins.

    Raises:
        IndexError: an index lies outside ``[0, H * W)``.
    """
    n, h, w, c = output_shape
    if argmax.size and not 0 <= argmax.min() <= argmax.max() < h * w:
        raise IndexError(f"argmax must lie in [0, {h * w}) for a plane of {h} x {w}")
    y = np.zeros((n, h * w, c), x.dtype)
    image, channel = np.ogrid[:n, :c]
    for p, q in product(range(x.shape[1]), range(x.shape[2])):
        y[image, argmax[:, p, q], channel] = x[:, p, q]
    return y.reshape(n, h, w, c)


def max_unpool2d_backward(dy: Array, argmax: Array) -> Array:
    """``dx`` of argmax's shape: every element reads ``dy`` where it was put (also one that was overwritten)."""
    n, h, w, c = dy.shape
    oh, ow = argmax.shape[1:3]
    planes = dy.reshape(n, h * w, c)
    return np.take_along_axis(planes, argmax.reshape(n, oh * ow, c), axis=1).reshape(n, oh, ow, c)
