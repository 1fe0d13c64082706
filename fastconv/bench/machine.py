"""This machine: what it is, and what it can do at most, measured."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import fastconv as fc
from fastconv import _kernels
from fastconv.bench.layers import UsageError
from fastconv.errors import did_you_mean

_PACKAGES = ("numpy", "torch", "onnxruntime", "openvino", "matplotlib")


def set_isa(name: str | None) -> None:
    """Use an instruction set from now on.

    Raises:
        UsageError: this build does not have it, or the CPU lacks it.
    """
    if name is None:
        return
    try:
        _kernels.select_isa(name)
    except ValueError as error:
        raise UsageError(f"{error}{did_you_mean(name, _kernels.built_isas())}") from error
    except RuntimeError as error:
        raise UsageError(str(error)) from error


def set_threads(count: int | None) -> None:
    """Use so many threads from now on, PyTorch too; None: as many as fastconv uses already.

    Raises:
        UsageError: more than fastconv can use.
    """
    if count is not None:
        try:
            fc.set_num_threads(count)
        except (ValueError, RuntimeError) as error:
            raise UsageError(str(error)) from error
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(fc.get_num_threads())


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU as the system names it."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    fields = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    return named.get("model name") or platform.processor() or platform.machine()


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the checkout that runs, with `+` where files differ from it; None outside a checkout."""
    root = Path(fc.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        run = [
            subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True)
            for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return run[0].stdout.strip() + ("+" if run[1].stdout else "")


def describe() -> dict[str, Any]:
    """CPU, cores, instruction set, threads, compiler, versions and commit: what a figure needs beside it."""
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "isa": _kernels.isa(),
        "threads": fc.get_num_threads(),
        "compiler": _kernels.compiler(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {"fastconv": fc.__version__} | {name: v for name in _PACKAGES if (v := version(name))},
        "commit": commit(),
    }


class Peak:
    """The most multiply-adds a second that were seen, in FLOP/s: the machine's speed moves, so :meth:`look` often."""

    def __init__(
        self, dtype: str = "float32", seconds: float = 0.2, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._clock = clock
        self._threads = fc.get_num_threads()
        self._sums = np.zeros((self._threads, 64), dtype)
        self._start = np.array([0.5, 1.0], dtype)
        self._rounds = 10_000
        self.flops = 0.0
        while self._run() < 0.005:
            self._rounds *= 2
        self.look(seconds)

    def _run(self) -> float:
        started = self._clock()
        flop = _kernels.fma_peak(self._threads, self._rounds, self._start, self._sums)
        seconds = self._clock() - started
        self.flops = max(self.flops, flop / seconds)
        return seconds

    def look(self, seconds: float = 0.02) -> float:
        """Measure for a while; return the best so far."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            self._run()
        return self.flops


def bandwidth(nbytes: int, seconds: float = 0.3) -> float:
    """Bytes a second of a[i] = b[i] + s * c[i] with arrays of together ``nbytes``, the best of many runs."""
    n = max(64, nbytes // 12)
    a, b, c = (_kernels.empty((n,), "float32") for _ in range(3))
    for array in (a, b, c):
        array[:] = 1.0
    best, repeats, until = 0.0, 1, time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        for _ in range(repeats):
            _kernels.triad(a, b, c, 3.0)
        taken = time.perf_counter() - started
        best = max(best, 12 * n * repeats / taken)
        if taken < 0.002:
            repeats *= 2
    return best


def memory_bandwidth() -> float:
    """Bytes a second to and from memory: arrays that no cache holds."""
    return bandwidth(192 << 20)


def cache_bandwidth() -> float:
    """Bytes a second to and from the cores' second-level caches, half full."""
    return bandwidth(fc.get_num_threads() * (cache_bytes(2) or 1 << 20) // 2)


@cache
def cache_bytes(level: int) -> int | None:
    """Size of a core's cache of this level (Linux), or None."""
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind, found, size = ((index / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        if int(found) == level and kind != "Instruction":
            return int(size.rstrip("KM")) * {"K": 1 << 10, "M": 1 << 20}.get(size[-1], 1)
    return None
