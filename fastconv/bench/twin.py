"""A fastconv model's twin in PyTorch: the same layers with the same weights, so that both compute the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

import fastconv as fc
from fastconv import layers
from fastconv.layers.base import Layer
from fastconv.layers.node import Node
from fastconv.ops.geometry import resolve_padding

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def torch_twin(model: fc.Model, channels_last: bool = False) -> nn.Module:
    """The model in PyTorch, with copies of its weights; a softmax at its end is left out, as PyTorch's losses want it.

    A chain of layers becomes an ``nn.Sequential``, anything else a module that runs the graph. The batch norms' moving
    averages follow PyTorch's rule (unbiased variance).

    Raises:
        NotImplementedError: a layer that has no twin here.
    """
    nodes = model.graph.nodes
    last = model.graph.outputs[0].node
    modules = [_modules(node, is_last=node is last) for node in nodes]
    sources = [tuple(tensor.node for tensor in node.inputs) for node in nodes]
    chain = len(sources[0]) == 1 and sources[1:] == [(node,) for node in nodes[:-1]]
    net = nn.Sequential(*(m for group in modules for m in group)) if chain else _Graph(model, modules)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return net.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]


class _Graph(nn.Module):
    """Runs the nodes of a model one after the other."""

    def __init__(self, model: fc.Model, modules: list[list[nn.Module]]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(group[0] if len(group) == 1 else nn.Sequential(*group) for group in modules)
        numbers = {tensor: i for i, tensor in enumerate(model.graph.inputs)}
        self.sources: list[list[int]] = []
        for node in model.graph.nodes:
            self.sources.append([numbers[tensor] for tensor in node.inputs])
            numbers[node.outputs[0]] = len(numbers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for step, sources in zip(self.steps, self.sources, strict=True):
            values.append(step(*(values[i] for i in sources)))
        return values[-1]


class _Sum(nn.Module):
    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return sum(x[1:], x[0])


class _Concatenation(nn.Module):
    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return torch.cat(x, dim=1)


def _modules(node: Node, is_last: bool) -> list[nn.Module]:
    """What one call of a layer becomes."""
    layer = node.layer
    for kind, make in _MAKERS.items():
        if isinstance(layer, kind):
            return [*make(node, layer), *_activation(layer, is_last)]
    raise NotImplementedError(f"{type(layer).__name__} has no twin in PyTorch here")


def _activation(layer: Any, is_last: bool) -> list[nn.Module]:
    spec = getattr(layer, "activation", None)
    if spec is None or (spec == "softmax" and is_last):
        return []
    if spec not in _ACTIVATIONS:
        raise NotImplementedError(f"activation {spec!r} has no twin in PyTorch here")
    return [_ACTIVATIONS[spec]()]


def _weighted(module: nn.Module, kernel: np.ndarray, bias: np.ndarray | None) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(np.array(kernel)))  # type: ignore[operator]
        if bias is not None:
            module.bias.copy_(torch.from_numpy(np.array(bias)))  # type: ignore[operator]
    return module


def _padded(node: Node, layer: Any, window: Any, value: float) -> tuple[list[nn.Module], tuple[int, int]]:
    """(a module that pads, if it must be one; the padding that PyTorch's own layer does)."""
    size = node.inputs[0].shape[1:3]
    (top, bottom), (left, right) = resolve_padding(layer.padding, size, window, layer.strides, (1, 1))  # type: ignore[arg-type]
    if top == bottom and left == right:
        return [], (top, left)
    return [nn.ConstantPad2d((left, right, top, bottom), value)], (0, 0)


def _conv(node: Node, layer: layers.Conv2D) -> list[nn.Module]:
    pad, padding = _padded(node, layer, layer.kernel_size, 0.0)
    kernel = layer.kernel.value
    channels = kernel.shape[2] * layer.groups
    settings: Any = {"dilation": layer.dilation_rate, "groups": layer.groups, "bias": layer.use_bias}
    module = nn.Conv2d(channels, layer.filters, layer.kernel_size, layer.strides, padding, **settings)
    return [*pad, _weighted(module, kernel.transpose(3, 2, 0, 1), layer.bias_value)]


def _depthwise(node: Node, layer: layers.DepthwiseConv2D) -> list[nn.Module]:
    bias = None if layer.bias is None else layer.bias.value
    return _depthwise_part(node, layer, layer.kernel.value, bias)


def _depthwise_part(node: Node, layer: Any, kernel: np.ndarray, bias: np.ndarray | None) -> list[nn.Module]:
    kh, kw, c, multiplier = kernel.shape
    pad, padding = _padded(node, layer, (kh, kw), 0.0)
    settings: Any = {"dilation": layer.dilation_rate, "groups": c, "bias": bias is not None}
    module = nn.Conv2d(c, c * multiplier, (kh, kw), layer.strides, padding, **settings)
    return [*pad, _weighted(module, kernel.transpose(2, 3, 0, 1).reshape(c * multiplier, 1, kh, kw), bias)]


def _separable(node: Node, layer: layers.SeparableConv2D) -> list[nn.Module]:
    kernel = layer.pointwise_kernel.value
    module = nn.Conv2d(kernel.shape[2], kernel.shape[3], 1, bias=layer.use_bias)
    pointwise = _weighted(module, kernel.transpose(3, 2, 0, 1), layer.bias_value)
    return [*_depthwise_part(node, layer, layer.depthwise_kernel.value, None), pointwise]


def _dense(node: Node, layer: layers.Dense) -> list[nn.Module]:
    kernel = layer.kernel.value
    before = node.inputs[0].node
    if isinstance(before.layer, layers.Flatten) and len(before.inputs[0].shape) == 4:
        h, w, c = before.inputs[0].shape[1:]
        assert h is not None
        assert w is not None
        assert c is not None
        kernel = kernel.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(h * w * c, -1)  # PyTorch flattens C, H, W
    module = nn.Linear(kernel.shape[0], kernel.shape[1], layer.use_bias)
    return [_weighted(module, kernel.T, layer.bias_value)]


def _max_pool(node: Node, layer: layers.MaxPool2D) -> list[nn.Module]:
    pad, padding = _padded(node, layer, layer.pool_size, -np.inf)
    return [*pad, nn.MaxPool2d(layer.pool_size, layer.strides, padding, ceil_mode=layer.ceil_mode)]


def _avg_pool(node: Node, layer: layers.AvgPool2D) -> list[nn.Module]:
    pad, padding = _padded(node, layer, layer.pool_size, 0.0)
    if pad:
        raise NotImplementedError("average pooling with uneven padding has no twin in PyTorch")
    options: Any = {"ceil_mode": layer.ceil_mode, "count_include_pad": layer.count_include_pad}
    return [nn.AvgPool2d(layer.pool_size, layer.strides, padding, **options)]


def _zeros(node: Node, layer: layers.ZeroPadding2D) -> list[nn.Module]:
    (top, bottom), (left, right) = layer.padding
    return [nn.ZeroPad2d((left, right, top, bottom))]


def _response_norm(node: Node, layer: layers.LocalResponseNormalization) -> list[nn.Module]:
    size = 2 * layer.depth_radius + 1  # PyTorch's alpha multiplies the mean
    return [nn.LocalResponseNorm(size, layer.alpha * size, layer.beta, layer.bias)]


def _reshape(node: Node, layer: layers.Reshape) -> list[nn.Module]:
    before, after = node.inputs[0].shape, node.outputs[0].shape
    if len(after) != 2 or before[1:3] not in ((1, 1), (None, None)):
        raise NotImplementedError(f"a reshape of {before} to {after} has no twin in PyTorch here")
    return [nn.Flatten()]


def _dropout(node: Node, layer: layers.Dropout) -> list[nn.Module]:
    if layer.rate:
        raise NotImplementedError("dropout has no twin: the two would draw different masks; set its rate to 0")
    return [nn.Identity()]


def _global_avg_pool(node: Node, layer: layers.GlobalAvgPool2D) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), *([] if layer.keepdims else [nn.Flatten()])]


