"""Zero padding, cropping and up-sampling of NHWC images, and their adjoints.

Every function raises TypeError for dtypes other than float32 and float64 and for sizes that are no integers, ValueError
for shapes that do not fit, OverflowError for sizes beyond 2**31 - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv.ops import _checks
from fastconv.ops.geometry import PaddingLike, PairLike, pair, shape4, sides


def zero_padding2d(x: Any, padding: PaddingLike) -> np.ndarray:
    """Surround ``x`` (N, H, W, C) with zeros. ``padding``: int, (h, w) or ((top, bottom), (left, right))."""
    x = _checks.image(x, "x")
    (top, bottom), (left, right) = _explicit(padding, "padding")
    n, h, w, c = x.shape
    y = _kernels.empty((n, h + top + bottom, w + left + right, c), x.dtype)
    _kernels.place(top, left, x, y)
    return y


def zero_padding2d_backward(dy: Any, padding: PaddingLike) -> np.ndarray:
    """Gradient of :func:`zero_padding2d`: the padding cropped off ``dy``."""
    return _crop(dy, "dy", padding, "padding")


def cropping2d(x: Any, cropping: PaddingLike) -> np.ndarray:
    """Cut rows and columns off ``x`` (N, H, W, C). ``cropping``: int, (h, w) or ((top, bottom), (left, right)).

    Raises:
        ValueError: nothing would be left.
    """
    return _crop(x, "x", cropping, "cropping")


def cropping2d_backward(dy: Any, cropping: PaddingLike, input_shape: Sequence[int]) -> np.ndarray:
    """Gradient of :func:`cropping2d`: ``dy`` surrounded by zeros, back to ``input_shape`` (N, H, W, C)."""
    dy = _checks.image(dy, "dy")
    n, h, w, c = shape4(input_shape, "input_shape")
    (top, bottom), (left, right) = _explicit(cropping, "cropping")
    expected = (n, h - top - bottom, w - left - right, c)
    _checks.expect_shape(dy, expected, "dy", f"input_shape {(n, h, w, c)} without the cropping")
    dx = _kernels.empty((n, h, w, c), dy.dtype)
    _kernels.place(top, left, dy, dx)
    return dx


def upsampling2d(x: Any, size: PairLike, interpolation: str = "nearest") -> np.ndarray:
    """Enlarge ``x`` (N, H, W, C) ``size`` = (h, w) times: (N, H*h, W*w, C).

    ``interpolation``: ``"nearest"`` repeats pixels; ``"bilinear"`` has half-pixel centres and clamped edges, as
    Keras' UpSampling2D.

    Raises:
        ValueError: another ``interpolation``.
    """
    x = _checks.image(x, "x")
    fh, fw = pair(size, "size")
    bilinear = _is_bilinear(interpolation)
    n, h, w, c = x.shape
    y = _kernels.empty((n, h * fh, w * fw, c), x.dtype)
    _kernels.upsample(bilinear, False, fh, fw, x, y)
    return y


def upsampling2d_backward(dy: Any, size: PairLike, interpolation: str = "nearest") -> np.ndarray:
    """Gradient of :func:`upsampling2d`: every input pixel receives the sum of ``dy`` times its weight there.

    Raises:
        ValueError: another ``interpolation``, or a ``dy`` whose height or width ``size`` does not divide.
    """
    dy = _checks.image(dy, "dy")
    fh, fw = pair(size, "size")
    bilinear = _is_bilinear(interpolation)
    n, oh, ow, c = dy.shape
    if oh % fh or ow % fw:
        raise ValueError(f"dy of {oh} x {ow} pixels is no up-sampled image: not divisible by size {fh} x {fw}")
    dx = _kernels.empty((n, oh // fh, ow // fw, c), dy.dtype)
    _kernels.upsample(bilinear, True, fh, fw, dy, dx)
    return dx


def _explicit(value: Any, name: str) -> tuple[tuple[int, int], tuple[int, int]]:
    if isinstance(value, str):
        raise TypeError(f"{name} must be an integer, (h, w) or ((top, bottom), (left, right)), got {value!r}")
    return sides(value, name)


def _crop(x: Any, name: str, cropping: Any, cropping_name: str) -> np.ndarray:
    x = _checks.image(x, name)
    (top, bottom), (left, right) = _explicit(cropping, cropping_name)
    n, h, w, c = x.shape
    oh, ow = h - top - bottom, w - left - right
    if oh < 1 or ow < 1:
        raise ValueError(
            f"{cropping_name} leaves nothing of {name} of shape {x.shape}: "
            f"height {h} - {top} - {bottom} = {oh}, width {w} - {left} - {right} = {ow}"
        )
    y = _kernels.empty((n, oh, ow, c), x.dtype)
    _kernels.place(-top, -left, x, y)
    return y


def _is_bilinear(interpolation: Any) -> bool:
    if interpolation not in ("nearest", "bilinear"):
        raise ValueError(f"interpolation must be 'nearest' or 'bilinear', got {interpolation!r}")
    return bool(interpolation == "bilinear")
