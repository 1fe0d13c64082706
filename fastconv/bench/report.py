"""What the benchmarks print and write: tables for a terminal, JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fastconv.bench.conv import Row
from fastconv.bench.layers import is_3x3
from fastconv.bench.machine import describe

SCHEMA = 1


def geometric_mean(values: Iterable[float]) -> float:
    """The geometric mean; NaN of nothing."""
    values = list(values)
    return statistics.geometric_mean(values) if values else float("nan")


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of a table whose columns are as wide as they must be; the first `left` columns are flush left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def heading(machine: dict[str, Any], dtype: str = "float32") -> str:
    """One line: where and with what the figures were measured."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if name != "matplotlib")
    threads = f"{machine['threads']} thread" + ("s" if machine["threads"] != 1 else "")
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}, {threads}, {dtype}\n"
        f"{machine['compiler']}; {versions}" + (f"; commit {machine['commit']}" if machine["commit"] else "")
    )


def conv_table(rows: Sequence[Row], peak: float) -> str:
    """The table of `bench conv`: GFLOP/s of everybody, our share of the peak, the ratio, our page faults a call."""
    names = list(dict.fromkeys(name for row in rows for name in row.samples))
    head = ["layer", "N x H x W x C -> K, kernel / stride", "pass", "ms", *names, "% peak", "ratio", "faults"]
    lines = [head]
    for row in rows:
        cells = [row.title, row.shape, row.which.replace("_", " ")]
        cells.append(f"{1e3 * row.samples[row.ours].median:.3g}")
        for name in names:
            seconds = row.seconds(name)
            cells.append("-" if seconds is None else f"{row.flop / seconds / 1e9:.0f}")
        cells.append(f"{100 * row.flop / row.samples[row.ours].median / peak:.0f}")
        cells.append("-" if row.ratio is None else f"{row.ratio:.2f}")
        cells.append(f"{row.samples[row.ours].page_faults:.0f}")
        lines.append(cells)
    return "\n".join(aligned(lines, left=3))


def conv_summary(rows: Sequence[Row]) -> list[tuple[str, dict[str, float]]]:
    """(pass, figures) for every pass that was compared with PyTorch: geometric means and the slowest layer's ratio."""
    found = []
    for which in dict.fromkeys(row.which for row in rows):
        compared = [row for row in rows if row.which == which and row.ratio is not None]
        if not compared:
            continue
        ratios = [row.ratio for row in compared if row.ratio is not None]
        figures = {"layers": len(ratios), "geometric mean": geometric_mean(ratios), "slowest": min(ratios)}
        square = [row.ratio for row in compared if row.layer and is_3x3(row.layer) and row.ratio is not None]
        if square:
            figures |= {"3x3 layers": len(square), "3x3 geometric mean": geometric_mean(square)}
        found.append((which, figures))
    return found


def print_conv(rows: Sequence[Row], peak: float) -> None:
    """Table and summary of `bench conv`."""
    if not rows:
        return
    print(conv_table(rows, peak))
    print(f"\nGFLOP/s; FMA peak of these threads: {peak / 1e9:.0f} GFLOP/s.", end=" ")
    print("ratio: to PyTorch's faster layout, above 1 fastconv is faster; faults: page faults a call of ours.")
    for which, figures in conv_summary(rows):
        worst = min((row for row in rows if row.which == which and row.ratio), key=lambda row: row.ratio or 0)
        line = f"{which.replace('_', ' ')}: geometric mean of {figures['layers']:.0f}: {figures['geometric mean']:.2f}"
        if "3x3 layers" in figures:
            line += f", of {figures['3x3 layers']:.0f} 3x3 stride 1: {figures['3x3 geometric mean']:.2f}"
        print(f"{line}; slowest: {figures['slowest']:.2f} ({worst.title})")
    for row in rows:
        for note in row.notes:
            print(f"{row.title}, {row.which.replace('_', ' ')}: {note}")


def row_json(row: Row) -> dict[str, Any]:
    """A row as JSON: every sample, medians, GFLOP/s, page faults."""
    contestants = {
        name: {
            "seconds": samples.seconds,
            "median": samples.median,
            "gflops": row.flop / samples.median / 1e9,
            "page_faults": samples.page_faults,
        }
        for name, samples in row.samples.items()
    }
    geometry = None
    if row.layer is not None:
        geometry = {
            key: getattr(row.layer, key)
            for key in ("net", "name", "input_shape", "kernel_shape", "strides", "padding", "groups", "count")
        }
    return {
        "title": row.title,
        "shape": row.shape,
        "pass": row.which,
        "flop": row.flop,
        "bytes": row.nbytes,
        "geometry": geometry,
        "contestants": contestants,
        "ratio": row.ratio,
        "notes": row.notes,
    }


def write_json(path: Path, command: str, **content: Any) -> None:
    """Write one JSON file: what machine, what command, the content."""
    document = {"schema": SCHEMA, "command": command, "machine": describe(), **content}
    path.write_text(json.dumps(document, indent=1) + "\n")
