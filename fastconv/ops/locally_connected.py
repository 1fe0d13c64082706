"""Locally connected layer: a convolution whose kernel is another one at every output pixel.

    y[n, p, q] = x[n, window (p, q)] (KH*KW*C,) @ kernel[p, q] + bias[p, q]

Y. Taigman et al., "DeepFace" (CVPR 2014), section 2.2. Kernel layout as Keras 2's ``LocallyConnected2D``. The products,
one for each output pixel, are shared out over the threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv.ops import _checks
from fastconv.ops.convolution import col2im, im2col
from fastconv.ops.geometry import PairLike, conv2d_output_shape, pair


def locally_connected2d(x: Any, kernel: Any, bias: Any, kernel_size: PairLike, strides: PairLike = 1) -> np.ndarray:
    """``x`` (N, H, W, C), ``kernel`` (OH, OW, KH*KW*C, filters), ``bias`` (OH, OW, filters) or None
    -> (N, OH, OW, filters).

    Raises:
        ValueError: shapes that do not fit; the message shows both. TypeError: dtypes other than one of float32 and
            float64.
    """
    x, kernel = _checked(x, kernel, kernel_size, strides)
    oh, ow, taps, filters = kernel.shape
    if bias is not None:
        bias = _checks.array(bias, "bias", None, x)
        _checks.expect_shape(bias, (oh, ow, filters), "bias", "one value an output")
    n, pixels = x.shape[0], oh * ow
    cols = im2col(x, kernel_size, strides)
    y = _kernels.empty((n, oh, ow, filters), x.dtype)
    shape = (pixels, n, filters, taps, pixels * taps, 1, filters, 1, pixels * filters)
    _kernels.gemm_batch(shape, (taps, taps * filters, filters, filters), cols, kernel, bias, y)
    return y


def locally_connected2d_backward(
    dy: Any,
    x: Any,
    kernel: Any,
    kernel_size: PairLike,
    strides: PairLike = 1,
    need_dx: bool = True,
    need_weights: bool = True,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Gradients ``dx`` (x's shape), ``dkernel`` (kernel's shape) and ``dbias`` (OH, OW, filters).

    dx is None unless ``need_dx``, the other two unless ``need_weights``.
    """
    x, kernel = _checked(x, kernel, kernel_size, strides)
    dy = _checks.array(dy, "dy", 4, x)
    oh, ow, taps, filters = kernel.shape
    n, pixels = x.shape[0], oh * ow
    _checks.expect_shape(dy, (n, oh, ow, filters), "dy", "the output's shape")
    dkernel = dbias = None
    if need_weights:
        cols = im2col(x, kernel_size, strides)
        dkernel = _kernels.empty(kernel.shape, x.dtype)
        shape = (pixels, taps, filters, n, 1, pixels * taps, pixels * filters, 1, filters)
        _kernels.gemm_batch(shape, (taps, filters, 0, taps * filters), cols, dy, None, dkernel)
        dbias = _kernels.empty((oh, ow, filters), x.dtype)
        np.sum(dy, axis=0, out=dbias)
    if not need_dx:
        return None, dkernel, dbias
    dcols = _kernels.empty((n * pixels, taps), x.dtype)
    shape = (pixels, n, taps, filters, pixels * filters, 1, 1, filters, pixels * taps)
    _kernels.gemm_batch(shape, (filters, taps * filters, 0, taps), dy, kernel, None, dcols)
    return col2im(dcols, x.shape, kernel_size, strides), dkernel, dbias


def _checked(x: Any, kernel: Any, kernel_size: PairLike, strides: PairLike) -> tuple[np.ndarray, np.ndarray]:
    x = _checks.image(x, "x")
    kernel = _checks.array(kernel, "kernel", 4, x)
    kh, kw = pair(kernel_size, "kernel_size")
    if kernel.shape[3] == 0:
        raise ValueError(f"kernel has shape {kernel.shape}: filters must be at least 1")
    _, oh, ow, filters = conv2d_output_shape(x.shape, (kh, kw), kernel.shape[3], strides)
    expected = (oh, ow, kh * kw * x.shape[3], filters)
    if kernel.shape != expected:
        raise ValueError(f"kernel has shape {kernel.shape}, expected {expected} (OH, OW, KH*KW*C, filters)")
    return x, kernel
