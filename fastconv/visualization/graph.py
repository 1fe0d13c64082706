"""The graph of a model as a picture: a box a layer, an arrow for every array that flows."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from .. import layers
from ..graph.flat import flat_graph
from ..graph.graph import Graph
from ..layers.base import Layer
from ..layers.input import InputLayer
from ..layers.node import Node, Tensor
from . import _layout

if TYPE_CHECKING:
    from ..graph.layer import GraphLayer

_FONT = 8.0  # points
_LETTER, _LINE = 0.068, 0.145  # inches of a letter and a line at that size
_MARGIN, _PANEL_GAP = 0.25, 0.35
_ASPECT = 1.5  # width / height that tall graphs are folded to
_FOLD_ABOVE = 12.0  # inches: graphs up to this height stay in one piece
_COLOURS: tuple[tuple[tuple[type[Layer], ...], str], ...] = (
    ((InputLayer,), "#ffffff"),
    (
        (
            layers.Conv2D,
            layers.DepthwiseConv2D,
            layers.SeparableConv2D,
            layers.Conv2DTranspose,
            layers.LocallyConnected2D,
        ),
        "#cfe3f7",
    ),
    ((layers.Dense,), "#fbdcc0"),
    (
        (layers.MaxPool2D, layers.AvgPool2D, layers.GlobalAvgPool2D, layers.GlobalMaxPool2D, layers.MaxUnpool2D),
        "#d3ecd0",
    ),
    ((layers.Add, layers.Multiply, layers.Concatenate), "#e6d9f2"),
    ((layers.BatchNormalization, layers.LocalResponseNormalization), "#f7f0c4"),
)
_OTHER = "#ececec"


class _Box(NamedTuple):
    """One call of a layer: what is written into it, and how large that is."""

    lines: tuple[str, ...]
    colour: str
    size: tuple[float, float]


def plot_model(
    model: GraphLayer,
    show_shapes: bool = True,
    show_types: bool = True,
    expand_nested: bool = False,
    layout: str = "auto",
    max_inches: float = 60.0,
) -> Figure:
    """Draw the graph of a model: for each call of a layer a box with its name, type and output shape.

    A graph that is taller than 12 inches is folded into columns: it goes on at the top of the next one.

    Args:
        model: a built model.
        show_shapes: write output shapes, without the batch.
        show_types: write the layers' classes.
        expand_nested: draw the layers of nested models in place of one box for each.
        layout: ``"dot"``: Graphviz' program `dot` places the boxes; ``"layered"``: an algorithm of our own;
            ``"auto"``: `dot` if it is on the path.
        max_inches: a figure that would be wider or higher is scaled down, with its letters.

    Raises:
        ValueError: another layout; max_inches not above 0. RuntimeError: a model that is not built; `dot` is missing
            or fails.
    """
    if layout not in ("auto", "dot", "layered"):
        raise ValueError(f"layout must be 'auto', 'dot' or 'layered', got {layout!r}")
    if not max_inches > 0:
        raise ValueError(f"max_inches must be above 0, got {max_inches}")
    graph = flat_graph(model) if expand_nested else model.graph
    nodes = [*dict.fromkeys(tensor.node for tensor in graph.inputs), *graph.nodes]
    given = {tensor: nodes.index(tensor.node) for tensor in graph.inputs}
    boxes = [_box(node, graph, show_shapes, show_types) for node in nodes]
    edges = []
    numbers = {node: i for i, node in enumerate(nodes)}
    for node in graph.nodes:
        edges += [(given.get(tensor, numbers[tensor.node]), numbers[node]) for tensor in node.inputs]
    program = shutil.which("dot")
    if layout == "dot" and program is None:
        raise RuntimeError("there is no program dot on the path: install Graphviz, or use layout='layered'")
    sizes = [box.size for box in boxes]
    if program is not None and layout != "layered":
        places = _layout.dot(program, sizes, edges)
    else:
        places = _layout.layered(sizes, edges)
    title = f"{model.name}: {len(graph.layers)} layers, {sum(p.size for p in model.parameters):,} parameters"
    return _draw(boxes, places, title, max_inches)


def _box(node: Node, graph: Graph, show_shapes: bool, show_types: bool) -> _Box:
    layer = node.layer
    lines = [graph.names.get(layer, layer.name)]
    details = [type(layer).__name__] if show_types else []
    if show_shapes:
        details += [_shape(tensor) for tensor in node.outputs]
    if details:
        lines.append("  ".join(details))
    colour = next((colour for kinds, colour in _COLOURS if isinstance(layer, kinds)), _OTHER)
    width = max(0.7, _LETTER * max(map(len, lines)) + 0.16)
    return _Box(tuple(lines), colour, (width, _LINE * len(lines) + 0.1))


def _shape(tensor: Tensor) -> str:
    sizes = ["?" if size is None else str(size) for size in tensor.shape[1:]]
    return " × ".join(sizes)


class _Panel(NamedTuple):
    """A part of a layout, from one height to another, and the widths that it reaches."""

    upper: float
    lower: float
    left: float
    right: float


def _draw(boxes: Sequence[_Box], places: _layout.Layout, title: str, max_inches: float) -> Figure:
    """Draw boxes and arrows into as many panels, side by side, as the height is folded into."""
    panels = _folded(boxes, places)
    tallest = max(panel.lower - panel.upper for panel in panels)
    width, height = _extent(panels)
    scale = min(1.0, max_inches / max(width, height))
    wide = max(width * scale, 3.0, 0.085 * len(title))
    figure = Figure(figsize=(wide, height * scale))
    x = _MARGIN + (wide / scale - width) / 2
    for panel in panels:
        share, part = panel.right - panel.left, panel.lower - panel.upper
        bottom = _MARGIN + tallest - part
        ax = figure.add_axes((x * scale / wide, bottom / height, share * scale / wide, part / height))
        ax.set_xlim(panel.left, panel.right)
        ax.set_ylim(panel.lower, panel.upper)
        ax.set_axis_off()
        _draw_panel(ax, boxes, places, scale, (panel.upper, panel.lower))
        x += share + _PANEL_GAP
    figure.suptitle(title, fontsize=11, y=1 - 0.08 / (height * scale), va="top")
    return figure


def _extent(panels: Sequence[_Panel]) -> tuple[float, float]:
    """Width and height of the figure in inches, before it is scaled."""
    width = sum(panel.right - panel.left for panel in panels) + (len(panels) - 1) * _PANEL_GAP + 2 * _MARGIN
    return width, max(panel.lower - panel.upper for panel in panels) + 2 * _MARGIN + 0.3


def _draw_panel(
    ax: Axes, boxes: Sequence[_Box], places: _layout.Layout, scale: float, part: tuple[float, float]
) -> None:
    upper, lower = part
    for points in places.arrows:
        if points[-1][1] < upper or points[0][1] > lower:
            continue
        codes = [Path.MOVETO] + [Path.CURVE4] * (len(points) - 1)
        ax.add_patch(
            FancyArrowPatch(
                path=Path(points, codes), arrowstyle="-|>", mutation_scale=7 * scale, color="0.35",
                linewidth=0.8 * scale, shrinkA=0, shrinkB=0,
            )
        )  # fmt: skip
    for box, (x, y) in zip(boxes, places.centres, strict=True):
        if not upper <= y <= lower:
            continue
        width, height = box.size
        ax.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.05",
                facecolor=box.colour, edgecolor="0.35", linewidth=0.7 * scale,
                clip_on=False,
            )
        )  # fmt: skip
        for i, line in enumerate(box.lines):
            below = (i - (len(box.lines) - 1) / 2) * _LINE
            weight = "bold" if i == 0 else "normal"
            ax.text(x, y + below, line, ha="center", va="center", fontsize=_FONT * scale * 0.95, fontweight=weight)


def _folded(boxes: Sequence[_Box], places: _layout.Layout) -> list[_Panel]:
    """The parts into which a layout is folded between its rows, nearest to the aspect wanted."""
    if places.height <= _FOLD_ABOVE:
        return _panels(1, boxes, places)
    choices = [_panels(count, boxes, places) for count in range(1, max(2, round(places.height / 4)))]

    def distance(panels: list[_Panel]) -> float:
        width, height = _extent(panels)
        return abs(math.log(width / height / _ASPECT))

    return min(choices, key=distance)


def _panels(count: int, boxes: Sequence[_Box], places: _layout.Layout) -> list[_Panel]:
    cuts = [0.0]
    gaps = _free_heights(boxes, places)
    for i in range(1, count):
        target = places.height * i / count
        after = [gap for gap in gaps if gap > cuts[-1]]
        if after:
            cuts.append(min(after, key=lambda gap: abs(gap - target)))
    cuts.append(places.height)
    return [_Panel(upper, lower, *_reach(boxes, places, upper, lower)) for upper, lower in itertools.pairwise(cuts)]


def _reach(boxes: Sequence[_Box], places: _layout.Layout, upper: float, lower: float) -> tuple[float, float]:
    """How far the boxes and arrows between two heights reach to the left and to the right."""
    xs = []
    for box, (x, y) in zip(boxes, places.centres, strict=True):
        if upper <= y <= lower:
            xs += [x - box.size[0] / 2, x + box.size[0] / 2]
    for points in places.arrows:
        xs += [x for x, y in points if upper <= y <= lower]
    return min(xs), max(xs)


def _free_heights(boxes: Sequence[_Box], places: _layout.Layout) -> list[float]:
    """The middles of the gaps between boxes, from above."""
    spans = sorted(
        (y - box.size[1] / 2, y + box.size[1] / 2) for box, (_, y) in zip(boxes, places.centres, strict=True)
    )
    gaps, reached = [], spans[0][1]
    for top, bottom in spans[1:]:
        if top > reached:
            gaps.append((top + reached) / 2)
        reached = max(reached, bottom)
    return gaps
