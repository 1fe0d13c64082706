"""Convolutions with one kernel for all positions: Conv2D, DepthwiseConv2D."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np

from .. import config, initializers, ops, regularizers
from ..checks import integer
from ..ops.geometry import PaddingLike, PairLike, conv2d_output_shape, pair
from .arguments import ActivationSpec, check_algorithm, check_channels, check_data_format, check_padding, image_channels
from .base import LayerOptions
from .fused import FusedActivationLayer
from .node import Shape


class Conv2D(FusedActivationLayer):
    """2-D convolution (cross-correlation) with bias and activation: ``(N, H, W, C) -> (N, OH, OW, filters)``.

    OH = floor((H + padding - dilation * (kernel - 1) - 1) / stride) + 1, with ``"same"`` ceil(H / stride).

    Args:
        filters: number of output channels.
        kernel_size, strides, dilation_rate: int or (height, width).
        padding: ``"valid"``, ``"same"``, int, (h, w) or ((top, bottom), (left, right)).
        data_format: None or ``"channels_last"``.
        groups: the channels are split into that many groups, each with its own filters.
        activation: name, e.g. ``"relu"``, applied by the same kernel call.
        use_bias: whether to add one bias per filter.
        kernel_initializer, bias_initializer: see ``fastconv.initializers``.
        kernel_regularizer, bias_regularizer: see ``fastconv.regularizers``.
        algorithm: ``"auto"`` or one of ``ops.conv2d_algorithms()``, your own included (``ops.register_conv2d``).
            In float32 ``"auto"`` may choose Winograd, whose rounding errors are not local: see
            :func:`fastconv.set_conv2d_accuracy`.

    Weights: kernel ``(KH, KW, C / groups, filters)``, bias ``(filters,)``.

    Raises:
        TypeError, ValueError, OverflowError: an argument of the wrong type or out of range; a kernel larger than
            the padded input, with the arithmetic.
    """

    config_fields = (
        "filters", "kernel_size", "strides", "padding", "dilation_rate", "groups", "activation", "use_bias",
        "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer", "algorithm",
    )  # fmt: skip

    def __init__(
        self,
        filters: int,
        kernel_size: PairLike,
        strides: PairLike = (1, 1),
        padding: PaddingLike = "valid",
        data_format: str | None = None,
        dilation_rate: PairLike = (1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
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
        self.groups = integer(groups, "groups")
        if self.filters % self.groups:
            raise ValueError(f"{self.filters} filters are not divisible by groups = {self.groups}")
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.algorithm = check_algorithm(algorithm)
        self._prepared: tuple[np.ndarray, tuple[Any, ...], Any] | None = None

    def build(self, input_shape: Shape) -> None:
        channels = image_channels(input_shape)
        self._output_shape(input_shape)
        self.kernel = self.add_weight(
            "kernel",
            (*self.kernel_size, channels // self.groups, self.filters),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.add_bias((self.filters,))

    def linear(self, x: np.ndarray, activation: ActivationSpec) -> np.ndarray:
        geometry = (self.strides, self.padding, self.dilation_rate, self.groups)
        return ops.conv2d(x, self.kernel.value, self.bias_value, *geometry, activation, self.algorithm)

    def infer(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        geometry = (self.strides, self.padding, self.dilation_rate, self.groups)
        return ops.conv2d(x, self._kernel_for(x), self.bias_value, *geometry, self.activation, self.algorithm)

    def _kernel_for(self, x: np.ndarray) -> np.ndarray | ops.PreparedKernel:
        """The kernel, transformed once for as long as neither it nor the shape of a batch changes."""
        kernel, version = self.kernel.value, self.kernel.version  # before the values are read
        key = (version, x.shape, config.get_conv2d_accuracy())
        prepared = self._prepared  # read once: a thread that trains may take it away
        if prepared is None or prepared[0] is not kernel or prepared[1] != key:
            ready = ops.prepare_conv2d(
                kernel, x.shape, self.strides, self.padding, self.dilation_rate, self.groups, self.algorithm
            )
            prepared = (kernel, key, ready)
            if version % 2 == 0:
                self._prepared = prepared
        return prepared[2]

    def backward_linear(self, dz: np.ndarray, cache: Any, need_dx: bool = True) -> np.ndarray | None:
        x = cache[0]
        self._prepared = None  # who trains has other use for the memory
        geometry = (self.strides, self.padding, self.dilation_rate, self.groups, self.algorithm)
        if self._learns:
            dkernel, dbias = ops.conv2d_backward_weights(x, dz, self.kernel_size, *geometry)
            self.kernel.add_grad(dkernel)
            if self.bias is not None:
                self.bias.add_grad(dbias)
        return ops.conv2d_backward_data(dz, self.kernel.value, x.shape, *geometry) if need_dx else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_channels(input_shape, self.kernel.shape[2] * self.groups)
        return self._output_shape(input_shape)

    def _output_shape(self, input_shape: Shape) -> Shape:
        return conv2d_output_shape(
            input_shape, self.kernel_size, self.filters, self.strides, self.padding, self.dilation_rate, self.groups
        )

    def multiply_adds(self, input_shape: Any, output_shape: Any) -> int:
        return math.prod(output_shape[1:]) * math.prod(self.kernel_size) * input_shape[-1] // self.groups


class DepthwiseConv2D(FusedActivationLayer):
    """Each channel convolved by filters of its own: ``(N, H, W, C) -> (N, OH, OW, C * depth_multiplier)``.

    Args:
        depth_multiplier: filters per channel; output channel ``c * depth_multiplier + m``.
        depthwise_initializer, depthwise_regularizer: of the kernel.
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, bias_initializer,
            bias_regularizer, algorithm: as in :class:`Conv2D`.

    Weights: kernel ``(KH, KW, C, depth_multiplier)``, bias ``(C * depth_multiplier,)``.

    Raises:
        TypeError, ValueError, OverflowError: as :class:`Conv2D`.
    """

    config_fields = (
        "kernel_size", "strides", "padding", "depth_multiplier", "dilation_rate", "activation", "use_bias",
        "depthwise_initializer", "bias_initializer", "depthwise_regularizer", "bias_regularizer", "algorithm",
    )  # fmt: skip

    def __init__(
        self,
        kernel_size: PairLike,
        strides: PairLike = (1, 1),
        padding: PaddingLike = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: PairLike = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        *,
        algorithm: str = "auto",
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(activation, use_bias, bias_initializer, bias_regularizer, **kwargs)
        check_data_format(data_format)
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.strides = pair(strides, "strides")
        self.padding = check_padding(padding)
        self.depth_multiplier = integer(depth_multiplier, "depth_multiplier")
        self.dilation_rate = pair(dilation_rate, "dilation_rate")
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.algorithm = check_algorithm(algorithm)

    def build(self, input_shape: Shape) -> None:
        channels = image_channels(input_shape)
        self._output_shape(input_shape)
        self.kernel = self.add_weight(
            "kernel",
            (*self.kernel_size, channels, self.depth_multiplier),
            self.depthwise_initializer,
            regularizer=self.depthwise_regularizer,
        )
        self.add_bias((channels * self.depth_multiplier,))

    def linear(self, x: np.ndarray, activation: ActivationSpec) -> np.ndarray:
        geometry = (self.strides, self.padding, self.dilation_rate)
        return ops.depthwise_conv2d(x, self.kernel.value, self.bias_value, *geometry, activation, self.algorithm)

    def backward_linear(self, dz: np.ndarray, cache: Any, need_dx: bool = True) -> np.ndarray | None:
        x = cache[0]
        geometry = (self.strides, self.padding, self.dilation_rate, self.algorithm)
        if self._learns:
            dkernel, dbias = ops.depthwise_conv2d_backward_weights(x, dz, self.kernel_size, *geometry)
            self.kernel.add_grad(dkernel)
            if self.bias is not None:
                self.bias.add_grad(dbias)
        return ops.depthwise_conv2d_backward_data(dz, self.kernel.value, x.shape, *geometry) if need_dx else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        check_channels(input_shape, self.kernel.shape[2])
        return self._output_shape(input_shape)

    def _output_shape(self, input_shape: Shape) -> Shape:
        channels = image_channels(input_shape)
        filters = channels * self.depth_multiplier
        return conv2d_output_shape(
            input_shape, self.kernel_size, filters, self.strides, self.padding, self.dilation_rate, channels
        )

    def multiply_adds(self, input_shape: Any, output_shape: Any) -> int:
        return math.prod(output_shape[1:]) * math.prod(self.kernel_size)
