"""What Winograd's algorithms cost in accuracy: `python -m fastconv.bench.winograd_error`.

A 3x3 convolution of 64 channels of random pixels against float64, and the same with one pixel multiplied. Direct sums
keep an error where it arises. Winograd adds and subtracts all pixels of a tile, and what does not cancel to the last
bit stays in outputs that do not see the pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastconv import ops

ALGORITHMS = ("implicit_gemm", "winograd_2x2", "winograd", "winograd_6x6")
FACTORS = (1e2, 1e3, 1e4, 1e5)
SIZE, CHANNELS, FILTERS = 24, 64, 64
PIXELS = range(8, 14)


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Return x (1, SIZE, SIZE, CHANNELS) and a kernel (3, 3, CHANNELS, FILTERS) of normal values, float32."""
    rng = np.random.default_rng(0)
    shapes = (1, SIZE, SIZE, CHANNELS), (3, 3, CHANNELS, FILTERS)
    x, kernel = (rng.standard_normal(shape, np.float32) for shape in shapes)
    return x, kernel


def relative_error(algorithm: str) -> float:
    """Return the L2 norm of the error against float64, relative to the output's."""
    x, kernel = problem()
    exact = ops.conv2d(x.astype(np.float64), kernel.astype(np.float64), padding="same")
    y = ops.conv2d(x, kernel, padding="same", algorithm=algorithm)
    return float(np.linalg.norm(y - exact) / np.linalg.norm(exact))


def spill(algorithm: str, factor: float) -> float:
    """Return the largest change of an output that does not see the pixel multiplied by ``factor``, as a part of the
    outputs' standard deviation; the largest of several pixels, as they lie differently in their tiles."""
    x, kernel = problem()
    before = ops.conv2d(x, kernel, padding="same", algorithm=algorithm)
    largest = 0.0
    for pixel in PIXELS:
        changed = x.copy()
        changed[0, pixel, pixel] *= factor
        change = np.abs(ops.conv2d(changed, kernel, padding="same", algorithm=algorithm) - before)
        change[:, pixel - 1 : pixel + 2, pixel - 1 : pixel + 2] = 0
        largest = max(largest, float(change.max()))
    return largest / float(before.std())


def largest_input(algorithm: str) -> float:
    """Return how large pixels may be, to a factor of 2, that a kernel which averages them gives no Inf or NaN."""
    signs = np.sign(problem()[0][..., :1])
    kernel = np.full((3, 3, 1, 8), 1 / 9, np.float32)
    value = 2.0**127
    while not np.isfinite(ops.conv2d(signs * np.float32(value), kernel, algorithm=algorithm)).all():
        value /= 2
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table; return 0."""
    spills = "".join(f"{f'one pixel x {factor:.0e}':>20}" for factor in FACTORS)
    print(f"{'algorithm':<15}{'relative error':>15}{spills}{'finite up to':>14}")
    for algorithm in ALGORITHMS:
        changes = "".join(f"{spill(algorithm, factor):>19.1%} " for factor in FACTORS)
        print(f"{algorithm:<15}{relative_error(algorithm):>15.1e}{changes}{largest_input(algorithm):>14.1e}")
    print(
        "one pixel multiplied: the largest change of an output that does not see it, in standard deviations of outputs"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
