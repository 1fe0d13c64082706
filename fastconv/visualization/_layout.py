"""Where the boxes and arrows of a graph go: by Graphviz' `dot`, or by a layered layout of our own.

Both return a :class:`Layout`, so there is one drawing code. Lengths are inches, y points down.

The layered layout follows Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System
Structures" (1981): every box in the row after the last of its sources, long arrows through free places in the rows
between, boxes of a row ordered by the mean place of their neighbours.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

ROW_GAP, COLUMN_GAP = 0.24, 0.2  # inches
_BEND = 0.12  # width kept free for an arrow that passes a row
_SWEEPS = 48
_DOT_SECONDS = 120

Point = tuple[float, float]


class Layout(NamedTuple):
    """Centres of the boxes, and a Bézier curve of 3 n + 1 points for each arrow, from its source down to its target."""

    centres: list[Point]
    arrows: list[list[Point]]
    width: float
    height: float


def dot(program: str, sizes: Sequence[Point], edges: Sequence[tuple[int, int]]) -> Layout:
    """Let Graphviz' `dot` place boxes of these (width, height), joined by arrows (source, target).

    Raises:
        RuntimeError: dot fails; its message is quoted.
    """
    lines = ["digraph {", f"ranksep={ROW_GAP}; nodesep={COLUMN_GAP}; node [shape=box, fixedsize=true];"]
    lines.append("edge [dir=none];")  # curves up to the boxes: the arrow heads are ours
    lines += [f"n{i} [width={width:.3f}, height={height:.3f}];" for i, (width, height) in enumerate(sizes)]
    lines += [f"n{source} -> n{target};" for source, target in edges]
    try:
        run = subprocess.run(
            [program, "-Tplain"], input="\n".join([*lines, "}"]), capture_output=True, text=True, timeout=_DOT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{program} took more than {_DOT_SECONDS} s; use layout='layered'") from error
    if run.returncode:
        raise RuntimeError(f"{program} failed with code {run.returncode}: {run.stderr.strip()}; use layout='layered'")
    return _parse_plain(run.stdout, len(sizes), edges)


def _parse_plain(text: str, boxes: int, edges: Sequence[tuple[int, int]]) -> Layout:
    """Read dot's plain format (https://graphviz.org/docs/outputs/plain/), whose y points up."""
    width = height = 0.0
    centres: list[Point] = [(0.0, 0.0)] * boxes
    curves: dict[tuple[int, int], list[list[Point]]] = {}
    for line in text.splitlines():
        kind, *words = line.split() or [""]
        if kind == "graph":
            width, height = float(words[1]), float(words[2])
        elif kind == "node":
            centres[int(words[0][1:])] = float(words[1]), height - float(words[2])
        elif kind == "edge":
            count = int(words[2])
            numbers = [float(word) for word in words[3 : 3 + 2 * count]]
            points = [(x, height - y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            curves.setdefault((int(words[0][1:]), int(words[1][1:])), []).append(points)
    return Layout(centres, [curves[edge].pop(0) for edge in edges], width, height)


def layered(sizes: Sequence[Point], edges: Sequence[tuple[int, int]]) -> Layout:
    """Place boxes of these (width, height), numbered so that every arrow leads from a smaller number to a larger."""
    rank = _ranks(len(sizes), edges)
    rows: list[list[int]] = [[] for _ in range(max(rank, default=0) + 1)]
    for box, r in enumerate(rank):
        rows[r].append(box)
    widths = [width for width, _ in sizes]
    chains = []  # of each arrow: its source, a free place in every row that it passes, its target
    for source, target in edges:
        passed = range(rank[source] + 1, rank[target])
        free = range(len(widths), len(widths) + len(passed))
        for r, place in zip(passed, free, strict=True):
            rows[r].append(place)
        widths += [_BEND] * len(passed)
        chains.append([source, *free, target])
    x = _columns(rows, [pair for chain in chains for pair in itertools.pairwise(chain)], widths)
    heights = [max((sizes[place][1] for place in row if place < len(sizes)), default=_BEND) for row in rows]
    tops = [sum(heights[:r]) + r * ROW_GAP for r in range(len(rows))]
    centres = [(x[box], tops[r] + heights[r] / 2) for box, r in enumerate(rank)]
    arrows = []
    for source, *passing, target in chains:
        stops = [(x[source], centres[source][1] + sizes[source][1] / 2)]
        for r, place in enumerate(passing, rank[source] + 1):  # straight through the row, curved between rows
            stops += [(x[place], tops[r]), (x[place], tops[r] + heights[r])]
        arrows.append(_curve([*stops, (x[target], centres[target][1] - sizes[target][1] / 2)]))
    reach = max((x[place] + width / 2 for place, width in enumerate(widths)), default=0.0)
    return Layout(centres, arrows, reach, tops[-1] + heights[-1])


def _ranks(boxes: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The row of each box: that after the last of its sources."""
    rank = [0] * boxes
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        rank[target] = max(rank[target], rank[source] + 1)
    for i in range(boxes - 1, -1, -1):  # a source that is read late, such as a second input, moves down
        targets = [rank[target] for source, target in edges if source == i]
        if targets and not any(target == i for _, target in edges):
            rank[i] = min(targets) - 1
    return rank


def _columns(rows: list[list[int]], pairs: Sequence[tuple[int, int]], widths: Sequence[float]) -> list[float]:
    """The x of every place. Sweeping down and up, rows are sorted by the mean x of their neighbours and spread out."""
    above: list[list[int]] = [[] for _ in widths]
    below: list[list[int]] = [[] for _ in widths]
    for upper, lower in pairs:
        above[lower].append(upper)
        below[upper].append(lower)
    x = [0.0] * len(widths)
    for row in rows:
        for i, place in enumerate(row):
            x[place] = float(i)
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = {}
            for place in row:
                near = above[place] if sweep % 2 == 0 else below[place]
                if sweep >= _SWEEPS / 2:  # in the end both sides count
                    near = above[place] + below[place]
                wanted[place] = sum(x[n] for n in near) / len(near) if near else x[place]
            row.sort(key=lambda place, wanted=wanted: wanted[place])  # type: ignore[misc]
            for place, value in zip(row, _apart([wanted[p] for p in row], [widths[p] for p in row]), strict=True):
                x[place] = value
    left = min((x[place] - width / 2 for place, width in enumerate(widths)), default=0.0)
    return [value - left for value in x]


def _apart(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """The places nearest to those wanted (least squares) with a gap between neighbours: who is in the way shares it.

    Without the widths it is isotonic regression, which pooling adjacent violators solves exactly.
    """
    shifts = list(itertools.accumulate(((a + b) / 2 + COLUMN_GAP for a, b in itertools.pairwise(widths)), initial=0.0))
    pools: list[list[float]] = []  # members that stand shoulder to shoulder, around their mean
    for value, shift in zip(wanted, shifts, strict=True):
        pools.append([value - shift])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    return [fmean(pool) + shift for pool, shift in zip((p for p in pools for _ in p), shifts, strict=True)]


def _curve(stops: Sequence[Point]) -> list[Point]:
    """A Bézier curve through the stops that enters and leaves each of them vertically."""
    points = [stops[0]]
    for (x0, y0), (x1, y1) in itertools.pairwise(stops):
        points += [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2), (x1, y1)]
    return points
