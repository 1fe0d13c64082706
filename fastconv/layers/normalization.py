"""Normalisation: over the batch, over neighbouring channels."""

from __future__ import annotations

import warnings
from typing import Any, Unpack

import numpy as np

from .. import initializers, ops, regularizers
from ..checks import integer
from .arguments import ActivationSpec, positive, real
from .base import Layer, LayerOptions
from .node import Shape
from .parameter import Parameter


class BatchNormalization(Layer):
    """``gamma * (x - mean) / sqrt(variance + epsilon) + beta`` per channel (Ioffe and Szegedy 2015).

    In training mean and (biased) variance are those of the batch, and the moving averages follow them:
    ``moving = momentum * moving + (1 - momentum) * batch``. Otherwise, and while ``trainable`` is False, the moving
    averages are used.

    Args:
        axis: the channels; only the last axis.
        momentum: of the moving averages, in [0, 1].
        epsilon: > 0, added to the variance.
        center, scale: whether there is a beta, a gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer,
            beta_regularizer, gamma_regularizer: of the weights.

    Weights, each ``(C,)``: gamma, beta, moving_mean, moving_variance.

    A batch of one value per channel has variance 0, and is warned about.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.
    """

    config_fields = (
        "axis", "momentum", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer",
        "moving_mean_initializer", "moving_variance_initializer", "beta_regularizer", "gamma_regularizer",
    )  # fmt: skip

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.axis = integer(axis, "axis", -1)
        self.momentum = real(momentum, "momentum")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
        self.epsilon = positive(epsilon, "epsilon")
        self.center = bool(center)
        self.scale = bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)

    def build(self, input_shape: Shape) -> None:
        if self.axis not in (-1, len(input_shape) - 1):
            raise ValueError(f"axis must be the last one (-1 or {len(input_shape) - 1}), got {self.axis}")
        channels = input_shape[-1]
        if len(input_shape) < 2 or channels is None:
            raise ValueError(f"the last axis of the input must have a known size, got shape {tuple(input_shape)}")
        shape = (channels,)
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight("gamma", shape, self.gamma_initializer, regularizer=self.gamma_regularizer)
        if self.center:
            self.beta = self.add_weight("beta", shape, self.beta_initializer, regularizer=self.beta_regularizer)
        self.moving_mean = self.add_weight("moving_mean", shape, self.moving_mean_initializer, trainable=False)
        self.moving_variance = self.add_weight(
            "moving_variance", shape, self.moving_variance_initializer, trainable=False
        )

    def forward(
        self, x: np.ndarray, training: bool = False, activation: ActivationSpec = None
    ) -> tuple[np.ndarray, Any]:
        """Return the output and the cache.

        A model hands in the ``activation`` that follows, a rectifier, so that both are one pass; ``backward`` and
        ``infer`` get the same one.
        """
        if not (training and self.trainable):
            # Copies: a later training step moves the averages in place.
            statistics = self.moving_mean.numpy(), self.moving_variance.numpy()
            return self.infer(x, activation=activation), (x, *statistics, False)
        y, mean, variance = self._train(x, activation)
        return y, (x, mean, variance, True)

    def infer(self, x: np.ndarray, training: bool = False, activation: ActivationSpec = None) -> np.ndarray:
        if training and self.trainable:
            return self._train(x, activation)[0]
        statistics = self.moving_mean.value, self.moving_variance.value
        return ops.batch_norm_inference(x, _value(self.gamma), _value(self.beta), *statistics, self.epsilon, activation)

    def backward(self, dy: np.ndarray, cache: Any, activation: ActivationSpec = None) -> np.ndarray:
        x, mean, variance, training = cache
        arguments = (dy, x, _value(self.gamma), mean, variance, self.epsilon, activation, _value(self.beta))
        if not training:
            dx, dgamma, dbeta = ops.batch_norm_inference_backward(*arguments, need_weights=self._learns)
        else:
            dx, dgamma, dbeta = ops.batch_norm_backward(*arguments)
        if self.gamma is not None and dgamma is not None:
            self.gamma.add_grad(dgamma)
        if self.beta is not None and dbeta is not None:
            self.beta.add_grad(dbeta)
        return dx

    def _train(self, x: np.ndarray, activation: ActivationSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        y, mean, variance = ops.batch_norm(x, _value(self.gamma), _value(self.beta), self.epsilon, activation)
        if x.size == mean.size:
            warnings.warn(
                f"{self.label} was trained on one value per channel: their variance is 0 and the output beta",
                RuntimeWarning,
                stacklevel=2,
            )
        if x.shape[0]:
            self.moving_mean.blend(mean, self.momentum)
            self.moving_variance.blend(variance, self.momentum)
        return y, mean, variance

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = self.moving_mean.shape[0]
        if input_shape[-1] != channels:
            raise ValueError(f"expected {channels} channels on the last axis, got input shape {tuple(input_shape)}")
        return input_shape


class LocalResponseNormalization(Layer):
    """``x / (bias + alpha * sum of squares over neighbouring channels) ** beta`` (Krizhevsky et al. 2012, 3.3).

    TensorFlow's form: alpha multiplies the sum, and the sum runs over ``2 * depth_radius + 1`` channels.

    Args:
        depth_radius: channels to each side, >= 0.
        bias: > 0.
        alpha, beta: numbers.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range.
    """

    config_fields = ("depth_radius", "bias", "alpha", "beta")

    def __init__(
        self,
        depth_radius: int = 5,
        bias: float = 1.0,
        alpha: float = 1.0,
        beta: float = 0.5,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.depth_radius = integer(depth_radius, "depth_radius", 0)
        self.bias = positive(bias, "bias")
        self.alpha = real(alpha, "alpha")
        self.beta = real(beta, "beta")

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        return ops.local_response_norm(x, self.depth_radius, self.bias, self.alpha, self.beta), x

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return ops.local_response_norm_backward(dy, cache, self.depth_radius, self.bias, self.alpha, self.beta)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


def _value(parameter: Parameter | None) -> np.ndarray | None:
    return None if parameter is None else parameter.value
