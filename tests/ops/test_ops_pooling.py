"""Pooling, global pooling and unpooling, with gradients, against PyTorch and the reference."""

from typing import Any

import numpy as np
import pytest
from support import (
    TAIL_CHANNELS,
    PoolCase,
    assert_close,
    both_dtypes,
    both_implementations,
    integers,
    pads_of,
    randn,
    random_pool_cases,
)
from torch_oracle import F, nchw, nhwc, torch, torch_gradients

from fastconv import ops, reference

CASES = random_pool_cases(200, seed=1)
TAILS = [PoolCase(2, (6, 7), c, (3, 2), (2, 1), ((1, 0), (1, 1)), True) for c in TAIL_CHANNELS]


def torch_pads(case: PoolCase) -> tuple[int, int, int, int]:
    """The padding in the order F.pad wants it: left, right, top, bottom."""
    (top, bottom), (left, right) = pads_of(case.padding, case.size, case.pool, case.strides or case.pool)
    return left, right, top, bottom


def torch_max_pool(x: Any, case: PoolCase) -> Any:
    """Pad with -inf, then pool. With ceil_mode PyTorch must see the true size: only symmetric padding then."""
    strides = case.strides or case.pool
    symmetric = case.symmetric_padding()
    if symmetric is not None:
        return nhwc(F.max_pool2d(nchw(x), case.pool, strides, symmetric, ceil_mode=case.ceil_mode))
    pads = torch_pads(case)
    return nhwc(F.max_pool2d(F.pad(nchw(x), pads, value=-np.inf), case.pool, strides))


def torch_avg_pool(x: Any, case: PoolCase, count_include_pad: bool) -> Any:
    strides = case.strides or case.pool
    symmetric = case.symmetric_padding()
    if symmetric is not None:
        pooled = F.avg_pool2d(nchw(x), case.pool, strides, symmetric, case.ceil_mode, count_include_pad)
        return nhwc(pooled)
    pads = torch_pads(case)
    total = F.avg_pool2d(F.pad(nchw(x), pads), case.pool, strides, divisor_override=1)
    if count_include_pad:
        return nhwc(total) / (case.pool[0] * case.pool[1])
    inside = F.avg_pool2d(F.pad(torch.ones_like(nchw(x)), pads), case.pool, strides, divisor_override=1)
    return nhwc(total / inside)


def expressible(case: PoolCase) -> bool:
    return case.symmetric_padding() is not None or not case.ceil_mode


@both_implementations
@both_dtypes
@pytest.mark.parametrize("case", [c for c in CASES + TAILS if expressible(c)], ids=str)
def test_max_pool_is_pytorchs(impl: Any, case: PoolCase, dtype: str) -> None:
    x = randn(np.random.default_rng(2), case.input_shape, dtype)
    y, dy, (dx,) = torch_gradients(lambda x: torch_max_pool(x, case), [x])
    got, argmax = impl.max_pool2d(x, **case.arguments)
    assert_close(got, y, dtype)
    assert argmax.dtype == np.int32
    assert argmax.shape == got.shape
    flat = x.reshape(case.batch, -1, case.channels)
    winners = np.take_along_axis(flat, argmax.reshape(case.batch, -1, case.channels), axis=1)
    assert np.array_equal(winners.reshape(got.shape), got)
    assert_close(impl.max_pool2d_backward(dy.astype(dtype), argmax, x.shape), dx, dtype)


@both_implementations
@both_dtypes
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("case", [c for c in CASES[:120] + TAILS if expressible(c)], ids=str)
def test_avg_pool_is_pytorchs(impl: Any, case: PoolCase, count_include_pad: bool, dtype: str) -> None:
    x = randn(np.random.default_rng(3), case.input_shape, dtype)
    y, dy, (dx,) = torch_gradients(lambda x: torch_avg_pool(x, case, count_include_pad), [x])
    arguments = {**case.arguments, "count_include_pad": count_include_pad}
    assert_close(impl.avg_pool2d(x, **arguments), y, dtype)
    assert_close(impl.avg_pool2d_backward(dy.astype(dtype), x.shape, **arguments), dx, dtype)


