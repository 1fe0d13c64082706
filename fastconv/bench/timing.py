"""Timing contestants side by side: they take turns in one process, so that a slow minute hits all of them."""

from __future__ import annotations

import math
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_LONG = 0.5  # seconds: waking up is no part of such a call that anybody could measure


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
    estimates = {name: _seconds(run) for name, run in contestants.items()} if turn else {}
    samples = {name: Samples() for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            if pause:
                time.sleep(pause)
                if estimates.get(name, 0.0) < _LONG:
                    run()
            calls = math.ceil(turn / estimates[name]) if turn else 1
            faults, started = page_faults(), clock()
            for _ in range(calls):
                run()
            samples[name].seconds.append((clock() - started) / calls)
            samples[name].faults.append((page_faults() - faults) / calls)
    return samples


def _seconds(run: Callable[[], object]) -> float:
    """About what a call takes; the first one, which may build something, counts only if it is long."""
    for _ in range(2):
        started = time.perf_counter()
        run()
        seconds = time.perf_counter() - started
        if seconds > _LONG:
            break
    return max(seconds, 1e-6)


def page_faults() -> int:
    """Pages that this process asked of the system so far, without those that were read from a disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
