"""Measure layers with 1, 2, ... threads: `fastconv bench scaling`. The thread counts take turns like contestants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import fastconv as fc
from fastconv.bench.conv import TOLERANCE
from fastconv.bench.layers import ConvLayer
from fastconv.bench.peers import Problem, contestants
from fastconv.bench.rows import Contestant, Measurement, Options, race

FAMILIES = ("fastconv", "torch NCHW", "torch NHWC")


def thread_counts(most: int) -> list[int]:
    """1, 2, 4, ... and `most`; all of them up to 4."""
    return sorted({*range(1, min(most, 4) + 1), *(2**i for i in range(most.bit_length())), most})


def compare(
    layers: Iterable[ConvLayer], passes: Iterable[str], counts: Sequence[int], options: Options
) -> Iterator[Measurement]:
    """A row a layer and pass; its samples are named "fastconv x2", "torch NHWC x2", ..."""
    passes, before = list(passes), fc.get_num_threads()
    try:
        for layer in layers:
            for which in passes:
                yield _row(Problem.of(layer, which, options.dtype), counts, options)
    finally:
        for is_torch in {False, "torch" in options.peers}:
            _set_threads(before, is_torch)


def _row(problem: Problem, counts: Sequence[int], options: Options) -> Measurement:
    found = contestants(problem, [peer for peer in options.peers if peer == "torch"])
    everybody = {name: one for name, one in found.items() if name in FAMILIES}
    runs = {
        f"{name} x{count}": Contestant(_with_threads(count, one.run, name.startswith("torch")), one.results)
        for name, one in everybody.items()
        for count in counts
    }
    samples, notes = race(runs, TOLERANCE[options.dtype], options)
    layer = problem.layer
    return Measurement(
        layer.title, str(layer), problem.which, problem.flop, "GFLOP/s", samples, layer=layer, notes=notes
    )


def _with_threads(count: int, run: Callable[[], object], is_torch: bool) -> Callable[[], object]:
    """Set the number of threads, then run; setting it takes a microsecond."""

    def limited() -> object:
        _set_threads(count, is_torch)
        return run()

    return limited


def _set_threads(count: int, is_torch: bool) -> None:
    if is_torch:
        import torch

        torch.set_num_threads(count)
    else:
        fc.set_num_threads(count)


def speedups(row: Measurement) -> dict[str, dict[int, float]]:
    """Family -> number of threads -> how many times as fast as one thread."""
    found: dict[str, dict[int, float]] = {}
    for name, samples in row.samples.items():
        family, _, count = name.rpartition(" x")
        found.setdefault(family, {})[int(count)] = row.samples[f"{family} x1"].median / samples.median
    return found
