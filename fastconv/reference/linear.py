"""Matrix product and the fully connected layer ``y = x @ kernel + bias``."""

from fastconv.reference.activation import Activation, activate
from fastconv.reference.geometry import Array


def matmul(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    """``op(a) @ op(b)`` of two matrices, (M, K) @ (K, N) -> (M, N); ``op`` transposes where asked."""
    return (a.T if transpose_a else a) @ (b.T if transpose_b else b)


def dense(x: Array, kernel: Array, bias: Array | None = None, activation: Activation = None) -> Array:
    """``x`` (..., C), ``kernel`` (C, units), ``bias`` (units,) -> (..., units); ``activation`` is applied last."""
    y = x @ kernel
    return activate(y if bias is None else y + bias, activation)


def dense_backward(dy: Array, x: Array, kernel: Array, need_dx: bool = True) -> tuple[Array | None, Array, Array]:
    """Gradients ``dx = dy @ kernel.T`` (None unless ``need_dx``), ``dkernel = x.T @ dy`` and ``dbias = sum of dy``."""
    channels, units = kernel.shape
    rows = x.size // channels
    dy_rows = dy.reshape(rows, units)
    dkernel = x.reshape(rows, channels).T @ dy_rows
    return (dy @ kernel.T if need_dx else None), dkernel, dy_rows.sum(axis=0)
