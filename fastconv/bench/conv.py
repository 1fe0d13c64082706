"""Measure convolutions: `fastconv bench conv`. This module measures; `fastconv/bench/report.py` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastconv import ops
from fastconv.bench.layers import ConvLayer, UsageError
from fastconv.bench.machine import Peak
from fastconv.bench.peers import Problem, contestants
from fastconv.bench.rows import Measurement, Options, race
from fastconv.errors import did_you_mean

PASSES = ("forward", "backward_data", "backward_weights", "backward")
TOLERANCE = {"float32": 5e-4, "float64": 1e-9}  # sums of 100,000 products, by any algorithm


def check_algorithms(names: Iterable[str]) -> None:
    """Raises UsageError for an algorithm that does not exist."""
    known = ops.conv2d_algorithms()
    for name in names:
        if name not in known:
            raise UsageError(f"unknown algorithm {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")


def compare(
    layers: Iterable[ConvLayer],
    passes: Iterable[str],
    options: Options,
    peak: Peak | None = None,
    skipped: list[str] | None = None,
) -> Iterator[Measurement]:
    """Measure every layer in every pass; a row as soon as it is there.

    Layers that read images have no gradient of the input in training: their backward data is left out, unless it is
    the only thing that was asked for. ``peak`` looks at the machine before every row. ``skipped`` gets a line about
    every layer that no algorithm serves.
    """
    passes = list(passes)
    for layer in layers:
        for which in passes:
            if which == "backward_data" and layer.reads_images and len(passes) > 1:
                continue
            if peak is not None:
                peak.look()
            try:
                yield measure_layer(Problem.of(layer, which, options.dtype), options)
            except RefusedError as error:
                if skipped is not None:
                    skipped.append(f"{layer.title}, {which.replace('_', ' ')}: {error}")


class RefusedError(ValueError):
    """No algorithm that was asked for serves this layer."""


def measure_layer(problem: Problem, options: Options) -> Measurement:
    """One row. An algorithm that cannot serve this layer is left out, with a note; RefusedError if none can."""
    algorithms, notes = [], []
    for name in options.algorithms:
        try:
            next(iter(contestants(problem, (), (name,)).values())).run()
            algorithms.append(name)
        except ValueError as error:
            notes.append(str(error))
    if not algorithms:
        raise RefusedError("; ".join(notes))
    everybody = contestants(problem, options.peers, algorithms)
    samples, wrong = race(everybody, TOLERANCE[options.dtype], options)
    notes += wrong
    layer, nbytes = problem.layer, sum(array.nbytes for array in (problem.x, problem.kernel, problem.dy))
    chosen = ", ".join(dict.fromkeys(_choices(problem)))
    return Measurement(
        layer.title, str(layer), problem.which, problem.flop, "GFLOP/s", samples, nbytes, layer, chosen, notes
    )


def _choices(problem: Problem) -> Iterator[str]:
    """What "auto" runs, in one call or two."""
    backward = (("backward_data", problem.wants_dx), ("backward_weights", problem.wants_dkernel))
    layer = problem.layer
    for which, wanted in (("forward", problem.which == "forward"), *backward):
        if wanted:
            yield ops.conv2d_choice(
                layer.input_shape, layer.kernel_shape, **layer.arguments, which=which, dtype=problem.x.dtype
            )
