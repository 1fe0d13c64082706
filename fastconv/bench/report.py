"""What the benchmarks print and write: tables for a terminal, JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastconv.bench.layers import is_3x3
from fastconv.bench.machine import describe
from fastconv.bench.roofline import Ceilings, intensity
from fastconv.bench.rows import Measurement
from fastconv.bench.scaling import speedups

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


def rate_table(rows: Sequence[Measurement], limit: float) -> str:
    """A line a row: our milliseconds, what everybody does a second, our share of the limit, ratio, page faults."""
    names = list(dict.fromkeys(name for row in rows for name in row.samples))
    share = "% peak" if rows[0].unit == "GFLOP/s" else "% memory"
    infer = ["infer"] if any(row.inference_ratio for row in rows) else []
    auto = ["auto"] if any(row.algorithm for row in rows) else []
    lines = [["layer", "shape", "pass", *auto, "ms", *names, share, "ratio", *infer, "faults"]]
    for row in rows:
        rates = [number(row.rate(name)) if name in row.samples else "-" for name in names]
        lines.append(
            [
                *(row.title, row.shape, words(row.which), *(row.algorithm for _ in auto)),
                *(f"{1e3 * row.seconds:.3g}", *rates),
                f"{100 * row.rate() * 1e9 / limit:.0f}",
                _ratio(row.ratio),
                *(_ratio(row.inference_ratio) for _ in infer),
                f"{row.samples[row.ours].page_faults:.0f}",
            ]
        )
    return "\n".join(aligned(lines, left=3 + len(auto)))


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def number(value: float) -> str:
    """Three digits where that is more than a whole number."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def words(name: str) -> str:
    """`backward_data` as a person writes it."""
    return name.replace("_", " ")


def summary(rows: Sequence[Measurement]) -> dict[str, dict[str, Any]]:
    """For every pass that was compared with PyTorch: geometric means of the ratios, and the slowest layer's."""
    found = {}
    for which in dict.fromkeys(row.which for row in rows):
        ratios = {row.title: row.ratio for row in rows if row.which == which and row.ratio is not None}
        if not ratios:
            continue
        slowest = min(ratios, key=ratios.__getitem__)
        figures = {
            "layers": len(ratios),
            "geometric_mean": geometric_mean(ratios.values()),
            "slowest": ratios[slowest],
            "slowest_layer": slowest,
        }
        square = [row.title for row in rows if row.layer and is_3x3(row.layer)]
        in_square = [ratio for title, ratio in ratios.items() if title in square]
        if in_square:
            figures |= {"layers_3x3": len(in_square), "geometric_mean_3x3": geometric_mean(in_square)}
        found[which] = figures
    return found


def print_rows(rows: Sequence[Measurement], limit: float) -> None:
    """Table, what its columns mean, summary and notes of `bench conv` and `bench ops`."""
    if not rows:
        print("nothing was measured")
        return
    print(rate_table(rows, limit))
    unit = rows[0].unit
    what = f"FMA peak of these threads: {limit / 1e9:.0f}" if unit == "GFLOP/s" else f"triad: {limit / 1e9:.1f}"
    print(f"\nColumns of names: {unit} ({what} {unit}). ratio: to PyTorch's faster layout, above 1 fastconv is faster.")
    if any(row.inference_ratio for row in rows):
        print("infer: fastconv cached (a layer that keeps its weights prepared) to the fastest of all peers.")
    print("faults: page faults a call of ours.")
    for which, figures in summary(rows).items():
        line = f"{words(which)}: geometric mean of {figures['layers']}: {figures['geometric_mean']:.2f}"
        if "layers_3x3" in figures:
            line += f", of {figures['layers_3x3']} 3x3 stride 1: {figures['geometric_mean_3x3']:.2f}"
        print(f"{line}; slowest: {figures['slowest']:.2f} ({figures['slowest_layer']})")
    print_notes(rows)


