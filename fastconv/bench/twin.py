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

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


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


def _batch_norm(node: Node, layer: layers.BatchNormalization) -> list[nn.Module]:
    gamma, beta, mean, variance = layer.get_weights()
    module = nn.BatchNorm2d(len(gamma), layer.epsilon, 1 - layer.momentum)
    with torch.no_grad():
        module.running_mean.copy_(torch.from_numpy(mean))  # type: ignore[union-attr]
        module.running_var.copy_(torch.from_numpy(variance))  # type: ignore[union-attr]
    return [_weighted(module, gamma, beta)]


_MAKERS: dict[type[Layer], Callable[[Node, Any], list[nn.Module]]] = {
    layers.Conv2D: _conv,
    layers.Dense: _dense,
    layers.MaxPool2D: _max_pool,
    layers.BatchNormalization: _batch_norm,
    layers.GlobalAvgPool2D: lambda node, layer: [nn.AdaptiveAvgPool2d(1), nn.Flatten()],
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
