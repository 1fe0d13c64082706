"""What each layer is in ONNX: the table, and the layers that compute without looking at windows of an image.

A translator takes a :class:`LayerCall`, adds nodes and returns one :class:`Value` for each output of the layer. It
takes its inputs in the layout it wants; elementwise layers take what is there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import layers
from ..graph.layer import GraphLayer
from ..layers.arguments import ActivationSpec
from ..layers.base import Layer
from ._onnx_graph import LayerCall, Value, element_type, in_layout
from ._onnx_windows import (
    average_pool,
    convolution,
    depthwise_convolution,
    locally_connected,
    max_pool,
    max_unpool,
    separable_convolution,
    transposed_convolution,
)

Translator = Callable[[LayerCall], list[Value]]

_COMPUTE = ("forward", "infer", "linear", "__call__")  # who overrides one of these computes something else


def translator(layer: Layer, name: str, model: Translator) -> Translator:
    """Return what translates calls of ``layer``.

    Args:
        layer: of any class.
        name: its path, for the message.
        model: translates models.

    Raises:
        NotImplementedError: there is nothing; the message lists the layers that have a translation.
    """
    for cls in type(layer).__mro__:
        if cls is GraphLayer:
            return model
        if cls in _TRANSLATORS:
            return _TRANSLATORS[cls]
        if cls.__module__.startswith("fastconv.models"):
            continue  # Sequential does what Model does
        if any(method in vars(cls) for method in _COMPUTE):
            break
    known = ", ".join(sorted(cls.__name__ for cls in _TRANSLATORS))
    raise NotImplementedError(
        f'{type(layer).__name__} "{name}" has no translation to ONNX; there is one for {known}, and models of these'
    )


# ---- activations ----


def activated(call: LayerCall, x: str, activation: ActivationSpec, channels: int) -> str:
    """Add an activation as ``activation=`` of a layer has it; ``channels`` is the axis of a softmax."""
    kind, parameter = activation if isinstance(activation, tuple) else (activation, None)
    if kind is None:
        return x
    if kind == "relu6":
        return call.emit("Clip", x, call.constant(0, "zero", call.dtype), call.constant(6, "six", call.dtype))
    if kind == "leaky_relu":
        return call.emit("LeakyRelu", x, alpha=0.2 if parameter is None else float(parameter))
    if kind == "elu":
        return call.emit("Elu", x, alpha=1.0 if parameter is None else float(parameter))
    if kind == "softmax":
        return call.emit("Softmax", x, axis=channels)
    return call.emit({"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}[kind], x)


def _fused(linear: Callable[[LayerCall], str]) -> Translator:
    """A translator that adds the layer's activation to what ``linear`` returns, an (N, C, H, W)."""

    def translate(call: LayerCall) -> list[Value]:
        return in_layout(activated(call, linear(call), call.layer.activation, 1), first=True)

    return translate


def _activation(call: LayerCall) -> list[Value]:
    (x,), first = call.any_layout
    return in_layout(activated(call, x, call.layer.activation, 1 if first else -1), first)


def _relu(call: LayerCall) -> list[Value]:
    """ReLU with threshold, slope and maximum in any combination."""
    layer = call.layer
    if layer.activation is not None:
        return _activation(call)
    (y,), first = call.any_layout
    if layer.threshold or layer.negative_slope:
        threshold = call.constant(layer.threshold, "threshold", call.dtype)
        below = call.emit("Sub", y, threshold)
        below = call.emit("Mul", below, call.constant(layer.negative_slope, "negative_slope", call.dtype))
        y = call.emit("Where", call.emit("GreaterOrEqual", y, threshold), y, below)
    else:
        y = call.emit("Relu", y)
    if layer.max_value is not None:
        y = call.emit("Min", y, call.constant(layer.max_value, "max_value", call.dtype))
    return in_layout(y, first)


def _prelu(call: LayerCall) -> list[Value]:
    (x,), first = call.any_layout
    alpha = call.weight(call.layer.alpha, "alpha", *((2, 0, 1) if first else ()))
    return in_layout(call.emit("PRelu", x, alpha), first)


# ---- dense, normalisation ----


def _dense(call: LayerCall) -> list[Value]:
    """Gemm for vectors, a 1 x 1 convolution for images that are (N, C, H, W), a product of matrices for others."""
    layer = call.layer
    bias = [] if layer.bias is None else [call.weight(layer.bias, "bias")]
    first = call.rank == 4 and call.inputs[0].first is not None
    if first:
        kernel = call.constant(layer.kernel.value.T[:, :, None, None], "kernel")
        y = call.emit("Conv", call.first(), kernel, *bias, kernel_shape=[1, 1])
    elif call.rank == 2:
        y = call.emit("Gemm", call.last(), call.weight(layer.kernel, "kernel"), *bias)
    else:
        y = call.emit("MatMul", call.last(), call.weight(layer.kernel, "kernel"))
        y = call.emit("Add", y, *bias) if bias else y
    return in_layout(activated(call, y, layer.activation, 1 if first else -1), first)


def _batch_normalization(call: LayerCall) -> list[Value]:
    """ONNX' own for images, so that runtimes can fold it into a convolution; one Mul and Add for everything else."""
    layer = call.layer
    if call.training and layer.trainable:
        raise NotImplementedError(f"{layer.label} was called with training=True: statistics of a batch have no export")
    mean, variance = layer.moving_mean.value, layer.moving_variance.value
    gamma = np.ones_like(mean) if layer.gamma is None else layer.gamma.value
    beta = np.zeros_like(mean) if layer.beta is None else layer.beta.value
    if call.rank == 4:
        weights = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance}
        names = [call.constant(array, name) for name, array in weights.items()]
        return in_layout(call.emit("BatchNormalization", call.first(), *names, epsilon=layer.epsilon), first=True)
    scale = gamma / np.sqrt(variance.astype(np.float64) + layer.epsilon)
    y = call.emit("Mul", call.last(), call.constant(scale, "scale", call.dtype))
    return [Value(call.emit("Add", y, call.constant(beta - mean * scale, "shift", call.dtype)))]


