"""Sums and concatenation, against NumPy."""

from typing import Any

import numpy as np
import pytest
from support import TAIL_CHANNELS, both_dtypes, randn

from fastconv import ops


@both_dtypes
def test_add(dtype: str) -> None:
    for shape in [(n,) for n in TAIL_CHANNELS] + [(), (0, 3), (3, 50, 61, 7)]:
        rng = np.random.default_rng(0)
        a, b = randn(rng, shape, dtype), randn(rng, shape, dtype)
        got = ops.add(a, b)
        assert got.dtype == dtype
        assert np.array_equal(got, a + b)


@both_dtypes
@pytest.mark.parametrize("axis", [-1, 3, 2, 1, 0])
def test_concatenate_and_its_gradient(axis: int, dtype: str) -> None:
    rng = np.random.default_rng(1)
    for sizes in [(1,), (3, 5), (16, 1, 17), (2, 0, 3), (4100, 8200)]:
        shapes: list[list[int]] = [[2, 3, 4, 5] for _ in sizes]
        for shape, size in zip(shapes, sizes, strict=True):
            shape[axis] = size
        parts = [randn(rng, shape, dtype) for shape in shapes]
        y = ops.concatenate(parts, axis)
        assert np.array_equal(y, np.concatenate(parts, axis))
        back = ops.concatenate_backward(y, sizes, axis)
        assert all(map(np.array_equal, back, parts))
        assert not any(np.shares_memory(y, part) for part in back)


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "shapes of a sum": (lambda x, y: ops.add(x, y), ValueError, r"\(2, 4\), expected \(2, 3\)"),
    "dtypes of a sum": (lambda x, y: ops.add(x, x.astype(np.float64)), TypeError, "float64"),
    "nothing": (lambda x, y: ops.concatenate([]), ValueError, "nothing to concatenate"),
    "shapes": (lambda x, y: ops.concatenate([x, y], 0), ValueError, r"axis 0: \(2, 3\), \(2, 4\)"),
    "axes": (lambda x, y: ops.concatenate([x, y[0]]), ValueError, "2 axes"),
    "axis": (lambda x, y: ops.concatenate([x, x], 2), ValueError, "axis 2 does not exist"),
    "dtypes": (lambda x, y: ops.concatenate([x, y.astype(np.float64)]), TypeError, "float64"),
    "sizes": (lambda x, y: ops.concatenate_backward(x, (1, 1)), ValueError, r"\(1, 1\) do not add up to 3"),
    "a negative size": (lambda x, y: ops.concatenate_backward(x, (4, -1)), ValueError, "do not add up"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case: str) -> None:
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))
