"""A row of a benchmark's table: what was run, and what every contestant took for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastconv.bench.layers import ConvLayer
from fastconv.bench.timing import Samples, measure

Results = dict[str, np.ndarray]


class DisagreementError(ArithmeticError):
    """A peer computed something else than fastconv: times are not worth comparing."""


@dataclass(frozen=True)
class Contestant:
    """``run()`` is what is timed; ``results(run())`` its outputs by name, in fastconv's layouts."""

    run: Callable[[], Any]
    results: Callable[[Any], Results]


@dataclass(frozen=True)
class Options:
    """How to measure."""

    peers: Sequence[str] = ("torch",)
    algorithms: Sequence[str] = ("auto",)
    dtype: str = "float32"
    rounds: int = 7
    turn: float = 0.015  # seconds
    pause: float = 0.03  # seconds, see pause_for
    clock: Callable[[], float] = time.perf_counter


def pause_for(peers: Sequence[str]) -> float:
    """Seconds until nobody's idle threads spin: PyTorch's do so for about 5 milliseconds, ONNX Runtime's for 35."""
    return 0.06 if "onnxruntime" in peers else 0.03


@dataclass
class Measurement:
    """One layer or network in one pass; our contestant is the first of ``samples``."""

    title: str
    shape: str
    which: str  # the pass
    amount: float  # of work in a call: floating-point operations, bytes or images
    unit: str  # "GFLOP/s", "GB/s" or "images/s"
    samples: dict[str, Samples]
    nbytes: int = 0  # inputs and outputs, each once
    layer: ConvLayer | None = None
    algorithm: str = ""  # what "auto" chose
    notes: list[str] = field(default_factory=list)

    @property
    def ours(self) -> str:
        """The name of our contestant."""
        return next(iter(self.samples))

    @property
    def seconds(self) -> float:
        """The median of our contestant."""
        return self.samples[self.ours].median

    def rate(self, name: str | None = None) -> float:
        """What a contestant (by default ours) does a second, in the row's unit."""
        scale = 1.0 if self.unit == "images/s" else 1e9
        return self.amount / self.samples[name or self.ours].median / scale

    def fastest(self, prefix: str) -> str | None:
        """The fastest contestant whose name starts so, or None."""
        names = [name for name in self.samples if name.startswith(prefix)]
        return min(names, key=lambda name: self.samples[name].median, default=None)

    @property
    def ratio(self) -> float | None:
        """How many times as fast as PyTorch's faster layout; None without PyTorch."""
        best = self.fastest("torch")
        return None if best is None else self.samples[best].median / self.seconds

    @property
    def inference_ratio(self) -> float | None:
        """How many times as fast a layer with prepared weights is as the fastest of all peers; None without any."""
        peers = [samples.median for name, samples in self.samples.items() if not name.startswith("fastconv")]
        cached = self.samples.get("fastconv cached")
        return None if cached is None or not peers else min(peers) / cached.median

    @property
    def runtime_ratio(self) -> float | None:
        """How many times as fast as the faster of ONNX Runtime and OpenVINO; None without either."""
        times = [self.samples[name].median for name in ("onnxruntime", "openvino") if name in self.samples]
        return min(times) / self.seconds if times else None

    @property
    def wrong(self) -> list[str]:
        """The notes about results that disagree."""
        return [note for note in self.notes if note.startswith("WRONG")]


def disagreements(everybody: dict[str, Contestant], tolerance: float) -> list[str]:
    """A line about every result that is further from the first contestant's than so much of its largest magnitude."""
    found: list[str] = []
    want: Results = {}
    for name, one in everybody.items():
        results = one.results(one.run())
        want = want or {key: np.array(value) for key, value in results.items()}
        for key, value in results.items():
            scale = max(float(np.abs(want[key]).max(initial=0)), 1e-30)
            error = float(np.abs(value - want[key]).max(initial=0)) / scale
            if not error <= tolerance:  # NaN is not
                found.append(f"WRONG: {key} of {name} differs from that of {next(iter(everybody))} by {error:.1e}")
    return found


def race(everybody: dict[str, Contestant], tolerance: float, options: Options) -> tuple[dict[str, Samples], list[str]]:
    """Compare everybody's results, then let them take turns; return what they took, and the disagreements."""
    notes = disagreements(everybody, tolerance)
    runs = {name: one.run for name, one in everybody.items()}
    return measure(runs, options.rounds, options.turn, options.pause, options.clock), notes
