"""A model without models inside: the same layers in one graph, where every call and every shape is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..layers.base import Layer
from ..layers.input import Input
from ..layers.node import Node, Shape, Tensor
from .graph import Graph
from .layer import GraphLayer


def flat_graph(model: GraphLayer, input_shape: Any = None) -> Graph:
    """Return the graph of a model in which nested models are replaced by their layers, under names like
    ``"inner/conv2d"``.

    The layers are the model's own; the calls are new ones that the layers do not know of, so nothing changes in the
    model.

    Args:
        model: a built one.
        input_shape: of one sample, e.g. ``(224, 224, 3)`` (a list with several inputs), to know more sizes than the
            model does; by default the model's own.

    Raises:
        ValueError: a shape that the model does not take. RuntimeError: a model that is not built.
    """
    graph = model.graph
    shapes = _sample_shapes(model, input_shape)
    names: dict[Layer, str] = {}
    inputs = []
    for tensor, shape in zip(graph.inputs, shapes, strict=True):
        inputs.append(Input(shape, dtype=tensor.dtype))
        names[inputs[-1].node.layer] = graph.names.get(tensor.node.layer, "input")
    if len(set(names.values())) < len(names):  # inputs in the middle of other models have no name here
        names = {layer: f"input_{i}" for i, layer in enumerate(names)}
    outputs = _inline(graph, inputs, names, "", None)
    return Graph(inputs, outputs, names)


def _sample_shapes(model: GraphLayer, input_shape: Any) -> list[Shape]:
    if input_shape is None:
        return [tensor.shape[1:] for tensor in model.graph.inputs]
    shapes = [tuple(s) for s in input_shape] if isinstance(input_shape, list) else [tuple(input_shape)]
    model.tensor_shapes([(None, *shape) for shape in shapes])  # refuses what does not fit
    return shapes


def _inline(
    graph: Graph, inputs: Sequence[Tensor], names: dict[Layer, str], prefix: str, training: bool | None
) -> list[Tensor]:
    """Repeat the calls of ``graph`` on ``inputs``; return its outputs, and enter the layers' names."""
    known = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        layer, path = node.layer, prefix + graph.names[node.layer]
        sources = [known[tensor] for tensor in node.inputs]
        fixed = node.training if training is None else training
        inner = layer.inline()
        if inner is not None:
            results = _inline(inner, sources, names, path + "/", fixed)
        else:
            names.setdefault(layer, path)
            shapes = [source.shape for source in sources]
            shape = layer.compute_output_shape(shapes[0] if len(shapes) == 1 else shapes)
            dtypes = [tensor.dtype for tensor in node.outputs]
            results = list(Node(layer, sources, shape if isinstance(shape, list) else [shape], dtypes, fixed).outputs)
        for tensor, result in zip(node.outputs, results, strict=True):
            known.setdefault(tensor, result)
    return [known[tensor] for tensor in graph.outputs]


def find_output(graph: Graph, layer: Layer | str, model: GraphLayer) -> Tensor:
    """Return what a layer puts out (the last time, if it is called several times; the first of several outputs).

    Args:
        graph: from :func:`flat_graph`.
        layer: a layer, or its name; of a layer in a nested model ``"inner/conv2d"``. A nested model stands for its
            output.
        model: that the graph was made from, for the message and for nested models.

    Raises:
        ValueError: no such layer.
    """
    by_name = {name: one for one, name in graph.names.items()}
    wanted: Layer | None = by_name.get(layer) if isinstance(layer, str) else layer
    path = layer if isinstance(layer, str) else None
    if wanted is None or wanted not in graph.names:
        inner = _nested(model, layer)
        if inner is None:
            shown = f'layer "{path}"' if path is not None else str(layer)
            raise ValueError(f"no {shown} in {model.label}; there are: {', '.join(by_name)}")
        wanted = _last_layer(inner)
    for tensor in graph.inputs:
        if tensor.node.layer is wanted:
            return tensor
    return [node.outputs[0] for node in graph.nodes if node.layer is wanted][-1]


def _nested(model: GraphLayer, layer: Layer | str) -> Layer | None:
    """The nested model that ``layer`` is or names."""
    for path, one in model.named_layers():
        if one is not model and (one is layer or path == layer):
            return one
    return None


def _last_layer(layer: Layer) -> Layer:
    while (inner := layer.inline()) is not None:
        layer = inner.outputs[0].node.layer
    return layer
