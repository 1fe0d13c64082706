"""Pictures of what was measured: bars, a roofline, speed-up over threads. Every function returns a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from fastconv.bench import roofline
from fastconv.bench.layers import UsageError
from fastconv.bench.report import geometric_mean, words
from fastconv.bench.rows import Measurement
from fastconv.bench.scaling import FAMILIES, speedups

_COLOURS = {
    "fastconv": "#0b6e4f",
    "fastconv cached": "#6bbf9c",
    "torch NCHW": "#f4b183",
    "torch NHWC": "#d95f02",
    "onnxruntime": "#7a8bb8",
    "openvino": "#b58bc9",
}
_OTHERS = ("#0b6e4f", "#3d9970", "#6bbf9c", "#99d8c0", "#555555", "#888888", "#bbbbbb")  # algorithms by name


def save(figure: Figure, path: Path) -> None:
    """Write a figure; UsageError for a kind of file that cannot be written."""
    try:
        figure.savefig(path, dpi=130, bbox_inches="tight")
    except ValueError as error:
        raise UsageError(f"cannot write {path}: {error}") from error


def _colour(name: str) -> str:
    """Of an algorithm by name: any, but always the same."""
    return _COLOURS.get(name) or _OTHERS[sum(name.encode()) % len(_OTHERS)]


def bars(rows: Sequence[Measurement], limit: float | None = None) -> Figure:
    """A panel a pass, a group of bars a layer; a dashed line at the limit (operations or bytes a second)."""
    passes = list(dict.fromkeys(row.which for row in rows))
    names = list(dict.fromkeys(name for row in rows for name in row.samples))
    most = max(sum(row.which == which for row in rows) for which in passes)
    size = (4 + 5.5 * len(passes), 1.8 + most * (0.14 * len(names) + 0.14))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(passes), squeeze=False)[0]
    for ax, which in zip(panels, passes, strict=True):
        some = [row for row in rows if row.which == which]
        _bars_of_a_pass(ax, some, [name for name in names if any(name in row.samples for row in some)], limit)
        ax.set_title(words(which), fontsize=11, loc="left")  # the name of the limit may stand in the middle
    legends = [ax.get_legend_handles_labels() for ax in panels]
    handles = {label: handle for found, labels in legends for handle, label in zip(found, labels, strict=True)}
    keywords = {"ncols": len(handles), "frameon": False, "fontsize": 9}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", **keywords)
    return figure


def _bars_of_a_pass(ax: Axes, rows: Sequence[Measurement], names: Sequence[str], limit: float | None) -> None:
    height = 0.8 / len(names)
    for i, name in enumerate(names):
        present = [(y, _length(row, name)) for y, row in enumerate(rows) if name in row.samples]
        ys, widths = [y + (i - (len(names) - 1) / 2) * height for y, _ in present], [rate for _, rate in present]
        ax.barh(ys, widths, height, color=_colour(name), label=name)
    unit = rows[0].unit
    ends = [max(_length(row, name) for name in row.samples) for row in rows]
    end = max(ends)
    if limit is not None and unit != "images/s":
        ax.axvline(limit / 1e9, color="0.3", linestyle="--", linewidth=1)
        what = "FMA peak" if unit == "GFLOP/s" else "triad"
        ax.text(limit / 1e9, -0.62, what, ha="center", va="bottom", fontsize=8, color="0.3")
        end = max(end, limit / 1e9)
    for y, row in enumerate(rows):
        if row.ratio is not None:
            ax.text(ends[y] + 0.01 * end, y, f"{row.ratio:.2f}x", va="center", fontsize=8)
    ax.set_yticks(range(len(rows)), [f"{row.title}\n{row.shape}" for row in rows], fontsize=7)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(0, 1.1 * end)
    beside = "\nbeside the bars: fastconv to PyTorch's faster layout" if any(row.ratio for row in rows) else ""
    ax.set_xlabel((unit if unit != "images/s" else "images a second, the fastest = 1") + beside)
    ax.spines[["top", "right"]].set_visible(False)


def _length(row: Measurement, name: str) -> float:
    """Of a bar: the rate; of networks, which differ a thousandfold, the rate relative to the fastest contestant."""
    if row.unit != "images/s":
        return row.rate(name)
    return min(samples.median for samples in row.samples.values()) / row.samples[name].median


def roof(rows: Sequence[Measurement], ceilings: roofline.Ceilings) -> Figure:
    """Logarithmic axes: the measured ceilings, and each layer at its intensity, fastconv above PyTorch."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    ax = figure.subplots()
    places = [roofline.intensity(row) for row in rows]
    low, high = min([*places, ceilings.peak / ceilings.cache]) / 2, 2 * max([*places, ceilings.peak / ceilings.memory])
    x = np.geomspace(low, high, 200)
    for speed, label, style in (
        (ceilings.cache, f"level 2 caches {ceilings.cache / 1e9:.0f} GB/s", ":"),
        (ceilings.memory, f"memory {ceilings.memory / 1e9:.1f} GB/s", "-"),
    ):
        ax.plot(x, np.minimum(x * speed, ceilings.peak) / 1e9, style, color="0.35", linewidth=1.5, label=label)
    ax.axhline(ceilings.peak / 1e9, color="0.35", linestyle="--", linewidth=1)
    peak = ceilings.peak / 1e9
    ax.text(low, peak, f" FMA peak {peak:.0f} GFLOP/s", va="bottom", fontsize=9, color="0.25")
    for prefix, colour, marker in (("torch", _COLOURS["torch NHWC"], "s"), ("fastconv", _COLOURS["fastconv"], "o")):
        dots = [(place, row.rate(name)) for place, row in zip(places, rows, strict=True) if (name := _dot(row, prefix))]
        if dots:
            label = "fastconv" if prefix == "fastconv" else "PyTorch, faster layout"
            xs, ys = zip(*dots, strict=True)
            ax.scatter(xs, ys, 34, color=colour, marker=marker, label=label, zorder=3)
    for number, (place, row) in enumerate(zip(places, rows, strict=True), 1):
        ax.annotate(str(number), (place, row.rate()), xytext=(5, 4), textcoords="offset points", fontsize=8)
    ax.set_xscale("log")
    ax.set_yscale("log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlabel("arithmetic intensity: FLOP of the direct algorithm / byte of inputs and outputs")
    ax.set_ylabel("GFLOP/s of the direct algorithm")
    ax.grid(which="major", color="0.9")
    ax.legend(loc="lower right", fontsize=9)
    several = len({row.which for row in rows}) > 1
    names = [row.title + (f", {words(row.which)}" if several else "") for row in rows]
    key = "\n".join(f"{i:2d} {name}" for i, name in enumerate(names, 1))
    figure.text(1.0, 0.5, key, fontsize=7, family="monospace", va="center", ha="left")
    return figure


def _dot(row: Measurement, prefix: str) -> str | None:
    return row.ours if prefix == "fastconv" else row.fastest(prefix)


def scaling(rows: Sequence[Measurement]) -> Figure:
    """Speed-up over one thread: a thin line a layer, a thick one for their geometric mean, dashed the ideal."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    families = [name for name in FAMILIES if any(name in speedups(row) for row in rows)]
    panels = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    for ax, family in zip(panels, families, strict=True):
        curves = [speedups(row)[family] for row in rows]
        counts = sorted(curves[0])
        ax.plot(counts, counts, "--", color="0.5", linewidth=1, label="ideal")
        for curve in curves:
            ax.plot(counts, [curve[count] for count in counts], color=_COLOURS[family], alpha=0.35, linewidth=1)
        mean = [geometric_mean(curve[count] for curve in curves) for count in counts]
        ax.plot(counts, mean, "o-", color=_COLOURS[family], linewidth=2.5, label=f"geometric mean of {len(curves)}")
        ax.annotate(f"{mean[-1]:.2f}", (counts[-1], mean[-1]), xytext=(-4, 6), textcoords="offset points", ha="right")
        ax.set_title(family)
        ax.set_xticks(counts)
        ax.set_xlabel("threads")
        ax.legend(loc="upper left", fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylim(0, 1.1 * counts[-1])
    panels[0].set_ylabel("times as fast as one thread")
    return figure
