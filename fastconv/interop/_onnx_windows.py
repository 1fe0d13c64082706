"""Convolutions and pools in ONNX.

Padding is written as numbers wherever it does not depend on a size that varies. Two rules make that possible:

* "same" with stride 1, or a window of one pixel, pads the same for every size.
* Pooling with ``ceil_mode`` gives min(ceil((H + before + after - pool) / stride) + 1, ceil((H + before) / stride))
  outputs, the second because a window that starts in the far padding is dropped. That is what floor gives with
  ``min(after + stride - 1, pool - 1)`` in place of ``after``. So ONNX' own ``ceil_mode``, on which runtimes differ, is
  never used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from ..ops.geometry import Pair, conv2d_transpose_plan, resolve_padding
from ._onnx_graph import LayerCall, Value, in_layout


def _fixed_padding(call: LayerCall, window: Pair, dilation: Pair) -> list[int] | None:
    """(top, left, bottom, right) of a convolution or pool, or None where it depends on a size that varies."""
    layer, size = call.layer, call.size
    if layer.padding == "same":
        extents = _extents(window, dilation)
        constant = [stride == 1 or extent == 1 for stride, extent in zip(layer.strides, extents, strict=True)]
        if any(s is None and not same for s, same in zip(size, constant, strict=True)):
            return None
        size = tuple(1 if s is None else s for s in size)  # type: ignore[assignment]
    (top, bottom), (left, right) = resolve_padding(layer.padding, size, window, layer.strides, dilation)
    return [top, left, bottom, right]


def _extents(window: Pair, dilation: Pair) -> Pair:
    return (window[0] - 1) * dilation[0] + 1, (window[1] - 1) * dilation[1] + 1


def _padded(call: LayerCall, x: str, window: Pair, dilation: Pair, border: float = 0.0) -> tuple[str, dict[str, Any]]:
    """``x``, and the attributes by which an operator pads it.

    "same" for sizes that vary is ``auto_pad`` where ONNX Runtime has it: not for dilated windows, nor for some that are
    smaller than the stride. There the padding is computed by the graph, and ``x`` returned padded with ``border``.
    """
    pads = _fixed_padding(call, window, dilation)
    if pads is not None:
        return x, {"pads": pads}
    strides, extents = call.layer.strides, _extents(window, dilation)
    if dilation == (1, 1) and all(extent >= stride for extent, stride in zip(extents, strides, strict=True)):
        return x, {"auto_pad": "SAME_UPPER"}
    return _pad_to_same(call, x, extents, border), {}


def _pad_to_same(call: LayerCall, x: str, extents: Pair, border: float) -> str:
    """Pad ``x`` when the graph runs, in all by max((ceil(H / stride) - 1) * stride + extent - H, 0)."""
    strides = call.layer.strides
    size, stride = call.plane(x), call.integers(strides, "strides")
    last = call.emit("Div", call.emit("Sub", size, call.integers([1, 1], "ones")), stride)
    reach = call.emit("Add", call.emit("Mul", last, stride), call.integers(extents, "extents"))
    total = call.emit("Max", call.emit("Sub", reach, size), call.integers([0, 0], "zeros"))
    before = call.emit("Div", total, call.integers([2, 2], "twos"))
    nothing = call.integers([0, 0], "zeros")
    pads = call.emit("Concat", nothing, before, nothing, call.emit("Sub", total, before), axis=0)
    return call.emit("Pad", x, pads, call.constant(border, "border", call.dtype))


def _bias(call: LayerCall) -> list[str]:
    return [] if call.layer.bias is None else [call.weight(call.layer.bias, "bias")]


# ---- convolutions: each returns the name of an (N, C, H, W) before the activation ----


def _conv(call: LayerCall, kernel: str, bias: list[str], groups: int) -> str:
    layer = call.layer
    x, padding = _padded(call, call.first(), layer.kernel_size, layer.dilation_rate)
    geometry = {"kernel_shape": layer.kernel_size, "strides": layer.strides, "dilations": layer.dilation_rate}
    return call.emit("Conv", x, kernel, *bias, group=groups, **geometry, **padding)


def convolution(call: LayerCall) -> str:
    """Conv2D: the kernel (KH, KW, C / groups, K) becomes (K, C / groups, KH, KW)."""
    return _conv(call, call.weight(call.layer.kernel, "kernel", 3, 2, 0, 1), _bias(call), call.layer.groups)


def depthwise_convolution(call: LayerCall) -> str:
    """DepthwiseConv2D: as many groups as channels."""
    kernel = call.layer.kernel.value
    return _conv(call, _depthwise_kernel(call, kernel, "kernel"), _bias(call), kernel.shape[2])


def separable_convolution(call: LayerCall) -> str:
    """SeparableConv2D: two convolutions."""
    layer = call.layer
    depthwise = layer.depthwise_kernel.value
    hidden = _conv(call, _depthwise_kernel(call, depthwise, "depthwise_kernel"), [], depthwise.shape[2])
    pointwise = call.weight(layer.pointwise_kernel, "pointwise_kernel", 3, 2, 0, 1)
    return call.emit("Conv", hidden, pointwise, *_bias(call), kernel_shape=[1, 1])


def _depthwise_kernel(call: LayerCall, kernel: np.ndarray, name: str) -> str:
    """(KH, KW, C, multiplier) as (C * multiplier, 1, KH, KW)."""
    kh, kw, channels, multiplier = kernel.shape
    return call.constant(kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, kh, kw), name)


def transposed_convolution(call: LayerCall) -> str:
    """Conv2DTranspose: the kernel (KH, KW, K, C) becomes (C, K, KH, KW)."""
    layer = call.layer
    spec = (layer.kernel_size, layer.strides, layer.padding, layer.output_padding, layer.dilation_rate)
    extents = _extents(layer.kernel_size, layer.dilation_rate)
    size = 2 + max(sum(pad) for pad in _numbers(layer.padding))  # any that has an output: all pad the same
    out, ((top, bottom), (left, right)) = conv2d_transpose_plan((1, size, size, 1), spec)
    # What the output has beyond the last window's end.
    extra = [
        out[i] - ((size - 1) * layer.strides[i] + extents[i] - pads)
        for i, pads in enumerate((top + bottom, left + right))
    ]
    return call.emit(
        "ConvTranspose",
        call.first(),
        call.weight(layer.kernel, "kernel", 3, 2, 0, 1),
        *_bias(call),
        kernel_shape=layer.kernel_size,
        strides=layer.strides,
        dilations=layer.dilation_rate,
        pads=[top, left, bottom, right],
        output_padding=extra,
    )


def _numbers(padding: Any) -> Any:
    return resolve_padding(padding, (None, None), (1, 1), (1, 1), (1, 1))


def locally_connected(call: LayerCall) -> str:
    """LocallyConnected2D: a convolution with unit kernels lays out the windows, a batch of products does the rest.

    The windows are (N, C * KH * KW, OH, OW); every pixel multiplies its own (C * KH * KW, filters).
    """
    layer = call.layer
    (kh, kw), filters = layer.kernel_size, layer.filters
    oh, ow, depth, _ = layer.kernel.shape
    channels = depth // (kh * kw)
    units = np.tile(np.eye(kh * kw, dtype=call.dtype).reshape(kh * kw, 1, kh, kw), (channels, 1, 1, 1))
    geometry = {"kernel_shape": [kh, kw], "strides": layer.strides, "group": channels}
    windows = call.emit("Conv", call.first(), call.constant(units, "units"), **geometry)
    windows = call.emit("Reshape", windows, call.integers([0, depth, oh * ow], "pixels"))
    windows = call.emit("Transpose", windows, perm=[2, 0, 1])
    kernel = layer.kernel.value.reshape(oh * ow, kh * kw, channels, filters).swapaxes(1, 2)
    y = call.emit("MatMul", windows, call.constant(kernel.reshape(oh * ow, depth, filters), "kernel"))
    y = call.emit("Transpose", y, perm=[1, 2, 0])
    y = call.emit("Reshape", y, call.integers([0, filters, oh, ow], "image"))
    return y if layer.bias is None else call.emit("Add", y, call.weight(layer.bias, "bias", 2, 0, 1))


# ---- pools ----


def _pool_padding(call: LayerCall, x: str, border: float) -> tuple[str, dict[str, Any]]:
    """As :func:`_padded`; ``ceil_mode`` is the padding explained at the top of this file."""
    layer = call.layer
    x, padding = _padded(call, x, layer.pool_size, (1, 1), border)
    if layer.ceil_mode and layer.padding != "same":  # ceil(H / stride) anyway
        top, left, bottom, right = padding["pads"]
        ends = [
            min(after + stride - 1, pool - 1)
            for after, stride, pool in zip((bottom, right), layer.strides, layer.pool_size, strict=True)
        ]
        padding["pads"] = [top, left, *ends]
    return x, padding


def max_pool(call: LayerCall) -> list[Value]:
    """MaxPool2D; ONNX counts its maxima through the whole tensor, fastconv through a plane."""
    layer, x = call.layer, call.first()
    padded, padding = _pool_padding(call, x, -np.inf)
    if layer.return_argmax and padded != x:
        raise NotImplementedError(
            f'{layer.label} with return_argmax, padding "same", strides {layer.strides} above pool_size '
            f"{layer.pool_size} and an input of unknown size has no translation to ONNX: give the input a size"
        )
    geometry = {"kernel_shape": layer.pool_size, "strides": layer.strides, **padding}
    if not layer.return_argmax:
        return in_layout(call.emit("MaxPool", padded, **geometry), first=True)
    y, indices = call.writer.emit("MaxPool", [padded], call.name, outputs=2, **geometry)
    height, width = call.size
    if height is None or width is None:
        pixels = call.emit("ReduceProd", call.plane(x), keepdims=1)
    else:
        pixels = call.integers([height * width], "pixels")
    argmax = call.emit("Cast", call.emit("Mod", indices, pixels), to=TensorProto.INT32)
    return [Value(first=y), Value(first=argmax)]


def average_pool(call: LayerCall) -> list[Value]:
    """AvgPool2D: ONNX' operator where it divides by the same number of pixels."""
    layer, x = call.layer, call.first()
    geometry = {"kernel_shape": layer.pool_size, "strides": layer.strides}
    padded, padding = _pool_padding(call, x, 0.0)
    if padded != x and not layer.count_include_pad:
        # Mean with zeros, divided by the mean of ones with zeros around them.
        one = helper.make_tensor("one", helper.np_dtype_to_tensor_dtype(call.dtype), [1], [1.0])
        plane = call.emit("Concat", call.integers([1, 1], "ones"), call.plane(x), axis=0)
        ones = _pad_to_same(call, call.emit("ConstantOfShape", plane, value=one), layer.pool_size, 0.0)
        total, pixels = (call.emit("AveragePool", name, **geometry) for name in (padded, ones))
        return in_layout(call.emit("Div", total, pixels), first=True)
    if layer.count_include_pad and layer.ceil_mode and layer.padding != "same":
        # What hangs over the end counts in no case, the padding does: it becomes part of the image.
        (top, bottom), (left, right) = _numbers(layer.padding)
        ends = padding["pads"][2:]
        inside = [min(bottom, ends[0]), min(right, ends[1])]
        if ends != inside:
            pads = call.integers([0, 0, top, left, 0, 0, *inside], "padding")
            over = [0, 0, ends[0] - inside[0], ends[1] - inside[1]]
            return in_layout(call.emit("AveragePool", call.emit("Pad", x, pads), pads=over, **geometry), first=True)
    counted = int(layer.count_include_pad)
    return in_layout(call.emit("AveragePool", padded, count_include_pad=counted, **geometry, **padding), first=True)


