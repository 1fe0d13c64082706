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
from typing import NamedTuple

ROW_GAP, COLUMN_GAP = 0.24, 0.2  # inches
_BEND = 0.12  # width kept free for an arrow that passes a row
_SWEEPS = 8
# How much an arrow wants to be straight (between boxes, at a box, passing rows): from Gansner, Koutsofios, North
# and Vo, "A Technique for Drawing Directed Graphs" (1993), section 4.
_STRAIGHT = (1.0, 2.0, 8.0)
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
    rank = [0] * len(sizes)
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        rank[target] = max(rank[target], rank[source] + 1)
    for i in range(len(sizes) - 1, -1, -1):  # a source that is read late, such as a second input, moves down
        targets = [rank[target] for source, target in edges if source == i]
        if targets and not any(target == i for _, target in edges):
            rank[i] = min(targets) - 1
    # Places: the boxes, then a free place for every row that an arrow passes.
    widths = [width for width, _ in sizes]
    ranks = list(rank)
    chains = []
    for source, target in edges:
        chain = [source]
        for row in range(rank[source] + 1, rank[target]):
            chain.append(len(ranks))
            ranks.append(row)
            widths.append(_BEND)
        chains.append([*chain, target])
    rows: list[list[int]] = [[] for _ in range(max(ranks, default=0) + 1)]
    for place, row in enumerate(ranks):
        rows[row].append(place)
    above: list[list[int]] = [[] for _ in ranks]
    below: list[list[int]] = [[] for _ in ranks]
    for chain in chains:
        for upper, lower in itertools.pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    _order(rows, above, below)
    x = _columns(rows, above, below, widths, len(sizes))
    heights = [max((sizes[place][1] for place in row if place < len(sizes)), default=_BEND) for row in rows]
    y, top = [], 0.0
    for height in heights:
        y.append(top + height / 2)
        top += height + ROW_GAP
    arrows = []
    for chain in chains:
        ends = sizes[chain[0]][1] / 2, sizes[chain[-1]][1] / 2
        stops = [(x[chain[0]], y[ranks[chain[0]]] + ends[0])]
        for place in chain[1:-1]:  # straight through the row, curved between rows
            half = heights[ranks[place]] / 2
            stops += [(x[place], y[ranks[place]] - half), (x[place], y[ranks[place]] + half)]
        stops.append((x[chain[-1]], y[ranks[chain[-1]]] - ends[1]))
        arrows.append(_curve(stops))
    width = max((x[i] + widths[i] / 2 for i in range(len(sizes))), default=0.0)
    reach = max([width, *(px for arrow in arrows for px, _ in arrow)])
    centres = [(x[i], y[rank[i]]) for i in range(len(sizes))]
    return Layout(centres, arrows, reach, top - ROW_GAP)


def _curve(stops: Sequence[Point]) -> list[Point]:
    """A Bézier curve through the stops that enters and leaves each of them vertically."""
    points = [stops[0]]
    for (x0, y0), (x1, y1) in itertools.pairwise(stops):
        points += [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2), (x1, y1)]
    return points


def _order(rows: list[list[int]], above: list[list[int]], below: list[list[int]]) -> None:
    """Sort each row by the mean position of its neighbours above, then below, a few times; keep the best order."""
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(_SWEEPS):
        neighbours, order = (above, range(1, len(rows))) if sweep % 2 == 0 else (below, range(len(rows) - 2, -1, -1))
        for r in order:
            position = {
                place: i for row in (rows[r - 1] if sweep % 2 == 0 else rows[r + 1],) for i, place in enumerate(row)
            }
            own = {place: i for i, place in enumerate(rows[r])}
            keys = {
                place: sum(position[n] for n in neighbours[place]) / len(neighbours[place])
                if neighbours[place]
                else float(own[place])
                for place in rows[r]
            }
            rows[r].sort(key=lambda place, keys=keys, own=own: (keys[place], own[place]))  # type: ignore[misc]
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    rows[:] = best


def _crossings(rows: list[list[int]], below: list[list[int]]) -> int:
    count = 0
    for upper, lower in itertools.pairwise(rows):
        position = {place: i for i, place in enumerate(lower)}
        ends = [sorted(position[n] for n in below[place]) for place in upper]
        for i, first in enumerate(ends):
            count += sum(a > b for second in ends[i + 1 :] for a in first for b in second)
    return count


def _columns(
    rows: list[list[int]], above: list[list[int]], below: list[list[int]], widths: Sequence[float], boxes: int
) -> list[float]:
    """The x of every place: near its neighbours, never overlapping; long arrows keep straight."""
    x = [0.0] * len(widths)
    for row in rows:
        left = 0.0
        for place in row:
            x[place] = left + widths[place] / 2
            left += widths[place] + COLUMN_GAP
    for sweep in range(6 * _SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted, weights = [], []
            for place in row:
                near = (above if sweep % 2 == 0 else below)[place] or below[place] or above[place]
                if sweep >= 3 * _SWEEPS:  # in the end both sides count
                    near = above[place] + below[place]
                pulls = [_STRAIGHT[(n >= boxes) + (place >= boxes)] for n in near]
                mean = sum(pull * x[n] for pull, n in zip(pulls, near, strict=True)) / (sum(pulls) or 1.0)
                wanted.append(mean if near else x[place])
                weights.append(sum(pulls) or 1.0)
            for place, value in zip(row, _apart(wanted, weights, [widths[place] for place in row]), strict=True):
                x[place] = value
    left = min((x[place] - widths[place] / 2 for place in range(len(widths))), default=0.0)
    return [value - left for value in x]


def _apart(wanted: Sequence[float], weights: Sequence[float], widths: Sequence[float]) -> list[float]:
    """The places nearest to those wanted (least squares) that leave a gap between neighbours.

    Without the widths it is isotonic regression, which pooling adjacent violators solves exactly.
    """
    shifts = [0.0]
    for a, b in itertools.pairwise(widths):
        shifts.append(shifts[-1] + (a + b) / 2 + COLUMN_GAP)
    pools: list[tuple[float, float, int]] = []  # mean, weight, members
    for value, weight, shift in zip(wanted, weights, shifts, strict=True):
        mean, total, members = value - shift, weight, 1
        while pools and pools[-1][0] > mean:
            other, its, count = pools.pop()
            mean = (mean * total + other * its) / (total + its)
            total, members = total + its, members + count
        pools.append((mean, total, members))
    flat = [mean for mean, _, members in pools for _ in range(members)]
    return [value + shift for value, shift in zip(flat, shifts, strict=True)]
