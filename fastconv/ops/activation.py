"""Activation functions, as ops and as the ``activation=`` argument of other ops."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from fastconv import _kernels
from fastconv.errors import did_you_mean
from fastconv.ops import _checks

#: None, a name, or (name, parameter): ``"relu"``, ``("leaky_relu", 0.3)``, ``("elu", 0.5)``, ``("prelu", alpha)``.
Activation: TypeAlias = str | tuple[str, Any] | None

#: (fc_activation_kind, parameter, slope): what the binding passes to a kernel.
Resolved: TypeAlias = tuple[int, float, np.ndarray | None]

#: Name -> ``fc_activation_kind`` (csrc/fastconv.h).
KINDS: dict[str, int] = _kernels.ACTIVATION_KINDS
_NAMES = {kind: name for name, kind in KINDS.items()}
#: Kinds so cheap that batch normalisation takes them in, their gradient too.
RECTIFIERS = ("linear", "relu", "relu6", "leaky_relu")
LINEAR: Resolved = (KINDS["linear"], 0.0, None)
_DEFAULTS = {"leaky_relu": 0.2, "elu": 1.0}
_PLAIN: dict[str | None, Resolved] = {
    None: LINEAR,
    **{name: (kind, _DEFAULTS.get(name, 0.0), None) for name, kind in KINDS.items() if name != "prelu"},
}


def resolve(activation: Activation, channels: int, dtype: np.dtype) -> Resolved:
    """Return (kind, parameter, slope) for an ``activation=`` argument; ``slope`` is a contiguous (channels,) or None.

    Raises ValueError for an unknown name or a slope of another shape than (channels,), TypeError for a slope of another
    dtype or for an argument that is neither None, a string nor (name, parameter).
    """
    if activation is None or isinstance(activation, str):
        known = _PLAIN.get(activation)
        if known is not None:
            return known
        if activation == "prelu":
            raise ValueError("activation 'prelu' needs its slopes: pass ('prelu', alpha)")
        raise _unknown(activation)
    if not isinstance(activation, tuple | list) or len(activation) != 2:
        raise TypeError(f"activation must be None, a name or (name, parameter), got {activation!r}")
    name, parameter = activation
    if name == "prelu":
        slope = _checks.array(parameter, "prelu's alpha", like=np.empty(0, dtype))
        _checks.expect_shape(slope, (channels,), "prelu's alpha", "one slope a channel")
        return KINDS[name], 0.0, slope
    if name in _DEFAULTS:
        return KINDS[name], _checks.real(parameter, f"{name}'s parameter"), None
    if name in KINDS:
        raise ValueError(f"activation {name!r} has no parameter, got {parameter!r}")
    raise _unknown(name)


def name_of(resolved: Resolved) -> str:
    """Return the name of what :func:`resolve` returned."""
    return _NAMES[resolved[0]]


def _unknown(name: Any) -> ValueError:
    return ValueError(f"unknown activation {name!r}{did_you_mean(name, KINDS)}; one of {', '.join(KINDS)}")


def _apply(x: Any, name: str, parameter: float = 0.0) -> np.ndarray:
    """An activation that is not told from the shape: every element for itself."""
    x = _checks.array(x, "x")
    y = _kernels.empty(x.shape, x.dtype)
    if x.size:
        _kernels.activate(x.size, (KINDS[name], parameter, None), x, y)
    return y


def _gradient(dy: Any, y: Any, name: str, parameter: float = 0.0) -> np.ndarray:
    y = _checks.array(y, "y")
    dy = _checks.array(dy, "dy", None, y)
    _checks.expect_shape(dy, y.shape, "dy", "the shape of the output y")
    dx = _kernels.empty(y.shape, y.dtype)
    if y.size:
        _kernels.activation_backward((KINDS[name], parameter, None), dy, y, dx)
    return dx


def relu(x: Any) -> np.ndarray:
    """``max(x, 0)``, for an array of any shape; NaN stays NaN. V. Nair, G. Hinton (ICML 2010).

    Like every activation here: TypeError for any dtype but float32 and float64.
    """
    return _apply(x, "relu")


def relu_backward(dy: Any, y: Any) -> np.ndarray:
    """Gradient of :func:`relu` from its output: ``dy`` where ``y > 0``, else 0.

    Like every ``_backward`` here: ValueError where the shapes of ``dy`` and ``y`` differ, TypeError where dtypes do.
    """
    return _gradient(dy, y, "relu")


def relu6(x: Any) -> np.ndarray:
    """``min(max(x, 0), 6)``. A. Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10" (2010)."""
    return _apply(x, "relu6")


