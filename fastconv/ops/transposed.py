"""Transposed convolution: the backward-data pass of a convolution, run forward.

Its kernel (KH, KW, filters, C) is that of the convolution which maps the *output* (filters) back to the input (C).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv.errors import channels_first_hint
from fastconv.ops import _checks, geometry
from fastconv.ops.activation import Activation, resolve
from fastconv.ops.convolution import Plan, plan
from fastconv.ops.geometry import PaddingLike, PairLike


@lru_cache(maxsize=1024)
def _checked(shape: tuple[int, ...], kernel_shape: tuple[int, ...], spec: Any) -> Plan:
    """The plan of the convolution from the output (N, OH, OW, filters) to the input ``shape``."""
    (oh, ow), padding = geometry.conv2d_transpose_plan(shape, spec)
    output = (shape[0], oh, ow, kernel_shape[2])
    p = plan(output, kernel_shape, spec[1], padding, spec[4], 1)
    if p.output_shape != shape:
        raise ValueError(f"a transposed convolution of {shape} with kernel {kernel_shape} has no consistent geometry")
    return p


def _plan(
    x: np.ndarray,
    kernel: np.ndarray,
    strides: PairLike,
    padding: PaddingLike,
    output_padding: PairLike | None,
    dilation_rate: PairLike,
) -> Plan:
    if kernel.shape[3] != x.shape[3]:
        raise ValueError(
            f"kernel of shape {kernel.shape} (KH, KW, filters, C) expects {kernel.shape[3]} input channels, "
            f"but the input of shape {x.shape} has {x.shape[3]}{channels_first_hint(x.shape, kernel.shape[3])}"
        )
    if type(padding) is not str:
        padding = geometry.sides(padding, "padding")
    spec = geometry.conv2d_transpose_geometry(kernel.shape[:2], strides, padding, output_padding, dilation_rate)
    return _checked(x.shape, kernel.shape, spec)


def conv2d_transpose(
    x: Any,
    kernel: Any,
    bias: Any = None,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    output_padding: PairLike | None = None,
    dilation_rate: PairLike = 1,
    activation: Activation = None,
) -> np.ndarray:
    """Transposed convolution of ``x`` (N, H, W, C): y (N, OH, OW, filters).

    Args:
        x: images, float32 or float64.
        kernel: (KH, KW, filters, C), as Keras.
        bias: (filters,) or None.
        strides, dilation_rate: an int or (h, w).
        padding: ``"valid"``: OH = (H - 1) * SH + max(dilated KH, SH); ``"same"``: OH = H * SH; explicit numbers as
            PyTorch: OH = (H - 1) * SH - top - bottom + dilated KH + output_padding.
        output_padding: extra rows and columns at the bottom and right, below the stride; None: as ``padding`` says.
        activation: see ``ops.activate``.

    Raises:
        ValueError, TypeError, OverflowError: as :func:`fastconv.ops.conv2d`.
    """
    x = _checks.image(x, "x")
    kernel = _checks.array(kernel, "kernel", 4, x)
    p = _plan(x, kernel, strides, padding, output_padding, dilation_rate)
    filters = kernel.shape[2]
    bias = _checks.vector(bias, filters, "bias", x)
    y = _kernels.empty(p.input_shape, x.dtype)
    _kernels.conv2d_backward_data(p.geometry, None, x, kernel, y)
    if bias is not None or activation is not None:
        _kernels.finish(y, bias, resolve(activation, filters, x.dtype))
    return y


def conv2d_transpose_backward(
    dy: Any,
    x: Any,
    kernel: Any,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    output_padding: PairLike | None = None,
    dilation_rate: PairLike = 1,
    need_dx: bool = True,
    need_weights: bool = True,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Gradients of :func:`conv2d_transpose`: dx of x's shape, dkernel of kernel's, dbias (filters,).

    dx is None unless ``need_dx``, the other two unless ``need_weights``.
    """
    x = _checks.image(x, "x")
    kernel = _checks.array(kernel, "kernel", 4, x)
    dy = _checks.array(dy, "dy", 4, x)
    p = _plan(x, kernel, strides, padding, output_padding, dilation_rate)
    _checks.expect_shape(dy, p.input_shape, "dy", "the shape of the forward output")
    dx = None
    if need_dx:
        dx = _kernels.empty(x.shape, x.dtype)
        _kernels.conv2d_forward(p.geometry, None, dy, kernel, None, None, resolve(None, 1, x.dtype), dx)
    if not need_weights:
        return dx, None, None
    dkernel = _kernels.empty(kernel.shape, x.dtype)
    _kernels.conv2d_backward_weights(p.geometry, None, dy, x, dkernel, None)
    dbias = _kernels.empty((kernel.shape[2],), x.dtype)
    _kernels.column_sums(dy, dbias)
    return dx, dkernel, dbias
