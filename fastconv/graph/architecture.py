"""A model's layers and connections as plain data, and back.

The description of a graph numbers its tensors: the inputs from 0, then the outputs of each call in order::

    {"name": "lenet", "inputs": ["input_layer"], "layers": [{"class_name": "Conv2D", "config": {...}}, ...],
     "calls": [{"layer": "conv2d", "inputs": [0], "outputs": 1}, ...], "outputs": [7]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..layers.base import Layer
from ..layers.input import InputLayer
from ..layers.node import Tensor
from ..registry import LAYERS, custom_object_scope, resolve
from .graph import Graph


def serialize_layer(layer: Layer, name: str | None = None) -> dict[str, Any]:
    """Return ``{"class_name", "config"}`` for a layer or model; ``name`` replaces the layer's own."""
    config = layer.get_config()
    return {"class_name": type(layer).__name__, "config": {**config, "name": name} if name else config}


def deserialize_layer(description: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Build a layer or model from what :func:`serialize_layer` returned.

    Args:
        description: ``{"class_name", "config"}``.
        custom_objects: class name -> class, for classes of your own.

    Raises:
        ValueError: an unknown class name.
    """
    with custom_object_scope(custom_objects):
        return resolve(description, LAYERS, "layer")


def graph_config(graph: Graph) -> dict[str, Any]:
    """Describe a graph; see the module's description."""
    numbers = {tensor: i for i, tensor in enumerate(graph.inputs)}
    descriptions: list[dict[str, Any]] = []
    inputs: list[str] = []
    for tensor in graph.inputs:
        layer = tensor.node.layer
        if not isinstance(layer, InputLayer):  # a tensor in the middle of another model becomes an input
            layer = InputLayer(tensor.shape[1:], dtype=tensor.dtype)
        name = graph.names.get(layer) or f"{layer.name}_{len(inputs)}"
        descriptions.append(serialize_layer(layer, name))
        inputs.append(name)
    calls = []
    for node in graph.nodes:
        sources = [numbers[t] for t in node.inputs]
        call = {"layer": graph.names[node.layer], "inputs": sources, "outputs": len(numbers)}
        calls.append(call if node.training is None else {**call, "training": node.training})
        for tensor in node.outputs:
            numbers.setdefault(tensor, len(numbers))
    descriptions += [
        serialize_layer(layer, graph.names[layer]) for layer in graph.layers if not isinstance(layer, InputLayer)
    ]
    outputs = [numbers[t] for t in graph.outputs]
    return {"inputs": inputs, "layers": descriptions, "calls": calls, "outputs": outputs}


def graph_from_config(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Return new inputs and outputs for a :func:`graph_config`."""
    found = {d["config"]["name"]: deserialize_layer(d, custom_objects) for d in config["layers"]}
    tensors: list[Tensor] = [found[name].output for name in config["inputs"]]
    for call in config["calls"]:
        if not all(isinstance(i, int) and 0 <= i < len(tensors) for i in call["inputs"]) or call["layer"] not in found:
            raise ValueError(f"call {call} refers to a tensor or layer that does not exist")
        sources = [tensors[i] for i in call["inputs"]]
        result = found[call["layer"]](sources[0] if len(sources) == 1 else sources, training=call.get("training"))
        tensors += result if isinstance(result, list) else [result]
    return tensors[: len(config["inputs"])], [tensors[i] for i in config["outputs"]]


def count_calls(description: Any) -> int:
    """Return how many calls of layers one call of a described layer or model comes to, models within models included.

    Without building anything: a model that calls one twice, which calls one twice, and so on, is a short text.
    """
    config = description.get("config") if isinstance(description, Mapping) else None
    if not isinstance(config, Mapping) or not isinstance(config.get("layers"), list | tuple):
        return 1
    counts = [count_calls(layer) for layer in config["layers"]]
    if not {"inputs", "calls", "outputs"} <= config.keys():
        return 1 + sum(counts)
    by_name = {layer["config"]["name"]: count for layer, count in zip(config["layers"], counts, strict=True)}
    return 1 + sum(by_name.get(call["layer"], 1) for call in config["calls"])