def relu6_backward(dy: Any, y: Any) -> np.ndarray:
    """Gradient of :func:`relu6` from its output: ``dy`` where ``0 < y < 6``, else 0."""
    return _gradient(dy, y, "relu6")


def leaky_relu(x: Any, negative_slope: float = 0.2) -> np.ndarray:
    """``x`` where positive, else ``negative_slope * x``. A. Maas et al. (ICML 2013)."""
    return _apply(x, "leaky_relu", _checks.real(negative_slope, "negative_slope"))


def leaky_relu_backward(dy: Any, y: Any, negative_slope: float = 0.2) -> np.ndarray:
    """Gradient of :func:`leaky_relu` from its output: ``dy`` where ``y > 0``, else ``negative_slope * dy``.

    Raises:
        ValueError: ``negative_slope < 0``, for then the output does not tell the sign of the input.
    """
    return _gradient(dy, y, "leaky_relu", _not_negative(negative_slope, "negative_slope"))


def elu(x: Any, alpha: float = 1.0) -> np.ndarray:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``. D.-A. Clevert et al. (ICLR 2016)."""
    return _apply(x, "elu", _checks.real(alpha, "alpha"))


def elu_backward(dy: Any, y: Any, alpha: float = 1.0) -> np.ndarray:
    """Gradient of :func:`elu` from its output: ``dy`` where ``y > 0``, else ``dy * (y + alpha)``.

    Raises:
        ValueError: ``alpha < 0``, for then the output does not tell the sign of the input.
    """
    return _gradient(dy, y, "elu", _not_negative(alpha, "alpha"))


def sigmoid(x: Any) -> np.ndarray:
    """``1 / (1 + exp(-x))``, computed from ``exp(-|x|)`` so that nothing overflows."""
    return _apply(x, "sigmoid")


def sigmoid_backward(dy: Any, y: Any) -> np.ndarray:
    """Gradient of :func:`sigmoid` from its output: ``dy * y * (1 - y)``."""
    return _gradient(dy, y, "sigmoid")


def tanh(x: Any) -> np.ndarray:
    """Hyperbolic tangent."""
    return _apply(x, "tanh")


def tanh_backward(dy: Any, y: Any) -> np.ndarray:
    """Gradient of :func:`tanh` from its output: ``dy * (1 - y**2)``."""
    return _gradient(dy, y, "tanh")


def softmax(x: Any) -> np.ndarray:
    """``exp(x) / sum(exp(x))`` over the last axis; the row's maximum is subtracted first, so nothing overflows.

    Raises:
        ValueError: ``x`` has no axis, or a last axis of length 0.
    """
    return activate(x, "softmax")


def softmax_backward(dy: Any, y: Any) -> np.ndarray:
    """Gradient of :func:`softmax` from its output: ``y * (dy - sum(dy * y))`` over the last axis."""
    return _gradient(dy, y, "softmax")


def prelu(x: Any, alpha: Any) -> np.ndarray:
    """``x`` where positive, else ``alpha * x`` with learned slopes. K. He et al. (ICCV 2015).

    ``alpha`` broadcasts against one sample: it has the shape ``x.shape[1:]``, or 1 on the axes that share a slope, or
    fewer axes.

    Raises:
        ValueError: ``alpha`` does not broadcast to ``x.shape[1:]``; the message shows both shapes.
    """
    x = _checks.array(x, "x")
    alpha = _checks.array(alpha, "alpha", None, x)
    y = _kernels.empty(x.shape, x.dtype)
    slope, _ = _slopes(x, alpha)
    if x.size:
        _kernels.activate(slope.size, (KINDS["prelu"], 0.0, slope), x, y)
    return y


def prelu_backward(dy: Any, x: Any, alpha: Any, need_weights: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """Gradients ``dx`` (x's shape) and ``dalpha`` (alpha's shape: summed over the batch and every shared axis).

    Without ``need_weights`` dalpha is None.
    """
    x = _checks.array(x, "x")
    dy = _checks.array(dy, "dy", None, x)
    _checks.expect_shape(dy, x.shape, "dy", "the shape of x")
    alpha = _checks.array(alpha, "alpha", None, x)
    slope, shape = _slopes(x, alpha)
    dx, dslope = _kernels.empty(x.shape, x.dtype), _kernels.zeros(shape, x.dtype) if need_weights else None
    if x.size:
        _kernels.prelu_backward(slope, dy, x, dx, dslope)
    return dx, None if dslope is None else _sum_to(dslope, alpha.shape)


def _slopes(x: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """``alpha`` spread over the last axis of x or, where it has more axes than that, over one sample; and its shape."""
    sample = x.shape[1:]
    shape = sample[-1:] if alpha.ndim < 2 or max(alpha.shape[:-1]) == 1 else sample
    try:
        if alpha.ndim > len(sample):
            raise ValueError
        spread = np.broadcast_to(alpha.reshape(alpha.shape[alpha.ndim - len(shape) :] if alpha.ndim else ()), shape)
    except ValueError:
        raise ValueError(f"alpha of shape {alpha.shape} does not broadcast to one sample of x, {sample}") from None
    return np.ascontiguousarray(spread), shape


def _sum_to(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The adjoint of broadcasting from ``shape``."""
    padded = (1,) * (gradient.ndim - len(shape)) + shape[max(0, len(shape) - gradient.ndim) :]
    shared = tuple(axis for axis, size in enumerate(padded) if size == 1 and gradient.shape[axis] != 1)
    return (gradient.sum(axis=shared, keepdims=True) if shared else gradient).reshape(shape)


