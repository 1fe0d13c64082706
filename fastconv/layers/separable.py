"""A depthwise convolution followed by a 1 x 1 convolution."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np

from .. import initializers, ops, regularizers
from ..checks import integer
from ..ops.geometry import PaddingLike, PairLike, conv2d_output_shape, pair
from .arguments import ActivationSpec, check_algorithm, check_channels, check_data_format, check_padding, image_channels
from .base import LayerOptions
from .fused import FusedActivationLayer
from .node import Shape


class SeparableConv2D(FusedActivationLayer):
    """Depthwise, then pointwise convolution, bias, activation: ``(N, H, W, C) -> (N, OH, OW, filters)``.

    Args:
        filters: number of output channels.
        depth_multiplier: filters per channel of the depthwise part.
        depthwise_initializer, pointwise_initializer, depthwise_regularizer, pointwise_regularizer: of the kernels.
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, bias_initializer,
            bias_regularizer, algorithm: as in :class:`Conv2D`; geometry and algorithm of the depthwise part.

    Weights: depthwise_kernel ``(KH, KW, C, depth_multiplier)``, pointwise_kernel
    ``(1, 1, C * depth_multiplier, filters)``, bias ``(filters,)``.

    Raises:
        TypeError, ValueError, OverflowError: as :class:`Conv2D`.
    """

    config_fields = (
        "filters", "kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier", "activation", "use_bias",
        "depthwise_initializer", "pointwise_initializer", "bias_initializer",
        "depthwise_regularizer", "pointwise_regularizer", "bias_regularizer", "algorithm",
    )  # fmt: skip

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = (1, 1),
        padding: PaddingLike = "valid",
        data_format: str | None = None,
        dilation_rate: PairLike = (1, 1),
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        algorithm: str = "auto",
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(activation, use_bias, bias_initializer, bias_regularizer, **kwargs)
        check_data_format(data_format)
        self.filters = integer(filters, "filters")
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.strides = pair(strides, "strides")
        self.padding = check_padding(padding)
        self.dilation_rate = pair(dilation_rate, "dilation_rate")
        self.depth_multiplier = integer(depth_multiplier, "depth_multiplier")
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.pointwise_initializer = initializers.get(pointwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)
        self.algorithm = check_algorithm(algorithm)

    def build(self, input_shape: Shape) -> None:
        channels = image_channels(input_shape)
        self._output_shape(input_shape)
        self.depthwise_kernel = self.add_weight(
            "depthwise_kernel",
            (*self.kernel_size, channels, self.depth_multiplier),
            self.depthwise_initializer,
            regularizer=self.depthwise_regularizer,
        )
        self.pointwise_kernel = self.add_weight(
            "pointwise_kernel",
            (1, 1, channels * self.depth_multiplier, self.filters),
            self.pointwise_initializer,
            regularizer=self.pointwise_regularizer,
        )
        self.add_bias((self.filters,))

    def _depthwise(self, x: np.ndarray) -> np.ndarray:
        geometry = (self.strides, self.padding, self.dilation_rate)
        return ops.depthwise_conv2d(x, self.depthwise_kernel.value, None, *geometry, None, self.algorithm)

    def _pointwise(self, h: np.ndarray, activation: ActivationSpec) -> np.ndarray:
        return ops.conv2d(h, self.pointwise_kernel.value, self.bias_value, activation=activation)

    def linear(self, x: np.ndarray, activation: ActivationSpec) -> np.ndarray:
        return self._pointwise(self._depthwise(x), activation)

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        h = self._depthwise(x)
        y = self._pointwise(h, self.activation)
        return y, (x, None if self.activation is None else y, h)

    def forward_linear(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        h = self._depthwise(x)
        return self._pointwise(h, None), (x, None, h)

    def backward_linear(self, dz: np.ndarray, cache: Any, need_dx: bool = True) -> np.ndarray | None:
        x, _, h = cache
        if self._learns:
            dpointwise, dbias = ops.conv2d_backward_weights(h, dz, 1)
            self.pointwise_kernel.add_grad(dpointwise)
            if self.bias is not None:
                self.bias.add_grad(dbias)
        if not (need_dx or self.depthwise_kernel.trainable):
            return None
        dh = ops.conv2d_backward_data(dz, self.pointwise_kernel.value, h.shape)
        geometry = (self.strides, self.padding, self.dilation_rate, self.algorithm)
        if self.depthwise_kernel.trainable:
            ddepthwise, _ = ops.depthwise_conv2d_backward_weights(x, dh, self.kernel_size, *geometry)
            self.depthwise_kernel.add_grad(ddepthwise)
        if not need_dx:
            return None
        return ops.depthwise_conv2d_backward_data(dh, self.depthwise_kernel.value, x.shape, *geometry)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_channels(input_shape, self.depthwise_kernel.shape[2])
        return self._output_shape(input_shape)

    def _output_shape(self, input_shape: Shape) -> Shape:
        return conv2d_output_shape(
            input_shape, self.kernel_size, self.filters, self.strides, self.padding, self.dilation_rate
        )

    def multiply_adds(self, input_shape: Any, output_shape: Any) -> int:
        pixels = output_shape[1] * output_shape[2]
        return pixels * input_shape[-1] * self.depth_multiplier * (math.prod(self.kernel_size) + self.filters)
