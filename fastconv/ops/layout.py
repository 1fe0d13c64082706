"""Between channels-last arrays (NHWC images, HWIO kernels: fastconv's) and channels-first ones (PyTorch's).

Each function returns a contiguous copy and raises ValueError for another number of axes than 4, TypeError for dtypes
other than float32 and float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv.ops import _checks


def nchw_to_nhwc(x: Any) -> np.ndarray:
    """(N, C, H, W) -> (N, H, W, C)."""
    x = _checks.array(x, "x", 4)
    n, c, h, w = x.shape
    y = _kernels.empty((n, h, w, c), x.dtype)
    _kernels.transpose((n, c, h * w, c * h * w, c * h * w, h * w, c), x, y)
    return y


def nhwc_to_nchw(x: Any) -> np.ndarray:
    """(N, H, W, C) -> (N, C, H, W)."""
    x = _checks.array(x, "x", 4)
    n, h, w, c = x.shape
    y = _kernels.empty((n, c, h, w), x.dtype)
    _kernels.transpose((n, h * w, c, h * w * c, h * w * c, c, h * w), x, y)
    return y


def oihw_to_hwio(kernel: Any) -> np.ndarray:
    """(K, C, KH, KW) -> (KH, KW, C, K)."""
    kernel = _checks.array(kernel, "kernel", 4)
    k, c, kh, kw = kernel.shape
    y = _kernels.empty((kh, kw, c, k), kernel.dtype)
    _kernels.transpose((c, k, kh * kw, kh * kw, k, c * kh * kw, c * k), kernel, y)
    return y


def hwio_to_oihw(kernel: Any) -> np.ndarray:
    """(KH, KW, C, K) -> (K, C, KH, KW)."""
    kernel = _checks.array(kernel, "kernel", 4)
    kh, kw, c, k = kernel.shape
    y = _kernels.empty((k, c, kh, kw), kernel.dtype)
    _kernels.transpose((c, kh * kw, k, k, kh * kw, c * k, c * kh * kw), kernel, y)
    return y