def activate(x: Any, activation: Activation) -> np.ndarray:
    """Apply what a layer's ``activation=`` names to ``x``; None and ``"linear"`` return ``x`` itself.

    Raises:
        ValueError: the name is unknown, or the last axis has another length than prelu's ``alpha``. TypeError: not an
            activation.
    """
    x = _checks.array(x, "x")
    channels = x.shape[-1] if x.ndim else 1
    resolved = resolve(activation, channels, x.dtype)
    name = name_of(resolved)
    if name == "linear":
        return x
    if channels == 0 and name in ("softmax", "prelu"):
        raise ValueError(f"x has shape {x.shape}: its last axis must be at least 1")
    y = _kernels.empty(x.shape, x.dtype)
    if x.size:
        _kernels.activate(channels, resolved, x, y)
    return y


def activation_backward(dy: Any, y: Any, activation: Activation) -> np.ndarray:
    """Gradient through :func:`activate` from its output ``y``; None and ``"linear"`` return ``dy`` itself.

    Raises:
        ValueError: an unknown name; prelu, whose gradient needs the input; a negative parameter of leaky_relu or elu,
            for which the output does not tell the sign of the input.
    """
    y = _checks.array(y, "y")
    if isinstance(activation, tuple) and activation and activation[0] == "prelu":
        raise ValueError("prelu has no gradient from the output: use prelu_backward, which takes the input")
    resolved = resolve(activation, 0, y.dtype)
    name, parameter = name_of(resolved), resolved[1]
    if name == "linear":
        dy = _checks.array(dy, "dy", None, y)
        _checks.expect_shape(dy, y.shape, "dy", "the shape of the output y")
        return dy
    return _gradient(dy, y, name, _not_negative(parameter, f"{name}'s slope or alpha"))


def _not_negative(value: Any, name: str) -> float:
    number = _checks.real(value, name)
    if number < 0:
        raise ValueError(f"{name} must be at least 0 for a gradient from the output, got {number}")
    return number
