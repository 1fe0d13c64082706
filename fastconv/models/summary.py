"""The table that ``model.summary()`` prints."""

from __future__ import annotations

from ..graph.costs import call_costs, graph_costs, sample_bytes, size_text, total
from ..graph.layer import GraphLayer
from ..layers.base import Layer
from ..layers.input import InputLayer


def render(model: GraphLayer, line_length: int | None = None) -> str:
    """Return the table: a row per layer (a nested model is one row), then the totals."""
    header = ["Layer (type)", "Output shape", "Parameters", "Multiply-adds", "Activations"]
    rows = [_row(name, layer, model) for name, layer in model.sublayers().items()]
    if model.built and not _is_chain(model):
        header.append("Connected to")
        for row, layer in zip(rows, model.layers, strict=True):
            row.append(_sources(layer, model))
    lines = [f'Model: "{model.name}"', *_table(header, rows, line_length), *_totals(model)]
    return "\n".join(lines)


def _row(name: str, layer: Layer, model: GraphLayer) -> list[str]:
    title = f"{name} ({type(layer).__name__})"
    if not (model.built and layer.built):
        return [title, "?", "?", "?", "?"]
    if isinstance(layer, InputLayer):
        return [title, str(layer.shape), "0", "0", size_text(sample_bytes(layer.shape, layer.dtype))]
    nodes = [node for node in model.graph.nodes if node.layer is layer]
    shapes = {tensor: tensor.shape for node in nodes for tensor in (*node.inputs, *node.outputs)}
    costs = total([call_costs(node, shapes) for node in nodes])
    outputs = ", ".join(str(tensor.shape) for node in nodes[:1] for tensor in node.outputs)
    return [
        title,
        outputs,
        f"{layer.count_params():,}",
        _number(costs.multiply_adds),
        size_text(costs.activation_bytes),
    ]


def _totals(model: GraphLayer) -> list[str]:
    parameters = model.parameters
    trainable = [p for p in parameters if p.trainable]
    frozen = [p for p in parameters if not p.trainable]
    lines = [
        f"{title} params: {sum(p.size for p in group):,} ({size_text(sum(p.value.nbytes for p in group))})"
        for title, group in (("Total", parameters), ("Trainable", trainable), ("Non-trainable", frozen))
    ]
    if not model.built:
        return [*lines, "The model is not built: its input shape is not known yet."]
    costs = graph_costs(model.graph, [tensor.shape for tensor in model.inputs])
    return [
        *lines,
        f"Multiply-adds: {_number(costs.multiply_adds)} per sample",
        f"Activation memory: {size_text(costs.activation_bytes)} per sample",
    ]


def _is_chain(model: GraphLayer) -> bool:
    """Whether every layer follows the one before, so that a column of connections would say nothing."""
    graph = model.graph
    previous = graph.inputs
    for node in graph.nodes:
        if node.inputs != previous:
            return False
        previous = node.outputs
    return previous == graph.outputs


def _sources(layer: Layer, model: GraphLayer) -> str:
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