@both_dtypes
@pytest.mark.parametrize("case", CASES + TAILS, ids=str)
def test_pools_equal_the_reference(case: PoolCase, dtype: str) -> None:
    """Small integers: full of ties, and exact."""
    rng = np.random.default_rng(4)
    x = integers(rng, case.input_shape, dtype)
    (y, argmax), (y_expected, argmax_expected) = (m.max_pool2d(x, **case.arguments) for m in (ops, reference))
    assert np.array_equal(y, y_expected)
    assert np.array_equal(argmax, argmax_expected)
    dy = integers(rng, y.shape, dtype)
    dx = ops.max_pool2d_backward(dy, argmax, x.shape)
    assert np.array_equal(dx, reference.max_pool2d_backward(dy, argmax, x.shape))
    assert np.array_equal(dx, ops.max_pool2d_backward(dy, argmax, x.shape, **case.arguments))
    for count_include_pad in (False, True):
        arguments = {**case.arguments, "count_include_pad": count_include_pad}
        assert_close(ops.avg_pool2d(x, **arguments), reference.avg_pool2d(x, **arguments), dtype)
        dx = ops.avg_pool2d_backward(dy, x.shape, **arguments)
        assert_close(dx, reference.avg_pool2d_backward(dy, x.shape, **arguments), dtype)


@both_dtypes
@pytest.mark.parametrize("case", CASES[:60], ids=str)
def test_many_channels_are_gathered(case: PoolCase, dtype: str) -> None:
    """From four vectors of channels on, the gradient is gathered window by window; ends that fill no vector too."""
    rng = np.random.default_rng(5)
    for channels in (64, 65, 79, 97):
        x = integers(rng, (case.batch, *case.size, channels), dtype)
        y, argmax = ops.max_pool2d(x, **case.arguments)
        dy = integers(rng, y.shape, dtype)
        want = reference.max_pool2d_backward(dy, argmax, x.shape)
        assert np.array_equal(ops.max_pool2d_backward(dy, argmax, x.shape, **case.arguments), want)


def test_an_index_outside_its_window() -> None:
    for channels in (3, 64, 70):
        x = randn(np.random.default_rng(6), (2, 6, 7, channels), "float32")
        y, argmax = ops.max_pool2d(x, 2)
        for position, index in [((0, 0, 0, 0), 2), ((1, 2, 2, channels - 1), 0), ((1, 2, 2, channels - 1), 41)]:
            bad = argmax.copy()
            bad[position] = index
            if channels >= 64:  # with few channels any index in the plane is followed
                with pytest.raises(IndexError, match=r"outside its window: it is not that of a pool \(2, 2\)"):
                    ops.max_pool2d_backward(y, bad, x.shape, 2)
            for outside in (-1, 42, 2**31 - 1):
                bad[position] = outside
                with pytest.raises(IndexError, match=f"index {outside}, outside"):
                    ops.max_pool2d_backward(y, bad, x.shape, 2)
        with pytest.raises(ValueError, match="dy has shape"):
            ops.max_pool2d_backward(y, argmax, x.shape, 3)


@both_implementations
def test_ties_go_to_the_first_in_row_major_order(impl: Any) -> None:
    for channels in TAIL_CHANNELS:
        x = np.zeros((1, 4, 6, channels), np.float32)
        _, argmax = impl.max_pool2d(x, 3, 1, 1)
        first_rows, first_columns = np.maximum(np.arange(4) - 1, 0), np.maximum(np.arange(6) - 1, 0)
        expected = first_rows[:, None] * 6 + first_columns
        assert np.array_equal(argmax, np.broadcast_to(expected[None, :, :, None], argmax.shape))


