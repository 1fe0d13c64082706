"""The matrix product against NumPy's BLAS: `python -m fastconv.bench.gemm`.

Square products, and the tall and skinny ones that convolutions become. The contestants take turns; medians, and the
ratio of NumPy's time to ours (above 1: fastconv is faster).
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence

import numpy as np

import fastconv as fc
from fastconv.bench.timing import take_turns

#: (M, K, N): (M, K) times (K, N)
SHAPES = ((1024, 1024, 1024), (512, 512, 512), (50176, 27, 32), (2704, 256, 48), (64, 576, 64))
_PAUSE = 0.2  # seconds; OpenBLAS' threads spin for about a tenth


def compare(m: int, k: int, n: int, rounds: int, work: float = 2e10) -> tuple[float, float]:
    """GFLOP/s of fastconv and of NumPy for one product, by the median of ``rounds`` turns of ``work`` FLOP each."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k), dtype=np.float32), rng.standard_normal((k, n), dtype=np.float32)
    out = np.empty((m, n), np.float32)
    np.testing.assert_allclose(fc.ops.matmul(a, b), a @ b, rtol=1e-3, atol=1e-3)
    repeats = math.ceil(work / (2 * m * k * n))

    def ours() -> None:
        for _ in range(repeats):
            fc.ops.matmul(a, b)

    def numpys() -> None:
        for _ in range(repeats):
            np.matmul(a, b, out=out)

    seconds = take_turns({"fastconv": ours, "NumPy": numpys}, rounds, _PAUSE)
    flop = 2e-9 * m * k * n * repeats
    return flop / statistics.median(seconds["fastconv"]), flop / statistics.median(seconds["NumPy"])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table; return 0."""
    parser = argparse.ArgumentParser(prog="python -m fastconv.bench.gemm", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="turns of each contestant (%(default)s)")
    arguments = parser.parse_args(argv)
    print(f"float32 matrix products, {fc.get_num_threads()} threads, NumPy {np.__version__}")
    print(f"{'M x K x N':>20} {'fastconv':>10} {'NumPy':>10} {'ratio':>7}   (GFLOP/s)")
    for m, k, n in SHAPES:
        ours, theirs = compare(m, k, n, arguments.rounds)
        print(f"{f'{m} x {k} x {n}':>20} {ours:10.0f} {theirs:10.0f} {ours / theirs:7.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
