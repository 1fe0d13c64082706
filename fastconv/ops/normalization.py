"""Batch normalisation over all axes but the last, and local response normalisation over the last.

S. Ioffe, C. Szegedy, "Batch Normalization" (ICML 2015); A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet
Classification with Deep Convolutional Neural Networks" (NeurIPS 2012), section 3.3.

Every function raises TypeError for dtypes other than one of float32 and float64, ValueError for shapes that do not fit
(both are shown) and for ``epsilon <= 0``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv.checks import integer
from fastconv.ops import _checks
from fastconv.ops.activation import LINEAR, RECTIFIERS, Activation, Resolved, name_of, resolve


def batch_norm(
    x: Any, gamma: Any, beta: Any, epsilon: float = 1e-3, activation: Activation = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalise ``x`` (..., C) by the batch's own statistics: ``y`` (x's shape), ``mean`` (C,), ``variance`` (C,).

    ``y = activation(gamma * (x - mean) / sqrt(variance + epsilon) + beta)``; the variance is the biased one. ``gamma``
    and ``beta`` are (C,) or None (1 and 0). An empty batch has mean 0 and variance 0.
    """
    x = _features(x, "x", apart=True)
    mean, variance = _kernels.empty(x.shape[-1:], x.dtype), _kernels.empty(x.shape[-1:], x.dtype)
    gamma, beta, epsilon = _checked(x, gamma, beta, epsilon)
    finish = LINEAR if activation is None else resolve(activation, x.shape[-1], x.dtype)
    y = _kernels.empty(x.shape, x.dtype)
    _kernels.batch_norm(x, gamma, beta, epsilon, finish, mean, variance, y)
    return y, mean, variance


def batch_norm_inference(
    x: Any,
    gamma: Any,
    beta: Any,
    moving_mean: Any,
    moving_variance: Any,
    epsilon: float = 1e-3,
    activation: Activation = None,
) -> np.ndarray:
    """Normalise ``x`` (..., C) by given statistics (C,): the formula of :func:`batch_norm`."""
    x = _features(x, "x", apart=True)
    gamma, beta, epsilon = _checked(x, gamma, beta, epsilon)
    mean, variance = _statistics(x, moving_mean, moving_variance)
    finish = LINEAR if activation is None else resolve(activation, x.shape[-1], x.dtype)
    y = _kernels.empty(x.shape, x.dtype)
    _kernels.batch_norm_apply(x, mean, variance, gamma, beta, epsilon, finish, y)
    return y


