"""Timing contestants side by side: they take turns in one process, so that a slow minute hits all of them."""

from __future__ import annotations

import math
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


def take_turns(
    contestants: Mapping[str, Callable[[], object]], rounds: int, pause: float = 0.0
) -> dict[str, list[float]]:
    """Return the seconds of each contestant in each round.

    With a ``pause``, so many seconds pass before each turn: threads of the one before, spinning as they wait for more
    work, must not slow the next. Then one run that is not timed wakes the contestant's own threads.
    """
    samples = measure(contestants, rounds, turn=0.0, pause=pause)
    return {name: sample.seconds for name, sample in samples.items()}


@dataclass
class Samples:
    """What one contestant took: seconds and page faults a call, one number a round."""

    seconds: list[float] = field(default_factory=list)
    faults: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds a call."""
        return statistics.median(self.seconds)

    @property
    def page_faults(self) -> float:
        """Page faults a call, the median of the rounds."""
        return statistics.median(self.faults)


def measure(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    turn: float = 0.02,
    pause: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Samples]:
    """Let the contestants take turns; a turn calls one of them for about ``turn`` seconds (0: once).

    ``pause`` is that of :func:`take_turns`. ``clock`` is wall time; ``time.process_time`` leaves out what other
    processes took, which suits one thread on a busy machine.
    """
    calls = {name: _calls(run, turn) for name, run in contestants.items()} if turn else dict.fromkeys(contestants, 1)
    samples = {name: Samples() for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            if pause:
                time.sleep(pause)
                run()
            faults, started = page_faults(), clock()
            for _ in range(calls[name]):
                run()
            samples[name].seconds.append((clock() - started) / calls[name])
            samples[name].faults.append((page_faults() - faults) / calls[name])
    return samples


def _calls(run: Callable[[], object], turn: float) -> int:
    """How many calls fill a turn; the first call, which may build something, does not count."""
    run()
    started = time.perf_counter()
    run()
    return max(1, min(10_000, math.ceil(turn / max(time.perf_counter() - started, 1e-9))))


def page_faults() -> int:
    """Pages that this process asked of the system so far, without those that were read from a disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
