"""Activations and their gradients against PyTorch; kinks, extremes, NaN and Inf in every lane."""

import time
from typing import Any

import numpy as np
import pytest
from support import TAIL_CHANNELS, assert_close, both_dtypes, both_implementations, randn
from torch_oracle import F, torch, torch_gradients

from fastconv import ops, reference

ORACLES: dict[Any, Any] = {
    "linear": lambda x: x * 1,
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    ("leaky_relu", 0.03): lambda x: F.leaky_relu(x, 0.03),
    "elu": F.elu,
    ("elu", 0.4): lambda x: F.elu(x, 0.4),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda x: F.softmax(x, dim=-1),
}
each_activation = pytest.mark.parametrize("activation", list(ORACLES), ids=str)
ELEMENTWISE = [name for name in ORACLES if name not in ("linear", "softmax")]


@both_implementations
@both_dtypes
@each_activation
def test_forward_and_backward_are_pytorchs(impl: Any, activation: Any, dtype: str) -> None:
    for channels in TAIL_CHANNELS:
        x = 3 * randn(np.random.default_rng(channels), (2, 3, 4, channels), dtype)
        y, dy, (dx,) = torch_gradients(ORACLES[activation], [x])
        got = impl.activate(x, activation)
        assert_close(got, y, dtype)
        assert_close(impl.activation_backward(dy.astype(dtype), got, activation), dx, dtype)


@both_implementations
@both_dtypes
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 70), (1, 1, 1, 1000), (3, 17, 19, 2)], ids=str)
@each_activation
def test_any_number_of_axes(impl: Any, activation: Any, shape: tuple[int, ...], dtype: str) -> None:
    x = 3 * randn(np.random.default_rng(1), shape, dtype)
    y, dy, (dx,) = torch_gradients(ORACLES[activation], [x])
    got = impl.activate(x, activation)
    assert_close(got, y, dtype)
    assert_close(impl.activation_backward(dy.astype(dtype), got, activation), dx, dtype)


@both_implementations
def test_the_named_ops_are_what_activate_calls(impl: Any) -> None:
    x, dy = (randn(np.random.default_rng(seed), (3, 5), "float64") for seed in (1, 2))
    for activation in ORACLES:
        name, parameter = activation if isinstance(activation, tuple) else (activation, None)
        if name == "linear":
            continue
        extra = () if parameter is None else (parameter,)
        y = getattr(impl, name)(x, *extra)
        assert np.array_equal(y, impl.activate(x, activation))
        dx = getattr(impl, f"{name}_backward")(dy, y, *extra)
        assert np.array_equal(dx, impl.activation_backward(dy, y, activation))


@both_implementations
@both_dtypes
def test_kinks(impl: Any, dtype: str) -> None:
    """At 0 (and 6) the gradient is the left one."""
    zeros, sixes, ones = (np.full((1, 33), value, dtype) for value in (0, 6, 1))
    assert not impl.relu_backward(ones, impl.relu(zeros)).any()
    assert not impl.relu6_backward(ones, impl.relu6(zeros)).any()
    assert not impl.relu6_backward(ones, impl.relu6(sixes)).any()
    assert_close(impl.leaky_relu_backward(ones, impl.leaky_relu(zeros)), np.full((1, 33), 0.2), dtype)
    assert_close(impl.elu_backward(ones, impl.elu(zeros, 0.3), 0.3), np.full((1, 33), 0.3), dtype)
    assert_close(impl.prelu_backward(ones, zeros, 2 * ones[0])[0], np.full((1, 33), 2.0), dtype)


@both_implementations
@both_dtypes
@pytest.mark.parametrize("activation", ELEMENTWISE, ids=str)
def test_nan_and_inf_in_every_lane(impl: Any, activation: Any, dtype: str) -> None:
    for value in (np.nan, np.inf, -np.inf):
        want = ORACLES[activation](torch.tensor([value], dtype=torch.float64)).item()
        for size in (1, 4, 17, 33):
            for lane in range(size):
                x = np.full(size, 0.5, dtype)
                x[lane] = value
                y = impl.activate(x, activation)
                assert np.array_equal(y[lane], np.asarray(want, dtype), equal_nan=True), (value, size, lane)
                assert np.isfinite(np.delete(y, lane)).all()
                dx = impl.activation_backward(np.full(size, value, dtype), np.full(size, 0.5, dtype), activation)
                assert not np.isfinite(dx).any()


@both_implementations
@both_dtypes
def test_extremes_do_not_overflow(impl: Any, dtype: str) -> None:
    x = np.array([-1e4, -745, -104, -89, -20, -1e-8, 0, 1e-8, 20, 89, 104, 745, 1e4] * 3, dtype)
    for activation in ("sigmoid", "tanh", "elu", "softmax"):
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            y = impl.activate(x, activation)
        assert_close(y, ORACLES[activation](torch.from_numpy(x.astype(np.float64))).numpy(), dtype)
    small = np.logspace(-30, 0, 61).astype(dtype) * -1
    relative = impl.elu(small) / np.expm1(small.astype(np.float64)) - 1
    assert np.abs(relative).max() < (1e-6 if dtype == "float32" else 1e-13)
    relative = impl.tanh(small) / np.tanh(small.astype(np.float64)) - 1
    assert np.abs(relative).max() < (1e-6 if dtype == "float32" else 1e-13)


