"""Calls of a graph that run in another way than alone: batch normalisation takes in the rectifier that alone reads it,
and in a chain of concatenations each appends to the memory of the one before."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from ..layers.activation import Activation, LeakyReLU, ReLU
from ..layers.base import Layer
from ..layers.merging import Concatenate
from ..layers.node import Node, Tensor
from ..layers.normalization import BatchNormalization
from ..ops.activation import RECTIFIERS
from .graph import Graph


class Call(NamedTuple):
    """A node to run, by these methods of its layer, whose results are these tensors."""

    node: Node
    outputs: tuple[Tensor, ...]
    infer: Callable[..., Any]
    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[..., Any]


def calls(graph: Graph, apart: Collection[Node], fused: bool) -> list[Call]:
    """Return a graph's calls in order; ``apart`` are nodes that must stay alone, as all do unless ``fused``."""
    activations = _activations(graph, apart) if fused else {}
    taken = set(activations.values())
    chains = _chains(graph) if fused else {}
    result = []
    for node in graph.nodes:
        if node in taken:
            continue
        layer, outputs = node.layer, node.outputs
        methods: list[Any] = [layer.infer, layer.forward, layer.backward]
        options: dict[str, Any] = {}
        after = activations.get(node)
        if after is not None:
            options["activation"] = after.layer.activation  # type: ignore[attr-defined]
            outputs = after.outputs
        if node in chains:
            options["chain"] = chains[node]
        if options:
            methods = [functools.partial(method, **options) for method in methods]
        result.append(Call(node, outputs, *methods))
    return result


def _activations(graph: Graph, apart: Collection[Node]) -> dict[Node, Node]:
    """Return, for each batch normalisation that takes one in, the rectifier after it."""
    found: dict[Node, Node] = {}
    nodes = set(graph.nodes)
    for node in graph.nodes:
        source = node.inputs[0]
        if (
            node not in apart
            and _is_rectifier(node.layer)
            and type(source.node.layer) is BatchNormalization
            and source.node in nodes
            and source not in graph.inputs
            and graph.uses[source] == 1
        ):
            found[source.node] = node
    return found


def _chains(graph: Graph) -> dict[Node, tuple[int, bool]]:
    """Concatenations of channels of which one begins with another: the channels of the last in its chain, and whether
    a node appends to the one before. A tensor is the beginning of at most one other."""
    joined = [node for node in graph.nodes if _joins_channels(node)]
    known, extended = set(joined), set(graph.inputs)
    before: dict[Node, Node] = {}
    for node in joined:
        first = node.inputs[0]
        if first.node in known and first not in extended:
            extended.add(first)
            before[node] = first.node
    rooms: dict[Node, int] = {}
    for node in reversed(joined):
        if node in before:
            rooms.setdefault(node, node.outputs[0].shape[-1] or 0)
            rooms[before[node]] = rooms[node]
    return {node: (room, node in before) for node, room in rooms.items()}


def _joins_channels(node: Node) -> bool:
    layer, shape = node.layer, node.outputs[0].shape
    return type(layer) is Concatenate and layer.axis in (-1, len(shape) - 1) and shape[-1] is not None


def _is_rectifier(layer: Layer) -> bool:
    if type(layer) not in (Activation, ReLU, LeakyReLU):
        return False
    spec = layer.activation  # type: ignore[attr-defined]
    return spec is not None and (spec[0] if isinstance(spec, tuple) else spec) in RECTIFIERS
