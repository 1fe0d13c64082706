"""locally_connected2d and its gradients against PyTorch's unfold."""

from typing import Any

import numpy as np
import pytest
from support import assert_close, both_dtypes, both_implementations, integers, randn
from torch_oracle import F, nchw, torch_gradients

from fastconv import ops, reference


@both_implementations
@both_dtypes
@pytest.mark.parametrize("seed", range(40))
def test_random_geometry(impl: Any, seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    kh, kw, sh, sw = (int(v) for v in rng.integers(1, 4, 4))
    n, h, w = int(rng.integers(1, 4)), kh + int(rng.integers(0, 5)), kw + int(rng.integers(0, 5))
    channels, filters = (int(v) for v in rng.integers(1, 20, 2))
    oh, ow = (h - kh) // sh + 1, (w - kw) // sw + 1
    x = randn(rng, (n, h, w, channels), dtype)
    kernel = randn(rng, (oh, ow, kh * kw * channels, filters), dtype)
    bias = randn(rng, (oh, ow, filters), dtype)

    def oracle(x: Any, kernel: Any, bias: Any) -> Any:
        patches = F.unfold(nchw(x), (kh, kw), stride=(sh, sw))  # (N, C*KH*KW, OH*OW)
        patches = patches.reshape(n, channels, kh * kw, oh, ow).permute(0, 3, 4, 2, 1).reshape(n, oh, ow, -1)
        return (patches.unsqueeze(3) @ kernel.unsqueeze(0)).squeeze(3) + bias

    y, dy, gradients = torch_gradients(oracle, [x, kernel, bias])
    dy = dy.astype(dtype)
    assert_close(impl.locally_connected2d(x, kernel, bias, (kh, kw), (sh, sw)), y, dtype)
    unbiased = impl.locally_connected2d(x, kernel, None, (kh, kw), (sh, sw))
    assert_close(unbiased, y - bias.astype(np.float64), dtype)
    results = impl.locally_connected2d_backward(dy, x, kernel, (kh, kw), (sh, sw))
    for name, got, want in zip(("dx", "dkernel", "dbias"), results, gradients, strict=True):
        assert_close(got, want, dtype, name)
    without = impl.locally_connected2d_backward(dy, x, kernel, (kh, kw), (sh, sw), need_dx=False)
    assert without[0] is None
    assert np.array_equal(without[1], results[1])


@both_dtypes
@pytest.mark.parametrize("channels", [1, 7, 16, 33])
def test_integers_are_exact(channels: int, dtype: str) -> None:
    rng = np.random.default_rng(channels)
    x, kernel = integers(rng, (2, 5, 6, channels), dtype), integers(rng, (2, 4, 9 * channels, 5), dtype)
    bias = integers(rng, (2, 4, 5), dtype)
    y = ops.locally_connected2d(x, kernel, bias, 3, (2, 1))
    assert np.array_equal(y, reference.locally_connected2d(x, kernel, bias, 3, (2, 1)))
    got = ops.locally_connected2d_backward(y, x, kernel, 3, (2, 1))
    for g, w in zip(got, reference.locally_connected2d_backward(y, x, kernel, 3, (2, 1)), strict=True):
        assert np.array_equal(g, w)


@both_implementations
def test_one_kernel_everywhere_is_a_convolution(impl: Any) -> None:
    rng = np.random.default_rng(5)
    x, kernel = randn(rng, (2, 6, 7, 3), "float64"), randn(rng, (3, 2, 3, 4), "float64")
    everywhere = np.ascontiguousarray(np.broadcast_to(kernel.reshape(1, 1, 18, 4), (4, 6, 18, 4)))
    y = impl.locally_connected2d(x, everywhere, None, (3, 2))
    assert_close(y, impl.conv2d(x, kernel), "float64")


@both_implementations
def test_zero_batch(impl: Any) -> None:
    x, kernel = np.zeros((0, 5, 6, 2), np.float32), np.ones((3, 4, 18, 5), np.float32)
    y = impl.locally_connected2d(x, kernel, None, 3)
    assert y.shape == (0, 3, 4, 5)
    dx, dkernel, dbias = impl.locally_connected2d_backward(y, x, kernel, 3)
    assert dx.shape == x.shape
    assert not dkernel.any()
    assert not dbias.any()