def batch_norm_backward(
    dy: Any,
    x: Any,
    gamma: Any,
    mean: Any,
    variance: Any,
    epsilon: float = 1e-3,
    activation: Activation = None,
    beta: Any = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients ``dx``, ``dgamma`` (C,) and ``dbeta`` (C,) of :func:`batch_norm`; its statistics depend on ``x``.

    ``dx = gamma / sqrt(variance + epsilon) * (dz - mean(dz) - x_hat * mean(dz * x_hat))``, where ``dz`` is ``dy``
    through the ``activation``: None, ``"relu"``, ``"relu6"`` or ``("leaky_relu", slope >= 0)``. Only an activation
    needs ``beta``.

    Raises:
        ValueError: an activation that is none of these.
    """
    return _backward(True, dy, x, (gamma, beta, mean, variance), epsilon, activation, True)


def batch_norm_inference_backward(
    dy: Any,
    x: Any,
    gamma: Any,
    moving_mean: Any,
    moving_variance: Any,
    epsilon: float = 1e-3,
    activation: Activation = None,
    beta: Any = None,
    need_weights: bool = True,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Gradients ``dx``, ``dgamma`` (C,) and ``dbeta`` (C,) where the statistics are constants.

    Without ``need_weights`` the last two are None. The others are those of :func:`batch_norm_backward`.
    """
    return _backward(False, dy, x, (gamma, beta, moving_mean, moving_variance), epsilon, activation, need_weights)


def local_response_norm(
    x: Any, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5
) -> np.ndarray:
    """``x / s**beta`` with ``s = bias + alpha * (sum of x**2 over 2 * depth_radius + 1 channels)``; x is (..., C).

    TensorFlow's form and defaults: ``alpha`` multiplies the sum, as in the paper (which has 2, 2, 1e-4, 0.75).

    Raises:
        ValueError: ``depth_radius < 0``, or a number that is not finite.
    """
    x = _features(x, "x")
    y = _kernels.empty(x.shape, x.dtype)
    _kernels.lrn(_lrn_parameters(depth_radius, bias, alpha, beta), x, y)
    return y


def local_response_norm_backward(
    dy: Any, x: Any, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5
) -> np.ndarray:
    """Gradient of :func:`local_response_norm`.

    ``dx = dy * s**-beta - 2 * alpha * beta * x * (sum over neighbours of dy * x * s**(-beta - 1))``
    """
    x = _features(x, "x")
    dy = _checks.array(dy, "dy", None, x)
    _checks.expect_shape(dy, x.shape, "dy", "the shape of x")
    dx = _kernels.empty(x.shape, x.dtype)
    _kernels.lrn_backward(_lrn_parameters(depth_radius, bias, alpha, beta), dy, x, dx)
    return dx


def _features(x: Any, name: str, apart: bool = False) -> np.ndarray:
    """An array (..., C) with at least one axis before C, and C at least 1; ``apart``: its rows may lie apart."""
    x = _checks.rows(x, name) if apart else _checks.array(x, name)
    if x.ndim < 2:
        raise ValueError(f"{name} has shape {x.shape}: expected at least 2 axes, the channels last")
    if x.shape[-1] == 0:
        raise ValueError(f"{name} has shape {x.shape}: channels must be at least 1")
    return x


def _checked(x: np.ndarray, gamma: Any, beta: Any, epsilon: Any) -> tuple[Any, Any, float]:
    c = x.shape[-1]
    return (
        _checks.vector(gamma, c, "gamma", x),
        _checks.vector(beta, c, "beta", x),
        _checks.positive(epsilon, "epsilon"),
    )


def _statistics(x: np.ndarray, mean: Any, variance: Any) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = _checks.array(mean, "mean", None, x), _checks.array(variance, "variance", None, x)
    _checks.expect_shape(mean, x.shape[-1:], "mean", "one value a channel")
    _checks.expect_shape(variance, x.shape[-1:], "variance", "one value a channel")
    return mean, variance


def _backward(
    training: bool, dy: Any, x: Any, channels: Sequence[Any], epsilon: Any, activation: Activation, need_weights: bool
) -> tuple[np.ndarray, Any, Any]:
    """``channels``: gamma, beta, mean and variance."""
    gamma, beta, mean, variance = channels
    x = _features(x, "x", apart=True)
    dy = _checks.array(dy, "dy", None, x)
    _checks.expect_shape(dy, x.shape, "dy", "the shape of x")
    gamma, beta, epsilon = _checked(x, gamma, beta, epsilon)
    mean, variance = _statistics(x, mean, variance)
    through = LINEAR if activation is None else _rectifier(activation, x)
    dx = _kernels.empty(x.shape, x.dtype)
    dgamma = dbeta = None
    if need_weights:
        dgamma, dbeta = _kernels.empty(mean.shape, x.dtype), _kernels.empty(mean.shape, x.dtype)
    _kernels.batch_norm_backward(training, dy, x, gamma, beta, mean, variance, epsilon, through, dx, dgamma, dbeta)
    return dx, dgamma, dbeta


def _rectifier(activation: Activation, x: np.ndarray) -> Resolved:
    resolved = resolve(activation, x.shape[-1], x.dtype)
    if name_of(resolved) not in RECTIFIERS or resolved[1] < 0:
        raise ValueError(
            f"activation {activation!r} has no gradient here: it must be None or one of {', '.join(RECTIFIERS)}, with "
            "a slope of at least 0"
        )
    return resolved


def _lrn_parameters(depth_radius: Any, bias: Any, alpha: Any, beta: Any) -> tuple[int, float, float, float]:
    return (
        integer(depth_radius, "depth_radius", 0),
        _checks.real(bias, "bias"),
        _checks.real(alpha, "alpha"),
        _checks.real(beta, "beta"),
    )
