"""Batch normalisation over all axes but the last, and AlexNet's local response normalisation.

S. Ioffe, C. Szegedy, "Batch Normalization" (ICML 2015); A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet
Classification with Deep Convolutional Neural Networks" (NeurIPS 2012), section 3.3.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.reference.activation import Activation, activate, activation_backward
from fastconv.reference.geometry import Array


def _scale_and_shift(x_hat: Array, gamma: Array | None, beta: Array | None) -> Array:
    y = x_hat if gamma is None else x_hat * gamma
    return y if beta is None else y + beta


def batch_norm(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    epsilon: float = 1e-3,
    activation: Activation = None,
) -> tuple[Array, Array, Array]:
    """Normalise ``x`` (..., C) by the batch's own statistics: ``y`` (x's shape), ``mean`` (C,), ``variance`` (C,).

    ``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``; the variance is the biased one, computed in two
    passes. ``gamma`` and ``beta`` are (C,) or None (1 and 0). An empty batch has mean 0 and variance 0.
    """
    axes = tuple(range(x.ndim - 1))
    if x.size == 0:
        zeros = np.zeros(x.shape[-1], x.dtype)
        return x.copy(), zeros, zeros.copy()
    mean = x.mean(axis=axes)
    variance = ((x - mean) ** 2).mean(axis=axes)
    return batch_norm_inference(x, gamma, beta, mean, variance, epsilon, activation), mean, variance


def _through(activation: Activation, dy: Array, x: Array, channels: Sequence[Any], epsilon: float) -> Array:
    """``dy`` before the activation; ``channels``: gamma, beta, mean and variance."""
    if activation is None:
        return dy
    gamma, beta, mean, variance = channels
    return activation_backward(
        dy, batch_norm_inference(x, gamma, beta, mean, variance, epsilon, activation), activation
    )


def batch_norm_backward(
    dy: Array,
    x: Array,
    gamma: Array | None,
    mean: Array,
    variance: Array,
    epsilon: float = 1e-3,
    activation: Activation = None,
    beta: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients ``dx``, ``dgamma`` (C,) and ``dbeta`` (C,); mean and variance depend on ``x``, as in training.

    ``dx = gamma / sqrt(variance + epsilon) * (dz - mean(dz) - x_hat * mean(dz * x_hat))``, where ``dz`` is ``dy``
    through the activation.
    """
    dy = _through(activation, dy, x, (gamma, beta, mean, variance), epsilon)
    axes = tuple(range(x.ndim - 1))
    count = max(x.size // x.shape[-1], 1)
    inverse = 1 / np.sqrt(variance + x.dtype.type(epsilon))
    x_hat = (x - mean) * inverse
    dbeta = dy.sum(axis=axes)
    dgamma = (dy * x_hat).sum(axis=axes)
    scale = inverse if gamma is None else gamma * inverse
    return scale * (dy - (dbeta + x_hat * dgamma) / x.dtype.type(count)), dgamma, dbeta


def batch_norm_inference(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    moving_mean: Array,
    moving_variance: Array,
    epsilon: float = 1e-3,
    activation: Activation = None,
) -> Array:
    """Normalise ``x`` (..., C) by given statistics (C,): the formula of :func:`batch_norm`."""
    x_hat = (x - moving_mean) / np.sqrt(moving_variance + x.dtype.type(epsilon))
    return activate(_scale_and_shift(x_hat, gamma, beta), activation)


def batch_norm_inference_backward(
    dy: Array,
    x: Array,
    gamma: Array | None,
    moving_mean: Array,
    moving_variance: Array,
    epsilon: float = 1e-3,
    activation: Activation = None,
    beta: Array | None = None,
    need_weights: bool = True,
) -> tuple[Array, Array | None, Array | None]:
    """Gradients ``dx``, ``dgamma`` and ``dbeta`` (or None) where the statistics are constants."""
    dy = _through(activation, dy, x, (gamma, beta, moving_mean, moving_variance), epsilon)
    axes = tuple(range(x.ndim - 1))
    inverse = 1 / np.sqrt(moving_variance + x.dtype.type(epsilon))
    dgamma = (dy * (x - moving_mean) * inverse).sum(axis=axes)
    dx = dy * (inverse if gamma is None else gamma * inverse)
    return (dx, dgamma, dy.sum(axis=axes)) if need_weights else (dx, None, None)


def _sum_of_neighbours(x: Array, radius: int) -> Array:
    """Sum over channels ``c - radius ... c + radius``, clipped to the image's."""
    channels = x.shape[-1]
    total = np.zeros_like(x)
    for offset in range(-min(radius, channels - 1), min(radius, channels - 1) + 1):
        here = slice(max(0, -offset), min(channels, channels - offset))
        there = slice(max(0, offset), min(channels, channels + offset))
        total[..., here] += x[..., there]
    return total


def local_response_norm(
    x: Array, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5
) -> Array:
    """``x / s**beta`` with ``s = bias + alpha * (sum of x**2 over 2 * depth_radius + 1 channels)``; x is (..., C).

    TensorFlow's form: ``alpha`` multiplies the sum, as in the paper (whose values are 2, 2, 1e-4, 0.75).
    """
    kind = x.dtype.type
    s = kind(bias) + kind(alpha) * _sum_of_neighbours(x * x, depth_radius)
    return x * s ** kind(-beta)


def local_response_norm_backward(
    dy: Array, x: Array, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5
) -> Array:
    """``dx = dy * s**-beta - 2 * alpha * beta * x * (sum over neighbours of dy * x * s**(-beta - 1))``."""
    kind = x.dtype.type
    s = kind(bias) + kind(alpha) * _sum_of_neighbours(x * x, depth_radius)
    through_sums = _sum_of_neighbours(dy * x * s ** kind(-beta - 1), depth_radius)
    return dy * s ** kind(-beta) - kind(2 * alpha * beta) * x * through_sums
