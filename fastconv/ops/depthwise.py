"""Depthwise convolution: every channel has filters of its own.

It is :func:`conv2d` with ``groups = C``: a depthwise kernel (KH, KW, C, multiplier) and a grouped kernel
(KH, KW, 1, C * multiplier) are the same numbers in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.errors import channels_first_hint
from fastconv.ops import _checks, geometry
from fastconv.ops.activation import Activation
from fastconv.ops.convolution import conv2d, conv2d_backward_data, conv2d_backward_weights
from fastconv.ops.geometry import PaddingLike, PairLike


def _grouped(kernel: Any, shape: Sequence[int]) -> np.ndarray:
    """The kernel of a grouped convolution of an input of ``shape``."""
    kernel = _checks.array(kernel, "kernel", 4)
    kh, kw, c, multiplier = kernel.shape
    if c != shape[3]:
        hint = channels_first_hint(shape, c)
        raise ValueError(
            f"depthwise kernel of shape {kernel.shape} is for {c} channels, but the input has {shape[3]}{hint}"
        )
    return kernel.reshape(kh, kw, 1, c * multiplier)


def depthwise_conv2d(
    x: Any,
    kernel: Any,
    bias: Any = None,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    dilation_rate: PairLike = 1,
    activation: Activation = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """Convolve each channel of ``x`` (N, H, W, C) with its own filters: y (N, OH, OW, C * multiplier).

    ``kernel`` is (KH, KW, C, multiplier), as Keras; output channel ``c * multiplier + m`` is filter m of channel c.
    Other arguments and errors as in :func:`fastconv.ops.conv2d`.
    """
    x = _checks.image(x, "x")
    kernel = _grouped(kernel, x.shape)
    return conv2d(x, kernel, bias, strides, padding, dilation_rate, x.shape[3], activation, algorithm)


def depthwise_conv2d_backward_data(
    dy: Any,
    kernel: Any,
    input_shape: Sequence[int],
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    dilation_rate: PairLike = 1,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient with respect to the input, of ``input_shape``, from dy (N, OH, OW, C * multiplier)."""
    shape = geometry.shape4(input_shape, "input_shape")
    kernel = _grouped(kernel, shape)
    return conv2d_backward_data(dy, kernel, input_shape, strides, padding, dilation_rate, shape[3], algorithm)


def depthwise_conv2d_backward_weights(
    x: Any,
    dy: Any,
    kernel_size: PairLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    dilation_rate: PairLike = 1,
    algorithm: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients with respect to the parameters: dkernel (KH, KW, C, multiplier) and dbias (C * multiplier,)."""
    x = _checks.image(x, "x")
    channels = x.shape[3]
    dkernel, dbias = conv2d_backward_weights(x, dy, kernel_size, strides, padding, dilation_rate, channels, algorithm)
    kh, kw, _, filters = dkernel.shape
    return dkernel.reshape(kh, kw, channels, filters // channels), dbias
