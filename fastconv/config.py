"""Process-wide settings: the default dtype, the number of threads and the instruction set."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastconv import _kernels, checks
from fastconv._version import __version__

_floatx = "float32"


def floatx() -> str:
    """Return the dtype that new layers get: ``"float32"`` (the default) or ``"float64"``."""
    return _floatx


def set_floatx(dtype: str) -> None:
    """Set the dtype of layers created from now on: ``"float32"`` or ``"float64"`` (for gradient checks).

    Raises:
        ValueError: any other dtype.
    """
    global _floatx
    if dtype not in ("float32", "float64"):
        raise ValueError(f"floatx must be 'float32' or 'float64', got {dtype!r}")
    _floatx = dtype


def get_num_threads() -> int:
    """Return how many threads a kernel may use."""
    return _kernels.num_threads()


def set_num_threads(n: int) -> None:
    """Use at most ``n`` threads (1 to 1024) in every kernel from now on. Results do not depend on it, to the bit.

    Less work than pays for waking a thread is done by fewer. So is all work while other programs keep the processors
    busy (on Linux): a kernel ends with its last thread, which would wait for one. Every 0.05 to 1.6 seconds it is tried
    again with all. Fewer, too, if the system refuses to start as many.

    Raises:
        TypeError, ValueError: ``n`` is no integer of at least 1. RuntimeError: the process was forked from one that had
            already run several threads, by an OpenMP that cannot part with them before a fork and would hang.
    """
    _kernels.set_num_threads(checks.thread_count(n), "set_num_threads")


def set_conv2d_accuracy(accuracy: str) -> None:
    """Choose what ``algorithm="auto"`` may trade for speed, in every convolution from now on.

    Args:
        accuracy: ``"fast"`` (the default) admits Winograd in float32, whose relative error (L2, against float64) is up
            to 5e-6 where direct sums have up to 2e-6, and which spreads a NaN or Inf of the input to every output of
            the tiles (4 x 4 pixels for a 3x3 kernel) that read it. A part of one pixel's rounding error, too, reaches
            outputs that do not see it: 0.1 % of their standard deviation from a pixel 1e3 times as large as the
            others, 11 % from one 1e5 times as large; and pixels above 1e37 may overflow to NaN
            (``python -m fastconv.bench.winograd_error`` measures it). ``"exact"`` keeps to direct sums: integers stay
            exact as long as they fit the mantissa.

    Raises:
        ValueError: another word.
    """
    if accuracy not in ("fast", "exact"):
        raise ValueError(f"accuracy must be 'fast' or 'exact', got {accuracy!r}")
    _kernels.set_conv2d_exact(accuracy == "exact")


def get_conv2d_accuracy() -> str:
    """Return ``"fast"`` or ``"exact"``, as :func:`set_conv2d_accuracy` left it."""
    return "exact" if _kernels.conv2d_exact() else "fast"


def isa() -> str:
    """Return the instruction set in use, e.g. ``"avx2"``."""
    return _kernels.isa()


def _quota(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """Whole CPUs that the process's cgroup and those above it allow (v2 and v1), or None without a quota."""
    quotas = [quota for folder in _cgroups(root, membership) if (quota := _quota_of(folder)) is not None]
    return max(1, math.ceil(min(quotas))) if quotas else None


def _cgroups(root: Path, membership: Path) -> Iterator[Path]:
    """The folders that may hold a quota.

    Lines of ``/proc/self/cgroup`` are ``number:controllers:/path``, ``0::/path`` in v2. In a container the path may be
    one of the host, of which the container's root is all that can be seen.
    """
    yield from (root, root / "cpu")
    try:
        lines = membership.read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            top = root
        elif "cpu" in controllers.split(","):
            top = root / "cpu"  # where this is not the folder, as of "cpu,cpuacct", it is a link to it
        else:
            continue
        parts = path.strip("/").split("/")
        if ".." not in parts:  # a cgroup outside the container
            yield from (top.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1))


def _quota_of(folder: Path) -> float | None:
    """CPUs that one cgroup allows."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        except (OSError, ValueError):
            return None
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None  # "max" or -1: no limit
    return int(quota) / int(period)


def _default_threads() -> tuple[int, str]:
    """The number of threads to start with, and where it comes from."""
    for variable in ("FASTCONV_NUM_THREADS", "OMP_NUM_THREADS"):
        threads = checks.environment_threads(variable)
        if threads is not None:
            return threads, variable
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    if quota is not None and quota < cpus:
        return quota, "cgroup CPU quota"
    return min(cpus, 1024), "CPUs this process may use"


def _start() -> None:
    """Read the environment once, when fastconv is imported.

    A bad value is an exception for a program that imports fastconv, a line and exit code 2 for the command.
    """
    try:
        _select_isa(os.environ.get("FASTCONV_ISA"))
        threads, source = _default_threads() if _kernels.has_openmp() else (1, "built without OpenMP")
        _kernels.set_num_threads(threads, source)
    except (ValueError, RuntimeError) as error:
        if not _is_command():
            raise
        print(f"fastconv: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def _select_isa(name: str | None) -> None:
    try:
        _kernels.select_isa(name or None)
    except (ValueError, RuntimeError) as error:
        raise type(error)(f"FASTCONV_ISA={name!r} in the environment: {error}") from error


def _is_command() -> bool:
    """Whether this process is the installed command `fastconv`, or `python -m fastconv...`."""
    program, module = [*sys.orig_argv[1:3], "", ""][:2]
    return module.startswith("fastconv.") if program == "-m" else Path(program).name == "fastconv"


def config() -> dict[str, Any]:
    """What :func:`show_config` prints, as a dictionary."""
    import numpy as np

    return {
        "fastconv": __version__,
        "instruction set": _kernels.isa(),
        "convolution accuracy": get_conv2d_accuracy(),
        "available": list(_kernels.available_isas()),
        "built": list(_kernels.built_isas()),
        "OpenMP": _kernels.has_openmp(),
        "threads": _kernels.num_threads(),
        "threads from": _kernels.num_threads_source(),
        "compiler": _kernels.compiler(),
        "NumPy": np.__version__,
        "floatx": _floatx,
    }


def show_config() -> None:
    """Print version, instruction sets, OpenMP, threads and where their number came from, and the compiler."""
    c = config()
    print(f"fastconv {c['fastconv']}")
    print(f"  instruction set  {c['instruction set']} (this CPU can run: {', '.join(c['available'])}; "
          f"built: {', '.join(c['built'])})")  # fmt: skip
    print(f"  OpenMP           {'yes' if c['OpenMP'] else 'no: this build runs serially'}")
    print(f"  threads          {c['threads']} (from: {c['threads from']})")
    print(f"  compiler         {c['compiler']}")
    print(f"  NumPy            {c['NumPy']}")
    print(f"  floatx           {c['floatx']}")
