"""Matrix product and dense layer against NumPy in float64 and PyTorch."""

from typing import Any

import numpy as np
import pytest
from support import TAIL_CHANNELS, assert_close, both_dtypes, both_implementations, integers, randn
from torch_oracle import F, torch_gradients

from fastconv import ops

#: (M, N, K): one element to several blocks with remainders; tall-skinny, short-wide, deep.
SIZES = [
    (1, 1, 1), (1, 33, 5), (33, 1, 5), (5, 7, 1), (6, 16, 64), (14, 32, 40), (15, 33, 41), (97, 101, 103),
    (300, 17, 27), (2, 300, 150), (64, 10, 700), (3, 5, 3000), (257, 129, 65),
    (40, 2100, 400), (37, 4100, 30), (200, 130, 1500), (70, 40, 512), (130, 70, 2048), (700, 35, 1100),
    (150, 700, 900), (9, 1001, 801),
]  # fmt: skip


@both_implementations
@both_dtypes
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_matmul(impl: Any, size: tuple[int, int, int], transpose_a: bool, transpose_b: bool, dtype: str) -> None:
    m, n, k = size
    rng = np.random.default_rng(1)
    a, b = randn(rng, (k, m) if transpose_a else (m, k), dtype), randn(rng, (n, k) if transpose_b else (k, n), dtype)
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    want = (wide_a.T if transpose_a else wide_a) @ (wide_b.T if transpose_b else wide_b)
    assert_close(impl.matmul(a, b, transpose_a, transpose_b), want, dtype)


@both_dtypes
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
def test_every_small_size_is_exact_on_integers(transpose_a: bool, transpose_b: bool, dtype: str) -> None:
    rng = np.random.default_rng(2)
    for m in [*range(1, 18), 33]:
        for n in [*TAIL_CHANNELS, 65]:
            k = int(rng.integers(1, 40))
            a, b = integers(rng, (m, k), dtype), integers(rng, (k, n), dtype)
            got = ops.matmul(
                np.ascontiguousarray(a.T) if transpose_a else a,
                np.ascontiguousarray(b.T) if transpose_b else b,
                transpose_a,
                transpose_b,
            )
            assert np.array_equal(got, a @ b), (m, n, k)


@both_implementations
@both_dtypes
@pytest.mark.parametrize("lead", [(5,), (2, 3), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("activation", [None, "relu", ("leaky_relu", 0.1), "elu", "tanh", "softmax"], ids=str)
def test_dense(impl: Any, lead: tuple[int, ...], activation: Any, dtype: str) -> None:
    for channels, units in [(1, 1), (7, 10), (16, 33), (70, 3), (400, 64)]:
        rng = np.random.default_rng(channels)
        x, kernel, bias = (randn(rng, s, dtype) for s in [(*lead, channels), (channels, units), (units,)])
        y, dy, gradients = torch_gradients(lambda x, w, b: F.linear(x, w.T, b), [x, kernel, bias])
        assert_close(impl.dense(x, kernel, bias), y, dtype)
        assert_close(impl.dense(x, kernel), y - bias.astype(np.float64), dtype)
        fused = impl.dense(x, kernel, bias, activation)
        assert_close(fused, impl.activate(y.astype(dtype), activation).astype(np.float64), dtype)
        results = impl.dense_backward(dy.astype(dtype), x, kernel)
        for name, got, want in zip(("dx", "dkernel", "dbias"), results, gradients, strict=True):
            assert_close(got, want, dtype, name)
        assert impl.dense_backward(dy.astype(dtype), x, kernel, need_dx=False)[0] is None


@both_dtypes
@pytest.mark.parametrize("channels", [5, 400, 1500])
@pytest.mark.parametrize("units", [3, 33, 130])
def test_fused_ends_on_several_panels_and_depths(channels: int, units: int, dtype: str) -> None:
    """Bias, slope and activation must be applied once, after the last block of the depth, to the right columns."""
    rng = np.random.default_rng(3)
    for rows in (1, 7, 40):
        x, kernel, bias, alpha = (
            randn(rng, shape, dtype) for shape in [(rows, channels), (channels, units), (units,), (units,)]
        )
        kernel /= np.sqrt(channels).astype(dtype)
        wide = x.astype(np.float64) @ kernel + bias
        for activation, want in [
            (("prelu", alpha), np.where(wide > 0, wide, wide * alpha)),
            (("leaky_relu", 0.3), np.where(wide > 0, wide, wide * 0.3)),
            ("relu6", wide.clip(0, 6)),
            ("tanh", np.tanh(wide)),
        ]:
            assert_close(ops.dense(x, kernel, bias, activation), want, dtype, str(activation))


@both_implementations
@both_dtypes
def test_zero_batch(impl: Any, dtype: str) -> None:
    x, kernel, bias = np.zeros((0, 5), dtype), np.ones((5, 7), dtype), np.ones(7, dtype)
    y = impl.dense(x, kernel, bias, "relu")
    assert y.shape == (0, 7)
    dx, dkernel, dbias = impl.dense_backward(y, x, kernel)
    assert dx.shape == x.shape
    assert np.array_equal(dkernel, np.zeros((5, 7)))
    assert np.array_equal(dbias, np.zeros(7))
    assert impl.matmul(x, kernel).shape == (0, 7)
    assert np.array_equal(impl.matmul(x, y, transpose_a=True), np.zeros((5, 7)))


@pytest.mark.filterwarnings("ignore:invalid value")
@both_implementations
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_reach_their_row_or_column_only(impl: Any, value: float) -> None:
    for m, n, k in [(7, 33, 5), (15, 17, 33)]:
        for i in range(m):
            a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
            a[i, i % k] = value
            bad = ~np.isfinite(impl.matmul(a, b))
            assert bad[i].all()
            assert bad.sum() == n
        for j in range(n):
            a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
            b[j % k, j] = value
            bad = ~np.isfinite(impl.matmul(a, b))
            assert bad[:, j].all()
            assert bad.sum() == m
