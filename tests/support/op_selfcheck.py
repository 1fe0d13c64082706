"""A compact check of every op against the reference, for runs under another instruction set or thread count.

    FASTCONV_ISA=avx2 python op_selfcheck.py        exits with 1 and names what is wrong

Prints a hash of all results: two runs on one instruction set must print the same. Not a test file.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np
from op_calls import Array, op_calls
from support import ConvCase, integers, randn, random_conv_cases

import fastconv as fc
from fastconv import ops, reference

TOLERANCE = {"float64": 1e-10, "float32": 3e-5}

#: Enough work to be split over threads, in each pass; with remainders of every block.
LARGE = [
    ConvCase(4, (31, 29), 17, 40, (3, 3), (1, 1), "same"),
    ConvCase(2, (56, 55), 3, 64, (7, 7), (2, 2), ((3, 2), (2, 3))),
    ConvCase(8, (14, 15), 70, 90, (1, 1)),
    ConvCase(3, (28, 27), 33, 33, (3, 3), (2, 1), "same", (1, 1), 33),
    ConvCase(1, (37, 33), 24, 36, (3, 5), (1, 1), 2, (2, 1), 4),
    ConvCase(4, (19, 18), 70, 70, (3, 3), (1, 1), "same", (1, 1), 70),
    ConvCase(2, (21, 23), 96, 96, (3, 3), (1, 1), "same", (1, 1), 24),
    ConvCase(2, (17, 22), 44, 88, (5, 5), (1, 2), 2, (1, 1), 44),
]


class Check:
    """Collects failures and hashes results."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.hash = hashlib.sha256()

    def compare(self, got: Array, want: Array, dtype: str, what: str, exact: bool = False) -> None:
        self.hash.update(np.ascontiguousarray(got).tobytes())
        if got.shape != want.shape:
            self.failures.append(f"{what}: shape {got.shape}, expected {want.shape}")
        elif exact or got.dtype.kind == "i":
            if not np.array_equal(got, want):
                self.failures.append(f"{what}: differs on integers")
        elif got.size:
            error = np.abs(got.astype(np.float64) - want).max() / max(np.abs(want).max(), 1e-3)
            if not error <= TOLERANCE[dtype]:
                self.failures.append(f"{what}: relative error {error:.3g}")


def check_every_op(check: Check, dtype: str) -> None:
    for channels in [*range(1, 10), 15, 16, 17, 31, 33, 65]:
        for call in op_calls(channels):
            arrays = call.arrays(dtype, seed=channels)
            expected = call.run(reference, [a.astype(np.float64) for a in arrays])
            for got, want in zip(call.run(ops, arrays), expected, strict=True):
                check.compare(got, want, dtype, f"{call.name}, {channels} channels, {dtype}")


def check_conv2d(check: Check, dtype: str, cases: list[ConvCase]) -> None:
    """Every algorithm and pass: exact on integers where the algorithm is direct, within tolerance else."""
    fc.set_conv2d_accuracy("exact")  # "auto" too
    for case in cases:
        for algorithm in case.algorithms:
            exact = not algorithm.startswith("winograd")
            x, kernel, bias = case.arrays(integers if exact else randn, seed=1, dtype=dtype)
            what = f"conv2d {algorithm} {dtype} {case}"
            want = reference.conv2d(x, kernel, bias, **case.arguments)
            check.compare(ops.conv2d(x, kernel, bias, **case.arguments, algorithm=algorithm), want, dtype, what, exact)
            dy = (integers if exact else randn)(np.random.default_rng(2), want.shape, dtype)
            dx = ops.conv2d_backward_data(dy, kernel, x.shape, **case.arguments, algorithm=algorithm)
            want = reference.conv2d_backward_data(dy, kernel, x.shape, **case.arguments)
            check.compare(dx, want, dtype, f"{what} backward_data", exact)
            got = ops.conv2d_backward_weights(x, dy, case.kernel, **case.arguments, algorithm=algorithm)
            expected = reference.conv2d_backward_weights(x, dy, case.kernel, **case.arguments)
            for g, w in zip(got, expected, strict=True):
                check.compare(g, w, dtype, f"{what} backward_weights", exact)


def hash_rounded_results(check: Check, dtype: str) -> None:
    """Normal data, where the order of a sum shows in the last bit; large enough for several threads."""
    fc.set_conv2d_accuracy("fast")
    for case in LARGE:
        x, kernel, bias = case.arrays(randn, seed=3, dtype=dtype)
        for algorithm in case.algorithms:
            y = ops.conv2d(x, kernel, bias, **case.arguments, activation="elu", algorithm=algorithm)
            dx = ops.conv2d_backward_data(y, kernel, x.shape, **case.arguments, algorithm=algorithm)
            weights = ops.conv2d_backward_weights(x, y, case.kernel, **case.arguments, algorithm=algorithm)
            for result in (y, dx, *weights):
                check.hash.update(result.tobytes())
    for call in op_calls(c=70, batch=80, rows=1500):
        for result in call.run(ops, call.arrays(dtype)):
            check.hash.update(result.tobytes())


def main() -> int:
    check = Check()
    for dtype in ("float32", "float64"):
        check_every_op(check, dtype)
        check_conv2d(check, dtype, random_conv_cases(40, seed=4) + LARGE[:2])
        hash_rounded_results(check, dtype)
    for failure in check.failures:
        print(failure, file=sys.stderr)
    print(check.hash.hexdigest())
    return 1 if check.failures else 0


if __name__ == "__main__":
    sys.exit(main())
