"""What PyTorch calls the weights of a fastconv layer, and how it lays them out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from .. import layers
from ..graph.layer import GraphLayer
from ..layers.base import Layer
from ..layers.node import Node, Tensor
from ..layers.parameter import Parameter

Convert = Callable[[np.ndarray], np.ndarray]
Pixels = tuple[int, int, int]  # height, width, channels of feature maps that were flattened

# Between Flatten and a Dense layer, these leave every value where it is.
_POINTWISE = (
    layers.Activation,
    layers.BatchNormalization,
    layers.Dropout,
    layers.ELU,
    layers.LeakyReLU,
    layers.PReLU,
    layers.ReLU,
    layers.Rescaling,
)


class Slot(NamedTuple):
    """One weight.

    Attributes:
        parameter: of the layer.
        shape: PyTorch's for it.
        convert: from PyTorch's layout to the parameter's.
    """

    parameter: Parameter
    shape: tuple[int, ...]
    convert: Convert


class Unit(NamedTuple):
    """What corresponds to one PyTorch module: a layer, or one half of a separable convolution.

    Attributes:
        path: of the layer; with ``/depthwise`` or ``/pointwise`` behind it for the halves.
        label: for messages, e.g. ``Conv2D "conv1"``.
        slots: PyTorch's name of each weight -> where it goes.
    """

    path: str
    label: str
    slots: dict[str, Slot]


def units_of(model: GraphLayer, prefix: str = "", seen: set[Layer] | None = None) -> Iterator[Unit]:
    """Yield the layers with weights in the order of the graph; a shared layer once, nested models layer by layer."""
    seen = set() if seen is None else seen
    for node in model.graph.nodes:
        layer, path = node.layer, prefix + model.graph.names[node.layer]
        if layer in seen:
            continue
        seen.add(layer)
        if layer.inline() is not None:
            yield from units_of(layer, f"{path}/", seen)
            continue
        pixels = _flattened(node.inputs[0])
        for inner_path, inner in layer.named_layers(path):
            yield from _units(inner, inner_path, pixels if inner is layer else None)


def _flattened(tensor: Tensor) -> Pixels | None:
    """Return the shape of the feature maps whose flattened values a tensor holds, or None."""
    while tensor.node.inputs:
        node: Node = tensor.node
        tensor = node.inputs[0]
        if isinstance(node.layer, layers.Flatten) or _reshapes_to_vector(node):
            height, width, channels = tensor.shape[1:] if len(tensor.shape) == 4 else (None, None, None)
            return (height, width, channels) if height and width and channels else None
        if not isinstance(node.layer, _POINTWISE):
            return None
    return None


def _reshapes_to_vector(node: Node) -> bool:
    return isinstance(node.layer, layers.Reshape) and len(node.outputs[0].shape) == 2


def _units(layer: Layer, path: str, pixels: Pixels | None) -> Iterator[Unit]:
    own = [*layer._trainable_parameters, *layer._state_parameters]
    if not own:
        return
    label = f'{type(layer).__name__} "{path}"'
    if isinstance(layer, layers.SeparableConv2D):
        halves = {"depthwise": {"weight": _depthwise(layer.depthwise_kernel)}}
        halves["pointwise"] = {"weight": _convolution(layer.pointwise_kernel), **_bias(layer.bias)}
        for name, slots in halves.items():
            yield Unit(f"{path}/{name}", f'{name} half of {type(layer).__name__} "{path}"', slots)
    elif isinstance(layer, layers.DepthwiseConv2D):
        yield Unit(path, label, {"weight": _depthwise(layer.kernel), **_bias(layer.bias)})
    elif isinstance(layer, layers.Conv2D | layers.Conv2DTranspose):
        yield Unit(path, label, {"weight": _convolution(layer.kernel), **_bias(layer.bias)})
    elif isinstance(layer, layers.Dense):
        yield Unit(path, label, {"weight": _dense(layer.kernel, pixels), **_bias(layer.bias)})
    elif isinstance(layer, layers.BatchNormalization):
        names = {"weight": layer.gamma, "bias": layer.beta}
        names |= {"running_mean": layer.moving_mean, "running_var": layer.moving_variance}
        yield Unit(path, label, {name: _vector(p, pixels) for name, p in names.items() if p is not None})
    elif isinstance(layer, layers.PReLU):
        yield Unit(path, label, {"weight": _slope(layer.alpha, pixels)})
    else:  # a layer that PyTorch does not have: its own names and layout
        yield Unit(path, label, {p.name: Slot(p, p.shape, lambda array: array) for p in own})


def _bias(bias: Parameter | None) -> dict[str, Slot]:
    return {} if bias is None else {"bias": Slot(bias, bias.shape, lambda array: array)}


def _convolution(kernel: Parameter) -> Slot:
    """(filters, channels / groups, KH, KW) -> (KH, KW, channels / groups, filters).

    Transposed convolutions are (channels, filters, KH, KW) there and (KH, KW, filters, channels) here: the same move.
    """
    kh, kw, last_but_one, last = kernel.shape
    return Slot(kernel, (last, last_but_one, kh, kw), lambda array: array.transpose(2, 3, 1, 0))


def _depthwise(kernel: Parameter) -> Slot:
    """(channels * multiplier, 1, KH, KW) -> (KH, KW, channels, multiplier)."""
    kh, kw, channels, multiplier = kernel.shape

    def convert(array: np.ndarray) -> np.ndarray:
        return array.transpose(2, 3, 0, 1).reshape(kernel.shape)

    return Slot(kernel, (channels * multiplier, 1, kh, kw), convert)


def _dense(kernel: Parameter, pixels: Pixels | None) -> Slot:
    """(units, inputs) -> (inputs, units); after Flatten the inputs are in the order C, H, W there, H, W, C here."""
    inputs, units = kernel.shape
    if pixels is None or math.prod(pixels) != inputs:
        return Slot(kernel, (units, inputs), lambda array: array.T)
    height, width, channels = pixels

    def convert(array: np.ndarray) -> np.ndarray:
        return array.reshape(units, channels, height, width).transpose(2, 3, 1, 0).reshape(inputs, units)

    return Slot(kernel, (units, inputs), convert)


def _vector(parameter: Parameter, pixels: Pixels | None) -> Slot:
    """One value per channel, or after Flatten one per value of a feature map."""
    if pixels is None or math.prod(pixels) != parameter.size:
        return Slot(parameter, parameter.shape, lambda array: array)
    height, width, channels = pixels

    def convert(array: np.ndarray) -> np.ndarray:
        return array.reshape(channels, height, width).transpose(1, 2, 0).reshape(parameter.shape)

    return Slot(parameter, parameter.shape, convert)


def _slope(alpha: Parameter, pixels: Pixels | None) -> Slot:
    """PReLU's slopes, one per channel; (1, 1, C) here for images whose height and width share one."""
    if alpha.shape[:-1] != (1,) * (len(alpha.shape) - 1):  # one per pixel: PyTorch has no such layer
        return Slot(alpha, alpha.shape, lambda array: array)
    flat = _vector(alpha, pixels)
    return Slot(alpha, (alpha.size,), lambda array: flat.convert(array).reshape(alpha.shape))
