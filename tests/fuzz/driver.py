"""Gives the parts turns, watches their processes, reports what failed and how to see it again."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping

from .child import Child, Failure, replayed
from .tally import Tally, table
from .worker import case_seed, replay, work

#: The parts, and how much of the time each gets.
PARTS = {"valid": 3.0, "hostile": 3.0, "files": 2.0, "threads": 1.0, "interrupts": 1.0}
#: Seconds that a round through all the parts takes; a new process for each keeps their memory small.
ROUND = 60.0
#: After as many crashes in one turn a part waits for the next.
MOST_CRASHES = 8


def campaign(seconds: float, seed: int, parts: Mapping[str, float]) -> int:
    """Run all parts by turns; return 1 if anything failed, else 0.

    Args:
        seconds: for all of it.
        seed: every case follows from it, its part and its number.
        parts: name -> share of the time.
    """
    tallies = {name: Tally() for name in parts}
    total, rounds = sum(parts.values()), max(1, round(seconds / ROUND))
    print(f"seed {seed}, {seconds:g} seconds: {', '.join(parts)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        try:
            for _ in range(rounds):
                for name, share in parts.items():
                    deadline = time.monotonic() + seconds * share / total / rounds
                    _turn(name, seed, tallies[name], deadline, folder)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
    print(table(tallies))
    failed = sum(len(tally.failures) for tally in tallies.values())
    print(f"seed {seed}: {f'{failed} kinds of failure, see above' if failed else 'no failure'}", flush=True)
    return 1 if failed else 0


def _turn(part: str, seed: int, tally: Tally, deadline: float, folder: str) -> None:
    """Cases of one part until ``deadline``, in a new process after every crash."""
    for _ in range(MOST_CRASHES):
        child, before = Child(part, seed, tally.cases, deadline, folder), tally.cases
        try:
            for event in child.events():
                if isinstance(event, Failure):
                    _report(part, seed, tally, event)
                elif event.startswith("?"):
                    if tally.note(event[1:]):
                        print(f"{part}: {event[1:]}", flush=True)
                else:
                    tally.case(int(event[1:]))
        finally:
            child.close()
            tally.pause()
        if child.finished or time.monotonic() >= deadline or tally.cases == before:
            break


def _report(part: str, seed: int, tally: Tally, failure: Failure) -> None:
    if failure.number is None:  # nothing ran at all
        if tally.fail(failure.key):
            print(f"\n== {part} does not run: {failure.key}\n{failure.text}", flush=True)
        return
    case = f"{part}:{case_seed(seed, part, failure.number)}"
    if not tally.fail(failure.key):
        return
    print(f"\n== {case} failed: {failure.key}\n{failure.text.rstrip()}", flush=True)
    again, output = replayed(case)
    if again and failure.fatal:  # the arguments, which a process that crashed could not tell
        print(f"-- alone, with its arguments:\n{output.rstrip()}")
    if not again:
        print(f"-- alone the case passes: it takes chance, or the cases before it (SEED={seed} PARTS={part})")
    print(f"-- once more: {command(case)}", flush=True)


def command(case: str) -> str:
    """What to type to run one case again, on this instruction set."""
    from fastconv import config

    return f"FASTCONV_ISA={config.isa()} {os.environ.get('FUZZ_COMMAND', 'make fuzz')} CASE={case}"


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for the whole campaign (default: 60)")
    parser.add_argument("--seed", type=int, help="of the whole campaign; a new one if it is not given")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument("--case", help="run this case alone: part:seed")
    parser.add_argument("--child", nargs=5, metavar=("PART", "SEED", "FIRST", "DEADLINE", "PIPE"), help="internal")
    options = parser.parse_args(arguments)
    if options.child:
        part, seed, first, deadline, pipe = options.child
        work(part, int(seed), int(first), float(deadline), int(pipe))
        return 0
    if options.case:
        part, _, number = options.case.rpartition(":")
        return replay(part, int(number))
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    return campaign(options.seconds, seed, {name: PARTS.get(name, 1.0) for name in options.parts.split(",")})
