"""Builds the extension with clang under build/clang, runs the self-check of the ops in it, and holds its speed against
that of the build in use: clang unrolls loops by rules of its own, and a tile that misses registers is several times
slower.

Exits with 77 where clang is missing (on Debian and Ubuntu: apt install clang libomp-dev).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from builds import ROOT, build

CLANG = os.environ.get("CLANG", "clang")
MISSING, ROUNDS = 77, 5
LIMIT = 1.3  # times slower than the other compiler

#: GFLOP/s of one thread in a 3x3 convolution, direct and by Winograd.
MEASURE = """
import time
import numpy as np
import fastconv as fc
from fastconv import _kernels, ops

fc.set_num_threads(1)
rng = np.random.default_rng(0)
x = rng.standard_normal((1, 56, 56, 64)).astype(np.float32)
kernel = rng.standard_normal((3, 3, 64, 64)).astype(np.float32)
print(_kernels.compiler(), end="")
for algorithm in ("implicit_gemm", "winograd"):
    seconds = []
    for _ in range(25):
        start = time.process_time()
        for _ in range(4):
            ops.conv2d(x, kernel, padding="same", algorithm=algorithm)
        seconds.append((time.process_time() - start) / 4)
    print(";", 2 * 9 * 64 * 64 * 56 * 56 / sorted(seconds)[12] / 1e9, end="")
"""


def run(command: list[str], package: Path, isa: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(package), "FASTCONV_ISA": isa}
    return subprocess.run(
        [sys.executable, *command], cwd="/", env=environment, check=True, capture_output=True, text=True
    ).stdout


def compare(package: Path, isa: str) -> bool:
    """Print both speeds, taken by turns; return whether clang's are near enough."""
    samples: dict[str, list[list[float]]] = {}
    for _ in range(ROUNDS):
        for folder in (ROOT, package):
            name, *speeds = run(["-c", MEASURE], folder, isa).split(";")
            samples.setdefault(name, []).append([float(speed) for speed in speeds])
    if len(samples) == 1:
        print(f"NOT TESTED: the speed of {isa}: the build in use is clang's as well", file=sys.stderr)
        return True
    medians = {
        name: [statistics.median(speeds) for speeds in zip(*rows, strict=True)] for name, rows in samples.items()
    }
    (_, theirs), (_, ours) = medians.items()
    for i, what in enumerate(("direct", "Winograd")):
        print(
            f"{isa:9s} 3x3 {what:9s}",
            *(f"{name}: {values[i]:.0f} GFLOP/s" for name, values in medians.items()),
            sep="  ",
        )
    return all(other <= LIMIT * own for other, own in zip(theirs, ours, strict=True))


def main() -> int:
    if not shutil.which(CLANG):
        print(f"NOT TESTED: the build with clang: {CLANG} is not installed", file=sys.stderr)
        return MISSING
    package = build("clang", CC=CLANG)
    isas = run(["-c", "from fastconv import _kernels as k; print(*k.available_isas())"], package, "").split()
    slow = []
    for isa in isas:
        run([str(ROOT / "tests" / "support" / "op_selfcheck.py")], package, isa)
        print(f"{isa:9s} self-check of the ops passed", flush=True)
        if not compare(package, isa):
            slow.append(isa)
    if slow:
        print(f"FAILED: more than {LIMIT} x slower with clang on {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
