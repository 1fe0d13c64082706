"""The transposed convolution: the backward pass of a convolution as a layer, for growing images."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np

from .. import initializers, ops, regularizers
from ..checks import integer
from ..ops.geometry import PaddingLike, PairLike, conv2d_transpose_geometry, conv2d_transpose_output_shape
from .arguments import ActivationSpec, check_channels, check_data_format, check_padding, image_channels
from .base import LayerOptions
from .fused import FusedActivationLayer
from .node import Shape


class Conv2DTranspose(FusedActivationLayer):
    """Transposed convolution with bias and activation: ``(N, H, W, C) -> (N, OH, OW, filters)``.

    With ``"valid"`` OH = H * stride + max(dilated kernel - stride, 0), with ``"same"`` H * stride, as Keras; with
    numbers OH = (H - 1) * stride - padding + dilated kernel + output_padding, as PyTorch.

    Args:
        filters: number of output channels.
        output_padding: int or (height, width) below the strides: rows and columns added at the bottom and right,
            which tell apart the sizes that a strided convolution maps to one; None for the rule above.
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, kernel_initializer,
            bias_initializer, kernel_regularizer, bias_regularizer: as in :class:`Conv2D`.

    Weights: kernel ``(KH, KW, filters, C)``, bias ``(filters,)``.

    Raises:
        TypeError, ValueError, OverflowError: as :class:`Conv2D`.
    """

    config_fields = (
        "filters", "kernel_size", "strides", "padding", "output_padding", "dilation_rate", "activation", "use_bias",
        "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer",
    )  # fmt: skip

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = (1, 1),
        padding: PaddingLike = "valid",
        output_padding: PairLike | None = None,
        data_format: str | None = None,
        dilation_rate: PairLike = (1, 1),
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
        self.kernel_size, self.strides, self.padding, self.output_padding, self.dilation_rate = (
            conv2d_transpose_geometry(kernel_size, strides, check_padding(padding), output_padding, dilation_rate)
        )
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        channels = image_channels(input_shape)
        self._output_shape(input_shape)
        self.kernel = self.add_weight(
            "kernel",
            (*self.kernel_size, self.filters, channels),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.add_bias((self.filters,))

    def linear(self, x: np.ndarray, activation: ActivationSpec) -> np.ndarray:
        geometry = (self.strides, self.padding, self.output_padding, self.dilation_rate)
        return ops.conv2d_transpose(x, self.kernel.value, self.bias_value, *geometry, activation)

    def backward_linear(self, dz: np.ndarray, cache: Any, need_dx: bool = True) -> np.ndarray | None:
        geometry = (self.strides, self.padding, self.output_padding, self.dilation_rate)
        dx, dkernel, dbias = ops.conv2d_transpose_backward(
            dz, cache[0], self.kernel.value, *geometry, need_dx=need_dx, need_weights=self._learns
        )
        self.add_gradients(dkernel, dbias)
        return dx

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_channels(input_shape, self.kernel.shape[3])
        return self._output_shape(input_shape)

    def _output_shape(self, input_shape: Shape) -> Shape:
        geometry = (self.strides, self.padding, self.output_padding, self.dilation_rate)
        return conv2d_transpose_output_shape(input_shape, self.kernel_size, self.filters, *geometry)

    def multiply_adds(self, input_shape: Any, output_shape: Any) -> int:
        return math.prod(input_shape[1:]) * math.prod(self.kernel_size) * self.filters
