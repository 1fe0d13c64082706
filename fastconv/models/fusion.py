"""Calls of a graph that run as one step: batch normalisation and the rectifier that alone reads it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from ..layers.activation import Activation, LeakyReLU, ReLU
from ..layers.base import Layer
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
    result = []
    for node in graph.nodes:
        if node in taken:
            continue
        layer, outputs = node.layer, node.outputs
        infer, forward, backward = layer.infer, layer.forward, layer.backward
        after = activations.get(node)
        if after is not None:
            spec = after.layer.activation  # type: ignore[attr-defined]
            methods: tuple[Any, ...] = (infer, forward, backward)
            infer, forward, backward = (functools.partial(method, activation=spec) for method in methods)
            outputs = after.outputs
        result.append(Call(node, outputs, infer, forward, backward))
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


def _is_rectifier(layer: Layer) -> bool:
    if type(layer) not in (Activation, ReLU, LeakyReLU):
        return False
    spec = layer.activation  # type: ignore[attr-defined]
    return spec is not None and (spec[0] if isinstance(spec, tuple) else spec) in RECTIFIERS
