"""How many cases of a part ran, in how many seconds, and what failed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping


class Tally:
    """The count of one part."""

    def __init__(self) -> None:
        self.cases = 0
        self.seconds = 0.0
        self.failures: Counter[str] = Counter()
        self._notes: set[str] = set()
        self._started: float | None = None

    def case(self, number: int) -> None:
        """A case begins; the first of a process starts the clock, which leaves out the time to import."""
        self.cases = number + 1
        if self._started is None:
            self._started = time.monotonic()

    def pause(self) -> None:
        """A process has ended."""
        if self._started is not None:
            self.seconds += time.monotonic() - self._started
        self._started = None

    def fail(self, key: str) -> bool:
        """Count a failure; return whether it is the first of its kind."""
        self.failures[key] += 1
        return self.failures[key] == 1

    def note(self, text: str) -> bool:
        """Return whether this note is new."""
        new = text not in self._notes
        self._notes.add(text)
        return new


def table(tallies: Mapping[str, Tally]) -> str:
    """The summary: a line for each part, and below what failed how often."""
    lines = [f"\n{'part':<12}{'cases':>9}{'a second':>10}{'failures':>10}{'kinds':>7}"]
    for name, tally in tallies.items():
        rate = tally.cases / tally.seconds if tally.seconds else 0.0
        lines.append(f"{name:<12}{tally.cases:>9,}{rate:>10.1f}{tally.failures.total():>10,}{len(tally.failures):>7}")
    for name, tally in tallies.items():
        lines += [f"{name}: {count:,} x {key}" for key, count in tally.failures.most_common()]
    return "\n".join(lines)
