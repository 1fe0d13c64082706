"""Between channels-last arrays (NHWC images, HWIO kernels: fastconv's) and channels-first ones (PyTorch's)."""

import numpy as np

from fastconv.reference.geometry import Array


def nchw_to_nhwc(x: Array) -> Array:
    """(N, C, H, W) -> (N, H, W, C), a contiguous copy."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def nhwc_to_nchw(x: Array) -> Array:
    """(N, H, W, C) -> (N, C, H, W), a contiguous copy."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def oihw_to_hwio(kernel: Array) -> Array:
    """(K, C, KH, KW) -> (KH, KW, C, K), a contiguous copy."""
    return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))


def hwio_to_oihw(kernel: Array) -> Array:
    """(KH, KW, C, K) -> (K, C, KH, KW), a contiguous copy."""
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
