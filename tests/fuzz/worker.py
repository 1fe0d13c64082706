"""The process in which the cases of one part run. It says which case begins before it begins."""

from __future__ import annotations

import faulthandler
import hashlib
import importlib
import importlib.util
import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

GIGABYTE = 2**30
#: Set by whoever runs a build with sanitizers, whose shadow memory no limit of the address space admits.
SANITIZED = "ASAN_OPTIONS" in os.environ
#: Seconds after which a case counts as hanging.
PATIENCE = float(os.environ.get("FUZZ_PATIENCE", 200 if SANITIZED else 20))
MOST_THREADS = 4
_SPEC = importlib.util.find_spec("fastconv")
#: The folder of the library under test: a line in it tells one defect from another.
LIBRARY = f"{Path(_SPEC.origin).parent}{os.sep}" if _SPEC and _SPEC.origin else ""


def case_seed(seed: int, part: str, number: int) -> int:
    """The seed of a part's case: it depends on nothing else, so any case can be run alone."""
    digest = hashlib.blake2b(f"{seed}:{part}:{number}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big")


def load(part: str) -> ModuleType:
    """The module of a part: one of this package, or any other by its dotted name."""
    return importlib.import_module(part if "." in part else f"fuzz.{part}")


def prepare(module: ModuleType) -> None:
    """Make errors visible and memory finite, before the first case."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")  # hostile data is warned of, rightly
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # the driver asks where a case hangs
    if not SANITIZED:  # they report crashes better
        faulthandler.enable()
    limit = getattr(module, "MEMORY", None)
    if limit is not None and not SANITIZED:
        _start_threads()  # they get their stacks before it becomes tight
        bound = _address_space() + int(limit * GIGABYTE)
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def _start_threads() -> None:
    import numpy as np

    import fastconv as fc

    fc.set_num_threads(MOST_THREADS)
    fc.ops.conv2d(np.ones((4, 64, 64, 32), np.float32), np.ones((3, 3, 32, 32), np.float32))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def work(part: str, seed: int, first: int, deadline: float, pipe: int) -> None:
    """Run case after case until ``deadline`` (of ``time.monotonic``); write to ``pipe``, a line each:

    ``?note``, ``+number`` of a case that begins, ``!{json}`` of one that failed, ``.`` at the end.
    """
    # If the driver is no more, nobody else ends a case that hangs.
    faulthandler.dump_traceback_later(deadline - time.monotonic() + 30 * PATIENCE, exit=True)
    module = load(part)
    prepare(module)
    for note in getattr(module, "notes", list)():
        _write(pipe, f"?{note}")
    number = first
    while number == first or time.monotonic() < deadline:
        _write(pipe, f"+{number}")
        try:
            module.run(case_seed(seed, part, number))
        except BaseException as error:
            _write(pipe, "!" + json.dumps(_failure(error)))
        number += 1
    _write(pipe, ".")


def _write(pipe: int, line: str) -> None:
    data = f"{line}\n".encode(errors="backslashreplace")
    while data:
        data = data[os.write(pipe, data) :]


def _failure(error: BaseException) -> dict[str, Any]:
    """The traceback, and a key that is the same for the same defect: the error's type and the last line in fastconv."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    text = "\n".join(line if len(line) < 500 else f"{line[:400]} ... {line[-90:]}" for line in lines)
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if frame.filename.startswith(LIBRARY)] or frames
    key = f"{type(error).__name__} at {inside[-1].filename}:{inside[-1].lineno}" if inside else type(error).__name__
    return {"key": key, "text": text if len(text) < 20_000 else f"{text[:10_000]}\n...\n{text[-10_000:]}"}


def replay(part: str, seed: int) -> int:
    """Run one case here and now; an error is raised, a crash crashes."""
    from . import journal

    module = load(part)
    prepare(module)
    journal.verbose = True
    times, enough = 0, time.monotonic() + PATIENCE
    while times == 0 or (times < getattr(module, "REPEATS", 1) and time.monotonic() < enough):
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        module.run(seed)
        times += 1
    faulthandler.cancel_dump_traceback_later()
    print(f"{part}:{seed} passes{f' ({times} times)' if times > 1 else ''}", file=sys.stderr)
    return 0
