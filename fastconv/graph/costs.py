"""What a model costs: multiply-adds, and memory for activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..layers.node import Node, Shape, Tensor
from .graph import Graph


class Costs(NamedTuple):
    """What one sample costs; None where a size is unknown."""

    multiply_adds: int | None
    activation_bytes: int | None


def graph_costs(graph: Graph, input_shapes: Sequence[Shape]) -> Costs:
    """Sum over all calls of a graph for inputs of these shapes."""
    shapes = graph.tensor_shapes(input_shapes)
    return total([call_costs(node, shapes) for node in graph.nodes])


def call_costs(node: Node, shapes: dict[Tensor, Shape]) -> Costs:
    """Return the costs of one call; a nested model's are those of its layers."""
    layer = node.layer
    sources = [shapes[t] for t in node.inputs]
    targets = [shapes[t] for t in node.outputs]
    inner = layer.inline()
    if inner is not None:
        return graph_costs(inner, sources)
    if any(None in shape[1:] for shape in (*sources, *targets)):
        return Costs(None, None)
    work = layer.multiply_adds(_one(sources), _one(targets))
    return Costs(work, sum(sample_bytes(shape, t.dtype) or 0 for shape, t in zip(targets, node.outputs, strict=True)))


def total(costs: Sequence[Costs]) -> Costs:
    """Return the sum, None where a part is unknown."""
    work, memory = [c.multiply_adds for c in costs], [c.activation_bytes for c in costs]
    return Costs(
        None if None in work else sum(w for w in work if w is not None),
        None if None in memory else sum(m for m in memory if m is not None),
    )


def sample_bytes(shape: Shape, dtype: str) -> int | None:
    """Return the size of one sample of a tensor, None where a size is unknown."""
    sizes = [size for size in shape[1:] if size is not None]
    return math.prod(sizes) * np.dtype(dtype).itemsize if len(sizes) == len(shape) - 1 else None


def size_text(value: int | None) -> str:
    """Return a number of bytes in the unit that suits it, ``"?"`` for an unknown one."""
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