@both_dtypes
@pytest.mark.parametrize("name", ["tanh", "elu"])
def test_denormal_numbers_stay_what_they_are_and_cost_no_more(name: str, dtype: str) -> None:
    """There tanh and elu are the identity, signs of zeros too; arithmetic on denormals takes 2 to 3 times as long."""
    function = getattr(ops, name)
    normal = randn(np.random.default_rng(0), (1000, 65), dtype)
    tiny = normal * (np.finfo(dtype).smallest_normal / 8)
    zeros = np.array([0.0, -0.0] * 20, dtype)
    assert np.array_equal(function(tiny), tiny)
    assert np.array_equal(np.signbit(function(zeros)), np.signbit(zeros))
    ratios = []
    for _ in range(60):
        start = time.process_time_ns()
        function(normal)
        middle = time.process_time_ns()
        function(tiny)
        ratios.append((time.process_time_ns() - middle) / (middle - start))
    assert np.median(ratios) < 1.5


@both_implementations
def test_softmax_rows(impl: Any) -> None:
    """Rows sum to one, a shift changes nothing, -inf is probability 0; NaN spoils its own row only."""
    for classes in TAIL_CHANNELS:
        x = randn(np.random.default_rng(classes), (5, classes), "float32")
        y = impl.softmax(x)
        assert np.abs(y.sum(axis=-1) - 1).max() < 1e-6
        assert np.abs(impl.softmax(x + np.float32(500)) - y).max() < 1e-4
        for lane in range(classes):
            poisoned = x.copy()
            poisoned[2, lane] = np.nan
            got = impl.softmax(poisoned)
            assert np.isnan(got[2]).all()
            assert np.array_equal(np.delete(got, 2, axis=0), np.delete(y, 2, axis=0))
            if classes > 1:
                poisoned[2, lane] = -np.inf
                got = impl.softmax(poisoned)
                assert got[2, lane] == 0
                assert abs(got[2].sum() - 1) < 1e-6


@both_implementations
@both_dtypes
@pytest.mark.parametrize("alpha_shape", ["full", "channel", "rows", "one"])
def test_prelu(impl: Any, alpha_shape: str, dtype: str) -> None:
    for channels in TAIL_CHANNELS:
        shape = {
            "full": (4, 5, channels),
            "channel": (1, 1, channels),
            "rows": (4, 1, 1),
            "one": (1, 1, 1),
        }[alpha_shape]
        rng = np.random.default_rng(channels)
        x, alpha = randn(rng, (3, 4, 5, channels), dtype), randn(rng, shape, dtype)
        y, dy, (dx, dalpha) = torch_gradients(lambda x, a: torch.where(x > 0, x, a * x), [x, alpha])
        assert_close(impl.prelu(x, alpha), y, dtype)
        got_dx, got_dalpha = impl.prelu_backward(dy.astype(dtype), x, alpha)
        assert_close(got_dx, dx, dtype)
        assert_close(got_dalpha, dalpha, dtype)


@both_implementations
def test_prelu_of_a_vector_is_pytorchs(impl: Any) -> None:
    rng = np.random.default_rng(3)
    x, alpha = randn(rng, (6, 9), "float64"), randn(rng, (9,), "float64")
    y, dy, (dx, dalpha) = torch_gradients(F.prelu, [x, alpha])
    assert_close(impl.prelu(x, alpha), y, "float64")
    got = impl.prelu_backward(dy, x, alpha)
    assert_close(got[0], dx, "float64")
    assert_close(got[1], dalpha, "float64")


@both_implementations
def test_zero_batch(impl: Any) -> None:
    x = np.zeros((0, 4, 5), np.float32)
    for activation in ORACLES:
        y = impl.activate(x, activation)
        assert y.shape == x.shape
        assert impl.activation_backward(y, y, activation).shape == x.shape
    dx, dalpha = impl.prelu_backward(x, x, np.ones((1, 5), np.float32))
    assert dx.shape == x.shape
    assert np.array_equal(dalpha, np.zeros((1, 5)))


@both_implementations
def test_unknown_activation(impl: Any) -> None:
    x = np.zeros(3)
    with pytest.raises(ValueError, match=r"'rellu'.*relu6"):
        impl.activate(x, "rellu")
    with pytest.raises(ValueError, match=r"'rellu'.*relu6"):
        impl.activation_backward(x, x, "rellu")


@both_dtypes
def test_transcendentals_are_accurate(dtype: str) -> None:
    """ops against the reference in float64, a dense grid: a few units in the last place."""
    x = np.linspace(-12, 12, 20001).astype(dtype)
    wide = x.astype(np.float64)
    limit = 8 * np.finfo(dtype).eps
    for name in ("sigmoid", "tanh", "elu"):
        want = getattr(reference, name)(wide)
        error = np.abs(getattr(ops, name)(x) - want) / np.maximum(np.abs(want), 1e-30)
        assert error.max() < limit, f"{name}: {error.max() / np.finfo(dtype).eps:.1f} eps at {x[error.argmax()]}"
