"""Activations as layers of their own. Where a layer has ``activation=``, that is faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from .. import initializers, ops, regularizers
from ..checks import integer
from .arguments import ActivationSpec, activation_spec, at_least
from .base import Layer, LayerOptions
from .node import Shape


class _Elementwise(Layer):
    """Base: an activation of the list that ``ops`` know, its gradient computed from its output."""

    activation: ActivationSpec

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def as_activation(self) -> ActivationSpec:
        """Return what ``activation=`` of another layer takes for the same function."""
        return self.activation

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        y = self.infer(x)
        return y, y

    def infer(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        return x if self.activation is None else ops.activate(x, self.activation)

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return dy if self.activation is None else ops.activation_backward(dy, cache, self.activation)

    def forward_linear(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        """Leave the activation out, see :attr:`Model.final_activations`."""
        return x, None

    def backward_linear(self, dz: np.ndarray, cache: Any) -> np.ndarray:
        """Gradient of :meth:`forward_linear`."""
        return dz

    @property
    def final_activation(self) -> str | None:
        """Name of the activation that :meth:`forward_linear` leaves out."""
        return self.activation[0] if isinstance(self.activation, tuple) else self.activation


class Activation(_Elementwise):
    """An activation by name.

    Args:
        activation: ``"relu"``, ``"relu6"``, ``"leaky_relu"``, ``"elu"``, ``"sigmoid"``, ``"tanh"``, ``"softmax"``,
            ``"linear"``, or ``("leaky_relu", slope)``, ``("elu", alpha)``.

    Raises:
        ValueError: an unknown name.
    """

    config_fields = ("activation",)

    def __init__(self, activation: Any, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.activation = activation_spec(activation)


class Softmax(_Elementwise):
    """``exp(x) / sum(exp(x))`` over the last axis.

    Args:
        axis: -1, the only one supported.

    Raises:
        ValueError: another axis.
    """

    config_fields = ("axis",)

    def __init__(self, axis: int = -1, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        if axis != -1:
            raise ValueError(f"axis must be -1 (the last), got {axis!r}")
        self.axis = axis
        self.activation = "softmax"


class LeakyReLU(_Elementwise):
    """``x`` where positive, else ``negative_slope * x``.

    Args:
        negative_slope: >= 0.

    Raises:
        TypeError, ValueError: not a number, or negative.
    """

    config_fields = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.3, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.negative_slope = at_least(negative_slope, "negative_slope")
        self.activation = ("leaky_relu", self.negative_slope) if self.negative_slope else "relu"


class ELU(_Elementwise):
    """``x`` where positive, else ``alpha * (exp(x) - 1)``.

    Args:
        alpha: >= 0.

    Raises:
        TypeError, ValueError: not a number, or negative.
    """

    config_fields = ("alpha",)

    def __init__(self, alpha: float = 1.0, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.alpha = at_least(alpha, "alpha")
        self.activation = ("elu", self.alpha) if self.alpha else "relu"


class ReLU(_Elementwise):
    """Rectifier: ``max(x, 0)`` by default.

    In general ``max_value`` where x >= max_value, ``x`` where threshold <= x < max_value, and
    ``negative_slope * (x - threshold)`` below.

    Args:
        max_value: >= 0, or None for no limit.
        negative_slope: >= 0.
        threshold: >= 0.

    Raises:
        TypeError, ValueError: not a number, or negative.
    """

    config_fields = ("max_value", "negative_slope", "threshold")

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else at_least(max_value, "max_value")
        self.negative_slope = at_least(negative_slope, "negative_slope")
        self.threshold = at_least(threshold, "threshold")
        self.activation = None
        if self.max_value is None and not self.threshold:
            self.activation = ("leaky_relu", self.negative_slope) if self.negative_slope else "relu"
        elif self.max_value == 6 and not self.threshold and not self.negative_slope:
            self.activation = "relu6"

    def as_activation(self) -> ActivationSpec:
        if self.activation is None:
            raise ValueError(f"{self!r} has no fused form: add it as a layer of its own")
        return self.activation

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        y = self.infer(x)
        return y, x if self.activation is None else y

    def infer(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        if self.activation is not None:
            return ops.activate(x, self.activation)
        y = np.where(x >= self.threshold, x, x.dtype.type(self.negative_slope) * (x - x.dtype.type(self.threshold)))
        return y if self.max_value is None else np.minimum(y, x.dtype.type(self.max_value))

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        if self.activation is not None:
            return ops.activation_backward(dy, cache, self.activation)
        dx = np.where(cache > self.threshold, dy, dy.dtype.type(self.negative_slope) * dy)
        return dx if self.max_value is None else np.where(cache < self.max_value, dx, dy.dtype.type(0))

    @property
    def final_activation(self) -> str | None:
        return None if self.activation is None else super().final_activation


class PReLU(Layer):
    """``x`` where positive, else ``alpha * x`` with learned alpha (He et al. 2015).

    Args:
        alpha_initializer, alpha_regularizer: of alpha.
        alpha_constraint: not supported, must be None.
        shared_axes: axes that share one alpha, counted from 1 (the batch is 0): ``(1, 2)`` for one per channel.

    Weights: alpha, of the input's shape without the batch, shared axes 1.

    Raises:
        TypeError, ValueError: an axis that does not exist; an axis of unknown size that is not shared.
    """

    config_fields = ("alpha_initializer", "alpha_regularizer", "alpha_constraint", "shared_axes")

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: None = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        if alpha_constraint is not None:
            raise ValueError("alpha_constraint is not supported")
        self.alpha_constraint = alpha_constraint
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        axes = (shared_axes,) if isinstance(shared_axes, int) else shared_axes or ()
        self.shared_axes = tuple(integer(axis, "shared_axes") for axis in axes)

    def build(self, input_shape: Shape) -> None:
        if any(axis >= len(input_shape) for axis in self.shared_axes):
            raise ValueError(f"shared_axes {self.shared_axes} do not exist in input shape {tuple(input_shape)}")
        sizes = [1 if i in self.shared_axes else size for i, size in enumerate(input_shape)][1:]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            raise ValueError(f"input shape {tuple(input_shape)} has unknown sizes: share these axes")
        self.alpha = self.add_weight("alpha", known, self.alpha_initializer, regularizer=self.alpha_regularizer)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for size, own in zip(input_shape[1:], self.alpha.shape, strict=True):
            if own != 1 and size != own:
                raise ValueError(f"alpha of shape {self.alpha.shape} does not fit input shape {tuple(input_shape)}")
        return input_shape

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        return ops.prelu(x, self.alpha.value), x

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        dx, dalpha = ops.prelu_backward(dy, cache, self.alpha.value, need_weights=self.alpha.trainable)
        if dalpha is not None:
            self.alpha.add_grad(dalpha)
        return dx
