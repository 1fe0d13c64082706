"""From tensors to an order: the nodes between inputs and outputs, the layers in Keras' order, their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..layers.base import Layer
from ..layers.input import InputLayer
from ..layers.node import Node, Shape, Tensor


class Graph:
    """The calls that lead from ``inputs`` to ``outputs``.

    Args:
        inputs, outputs: tensors. An input may be an :func:`Input` or any tensor in the middle of another model.
        names: of layers whose name is already decided.

    Attributes:
        nodes: the calls, each after those it depends on; input layers are not among them.
        layers: each layer once, in Keras' order: by distance from the outputs, then by first visit from there.
        names: layer -> its name in this model.
        uses: tensor -> how many calls and outputs read it.

    Raises:
        ValueError: an output that depends on an Input which is not listed; two layers with the same given name.
    """

    def __init__(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], names: Mapping[Layer, str] | None = None
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        if len(set(self.inputs)) != len(self.inputs):
            raise ValueError("an Input is listed twice among the inputs")
        ordered, visited = _depth_first(self.inputs, self.outputs)
        self.nodes = [node for node in ordered if node.inputs]
        self.layers = _keras_order(ordered, visited, self.inputs)
        self.names = _names(self.layers, names or {})
        self.uses: dict[Tensor, int] = {}
        for tensor in (*(t for node in self.nodes for t in node.inputs), *self.outputs):
            self.uses[tensor] = self.uses.get(tensor, 0) + 1

    def tensor_shapes(self, input_shapes: Sequence[Shape]) -> dict[Tensor, Shape]:
        """Return the shape of every tensor for inputs of these shapes (batch included), which fit the graph's."""
        shapes: dict[Tensor, Shape] = dict(zip(self.inputs, map(tuple, input_shapes), strict=True))
        for node in self.nodes:
            sources = [shapes[t] for t in node.inputs]
            result = node.layer.compute_output_shape(sources[0] if len(sources) == 1 else sources)
            for tensor, shape in zip(node.outputs, result if isinstance(result, list) else [result], strict=True):
                shapes.setdefault(tensor, shape)
        return shapes


def _depth_first(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[list[Node], dict[Layer, int]]:
    """Return the nodes, each after its sources, and the rank at which each layer was first visited."""
    given = set(inputs)
    order: list[Node] = []
    done: set[Node] = set()
    visited: dict[Layer, int] = {}
    for output in outputs:
        stack: list[tuple[Tensor, bool]] = [(output, False)]
        while stack:
            tensor, sources_done = stack.pop()
            node = tensor.node
            if sources_done:
                if node not in done:
                    done.add(node)
                    order.append(node)
                continue
            if node in done:
                continue
            if tensor in given:
                if isinstance(node.layer, InputLayer):
                    visited.setdefault(node.layer, len(visited))
                    done.add(node)
                    order.append(node)
                continue
            if not node.inputs:
                raise ValueError(f"the outputs depend on {node.layer.label}, which is not among the model's inputs")
            visited.setdefault(node.layer, len(visited))
            stack.append((tensor, True))
            stack.extend((source, False) for source in reversed(node.inputs))
    return order, visited


def _keras_order(ordered: Sequence[Node], visited: dict[Layer, int], inputs: Sequence[Tensor]) -> list[Layer]:
    """Sort layers by depth (calls between layer and output, the larger of several) and first visit, as Keras does."""
    node_depth: dict[Node, int] = {}
    depth: dict[Layer, int] = {}
    known = set(ordered)
    for node in reversed(ordered):
        d = max(node_depth.get(node, 0), depth.get(node.layer, 0))
        node_depth[node] = depth[node.layer] = d
        for source in node.inputs:
            if source.node in known:
                node_depth[source.node] = max(d + 1, node_depth.get(source.node, 0))
    for tensor in inputs:  # an input that no output uses
        if isinstance(tensor.node.layer, InputLayer):
            depth.setdefault(tensor.node.layer, 0)
    return sorted(depth, key=lambda layer: (-depth[layer], visited.get(layer, -1)))


def _names(layers: Sequence[Layer], decided: Mapping[Layer, str]) -> dict[Layer, str]:
    """Name each layer for this model: its own name, or type and number for unnamed ones.

    A layer that another model named keeps that name unless it is taken here.
    """
    names = {layer: decided[layer] for layer in layers if layer in decided}
    taken = set(names.values())
    for layer in layers:
        if layer.auto_named or layer in names:
            continue
        if layer.name in taken:
            raise ValueError(f'two layers have the name "{layer.name}": names must be unique within a model')
        names[layer] = layer.name
        taken.add(layer.name)
    for layer in layers:
        if layer not in names and layer.named and layer.name not in taken:
            names[layer] = layer.name
            taken.add(layer.name)
    for layer in layers:
        if layer not in names:
            names[layer] = name = free_name(layer, taken)
            taken.add(name)
            layer.assign_name(name)
    return {layer: names[layer] for layer in layers}


def free_name(layer: Layer, taken: set[str]) -> str:
    """Return the first of ``conv2d``, ``conv2d_1``, ... that is not taken, for a layer without a name."""
    base = layer.type_name
    name, number = base, 0
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name
