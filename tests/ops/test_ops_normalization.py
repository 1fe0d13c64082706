"""Batch and local response normalisation, with gradients, against PyTorch and the reference."""

from typing import Any

import numpy as np
import pytest
from support import TAIL_CHANNELS, assert_close, both_dtypes, both_implementations, randn
from torch_oracle import F, nchw, nhwc, torch, torch_gradients

from fastconv import ops, reference

SHAPES = [(3, 4, 5), (2, 7, 3), (1, 1, 9), (9, 1, 1), (4, 13, 11)]


def channels_first(x: Any) -> Any:
    return x.movedim(-1, 1)


def channels_last(x: Any) -> Any:
    return x.movedim(1, -1)


def parameters(rng: np.random.Generator, channels: int, dtype: str) -> tuple[np.ndarray, ...]:
    """gamma, beta, mean, variance > 0."""
    gamma, beta, mean, variance = (randn(rng, (channels,), dtype) for _ in range(4))
    return gamma, beta, mean, np.abs(variance) + np.asarray(0.1, dtype)


@both_implementations
@both_dtypes
@pytest.mark.parametrize("shape", [*SHAPES, (7,), (4, 5), (2, 3, 4, 2)], ids=str)
@pytest.mark.parametrize("epsilon", [1e-3, 1e-5])
def test_batch_norm_in_training(impl: Any, shape: tuple[int, ...], epsilon: float, dtype: str) -> None:
    for channels in TAIL_CHANNELS if shape == SHAPES[0] else (1, 5, 16, 33, 70):
        rng = np.random.default_rng(channels)
        x = randn(rng, (*shape, channels), dtype) * 2 + 1
        gamma, beta, *_ = parameters(rng, channels, dtype)
        y, dy, (dx, dgamma, dbeta) = torch_gradients(
            lambda x, g, b: channels_last(F.batch_norm(channels_first(x), None, None, g, b, True, 0.1, epsilon)),
            [x, gamma, beta],
        )
        got, mean, variance = impl.batch_norm(x, gamma, beta, epsilon)
        assert_close(got, y, dtype)
        wide = x.astype(np.float64).reshape(-1, channels)
        assert_close(mean, wide.mean(axis=0), dtype)
        assert_close(variance, wide.var(axis=0), dtype)
        results = impl.batch_norm_backward(dy.astype(dtype), x, gamma, mean, variance, epsilon)
        for name, result, want in zip(("dx", "dgamma", "dbeta"), results, (dx, dgamma, dbeta), strict=True):
            assert_close(result, want, dtype, f"{name}, {channels} channels")


@both_implementations
@both_dtypes
@pytest.mark.parametrize("shape", [SHAPES[0], (7,)], ids=str)
def test_batch_norm_in_inference(impl: Any, shape: tuple[int, ...], dtype: str) -> None:
    for channels in TAIL_CHANNELS:
        rng = np.random.default_rng(channels)
        x = randn(rng, (*shape, channels), dtype)
        gamma, beta, mean, variance = parameters(rng, channels, dtype)
        statistics = [torch.from_numpy(a.astype(np.float64)) for a in (mean, variance)]
        y, dy, gradients = torch_gradients(
            lambda x, g, b: channels_last(F.batch_norm(channels_first(x), *statistics, g, b, False, 0.1, 1e-3)),  # noqa: B023
            [x, gamma, beta],
        )
        assert_close(impl.batch_norm_inference(x, gamma, beta, mean, variance), y, dtype)
        results = impl.batch_norm_inference_backward(dy.astype(dtype), x, gamma, mean, variance)
        for name, result, want in zip(("dx", "dgamma", "dbeta"), results, gradients, strict=True):
            assert_close(result, want, dtype, name)


@both_implementations
@both_dtypes
def test_batch_norm_without_scale_or_shift(impl: Any, dtype: str) -> None:
    """None is gamma = 1, beta = 0."""
    rng = np.random.default_rng(1)
    x, dy = randn(rng, (3, 4, 5, 6), dtype), randn(rng, (3, 4, 5, 6), dtype)
    gamma, beta, mean, variance = parameters(rng, 6, dtype)
    ones, zeros = np.ones_like(gamma), np.zeros_like(beta)
    for g, b in [(None, None), (gamma, None), (None, beta)]:
        full = (ones if g is None else g, zeros if b is None else b)
        for got, want in zip(impl.batch_norm(x, g, b), impl.batch_norm(x, *full), strict=True):
            assert_close(got, want.astype(np.float64), dtype)
        got = impl.batch_norm_inference(x, g, b, mean, variance)
        assert_close(got, impl.batch_norm_inference(x, *full, mean, variance).astype(np.float64), dtype)
    for backward in (impl.batch_norm_backward, impl.batch_norm_inference_backward):
        got = backward(dy, x, None, mean, variance)
        for g, w in zip(got, backward(dy, x, ones, mean, variance), strict=True):
            assert_close(g, w.astype(np.float64), dtype)


