"""The table that ``model.summary()`` prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..layers.base import Layer
from ..layers.input import InputLayer
from ..layers.node import Node, Shape, Tensor

if TYPE_CHECKING:
    from .model import Model


class Costs(NamedTuple):
    """What one sample costs; None where a size is unknown."""

    multiply_adds: int | None
    activation_bytes: int | None


def model_costs(model: Model, input_shape: Any) -> Costs:
    """Sum over all calls of the layers of ``model`` for inputs of this shape (a list with several inputs)."""
    shapes = model.tensor_shapes(input_shape if isinstance(input_shape, list) else [input_shape])
    return _sum([_call_costs(node, shapes) for node in model.graph.nodes])


def render(model: Model, line_length: int | None = None) -> str:
    """Return the table: a row per layer (a nested model is one row), then the totals."""
    header = ["Layer (type)", "Output shape", "Parameters", "Multiply-adds", "Activations"]
    rows = [_row(name, layer, model) for name, layer in model.sublayers().items()]
    if model.built and not _is_chain(model):
        header.append("Connected to")
        for row, layer in zip(rows, model.layers, strict=True):
            row.append(_sources(layer, model))
    lines = [f'Model: "{model.name}"', *_table(header, rows, line_length), *_totals(model)]
    return "\n".join(lines)


def _row(name: str, layer: Layer, model: Model) -> list[str]:
    title = f"{name} ({type(layer).__name__})"
    if not (model.built and layer.built):
        return [title, "?", "?", "?", "?"]
    if isinstance(layer, InputLayer):
        return [title, str(layer.shape), "0", "0", _bytes(_size(layer.shape, layer.dtype))]
    nodes = [node for node in model.graph.nodes if node.layer is layer]
    shapes = {tensor: tensor.shape for node in nodes for tensor in (*node.inputs, *node.outputs)}
    costs = _sum([_call_costs(node, shapes) for node in nodes])
    outputs = ", ".join(str(tensor.shape) for node in nodes[:1] for tensor in node.outputs)
    return [title, outputs, f"{layer.count_params():,}", _number(costs.multiply_adds), _bytes(costs.activation_bytes)]


def _totals(model: Model) -> list[str]:
    parameters = model.parameters
    trainable = [p for p in parameters if p.trainable]
    frozen = [p for p in parameters if not p.trainable]
    lines = [
        f"{title} params: {sum(p.size for p in group):,} ({_bytes(sum(p.value.nbytes for p in group))})"
        for title, group in (("Total", parameters), ("Trainable", trainable), ("Non-trainable", frozen))
    ]
    if not model.built:
        return [*lines, "The model is not built: its input shape is not known yet."]
    costs = model_costs(model, model.input_shape)
    return [
        *lines,
        f"Multiply-adds: {_number(costs.multiply_adds)} per sample",
        f"Activation memory: {_bytes(costs.activation_bytes)} per sample",
    ]


def _call_costs(node: Node, shapes: dict[Tensor, Shape]) -> Costs:
    """Costs of one call; a nested model's are those of its layers."""
    from .model import Model

    layer = node.layer
    sources = [shapes[t] for t in node.inputs]
    targets = [shapes[t] for t in node.outputs]
    if isinstance(layer, Model):
        return model_costs(layer, sources)
    if any(None in shape[1:] for shape in (*sources, *targets)):
        return Costs(None, None)
    work = layer.multiply_adds(_one(sources), _one(targets))
    return Costs(work, sum(_size(shape, t.dtype) or 0 for shape, t in zip(targets, node.outputs, strict=True)))


def _sum(costs: Sequence[Costs]) -> Costs:
    work, memory = [c.multiply_adds for c in costs], [c.activation_bytes for c in costs]
    return Costs(
        None if None in work else sum(w for w in work if w is not None),
        None if None in memory else sum(m for m in memory if m is not None),
    )


def _size(shape: Shape, dtype: str) -> int | None:
    sizes = [size for size in shape[1:] if size is not None]
    return math.prod(sizes) * np.dtype(dtype).itemsize if len(sizes) == len(shape) - 1 else None


def _is_chain(model: Model) -> bool:
    """Whether every layer follows the one before, so that a column of connections would say nothing."""
    graph = model.graph
    previous = graph.inputs
    for node in graph.nodes:
        if node.inputs != previous:
            return False
        previous = node.outputs
    return previous == graph.outputs


def _sources(layer: Layer, model: Model) -> str:
    names = model.graph.names
    nodes = [node for node in model.graph.nodes if node.layer is layer]
    return ", ".join(names.get(t.node.layer, "input") for node in nodes for t in node.inputs) or "-"


def _table(header: list[str], rows: list[list[str]], line_length: int | None) -> list[str]:
    """Align the columns: text to the left, numbers to the right; shorten names to ``line_length``."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    if line_length is not None:
        widths[0] = max(widths[0] + line_length - sum(widths) - 2 * (len(widths) - 1), 12)
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return [_line(header, widths), rule, *(_line(row, widths) for row in rows), rule]


def _line(cells: list[str], widths: list[int]) -> str:
    first = cells[0] if len(cells[0]) <= widths[0] else cells[0][: widths[0] - 3] + "..."
    aligned = [
        cell.rjust(width) if i in (2, 3, 4) else cell.ljust(width)
        for i, (cell, width) in enumerate(zip([first, *cells[1:]], widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _bytes(value: int | None) -> str:
    if value is None:
        return "?"
    size = float(value)
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} GB"


def _one(items: Sequence[Any]) -> Any:
    return items[0] if len(items) == 1 else list(items)
