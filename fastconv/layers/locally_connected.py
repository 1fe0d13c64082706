"""A convolution whose kernel differs from position to position."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np

from .. import initializers, ops, regularizers
from ..checks import integer
from ..ops.geometry import PairLike, conv2d_output_shape, pair
from .arguments import ActivationSpec, check_data_format, image_channels
from .base import LayerOptions
from .fused import FusedActivationLayer
from .node import Shape


class LocallyConnected2D(FusedActivationLayer):
    """Convolution without weight sharing (Keras 2): ``(N, H, W, C) -> (N, OH, OW, filters)``.

    Args:
        filters: number of output channels.
        padding: ``"valid"``, the only one there is.
        kernel_size, strides, data_format, activation, use_bias, kernel_initializer, bias_initializer,
            kernel_regularizer, bias_regularizer: as in :class:`Conv2D`.

    Weights: kernel ``(OH, OW, KH * KW * C, filters)``, bias ``(OH, OW, filters)``.

    Raises:
        TypeError, ValueError, OverflowError: as :class:`Conv2D`; an input of unknown height or width.
    """

    config_fields = (
        "filters", "kernel_size", "strides", "padding", "activation", "use_bias",
        "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer",
    )  # fmt: skip

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(activation, use_bias, bias_initializer, bias_regularizer, **kwargs)
        check_data_format(data_format)
        self.filters = integer(filters, "filters")
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.strides = pair(strides, "strides")
        if padding != "valid":
            raise ValueError(f"padding must be 'valid', got {padding!r}; put a ZeroPadding2D before")
        self.padding = padding
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        channels = image_channels(input_shape)
        _, oh, ow, _ = self._output_shape(input_shape)
        if oh is None or ow is None:
            raise ValueError(f"needs a known height and width, got input shape {tuple(input_shape)}")
        self.built_for = tuple(input_shape[1:])
        self.kernel = self.add_weight(
            "kernel",
            (oh, ow, math.prod(self.kernel_size) * channels, self.filters),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.add_bias((oh, ow, self.filters))

    def linear(self, x: np.ndarray, activation: ActivationSpec) -> np.ndarray:
        y = ops.locally_connected2d(x, self.kernel.value, self.bias_value, self.kernel_size, self.strides)
        return y if activation is None else ops.activate(y, activation)

    def backward_linear(self, dz: np.ndarray, cache: Any, need_dx: bool = True) -> np.ndarray | None:
        dx, dkernel, dbias = ops.locally_connected2d_backward(
            dz, cache[0], self.kernel.value, self.kernel_size, self.strides, need_dx=need_dx, need_weights=self._learns
        )
        self.add_gradients(dkernel, dbias)
        return dx

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if tuple(input_shape[1:]) != self.built_for:
            raise ValueError(f"was built for inputs (None, {str(self.built_for)[1:]}, got {tuple(input_shape)}")
        return self._output_shape(input_shape)

    def _output_shape(self, input_shape: Shape) -> Shape:
        return conv2d_output_shape(input_shape, self.kernel_size, self.filters, self.strides)

    def multiply_adds(self, input_shape: Any, output_shape: Any) -> int:
        return math.prod(output_shape[1:]) * math.prod(self.kernel_size) * input_shape[-1]
