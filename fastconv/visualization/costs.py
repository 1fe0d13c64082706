"""What a model costs, layer by layer: memory, and the times that `Model.profile` measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..graph.flat import flat_graph
from ..layers.node import Tensor

if TYPE_CHECKING:
    from ..graph.layer import GraphLayer
    from ..graph.profile import Profile

_MEGABYTE = 2**20
_LABELLED = 70  # rows that a figure has room to name each
_BLUE, _ORANGE, _GREEN = "#3b75af", "#d9812e", "#3a923a"


def plot_memory(model: GraphLayer, input_shape: Any = None) -> Figure:
    """Draw the memory of a model layer by layer: the array that each layer puts out for one image, and its weights.

    Args:
        model: a built model; layers of nested models are shown one by one.
        input_shape: (H, W, C) of the input (a list with several inputs), where the model does not know it.

    Raises:
        ValueError: a shape that the model does not take; a size that stays unknown.
    """
    graph = flat_graph(model, input_shape)
    labels, arrays, weights = [], [], []
    counted: set[int] = set()
    for node in [*(tensor.node for tensor in graph.inputs), *graph.nodes]:
        labels.append(graph.names[node.layer])
        arrays.append(sum(_bytes(tensor) for tensor in node.outputs))
        own = [p for p in node.layer.parameters if id(p) not in counted]  # shared weights count where they come first
        counted.update(map(id, own))
        weights.append(sum(p.value.nbytes for p in own))
    figure, panels = _rows(labels, 2)
    _bars(panels[0], [np.array(arrays) / _MEGABYTE], [_BLUE])
    _bars(panels[1], [np.array(weights) / _MEGABYTE], [_ORANGE])
    panels[0].set_title(f"outputs of one image: {_megabytes(sum(arrays))}", fontsize=10)
    panels[1].set_title(f"parameters: {_megabytes(sum(weights))}", fontsize=10)
    for ax in panels:
        ax.set_xlabel("MB")
    figure.suptitle(f"{model.name}: memory layer by layer", fontsize=11)
    return figure


def plot_profile(profile: Profile) -> Figure:
    """Draw what `Model.profile` measured: milliseconds, GFLOP/s and memory of every layer.

    Args:
        profile: from `Model.profile`; `profile.plot()` calls this.
    """
    rows = profile.rows
    figure, panels = _rows([row.name for row in rows], 3)
    colours = [_BLUE, _ORANGE]
    times = [[1e3 * row.forward for row in rows], [1e3 * row.backward for row in rows]]
    rates = [[(row.forward_rate or 0) / 1e9 for row in rows], [(row.backward_rate or 0) / 1e9 for row in rows]]
    _bars(panels[0], times, colours)
    _bars(panels[1], rates, colours)
    memory = [[row.output_bytes / _MEGABYTE for row in rows], [row.parameter_bytes / _MEGABYTE for row in rows]]
    _bars(panels[2], memory, [_GREEN, "0.6"])
    for ax, unit in zip(panels, ("ms", "GFLOP/s", "MB"), strict=True):
        ax.set_xlabel(unit)
    total = profile.total
    panels[0].set_title(f"time: {1e3 * total.forward:.2f} + {1e3 * total.backward:.2f} ms", fontsize=10)
    panels[1].set_title("speed", fontsize=10)
    panels[2].set_title("memory", fontsize=10)
    handles: list[Any] = [*panels[0].containers, *panels[2].containers]
    words = ["forward", "backward", "output", "parameters"]
    figure.legend(handles, words, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    figure.suptitle(profile.title, fontsize=11)
    return figure


def _bytes(tensor: Tensor) -> int:
    sizes = [size for size in tensor.shape[1:] if size is not None]
    if len(sizes) < len(tensor.shape) - 1:
        raise ValueError(f"the size of {tensor.node.layer.label}'s output {tensor.shape} is unknown: give input_shape")
    return math.prod(sizes) * np.dtype(tensor.dtype).itemsize


def _megabytes(count: float) -> str:
    return f"{count / _MEGABYTE:,.1f} MB" if count >= 0.1 * _MEGABYTE else f"{count / 1024:,.1f} KB"


def _rows(labels: Sequence[str], panels: int) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a row for each label, the first at the top, and panels that share them."""
    count = len(labels)
    height = 1.4 + (0.17 * count if count <= _LABELLED else 12 + 0.01 * count)
    figure = Figure(figsize=(2.5 + 3.4 * panels, max(height, 2.4)), layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    every = math.ceil(count / _LABELLED)  # long networks: every second, third, ... layer is named
    ticks = range(0, count, every)
    axes[0].set_yticks(ticks, [labels[i] for i in ticks], fontsize=7)
    axes[0].set_ylim(count - 0.4, -0.6)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.grid(axis="x", color="0.9")
        ax.set_axisbelow(True)
    return figure, axes


def _bars(ax: Axes, series: Sequence[Any], colours: Sequence[str]) -> None:
    thick = 0.8 / len(series)
    for k, (values, colour) in enumerate(zip(series, colours, strict=True)):
        places = np.arange(len(values)) + (k - (len(series) - 1) / 2) * thick
        ax.barh(places, values, thick, color=colour)