@both_implementations
@pytest.mark.parametrize("shape", [(8, 16, 16, 5), (3, 4), (2, 7), (5, 33), (200, 3), (2, 3, 4, 70)], ids=str)
def test_batch_norm_far_from_zero(impl: Any, shape: tuple[int, ...]) -> None:
    """Mean 1000, deviation 1: a one-pass E[x**2] - E[x]**2 in float32 would lose every digit of the variance."""
    x = randn(np.random.default_rng(2), shape, "float32") + np.float32(1000)
    _, mean, variance = impl.batch_norm(x, None, None)
    wide = x.astype(np.float64).reshape(-1, shape[-1])
    assert np.abs(mean / wide.mean(axis=0) - 1).max() < 1e-6
    assert np.abs(variance / wide.var(axis=0) - 1).max() < 2e-3


@pytest.mark.parametrize("activation", ["relu", "relu6", ("leaky_relu", 0.3), "elu", "sigmoid", "tanh"])
@both_dtypes
def test_fused_activation(activation: Any, dtype: str) -> None:
    rng = np.random.default_rng(3)
    for channels in (1, 7, 16, 33):
        x = randn(rng, (2, 3, 4, channels), dtype)
        gamma, beta, mean, variance = parameters(rng, channels, dtype)
        fused, *_ = ops.batch_norm(x, gamma, beta, activation=activation)
        assert_close(fused, ops.activate(ops.batch_norm(x, gamma, beta)[0], activation).astype(np.float64), dtype)
        fused = ops.batch_norm_inference(x, gamma, beta, mean, variance, activation=activation)
        linear = ops.batch_norm_inference(x, gamma, beta, mean, variance)
        assert_close(fused, ops.activate(linear, activation).astype(np.float64), dtype)


@both_dtypes
@pytest.mark.parametrize("activation", ["relu", "relu6", ("leaky_relu", 0.3), "linear"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 1), (3, 50, 61)], ids=str)
def test_backward_takes_the_activation_in(shape: tuple[int, ...], activation: Any, dtype: str) -> None:
    """The same bits as the activation's gradient on its own, in training and in inference."""
    for channels in (1, 3, 7, 16, 33, 64, 70, 130):
        rng = np.random.default_rng(channels)
        x, dy = randn(rng, (*shape, channels), dtype), randn(rng, (*shape, channels), dtype)
        gamma, beta, moving_mean, moving_variance = parameters(rng, channels, dtype)
        y, mean, variance = ops.batch_norm(x, gamma, beta, 1e-3, activation)
        dz = ops.activation_backward(dy, y, activation)
        want = ops.batch_norm_backward(dz, x, gamma, mean, variance)
        got = ops.batch_norm_backward(dy, x, gamma, mean, variance, 1e-3, activation, beta)
        assert all(map(np.array_equal, got, want))
        statistics = (moving_mean, moving_variance)
        dz = ops.activation_backward(
            dy, ops.batch_norm_inference(x, gamma, beta, *statistics, 1e-3, activation), activation
        )
        want = ops.batch_norm_inference_backward(dz, x, gamma, *statistics)
        got = ops.batch_norm_inference_backward(dy, x, gamma, *statistics, 1e-3, activation, beta)
        assert all(map(np.array_equal, got, want))


def test_backward_refuses_other_activations() -> None:
    x, c = np.ones((2, 3), np.float32), np.ones(3, np.float32)
    for activation in ("elu", "softmax", ("prelu", c), ("leaky_relu", -0.1)):
        with pytest.raises(ValueError, match="has no gradient here: it must be None or one of linear, relu"):
            ops.batch_norm_backward(x, x, c, c, c, 1e-3, activation)


@both_implementations
@both_dtypes
def test_constant_statistics_need_no_weight_gradients(impl: Any, dtype: str) -> None:
    """dx is dy times a factor: x is not even looked at."""
    rng = np.random.default_rng(6)
    x, dy = randn(rng, (2, 3, 4, 5), dtype), randn(rng, (2, 3, 4, 5), dtype)
    gamma, _, mean, variance = parameters(rng, 5, dtype)
    dx, dgamma, dbeta = impl.batch_norm_inference_backward(dy, x * np.nan, gamma, mean, variance, need_weights=False)
    assert dgamma is None
    assert dbeta is None
    assert_close(dx, dy * (gamma / np.sqrt(variance.astype(np.float64) + 1e-3)), dtype)


