"""Matrix product and the dense (fully connected) layer's arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv.ops import _checks
from fastconv.ops.activation import LINEAR, Activation, resolve


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> np.ndarray:
    """Matrix product (M, K) @ (K, N) -> (M, N), of ``a`` and ``b`` or of their transposes.

    Raises:
        ValueError: inner sizes that differ; the message shows both shapes. TypeError: dtypes other than one of float32
            and float64.
    """
    a = _checks.array(a, "a", 2)
    b = _checks.array(b, "b", 2, a)
    (m, inner_a) = a.shape[::-1] if transpose_a else a.shape
    (inner_b, n) = b.shape[::-1] if transpose_b else b.shape
    if inner_a != inner_b:
        raise ValueError(f"cannot multiply ({m}, {inner_a}) by ({inner_b}, {n}): {inner_a} is not {inner_b}")
    c = _kernels.empty((m, n), a.dtype)
    _kernels.gemm(a, b, c, transpose_a, transpose_b, None, LINEAR)
    return c


def _kernel(kernel: Any) -> np.ndarray:
    kernel = _checks.array(kernel, "kernel", 2)
    if 0 in kernel.shape:
        raise ValueError(f"kernel has shape {kernel.shape}: channels and units must be at least 1")
    return kernel


def _rows(x: Any, name: str, kernel: np.ndarray, axis: int) -> np.ndarray:
    x = _checks.array(x, name, None, kernel)
    if x.ndim < 1 or x.shape[-1] != kernel.shape[axis]:
        raise ValueError(
            f"{name} of shape {x.shape} does not fit a kernel of shape {kernel.shape}: "
            f"its last axis must be {kernel.shape[axis]}"
        )
    return x


def dense(x: Any, kernel: Any, bias: Any = None, activation: Activation = None) -> np.ndarray:
    """``activation(x @ kernel + bias)``: x (..., C), kernel (C, units), bias (units,) or None -> (..., units).

    Raises:
        ValueError: sizes that do not fit, both shapes shown. TypeError: dtypes other than one of float32 and float64.
    """
    kernel = _kernel(kernel)
    x = _rows(x, "x", kernel, 0)
    c, units = kernel.shape
    bias = _checks.vector(bias, units, "bias", kernel)
    finish = LINEAR if activation is None else resolve(activation, units, x.dtype)
    rows = x.size // c
    y = _kernels.empty((rows, units), x.dtype)
    _kernels.gemm(x.reshape(rows, c), kernel, y, False, False, bias, finish)
    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], units)


def dense_backward(
    dy: Any, x: Any, kernel: Any, need_dx: bool = True
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Gradients of ``x @ kernel + bias``: dx of x's shape (or None), dkernel (C, units), dbias (units,).

    Raises:
        ValueError: ``dy`` is not of the forward output's shape. TypeError: dtypes that differ.
    """
    kernel = _kernel(kernel)
    x = _rows(x, "x", kernel, 0)
    c, units = kernel.shape
    dy = _checks.array(dy, "dy", None, kernel)
    _checks.expect_shape(dy, (*x.shape[:-1], units), "dy", "the shape of the forward output")
    rows = x.size // c
    dy, flat = dy.reshape(rows, units), x.reshape(rows, c)
    dx = None
    if need_dx:
        dx = _kernels.empty((rows, c), x.dtype)
        _kernels.gemm(dy, kernel, dx, False, True, None, LINEAR)
        dx = dx.reshape(x.shape)
    dkernel = _kernels.empty((c, units), x.dtype)
    _kernels.gemm(flat, dy, dkernel, True, False, None, LINEAR)
    dbias = _kernels.empty((units,), x.dtype)
    _kernels.column_sums(dy, dbias)
    return dx, dkernel, dbias
