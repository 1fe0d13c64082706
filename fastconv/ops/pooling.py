"""Pooling of NHWC images: maximum and mean of every window, global pooling, unpooling, and their gradients.

``pool_size`` and ``strides``: int or (h, w), ``strides=None`` is the pool size. ``padding``: "valid", "same", int,
(h, w) or ((top, bottom), (left, right)), at most half the pool. ``ceil_mode`` rounds the output size up, but drops a
window that starts in the bottom or right padding.

Every function raises TypeError for dtypes other than one of float32 and float64, and for a geometry that is not made of
integers; ValueError for shapes or a geometry that do not fit (the message shows the arithmetic); OverflowError for
sizes beyond 2**31 - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv.checks import INT_MAX, as_array
from fastconv.ops import _checks
from fastconv.ops.geometry import PaddingLike, PairLike, pool2d_geometry, pool_size_out, shape4

Geometry = tuple[int, int, int, int, int, int, int, int]


def _plan(
    size: Sequence[int], pool_size: PairLike, strides: PairLike | None, padding: PaddingLike, ceil_mode: bool
) -> tuple[Geometry, int, int]:
    """The binding's geometry, and the output's height and width."""
    pool, stride, pads = pool2d_geometry(size, pool_size, strides, padding)
    oh = pool_size_out(size[0], pool[0], stride[0], *pads[0], ceil_mode, "height")
    ow = pool_size_out(size[1], pool[1], stride[1], *pads[1], ceil_mode, "width")
    if pool[0] * pool[1] > INT_MAX:
        raise OverflowError(f"a pool of {pool[0]} x {pool[1]} has more than 2**31 - 1 elements")
    return (*pool, *stride, *pads[0], *pads[1]), oh, ow


def max_pool2d(
    x: Any,
    pool_size: PairLike,
    strides: PairLike | None = None,
    padding: PaddingLike = "valid",
    ceil_mode: bool = False,
    return_argmax: bool = True,
) -> tuple[np.ndarray, Any]:
    """Maximum of every window of ``x`` (N, H, W, C): ``y`` and ``argmax``, both (N, OH, OW, C).

    ``argmax`` (int32) is the flat index ``h * W + w`` of the winner in its input plane, or None without
    ``return_argmax``, which saves time where no gradient is wanted. Ties go to the first in row-major order, padding
    never wins, the first NaN wins over everything. M. Ranzato et al. (CVPR 2007).
    """
    x = _checks.image(x, "x")
    n, h, w, c = x.shape
    geometry, oh, ow = _plan((h, w), pool_size, strides, padding, ceil_mode)
    if return_argmax:
        _check_plane(h, w)
    y = _kernels.empty((n, oh, ow, c), x.dtype)
    argmax = _kernels.empty(y.shape, np.int32) if return_argmax else None
    _kernels.max_pool2d(geometry, x, y, argmax)
    return y, argmax


def max_pool2d_backward(
    dy: Any,
    argmax: Any,
    input_shape: Sequence[int],
    pool_size: PairLike | None = None,
    strides: PairLike | None = None,
    padding: PaddingLike = "valid",
    ceil_mode: bool = False,
) -> np.ndarray:
    """``dx`` of ``input_shape`` (N, H, W, C): every winner receives its ``dy``, of several windows the sum.

    With the geometry that :func:`max_pool2d` was given it is faster.

    Raises:
        IndexError: an index outside [0, H * W); or outside its window, where the kernel goes by windows.
    """
    dy = _checks.image(dy, "dy")
    n, h, w, c = shape4(input_shape, "input_shape")
    argmax = _indices(argmax, dy.shape, "dy", h, w)
    _check_images(dy, "dy", n, c, "input_shape")
    if pool_size is None:
        dx = _kernels.empty((n, h, w, c), dy.dtype)
        _indexed(_kernels.max_pool2d_backward, dy, argmax, dx, h, w)
        return dx
    windows, oh, ow = _plan((h, w), pool_size, strides, padding, ceil_mode)
    _checks.expect_shape(dy, (n, oh, ow, c), "dy", f"the output of an input {(n, h, w, c)}")
    dx = _kernels.empty((n, h, w, c), dy.dtype)
    try:
        _kernels.max_pool2d_backward_windows(windows, dy, argmax, dx)
    except IndexError:
        _check_indices(argmax, h, w)
        raise IndexError(f"argmax has an index outside its window: it is not that of a pool {windows[:2]}") from None
    return dx


def avg_pool2d(
    x: Any,
    pool_size: PairLike,
    strides: PairLike | None = None,
    padding: PaddingLike = "valid",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> np.ndarray:
    """Mean of every window of ``x`` (N, H, W, C): (N, OH, OW, C). Y. LeCun et al. (1998).

    The sum is divided by how many elements of the window lie in the input or, with ``count_include_pad``, in the input
    and its padding; what hangs over the end in ``ceil_mode`` counts in neither (PyTorch's rule).
    """
    x = _checks.image(x, "x")
    n, h, w, c = x.shape
    geometry, oh, ow = _plan((h, w), pool_size, strides, padding, ceil_mode)
    y = _kernels.empty((n, oh, ow, c), x.dtype)
    _kernels.avg_pool2d(geometry, bool(count_include_pad), x, y)
    return y


def avg_pool2d_backward(
    dy: Any,
    input_shape: Sequence[int],
    pool_size: PairLike,
    strides: PairLike | None = None,
    padding: PaddingLike = "valid",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> np.ndarray:
    """``dx`` of ``input_shape`` (N, H, W, C): every element of a window receives ``dy`` / (what forward divided by)."""
    dy = _checks.image(dy, "dy")
    n, h, w, c = shape4(input_shape, "input_shape")
    geometry, oh, ow = _plan((h, w), pool_size, strides, padding, ceil_mode)
    _checks.expect_shape(dy, (n, oh, ow, c), "dy", f"the output of an input {(n, h, w, c)}")
    dx = _kernels.empty((n, h, w, c), dy.dtype)
    _kernels.avg_pool2d_backward(geometry, bool(count_include_pad), dy, dx)
    return dx


def global_max_pool2d(x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Maximum of every plane of ``x`` (N, H, W, C): ``y`` and ``argmax`` (int32, flat ``h * W + w``), both (N, C)."""
    x = _checks.image(x, "x")
    n, h, w, c = x.shape
    _check_plane(h, w)
    y, argmax = _kernels.empty((n, 1, 1, c), x.dtype), _kernels.empty((n, 1, 1, c), np.int32)
    _kernels.max_pool2d((h, w, h, w, 0, 0, 0, 0), x, y, argmax)
    return y.reshape(n, c), argmax.reshape(n, c)


def global_max_pool2d_backward(dy: Any, argmax: Any, input_shape: Sequence[int]) -> np.ndarray:
    """``dx`` of ``input_shape`` (N, H, W, C) from ``dy`` (N, C): every plane's winner receives its ``dy``.

    Raises:
        IndexError: an index outside [0, H * W).
    """
    dy = _plane_gradient(dy, input_shape)
    argmax = as_array(argmax, "argmax")
    if argmax.ndim != 2:
        raise ValueError(f"argmax must have 2 axes, got shape {argmax.shape}")
    return max_pool2d_backward(dy, argmax[:, None, None], input_shape)


def global_avg_pool2d(x: Any) -> np.ndarray:
    """Mean of every plane of ``x`` (N, H, W, C): (N, C). M. Lin et al. (ICLR 2014)."""
    x = _checks.image(x, "x")
    n, h, w, c = x.shape
    y = _kernels.empty((n, 1, 1, c), x.dtype)
    _kernels.avg_pool2d((h, w, h, w, 0, 0, 0, 0), False, x, y)
    return y.reshape(n, c)


def global_avg_pool2d_backward(dy: Any, input_shape: Sequence[int]) -> np.ndarray:
    """``dx`` of ``input_shape`` (N, H, W, C) from ``dy`` (N, C): every pixel receives ``dy / (H * W)``."""
    dy = _plane_gradient(dy, input_shape)
    _, h, w, _ = input_shape
    dx = _kernels.empty(tuple(input_shape), dy.dtype)
    _kernels.avg_pool2d_backward((h, w, h, w, 0, 0, 0, 0), False, dy, dx)
    return dx


def max_unpool2d(x: Any, argmax: Any, output_shape: Sequence[int]) -> np.ndarray:
    """Put ``x`` (N, OH, OW, C) back where the ``argmax`` of :func:`max_pool2d` says; the rest is 0.

    ``output_shape`` is (N, H, W, C). Where an index repeats, the last in row-major order of ``x`` wins. M. Zeiler,
    R. Fergus (ECCV 2014).

    Raises:
        IndexError: an index outside [0, H * W).
    """
    x = _checks.image(x, "x")
    n, h, w, c = shape4(output_shape, "output_shape")
    argmax = _indices(argmax, x.shape, "x", h, w)
    _check_images(x, "x", n, c, "output_shape")
    y = _kernels.empty((n, h, w, c), x.dtype)
    _indexed(_kernels.max_unpool2d, x, argmax, y, h, w)
    return y


def max_unpool2d_backward(dy: Any, argmax: Any) -> np.ndarray:
    """``dx`` of argmax's shape from ``dy`` (N, H, W, C): every element reads ``dy`` where it was put.

    Raises:
        IndexError: an index outside [0, H * W).
    """
    dy = _checks.image(dy, "dy")
    n, h, w, c = dy.shape
    shape = as_array(argmax, "argmax").shape
    if len(shape) != 4 or shape[0] != n or shape[3] != c:
        raise ValueError(f"argmax has shape {shape}, expected ({n}, OH, OW, {c}) for dy of shape {dy.shape}")
    argmax = _indices(argmax, shape, "argmax", h, w)
    dx = _kernels.empty(shape, dy.dtype)
    _indexed(_kernels.max_unpool2d_backward, dy, argmax, dx, h, w)
    return dx


def _check_plane(h: int, w: int) -> None:
    if h * w > INT_MAX:
        raise OverflowError(
            f"a plane of {h} x {w} = {h * w} pixels has more than 2**31 - 1, the largest index that argmax (int32) "
            "holds: cut the image into tiles, or pool without argmax (return_argmax=False)"
        )


def _check_images(value: np.ndarray, name: str, n: int, c: int, shape_name: str) -> None:
    if value.shape[0] != n or value.shape[3] != c:
        raise ValueError(f"{name} of shape {value.shape} does not fit {shape_name}: expected ({n}, OH, OW, {c})")


def _plane_gradient(dy: Any, input_shape: Sequence[int]) -> np.ndarray:
    """``dy`` (N, C) of a global pool, checked, as (N, 1, 1, C)."""
    dy = _checks.array(dy, "dy", 2)
    n, _, _, c = shape4(input_shape, "input_shape")
    _checks.expect_shape(dy, (n, c), "dy", "N and C of input_shape")
    return dy.reshape(n, 1, 1, c)


def _indices(argmax: Any, shape: Sequence[int], like: str, h: int, w: int) -> np.ndarray:
    """``argmax`` as contiguous int32 of ``shape``."""
    argmax = as_array(argmax, "argmax")
    if argmax.dtype.kind not in "iu":
        raise TypeError(f"argmax must be integers, got {argmax.dtype}")
    _checks.expect_shape(argmax, shape, "argmax", f"the shape of {like}")
    if argmax.dtype.itemsize > 4 or argmax.dtype.kind == "u":  # a conversion could make a bad index a good one
        _check_indices(argmax, h, w)
        _check_plane(h, w)
    return _checks.converted(argmax, np.dtype(np.int32))


def _check_indices(argmax: np.ndarray, h: int, w: int) -> None:
    bad = (argmax < 0) | (argmax >= h * w)
    if bad.any():
        raise IndexError(f"argmax has the index {argmax[bad][0]}, outside [0, {h * w}) of a plane of {h} x {w}")


def _indexed(kernel: Any, source: np.ndarray, argmax: np.ndarray, target: np.ndarray, h: int, w: int) -> None:
    """Run a kernel that checks its indices; say which one was bad."""
    try:
        kernel(source, argmax, target)
    except IndexError:
        _check_indices(argmax, h, w)
        raise