@both_implementations
@both_dtypes
def test_nan_wins_and_padding_never_does(impl: Any, dtype: str) -> None:
    for channels in TAIL_CHANNELS:
        x = randn(np.random.default_rng(5), (1, 5, 6, channels), dtype)
        clean, _ = impl.max_pool2d(x, (2, 3), (2, 3))
        for channel in range(channels):
            poisoned = x.copy()
            poisoned[0, 3, 2, channel] = poisoned[0, 3, 0, channel] = np.nan
            y, argmax = impl.max_pool2d(poisoned, (2, 3), (2, 3))
            assert np.isnan(y[0, 1, 0, channel])
            assert argmax[0, 1, 0, channel] == 3 * 6 + 0  # the first NaN
            y[0, 1, 0, channel] = clean[0, 1, 0, channel]
            assert np.array_equal(y, clean)
        lowest = np.full((1, 3, 3, channels), -np.inf, dtype)
        y, argmax = impl.max_pool2d(lowest, 3, 2, "same")
        assert (y == -np.inf).all()
        assert np.array_equal(argmax[0, ..., 0], [[0, 1], [3, 4]])


@both_implementations
def test_inf_and_nan_in_average_pooling(impl: Any) -> None:
    for channels in (1, 4, 15, 33):
        for value in (np.nan, np.inf, -np.inf):
            for channel in range(channels):
                x = np.ones((1, 4, 4, channels), np.float32)
                x[0, 2, 1, channel] = value
                y = impl.avg_pool2d(x, 2)
                assert np.array_equal(y[0, 1, 0, channel], np.float32(value), equal_nan=True)
                assert np.isfinite(y).sum() == y.size - 1


@both_implementations
@both_dtypes
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (7, 7), (13, 17)])
def test_global_pools(impl: Any, size: tuple[int, int], dtype: str) -> None:
    for channels in (1, 3, 8, 16, 17, 33, 70):
        x = randn(np.random.default_rng(6), (3, *size, channels), dtype)
        y, dy, (dx,) = torch_gradients(lambda x: x.amax(dim=(1, 2)), [x])
        got, argmax = impl.global_max_pool2d(x)
        assert_close(got, y, dtype)
        assert np.array_equal(argmax, x.reshape(3, -1, channels).argmax(axis=1))
        assert argmax.dtype == np.int32
        assert_close(impl.global_max_pool2d_backward(dy.astype(dtype), argmax, x.shape), dx, dtype)
        y, dy, (dx,) = torch_gradients(lambda x: x.mean(dim=(1, 2)), [x])
        assert_close(impl.global_avg_pool2d(x), y, dtype)
        assert_close(impl.global_avg_pool2d_backward(dy.astype(dtype), x.shape), dx, dtype)


@both_implementations
def test_global_max_pool_ties_and_nan(impl: Any) -> None:
    for channels in (1, 7, 16, 33):
        x = np.zeros((2, 3, 4, channels), np.float32)
        assert (impl.global_max_pool2d(x)[1] == 0).all()
        x[1, 2, 1, channels - 1] = np.nan
        y, argmax = impl.global_max_pool2d(x)
        assert np.isnan(y).sum() == 1
        assert np.isnan(y[1, channels - 1])
        assert argmax[1, channels - 1] == 9


@both_implementations
@both_dtypes
@pytest.mark.parametrize("channels", [1, 5, 16, 33])
def test_max_unpool_is_pytorchs(impl: Any, channels: int, dtype: str) -> None:
    x = randn(np.random.default_rng(7), (2, 3, 4, channels), dtype)
    source = randn(np.random.default_rng(8), (2, 7, 8, channels), dtype)
    _, argmax = impl.max_pool2d(source, 2)  # no overlap: no index repeats
    indices = torch.from_numpy(np.ascontiguousarray(argmax.transpose(0, 3, 1, 2))).long()
    y, dy, (dx,) = torch_gradients(
        lambda x: nhwc(F.max_unpool2d(nchw(x).contiguous(), indices, 2, output_size=(7, 8))), [x]
    )
    got = impl.max_unpool2d(x, argmax, source.shape)
    assert_close(got, y, dtype)
    assert_close(impl.max_unpool2d_backward(dy.astype(dtype), argmax), dx, dtype)


