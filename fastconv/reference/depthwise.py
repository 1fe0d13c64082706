"""Depthwise convolution: every channel is convolved with filters of its own, channels are never mixed.

It is a convolution with as many groups as channels, and a depthwise kernel (KH, KW, C, M) is the same memory as the
kernel (KH, KW, 1, C*M) of that convolution. F. Chollet, "Xception: Deep Learning with Depthwise Separable
Convolutions" (CVPR 2017); A. Howard et al., "MobileNets" (2017).
"""

from collections.abc import Sequence

from fastconv.reference.activation import Activation
from fastconv.reference.convolution import conv2d, conv2d_backward_data, conv2d_backward_weights
from fastconv.reference.geometry import Array, IntOrPair, PaddingLike


def _as_grouped(kernel: Array) -> Array:
    """(KH, KW, C, M) -> (KH, KW, 1, C*M)."""
    kh, kw, channels, multiplier = kernel.shape
    return kernel.reshape(kh, kw, 1, channels * multiplier)


def depthwise_conv2d(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    strides: IntOrPair = 1,
    padding: PaddingLike = "valid",
    dilation_rate: IntOrPair = 1,
    activation: Activation = None,
    algorithm: str = "auto",
) -> Array:
    """``x`` (N, H, W, C), ``kernel`` (KH, KW, C, M) -> (N, OH, OW, C*M); output c*M + m is filter m of channel c."""
    groups = x.shape[-1]
    return conv2d(x, _as_grouped(kernel), bias, strides, padding, dilation_rate, groups, activation, algorithm)


def depthwise_conv2d_backward_data(
    dy: Array,
    kernel: Array,
    input_shape: Sequence[int],
    strides: IntOrPair = 1,
    padding: PaddingLike = "valid",
    dilation_rate: IntOrPair = 1,
    algorithm: str = "auto",
) -> Array:
    """Gradient with respect to the input: ``dx`` of ``input_shape`` from ``dy`` (N, OH, OW, C*M)."""
    return conv2d_backward_data(
        dy, _as_grouped(kernel), input_shape, strides, padding, dilation_rate, groups=input_shape[-1]
    )


def depthwise_conv2d_backward_weights(
    x: Array,
    dy: Array,
    kernel_size: IntOrPair,
    strides: IntOrPair = 1,
    padding: PaddingLike = "valid",
    dilation_rate: IntOrPair = 1,
    algorithm: str = "auto",
) -> tuple[Array, Array]:
    """Gradients with respect to kernel and bias: ``dkernel`` (KH, KW, C, M) and ``dbias`` (C*M,)."""
    channels = x.shape[-1]
    dkernel, dbias = conv2d_backward_weights(x, dy, kernel_size, strides, padding, dilation_rate, groups=channels)
    return dkernel.reshape(*dkernel.shape[:2], channels, -1), dbias
