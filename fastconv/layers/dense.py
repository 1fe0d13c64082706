"""The fully connected layer."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np

from .. import initializers, ops, regularizers
from ..checks import integer
from .arguments import ActivationSpec
from .base import LayerOptions
from .fused import FusedActivationLayer
from .node import Shape


class Dense(FusedActivationLayer):
    """``activation(x @ kernel + bias)`` on the last axis: ``(..., inputs) -> (..., units)``.

    Args:
        units: number of outputs.
        activation: name, e.g. ``"relu"``, ``"softmax"``; None for none.
        use_bias: whether to add a bias.
        kernel_initializer, bias_initializer: see ``fastconv.initializers``.
        kernel_regularizer, bias_regularizer: see ``fastconv.regularizers``.

    Weights: kernel ``(inputs, units)``, bias ``(units,)``.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; an input without channels.
    """

    config_fields = (
        "units", "activation", "use_bias", "kernel_initializer", "bias_initializer",
        "kernel_regularizer", "bias_regularizer",
    )  # fmt: skip

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(activation, use_bias, bias_initializer, bias_regularizer, **kwargs)
        self.units = integer(units, "units")
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        inputs = input_shape[-1]
        if len(input_shape) < 2 or inputs is None:
            raise ValueError(f"the last axis of the input must have a known size, got shape {tuple(input_shape)}")
        self.kernel = self.add_weight(
            "kernel", (inputs, self.units), self.kernel_initializer, regularizer=self.kernel_regularizer
        )
        self.add_bias((self.units,))

    def linear(self, x: np.ndarray, activation: ActivationSpec) -> np.ndarray:
        return ops.dense(x, self.kernel.value, self.bias_value, activation)

    def backward_linear(self, dz: np.ndarray, cache: Any, need_dx: bool = True) -> np.ndarray | None:
        x, kernel = cache[0], self.kernel.value
        if not self._learns:
            rows = ops.matmul(dz.reshape(-1, self.units), kernel, transpose_b=True)
            return rows.reshape(x.shape)
        dx, dkernel, dbias = ops.dense_backward(dz, x, kernel, need_dx=need_dx)
        self.kernel.add_grad(dkernel)
        if self.bias is not None:
            self.bias.add_grad(dbias)
        return dx

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        inputs = self.kernel.shape[0]
        if input_shape[-1] != inputs:
            raise ValueError(f"expected {inputs} features on the last axis, got input shape {tuple(input_shape)}")
        return (*input_shape[:-1], self.units)

    def multiply_adds(self, input_shape: Any, output_shape: Any) -> int:
        return math.prod(input_shape[1:]) * self.units
