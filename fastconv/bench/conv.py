"""Measure convolutions: `fastconv bench conv`. This module measures; `fastconv/bench/report.py` prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fastconv import ops
from fastconv.bench.layers import ConvLayer, UsageError
from fastconv.bench.machine import Peak
from fastconv.bench.peers import Contestant, Problem, contestants
from fastconv.bench.timing import Samples, measure
from fastconv.errors import did_you_mean

PAUSE = 0.03  # seconds; PyTorch's and ONNX Runtime's workers spin for a few milliseconds
TOLERANCE = {"float32": 5e-4, "float64": 1e-9}  # of the largest magnitude: sums of 100,000 products, any algorithm


@dataclass
class Row:
    """One layer and pass, and what everybody took for it."""

    title: str
    shape: str
    which: str  # the pass
    flop: int
    samples: dict[str, Samples]
    nbytes: int = 0  # inputs and outputs, each once
    layer: ConvLayer | None = None
    notes: list[str] = field(default_factory=list)

    def seconds(self, name: str) -> float | None:
        """The median of a contestant, or None if it did not take part."""
        return self.samples[name].median if name in self.samples else None

    def best(self, prefix: str) -> str | None:
        """The fastest contestant whose name starts so."""
        names = [name for name in self.samples if name.startswith(prefix)]
        return min(names, key=lambda name: self.samples[name].median, default=None)

    @property
    def ours(self) -> str:
        """Our contestant: the first one."""
        return next(iter(self.samples))

    @property
    def ratio(self) -> float | None:
        """How many times as fast as PyTorch's faster layout; None without PyTorch."""
        best = self.best("torch")
        return None if best is None else self.samples[best].median / self.samples[self.ours].median


@dataclass(frozen=True)
class Options:
    """How to measure."""

    peers: Sequence[str] = ("torch",)
    algorithms: Sequence[str] = ("auto",)
    dtype: str = "float32"
    rounds: int = 7
    turn: float = 0.015  # seconds
    pause: float = PAUSE
    clock: Callable[[], float] = time.perf_counter


def check_algorithms(names: Iterable[str]) -> None:
    """Raises UsageError for an algorithm that does not exist."""
    known = ops.conv2d_algorithms()
    for name in names:
        if name not in known:
            raise UsageError(f"unknown algorithm {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")


def compare(
    layers: Iterable[ConvLayer], passes: Iterable[str], options: Options, peak: Peak | None = None
) -> Iterator[Row]:
    """Measure every layer in every pass; a row as soon as it is there.

    Layers that read images have no gradient of the input in training: their backward data is left out, unless it is
    the only thing that was asked for.
    """
    passes = list(passes)
    for layer in layers:
        for which in passes:
            if which == "backward_data" and layer.reads_images and len(passes) > 1:
                continue
            if peak is not None:
                peak.look()
            yield measure_layer(Problem.of(layer, which, options.dtype), options)


def measure_layer(problem: Problem, options: Options) -> Row:
    """One row. An algorithm that cannot serve this layer is left out, with a note."""
    layer, notes = problem.layer, []
    algorithms = []
    for name in options.algorithms:
        try:
            contestants(problem, (), (name,))[_name(name)].run()
            algorithms.append(name)
        except ValueError as error:
            notes.append(str(error))
    everybody = contestants(problem, options.peers, algorithms)
    notes += disagreements(everybody, TOLERANCE[options.dtype])
    samples = measure(
        {name: one.run for name, one in everybody.items()}, options.rounds, options.turn, options.pause, options.clock
    )
    arrays = (problem.x, problem.kernel, problem.dy)
    return Row(
        layer.title, str(layer), problem.which, problem.flop, samples, sum(a.nbytes for a in arrays), layer, notes
    )


def _name(algorithm: str) -> str:
    return "fastconv" if algorithm == "auto" else f"fastconv {algorithm}"


def disagreements(everybody: dict[str, Contestant], tolerance: float) -> list[str]:
    """A line about every result that is further from the first contestant's than the tolerance."""
    found: list[str] = []
    want: dict[str, np.ndarray] = {}
    for name, one in everybody.items():
        results = one.results(one.run())
        want = want or {key: np.array(value) for key, value in results.items()}
        for key, value in results.items():
            scale = max(float(np.abs(want[key]).max(initial=0)), 1e-30)
            error = float(np.abs(value - want[key]).max(initial=0)) / scale
            if not error <= tolerance:
                found.append(f"WRONG: {key} of {name} differs from {next(iter(everybody))} by {error:.1e}")
    return found