def _local_response_normalization(call: LayerCall) -> list[Value]:
    """ONNX divides alpha by the number of channels in the sum, fastconv (and TensorFlow) does not."""
    layer = call.layer
    size = 2 * layer.depth_radius + 1
    arguments = {"alpha": layer.alpha * size, "beta": layer.beta, "bias": layer.bias, "size": size}
    if call.rank == 4:
        return in_layout(call.emit("LRN", call.first(), **arguments), first=True)
    x = call.last()
    channels = call.input_shapes[0][-1] or -1
    pixels = call.emit("Reshape", x, call.integers([-1, channels, 1, 1], "pixels"))
    return [Value(call.emit("Reshape", call.emit("LRN", pixels, **arguments), call.emit("Shape", x)))]


def _rescaling(call: LayerCall) -> list[Value]:
    (x,), first = call.any_layout
    dtype = call.output_dtypes[0]
    if dtype != call.input_dtypes[0]:
        x = call.emit("Cast", x, to=element_type(dtype))
    for op, name, value in (("Mul", "scale", call.layer.scale), ("Add", "offset", call.layer.offset)):
        array = np.asarray(value, dtype)
        x = call.emit(op, x, call.constant(array.reshape(-1, 1, 1) if first and array.ndim else array, name))
    return in_layout(x, first)


# ---- several inputs ----


def _merge(op: str) -> Translator:
    """Sum or product, one pair after the other, in fastconv's order."""

    def translate(call: LayerCall) -> list[Value]:
        (y, *others), first = call.any_layout
        for other in others:
            y = call.emit(op, y, other)
        return in_layout(y, first)

    return translate


def _concatenate(call: LayerCall) -> list[Value]:
    names, first = call.any_layout
    axis = call.layer.axis % call.rank
    return in_layout(call.emit("Concat", *names, axis=(0, 2, 3, 1)[axis] if first else axis), first)


# ---- values that move ----


def _identity(call: LayerCall) -> list[Value]:
    if call.training and call.layer.rate:
        raise NotImplementedError(f"{call.layer.label} was called with training=True: its noise has no export")
    return list(call.inputs)


def _flatten(call: LayerCall) -> list[Value]:
    return [Value(call.emit("Flatten", call.last(), axis=1))]


def _reshape(call: LayerCall) -> list[Value]:
    sizes = call.output_shapes[0][1:]
    target = call.layer.target_shape if None in sizes else sizes
    return [Value(call.emit("Reshape", call.last(), call.integers([0, *target], "shape")))]


def _zero_padding(call: LayerCall) -> list[Value]:
    (top, bottom), (left, right) = call.layer.padding
    pads = call.integers([0, 0, top, left, 0, 0, bottom, right], "padding")
    return in_layout(call.emit("Pad", call.first(), pads), first=True)


def _cropping(call: LayerCall) -> list[Value]:
    (top, bottom), (left, right) = call.layer.cropping
    far = np.iinfo(np.int64).max
    starts = call.integers([top, left], "starts")
    ends = call.integers([-bottom or far, -right or far], "ends")
    return in_layout(call.emit("Slice", call.first(), starts, ends, call.integers([2, 3], "axes")), first=True)


def _up_sampling(call: LayerCall) -> list[Value]:
    scales = call.constant([1, 1, *call.layer.size], "scales", np.float32)
    if call.layer.interpolation == "nearest":
        how = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    else:
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return in_layout(call.emit("Resize", call.first(), "", scales, **how), first=True)


def _global_pool(op: str) -> Translator:
    def translate(call: LayerCall) -> list[Value]:
        y = call.emit(op, call.first())
        return in_layout(y, first=True) if call.layer.keepdims else [Value(call.emit("Flatten", y, axis=1))]

    return translate


_TRANSLATORS: dict[type[Layer], Translator] = {
    layers.Activation: _activation,
    layers.Add: _merge("Add"),
    layers.AvgPool2D: average_pool,
    layers.BatchNormalization: _batch_normalization,
    layers.Concatenate: _concatenate,
    layers.Conv2D: _fused(convolution),
    layers.Conv2DTranspose: _fused(transposed_convolution),
    layers.Cropping2D: _cropping,
    layers.Dense: _dense,
    layers.DepthwiseConv2D: _fused(depthwise_convolution),
    layers.Dropout: _identity,
    layers.ELU: _activation,
    layers.Flatten: _flatten,
    layers.GlobalAvgPool2D: _global_pool("GlobalAveragePool"),
    layers.GlobalMaxPool2D: _global_pool("GlobalMaxPool"),
    layers.LeakyReLU: _activation,
    layers.LocalResponseNormalization: _local_response_normalization,
    layers.LocallyConnected2D: _fused(locally_connected),
    layers.MaxPool2D: max_pool,
    layers.MaxUnpool2D: max_unpool,
    layers.Multiply: _merge("Mul"),
    layers.PReLU: _prelu,
    layers.ReLU: _relu,
    layers.Rescaling: _rescaling,
    layers.Reshape: _reshape,
    layers.SeparableConv2D: _fused(separable_convolution),
    layers.Softmax: _activation,
    layers.SpatialDropout2D: _identity,
    layers.UpSampling2D: _up_sampling,
    layers.ZeroPadding2D: _zero_padding,
}
