"""Activation functions. All but ``prelu`` compute their gradient from the output ``y``, so ``x`` need not be kept."""

from typing import TypeAlias

import numpy as np

from fastconv.reference.geometry import Array

#: None, a name, or (name, parameter): ``"relu"``, ``("leaky_relu", 0.3)``, ``("elu", 0.5)``, ``("prelu", alpha)``.
Activation: TypeAlias = str | tuple[str, float | Array] | None


def relu(x: Array) -> Array:
    """``max(x, 0)``. V. Nair, G. Hinton (ICML 2010)."""
    return np.maximum(x, 0)


def relu_backward(dy: Array, y: Array) -> Array:
    """``dy`` where ``y > 0``, else 0 (so 0 at the kink; NaN lets ``dy`` through)."""
    return np.where(y <= 0, dy.dtype.type(0), dy)


def relu6(x: Array) -> Array:
    """``min(max(x, 0), 6)``. A. Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10" (2010)."""
    return np.minimum(np.maximum(x, 0), 6)


def relu6_backward(dy: Array, y: Array) -> Array:
    """``dy`` where ``0 < y < 6``, else 0."""
    return np.where((y <= 0) | (y >= 6), dy.dtype.type(0), dy)


def leaky_relu(x: Array, negative_slope: float = 0.2) -> Array:
    """``x`` where positive, else ``negative_slope * x``. A. Maas et al. (ICML 2013)."""
    return np.where(x > 0, x, x * x.dtype.type(negative_slope))


def leaky_relu_backward(dy: Array, y: Array, negative_slope: float = 0.2) -> Array:
    """``dy`` where ``y > 0``, else ``negative_slope * dy``. Needs ``negative_slope >= 0``: y must keep x's sign."""
    return np.where(y > 0, dy, dy * dy.dtype.type(negative_slope))


def prelu(x: Array, alpha: Array) -> Array:
    """``x`` where positive, else ``alpha * x`` with a learned ``alpha``. K. He et al. (ICCV 2015).

    ``alpha`` broadcasts against one sample: ``x.shape[1:]``, or 1 on axes that share a value.
    """
    return np.where(x > 0, x, alpha * x)


def prelu_backward(dy: Array, x: Array, alpha: Array, need_weights: bool = True) -> tuple[Array, Array | None]:
    """Gradients ``dx`` (x's shape) and ``dalpha`` (alpha's shape: summed over the batch and every shared axis).

    Without ``need_weights`` dalpha is None.
    """
    dx = np.where(x > 0, dy, alpha * dy)
    if not need_weights:
        return dx, None
    dalpha = np.where(x > 0, dy.dtype.type(0), dy * x)
    missing = dalpha.ndim - alpha.ndim
    shared = tuple(missing + axis for axis, size in enumerate(alpha.shape) if size == 1)
    return dx, dalpha.sum(axis=tuple(range(missing)) + shared).reshape(alpha.shape)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``. D.-A. Clevert et al. (ICLR 2016)."""
    return np.where(x > 0, x, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0)))


def elu_backward(dy: Array, y: Array, alpha: float = 1.0) -> Array:
    """``dy`` where ``y > 0``, else ``dy * (y + alpha)``."""
    return np.where(y > 0, dy, dy * (y + y.dtype.type(alpha)))


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))``, from ``exp(-|x|)`` so that nothing overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """``dy * y * (1 - y)``."""
    return dy * y * (1 - y)


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return np.tanh(x)


def tanh_backward(dy: Array, y: Array) -> Array:
    """``dy * (1 - y**2)``."""
    return dy * (1 - y * y)


def softmax(x: Array) -> Array:
    """``exp(x) / sum(exp(x))`` over the last axis; the row's maximum is subtracted first, so nothing overflows."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(dy: Array, y: Array) -> Array:
    """``y * (dy - sum(dy * y))`` over the last axis."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


_FORWARD = {
    "relu": relu, "relu6": relu6, "leaky_relu": leaky_relu, "prelu": prelu, "elu": elu,
    "sigmoid": sigmoid, "tanh": tanh, "softmax": softmax,
}  # fmt: skip
_BACKWARD = {
    "relu": relu_backward, "relu6": relu6_backward, "leaky_relu": leaky_relu_backward, "elu": elu_backward,
    "sigmoid": sigmoid_backward, "tanh": tanh_backward, "softmax": softmax_backward,
}  # fmt: skip


def activate(x: Array, activation: Activation) -> Array:
    """Apply the activation that a layer's ``activation=`` names; None and ``"linear"`` return ``x`` itself.

    Raises:
        ValueError: the name is unknown.
    """
    name, parameters = _parse(activation)
    if name == "linear":
        return x
    if name not in _FORWARD:
        raise ValueError(f"unknown activation {name!r}; one of {', '.join(['linear', *_FORWARD])}")
    return _FORWARD[name](x, *parameters)  # type: ignore[operator]


def activation_backward(dy: Array, y: Array, activation: Activation) -> Array:
    """Gradient through :func:`activate` from its output ``y``; not for ``prelu``, whose gradient needs ``x``.

    Raises:
        ValueError: the name is unknown, or ``prelu``.
    """
    name, parameters = _parse(activation)
    if name == "linear":
        return dy
    if name not in _BACKWARD:
        raise ValueError(f"no gradient from the output for {name!r}; one of {', '.join(['linear', *_BACKWARD])}")
    return _BACKWARD[name](dy, y, *parameters)  # type: ignore[operator]


def _parse(activation: Activation) -> tuple[str, tuple[float | Array, ...]]:
    if activation is None:
        return "linear", ()
    if isinstance(activation, str):
        return activation, ()
    return activation[0], activation[1:]