@both_implementations
def test_max_unpool_with_repeated_indices(impl: Any) -> None:
    """The last in row-major order stays; every reader gets its gradient."""
    x = np.arange(1.0, 5.0).reshape(1, 2, 2, 1)
    argmax = np.array([[5, 5], [5, 0]], np.int32).reshape(1, 2, 2, 1)
    y = impl.max_unpool2d(x, argmax, (1, 2, 3, 1))
    assert np.array_equal(y.ravel(), [4, 0, 0, 0, 0, 3])
    dx = impl.max_unpool2d_backward(np.arange(6.0).reshape(1, 2, 3, 1), argmax)
    assert np.array_equal(dx.ravel(), [5, 5, 5, 0])


@both_implementations
@pytest.mark.parametrize("index", [-1, 6, 2**31 - 1, -(2**31)])
def test_max_unpool_index_out_of_range(impl: Any, index: int) -> None:
    argmax = np.array([[0, 1], [index, 2]], np.int32).reshape(1, 2, 2, 1)
    with pytest.raises(IndexError, match="6"):
        impl.max_unpool2d(np.ones((1, 2, 2, 1)), argmax, (1, 2, 3, 1))


@both_implementations
def test_zero_batch(impl: Any) -> None:
    x = np.zeros((0, 5, 6, 3), np.float32)
    y, argmax = impl.max_pool2d(x, 2)
    assert y.shape == argmax.shape == (0, 2, 3, 3)
    assert impl.max_pool2d_backward(y, argmax, x.shape).shape == x.shape
    assert impl.max_unpool2d(y, argmax, x.shape).shape == x.shape
    assert impl.max_unpool2d_backward(x, argmax).shape == y.shape
    assert impl.avg_pool2d(x, 2).shape == y.shape
    assert impl.avg_pool2d_backward(y, x.shape, 2).shape == x.shape
    flat, argmax = impl.global_max_pool2d(x)
    assert flat.shape == argmax.shape == (0, 3)
    assert impl.global_max_pool2d_backward(flat, argmax, x.shape).shape == x.shape
    assert impl.global_avg_pool2d(x).shape == (0, 3)
    assert impl.global_avg_pool2d_backward(flat, x.shape).shape == x.shape


@both_implementations
def test_overlapping_windows_accumulate(impl: Any) -> None:
    """One maximum in the middle of four windows receives four gradients."""
    x = np.zeros((1, 3, 3, 1))
    x[0, 1, 1] = 1
    _, argmax = impl.max_pool2d(x, 2, 1)
    dx = impl.max_pool2d_backward(np.array([1.0, 2, 3, 4]).reshape(1, 2, 2, 1), argmax, x.shape)
    assert dx[0, 1, 1, 0] == 10
    assert dx.sum() == 10


def test_a_plane_too_large_for_argmax() -> None:
    """int32 indices end at 2**31 - 1: an error that says what to do, and no argmax is needed without a gradient."""
    one, index = np.ones((1, 1, 1, 1), np.float32), np.zeros((1, 1, 1, 1), np.int64)
    with pytest.raises(OverflowError, match=r"50000 x 50000 = 2500000000 pixels.*cut the image into tiles"):
        ops.max_unpool2d(one, index, (1, 50_000, 50_000, 1))
    try:
        x = np.zeros((1, 46_342, 46_342, 1), np.float32)  # of which only the corners are read
    except MemoryError:
        pytest.skip("NOT TESTED: this machine does not lend 8.6 GB of untouched memory")
    with pytest.raises(OverflowError, match="return_argmax=False"):
        ops.max_pool2d(x, 1, 46_341)
    x[0, -1, -1] = 3
    assert ops.max_pool2d(x, 1, 46_341, return_argmax=False)[0].ravel().tolist() == [0, 0, 0, 3]
