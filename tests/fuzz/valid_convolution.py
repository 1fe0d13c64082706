"""Convolutions of all kinds, and the matrix products below them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from support import WINOGRAD, ConvCase, random_conv_case

from fastconv import ops, reference
from fastconv.ops import geometry

from .comparing import Case, Comparison, check_close

#: Winograd's error is larger than a direct sum's; a wrong tap is larger by far.
_WINOGRAD_SCALE = 4.0


def _geometry(c: Comparison) -> ConvCase:
    """A geometry; of twenty one that fills several blocks of a kernel."""
    case = random_conv_case(c.rng)
    size, channels, filters = case.size, case.channels, case.filters
    if c.chance(0.05):
        size = (size[0] + c.number(10, 40), size[1] + c.number(10, 40))
        if case.groups == 1:
            channels, filters = c.number(1, 130), c.number(1, 130)
    strides = case.strides if c.chance(0.97) else (2 ** c.number(0, 30), 2 ** c.number(0, 30))
    batch = case.batch if c.chance(0.95) else 0
    return ConvCase(batch, size, channels, filters, case.kernel, strides, case.padding, case.dilation, case.groups)


def _activation(c: Comparison, channels: int) -> Any:
    if c.chance(0.5):
        return None
    alpha = c.array(channels)
    return c.one_of("relu", "relu6", "elu", "sigmoid", "tanh", "softmax", ("leaky_relu", 0.1), ("prelu", alpha))


def _conv2d(c: Comparison) -> None:
    case = _geometry(c)
    x, kernel, bias = (
        c.array(*shape)
        for shape in (
            case.input_shape,
            (*case.kernel, case.channels // case.groups, case.filters),
            (case.filters,),
        )
    )
    algorithm = str(c.one_of("auto", *case.algorithms))
    options = {**case.arguments, "algorithm": algorithm}
    terms = math.prod(kernel.shape[:3])
    scale = math.sqrt(terms) * (_WINOGRAD_SCALE if algorithm in (*WINOGRAD, "auto") else 1.0)
    activation = _activation(c, case.filters)
    (y,) = c.same("conv2d", x, kernel, c.one_of(None, bias), **options, activation=activation, scale=scale)
    if algorithm in (*WINOGRAD, "auto") and c.chance(0.3):
        prepared = ops.prepare_conv2d(kernel, x.shape, **options)
        got = ops.conv2d(x, prepared, None, **options)
        want = reference.conv2d(x.astype(np.float64), kernel.astype(np.float64), **case.arguments)
        check_close(got, want, c.dtype, scale, "with a prepared kernel")
    dy = c.array(*y.shape)
    scale *= math.sqrt(case.filters / case.groups)
    c.same("conv2d_backward_data", dy, kernel, x.shape, **options, scale=scale)
    scale *= math.sqrt(max(dy.size // case.filters, 1))
    c.same("conv2d_backward_weights", x, dy, case.kernel, **options, scale=scale)


def _depthwise(c: Comparison) -> None:
    case = _geometry(c)
    multiplier = c.number(1, 3)
    x, kernel = c.array(*case.input_shape), c.array(*case.kernel, case.channels, multiplier)
    bias = c.one_of(None, c.array(case.channels * multiplier))
    options = {"strides": case.strides, "padding": case.padding, "dilation_rate": case.dilation}
    activation = _activation(c, case.channels * multiplier)
    scale = math.sqrt(math.prod(case.kernel))
    (y,) = c.same("depthwise_conv2d", x, kernel, bias, **options, activation=activation, scale=scale)
    dy = c.array(*y.shape)
    c.same("depthwise_conv2d_backward_data", dy, kernel, x.shape, **options, scale=scale * math.sqrt(multiplier))
    pixels = max(dy.size // dy.shape[3], 1)
    c.same("depthwise_conv2d_backward_weights", x, dy, case.kernel, **options, scale=math.sqrt(pixels))


def _patches(c: Comparison) -> None:
    case = _geometry(c)
    options = {"strides": case.strides, "padding": case.padding, "dilation_rate": case.dilation}
    (cols,) = c.same("im2col", c.array(*case.input_shape), case.kernel, **options)
    c.same("col2im", c.array(*cols.shape), case.input_shape, case.kernel, **options, scale=math.prod(case.kernel))


def _transposed_options(c: Comparison) -> dict[str, Any]:
    strides = (c.number(1, 4), c.number(1, 4))
    return {
        "strides": strides,
        "padding": c.one_of("valid", "same", 1, (0, 1), ((0, 1), (2, 0))),
        "output_padding": c.one_of(None, tuple(c.number(0, stride - 1) for stride in strides)),
        "dilation_rate": (c.number(1, 2), c.number(1, 3)),
    }


def _transposed(c: Comparison) -> None:
    while True:
        options = _transposed_options(c)
        shape = (c.batch(), c.number(1, 7), c.number(1, 7), c.channels())
        kernel = c.array(c.number(1, 5), c.number(1, 5), c.channels(), shape[3])
        try:
            geometry.conv2d_transpose_output_shape(shape, kernel.shape[:2], kernel.shape[2], **options)
            break
        except ValueError:  # padding that takes the whole output
            continue
    x, bias = c.array(*shape), c.one_of(None, c.array(kernel.shape[2]))
    scale = math.sqrt(math.prod(kernel.shape[:2]) * shape[3]) * _WINOGRAD_SCALE
    activation = _activation(c, kernel.shape[2])
    (y,) = c.same("conv2d_transpose", x, kernel, bias, **options, activation=activation, scale=scale)
    wanted = {"need_dx": c.chance(0.8), "need_weights": c.chance(0.8)}
    scale *= math.sqrt(max(y.size, 1))
    c.same("conv2d_transpose_backward", c.array(*y.shape), x, kernel, **options, **wanted, scale=scale)


def _locally_connected(c: Comparison) -> None:
    kernel_size, strides = (c.number(1, 4), c.number(1, 4)), (c.number(1, 3), c.number(1, 3))
    outputs = (c.number(1, 5), c.number(1, 5))
    size = [(n - 1) * s + k + c.number(0, s - 1) for n, s, k in zip(outputs, strides, kernel_size, strict=True)]
    batch, channels, filters = c.batch(), c.number(1, 20), c.number(1, 20)
    x = c.array(batch, *size, channels)
    kernel = c.array(*outputs, math.prod(kernel_size) * channels, filters)
    bias = c.one_of(None, c.array(*outputs, filters))
    scale = math.sqrt(kernel.shape[2] * filters)
    (y,) = c.same("locally_connected2d", x, kernel, bias, kernel_size, strides, scale=scale)
    wanted = {"need_dx": c.chance(0.8), "need_weights": c.chance(0.8)}
    dy = c.array(*y.shape)
    c.same("locally_connected2d_backward", dy, x, kernel, kernel_size, strides, **wanted, scale=scale)


def _matmul(c: Comparison) -> None:
    m, k, n = c.channels(), c.channels(), c.channels()
    flags = {"transpose_a": c.chance(0.5), "transpose_b": c.chance(0.5)}
    a, b = c.array(m, k), c.array(k, n)
    a, b = a.T.copy() if flags["transpose_a"] else a, b.T.copy() if flags["transpose_b"] else b
    c.same("matmul", a, b, **flags, scale=math.sqrt(k))


def _dense(c: Comparison) -> None:
    leading = c.one_of((c.batch(),), (c.batch(), c.number(1, 5)), (c.batch(), 3, 2))
    channels, units = c.channels(), c.channels()
    x, kernel, bias = c.array(*leading, channels), c.array(channels, units), c.one_of(None, c.array(units))
    scale = math.sqrt(channels * units)
    c.same("dense", x, kernel, bias, activation=_activation(c, units), scale=scale)
    dy = c.array(*leading, units)
    c.same("dense_backward", dy, x, kernel, need_dx=c.chance(0.8), scale=scale)


CONVOLUTIONS: dict[str, tuple[float, Case]] = {
    "conv2d": (6.0, _conv2d),
    "depthwise": (2.0, _depthwise),
    "patches": (0.5, _patches),
    "transposed": (1.5, _transposed),
    "locally connected": (1.0, _locally_connected),
    "matmul": (0.5, _matmul),
    "dense": (1.0, _dense),
}