def _batch_norm(node: Node, layer: layers.BatchNormalization) -> list[nn.Module]:
    mean, variance = layer.moving_mean.value, layer.moving_variance.value
    module = nn.BatchNorm2d(len(mean), layer.epsilon, 1 - layer.momentum)
    with torch.no_grad():
        module.running_mean.copy_(torch.from_numpy(np.array(mean)))  # type: ignore[union-attr]
        module.running_var.copy_(torch.from_numpy(np.array(variance)))  # type: ignore[union-attr]
        for ours, theirs in ((layer.gamma, module.weight), (layer.beta, module.bias)):
            if ours is not None:
                theirs.copy_(torch.from_numpy(np.array(ours.value)))
            theirs.requires_grad_(ours is not None)  # what is not there stays 1 or 0
    return [module]


_MAKERS: dict[type[Layer], Callable[[Node, Any], list[nn.Module]]] = {
    layers.Conv2D: _conv,
    layers.DepthwiseConv2D: _depthwise,
    layers.SeparableConv2D: _separable,
    layers.Dense: _dense,
    layers.Dropout: _dropout,
    layers.MaxPool2D: _max_pool,
    layers.BatchNormalization: _batch_norm,
    layers.AvgPool2D: _avg_pool,
    layers.LocalResponseNormalization: _response_norm,
    layers.ZeroPadding2D: _zeros,
    layers.Reshape: _reshape,
    layers.GlobalAvgPool2D: _global_avg_pool,
    layers.Flatten: lambda node, layer: [nn.Flatten()],
    layers.Add: lambda node, layer: [_Sum()],
    layers.Concatenate: lambda node, layer: [_Concatenation()],
    layers.ReLU: lambda node, layer: [],  # its activation follows
    layers.Activation: lambda node, layer: [],
    layers.Softmax: lambda node, layer: [],
}


def torch_optimizer(optimizer: fc.optimizers.Optimizer, net: nn.Module) -> torch.optim.Optimizer:
    """PyTorch's optimizer with the same numbers.

    Raises:
        NotImplementedError: other than SGD, RMSprop and Adam.
    """
    config = optimizer.get_config()
    rate, weights = config["learning_rate"], net.parameters()
    if type(optimizer) is fc.optimizers.SGD:
        return torch.optim.SGD(weights, rate, config["momentum"], nesterov=config["nesterov"])
    if type(optimizer) is fc.optimizers.RMSprop:
        return torch.optim.RMSprop(weights, rate, config["rho"], config["epsilon"], momentum=config["momentum"])
    if type(optimizer) is fc.optimizers.Adam:
        return torch.optim.Adam(weights, rate, (config["beta_1"], config["beta_2"]), config["epsilon"])
    raise NotImplementedError(f"{type(optimizer).__name__} has no twin in PyTorch here")
