"""Layers of the form activation(linear(x) + bias), where one kernel call does all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from .. import initializers, ops, regularizers
from .arguments import ActivationSpec, activation_spec
from .base import Layer, LayerOptions
from .parameter import Parameter


class FusedActivationLayer(Layer):
    """Base of Conv2D, Dense and their kin: a linear map whose kernel applies the activation before it stores.

    A subclass defines :meth:`linear` and :meth:`backward_linear`. The trainer calls :meth:`forward_linear` to get
    the values before a softmax, which it computes together with the cross-entropy.
    """

    kernel: Parameter
    bias: Parameter | None

    def __init__(
        self,
        activation: Any,
        use_bias: bool,
        bias_initializer: Any,
        bias_regularizer: Any,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.activation: ActivationSpec = activation_spec(activation)
        self.use_bias = bool(use_bias)
        self.bias_initializer = initializers.get(bias_initializer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def add_bias(self, shape: Sequence[int]) -> None:
        """Create :attr:`bias` unless ``use_bias`` is False; called by ``build`` after the kernel."""
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight("bias", shape, self.bias_initializer, regularizer=self.bias_regularizer)

    @property
    def bias_value(self) -> np.ndarray | None:
        """The bias, or None without one."""
        return None if self.bias is None else self.bias.value

    def add_gradients(self, dkernel: np.ndarray | None, dbias: np.ndarray | None) -> None:
        """Hand the gradients of kernel and bias on; None: nobody wants them."""
        if dkernel is not None:
            self.kernel.add_grad(dkernel)
        if dbias is not None and self.bias is not None:
            self.bias.add_grad(dbias)

    def linear(self, x: np.ndarray, activation: ActivationSpec) -> np.ndarray:
        """Return activation(linear(x) + bias)."""
        raise NotImplementedError

    def backward_linear(self, dz: np.ndarray, cache: Any, need_dx: bool = True) -> np.ndarray | None:
        """Return dx for ``dz``, the gradient of the values before the activation; ``cache`` starts with x."""
        raise NotImplementedError

    def forward_linear(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        """Return the values before the activation, and the cache for :meth:`backward_linear`."""
        return self.linear(x, None), (x, None)

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        y = self.linear(x, self.activation)
        return y, (x, None if self.activation is None else y)

    def infer(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        return self.linear(x, self.activation)

    def backward(self, dy: np.ndarray, cache: Any, need_dx: bool = True) -> np.ndarray | None:
        if self.activation is not None:
            dy = ops.activation_backward(dy, cache[1], self.activation)
        return self.backward_linear(dy, cache, need_dx)

    @property
    def final_activation(self) -> str | None:
        """Name of the activation that :meth:`forward_linear` leaves out, or None."""
        return self.activation[0] if isinstance(self.activation, tuple) else self.activation
