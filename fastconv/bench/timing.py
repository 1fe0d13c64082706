"""Timing contestants side by side: they take turns in one process, so that a slow minute hits all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def take_turns(
    contestants: Mapping[str, Callable[[], object]], rounds: int, pause: float = 0.0
) -> dict[str, list[float]]:
    """Return the seconds of each contestant in each round.

    With a ``pause``, so many seconds pass before each turn: threads of the one before, spinning as they wait for more
    work, must not slow the next. Then one run that is not timed wakes the contestant's own threads.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            if pause:
                time.sleep(pause)
                run()
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return seconds