def print_nets(rows: Sequence[Measurement]) -> None:
    """Table and notes of `bench net`: images a second, and page faults a step of everybody."""
    names = list(dict.fromkeys(name for row in rows for name in row.samples))
    lines = [["network", "batch", "pass", "ms", *names, "ratio", "infer", *(f"faults {name}" for name in names)]]
    for row in rows:
        rates = [f"{row.rate(name):,.1f}" if name in row.samples else "-" for name in names]
        faults = [f"{row.samples[name].page_faults:,.0f}" if name in row.samples else "-" for name in names]
        batch = row.shape.removeprefix("batch ")
        cells = [row.title, batch, row.which, f"{1e3 * row.seconds:.4g}"]
        lines.append([*cells, *rates, _ratio(row.ratio), _ratio(row.runtime_ratio), *faults])
    print("\n".join(aligned(lines, left=3)))
    print("\nColumns of names: images/s. ratio: to PyTorch's faster layout; infer: to the faster of ONNX Runtime and "
          "OpenVINO.\nfaults: page faults a step. ms: ours.")  # fmt: skip
    for which, shape in dict.fromkeys((row.which, row.shape) for row in rows):
        some = [row for row in rows if (row.which, row.shape) == (which, shape)]
        for name, ratios in (("PyTorch", [row.ratio for row in some]), ("runtimes", [r.runtime_ratio for r in some])):
            known = [ratio for ratio in ratios if ratio is not None]
            if known:
                mean = statistics.geometric_mean(known)
                print(f"{which}, {shape}, against {name}: geometric mean of {len(known)}: {mean:.2f}, "
                      f"lowest {min(known):.2f}")  # fmt: skip
    print_notes(rows)


def print_memory(peaks: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    """Network -> contestant -> {peak, imports}: the table of `bench net --memory`."""
    lines = [["network", "contestant", "peak MB", "imports MB"]]
    for network, found in peaks.items():
        for name, figures in found.items():
            lines.append([network, name, *(f"{figures[key] / 1e6:,.0f}" for key in ("peak", "imports"))])
    print("\n".join(aligned(lines, left=2)))
    print("\nThe most memory that a process of its own held in three training steps; of that, before the network.")


def print_roofline(rows: Sequence[Measurement], ceilings: Ceilings) -> None:
    """Table of `bench roofline`: intensity, what the ceilings allow from memory, what was reached."""
    print(f"FMA peak {ceilings.peak / 1e9:.0f} GFLOP/s, memory {ceilings.memory / 1e9:.1f} GB/s, "
          f"level 2 caches {ceilings.cache / 1e9:.0f} GB/s\n")  # fmt: skip
    lines = [["layer", "shape", "pass", "FLOP/byte", "attainable", "fastconv", "%", "torch"]]
    for row in rows:
        attainable = ceilings.attainable(intensity(row)) / 1e9
        best = row.fastest("torch")
        cells = [row.title, row.shape, words(row.which), number(intensity(row)), number(attainable)]
        share = f"{100 * row.rate() / attainable:.0f}"
        lines.append([*cells, number(row.rate()), share, "-" if best is None else number(row.rate(best))])
    print("\n".join(aligned(lines, left=3)))
    print("\nGFLOP/s of the direct algorithm; another algorithm (Winograd's) may pass what is attainable for that one.")
    print_notes(rows)


def print_scaling(rows: Sequence[Measurement]) -> None:
    """Table of `bench scaling`: times as fast as one thread."""
    families = list(speedups(rows[0]))
    counts = [count for count in speedups(rows[0])[families[0]] if count > 1]
    lines = [["layer", "shape", "pass", *(f"{family} x{count}" for family in families for count in counts)]]
    columns: list[list[float]] = [[] for _ in lines[0][3:]]
    for row in rows:
        found = [speedups(row)[family][count] for family in families for count in counts]
        lines.append([row.title, row.shape, words(row.which), *(f"{value:.2f}" for value in found)])
        for column, value in zip(columns, found, strict=True):
            column.append(value)
    lines.append(["geometric mean", "", "", *(f"{geometric_mean(column):.2f}" for column in columns)])
    print("\n".join(aligned(lines, left=3)))
    print("\nTimes as fast as one thread of the same contestant.")
    print_notes(rows)


def print_notes(rows: Sequence[Measurement]) -> None:
    """What is wrong or was left out."""
    for row in rows:
        for note in row.notes:
            print(f"{row.title}, {words(row.which)}: {note}")


def row_json(row: Measurement) -> dict[str, Any]:
    """A row as JSON: every sample, medians, rates, page faults."""
    contestants = {
        name: {
            "seconds": samples.seconds,
            "median": samples.median,
            "rate": row.rate(name),
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
        "amount": row.amount,
        "unit": row.unit,
        "bytes": row.nbytes,
        "geometry": geometry,
        "algorithm": row.algorithm,
        "contestants": contestants,
        "ratio": row.ratio,
        "inference_ratio": row.inference_ratio,
        "notes": row.notes,
    }


def write_json(path: Path, command: str, **content: Any) -> None:
    """Write one JSON file: what machine, what command, the content."""
    document = {"schema": SCHEMA, "command": command, "machine": describe(), **content}
    path.write_text(json.dumps(document, indent=1) + "\n")