def max_unpool(call: LayerCall) -> list[Value]:
    """MaxUnpool2D: values scattered into planes of zeros.

    ONNX has a MaxUnpool, but it counts through the whole tensor of the pool's input, whose size it must guess.
    """
    layer, x, argmax = call.layer, call.first(0), call.first(1)
    shape = call.emit("Shape", x)
    if layer.output_size is not None:
        plane = call.integers(layer.output_size, "output_size")
    else:
        beyond = [pool - stride for pool, stride in zip(layer.pool_size, layer.strides, strict=True)]
        plane = call.emit("Mul", call.part(shape, 2, 4), call.integers(layer.strides, "strides"))
        plane = call.emit("Add", plane, call.integers(beyond, "beyond"))
    outer = call.part(shape, 0, 2)
    pixels = call.emit("ReduceProd", plane, keepdims=1)
    zero = helper.make_tensor("zero", helper.np_dtype_to_tensor_dtype(call.dtype), [1], [0.0])
    zeros = call.emit("ConstantOfShape", call.emit("Concat", outer, pixels, axis=0), value=zero)
    flat = call.integers([0, 0, -1], "flat")
    values, places = (call.emit("Reshape", name, flat) for name in (x, argmax))
    y = call.emit("ScatterElements", zeros, places, values, axis=2)
    return in_layout(call.emit("Reshape", y, call.emit("Concat", outer, plane, axis=0)), first=True)