@both_implementations
def test_nan_and_inf_stay_in_their_channel(impl: Any) -> None:
    for channels in (1, 8, 17, 33):
        for channel in range(channels):
            for value in (np.nan, np.inf):
                x = randn(np.random.default_rng(4), (2, 3, 4, channels), "float32")
                x[1, 2, 3, channel] = value
                with np.errstate(invalid="ignore"):
                    y, mean, variance = impl.batch_norm(x, None, None)
                for result in (y[..., channel], variance[channel]):
                    assert np.isnan(result).all()
                assert not np.isfinite(mean[channel])
                assert np.isfinite(np.delete(y, channel, axis=-1)).all()


@both_implementations
@both_dtypes
def test_zero_batch(impl: Any, dtype: str) -> None:
    """Empty output, zero gradients; the statistics of nothing are 0."""
    x, gamma = np.zeros((0, 4, 5, 6), dtype), np.ones(6, dtype)
    y, mean, variance = impl.batch_norm(x, gamma, gamma)
    assert y.shape == x.shape
    assert not mean.any()
    assert not variance.any()
    for backward in (impl.batch_norm_backward, impl.batch_norm_inference_backward):
        dx, dgamma, dbeta = backward(y, x, gamma, mean, gamma)
        assert dx.shape == x.shape
        assert np.array_equal(dgamma, np.zeros(6))
        assert np.array_equal(dbeta, np.zeros(6))
    assert impl.batch_norm_inference(x, gamma, gamma, mean, variance).shape == x.shape
    assert impl.local_response_norm(x).shape == x.shape
    assert impl.local_response_norm_backward(x, x).shape == x.shape


@both_implementations
def test_one_value_a_channel_has_variance_zero(impl: Any) -> None:
    x = randn(np.random.default_rng(5), (1, 1, 1, 4), "float64")
    y, mean, variance = impl.batch_norm(x, None, np.arange(4.0))
    assert np.array_equal(mean, x.ravel())
    assert np.array_equal(variance, np.zeros(4))
    assert np.array_equal(y.ravel(), np.arange(4.0))


@both_implementations
@both_dtypes
@pytest.mark.parametrize(
    ("radius", "bias", "alpha", "beta"),
    [(5, 1.0, 1.0, 0.5), (2, 2.0, 1e-4, 0.75), (2, 1.0, 0.3, 0.75), (1, 0.5, 0.7, 1.3), (0, 1.0, 0.2, 0.75)],
)
def test_local_response_norm(impl: Any, radius: int, bias: float, alpha: float, beta: float, dtype: str) -> None:
    """PyTorch divides alpha by the number of channels in a window; here it multiplies the sum."""
    size = 2 * radius + 1
    for channels in TAIL_CHANNELS:
        x = randn(np.random.default_rng(channels), (2, 3, 4, channels), dtype)
        y, dy, (dx,) = torch_gradients(
            lambda x: nhwc(F.local_response_norm(nchw(x), size, alpha * size, beta, bias)), [x]
        )
        assert_close(impl.local_response_norm(x, radius, bias, alpha, beta), y, dtype)
        got = impl.local_response_norm_backward(dy.astype(dtype), x, radius, bias, alpha, beta)
        assert_close(got, dx, dtype, f"{channels} channels")


@both_implementations
def test_local_response_norm_defaults_are_tensorflows(impl: Any) -> None:
    x = np.arange(1.0, 4.0).reshape(1, 1, 1, 3)
    assert_close(impl.local_response_norm(x), x / np.sqrt(1 + 14), "float64")


@both_implementations
def test_nan_reaches_the_neighbours_only(impl: Any) -> None:
    for channels in (3, 16, 33):
        for channel in range(channels):
            x = np.ones((1, 1, 2, channels), np.float32)
            x[0, 0, 1, channel] = np.nan
            y = impl.local_response_norm(x, depth_radius=2)
            expected = np.zeros(x.shape, bool)
            expected[0, 0, 1, max(0, channel - 2) : channel + 3] = True
            assert np.array_equal(np.isnan(y), expected)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@both_dtypes
def test_local_response_norm_at_the_edges_of_the_range(dtype: str) -> None:
    """Zero, negative and infinite bases of the power: what NumPy's pow gives, NaN included, in every lane."""
    for channels in (1, 5, 16, 33):
        for value in (0.0, 1e-20, 1e15, np.inf, -np.inf):
            x = np.full((1, 1, 2, channels), value, dtype)
            for bias, alpha, beta in [
                (0.0, 1.0, 0.5),
                (1.0, 1.0, 0.75),
                (-1.0, 0.0, 0.5),
            ]:
                got = ops.local_response_norm(x, 2, bias, alpha, beta)
                want = reference.local_response_norm(x, 2, bias, alpha, beta)
                assert np.allclose(got, want, rtol=1e-5, atol=0, equal_nan=True), (value, bias, alpha, beta)
