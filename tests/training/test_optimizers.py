"""Optimizers against Keras 3 and PyTorch, step by step; schedules against Keras; arguments."""

import math
import os

import numpy as np
import pytest

from fastconv import ops, optimizers, reference
from fastconv.layers.parameter import Parameter
from fastconv.optimizers import schedules

os.environ.setdefault("KERAS_BACKEND", "torch")

CASES = [
    ("SGD", {}),
    ("SGD", {"learning_rate": 0.125, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.125, "momentum": 0.8, "nesterov": True, "weight_decay": 2**-5}),
    ("RMSprop", {}),
    ("RMSprop", {"learning_rate": 2**-6, "rho": 0.8, "momentum": 0.5, "epsilon": 1e-5}),
    ("Adam", {}),
    ("Adam", {"learning_rate": 2**-4, "beta_1": 0.7, "beta_2": 0.95, "epsilon": 1e-4, "weight_decay": 0.125}),
    ("AdamW", {"weight_decay": 2**-8}),
    ("AdamW", {"learning_rate": 2**-5, "weight_decay": 0.25}),
    ("Adagrad", {}),
    ("Adagrad", {"learning_rate": 0.25, "initial_accumulator_value": 0.0, "epsilon": 1e-3}),
    ("Adam", {"learning_rate": 2**-4, "clipnorm": 0.75}),
    ("SGD", {"learning_rate": 2**-4, "clipvalue": 0.25}),
    ("RMSprop", {"learning_rate": 2**-4, "global_clipnorm": 1.5}),
]
SHAPES = [(3, 5), (7,), (2, 3, 1, 4)]


def _data(dtype, steps=10):
    rng = np.random.default_rng(7)
    start = [rng.normal(size=shape).astype(dtype) for shape in SHAPES]
    return start, [[rng.normal(size=shape).astype(dtype) for shape in SHAPES] for _ in range(steps)]


def _trajectory(optimizer, start, gradients):
    parameters = [Parameter(f"p{i}", value) for i, value in enumerate(start)]
    history = []
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.zero_grad()
            parameter.add_grad(gradient)
        optimizer.apply(parameters)
        history.append([parameter.numpy() for parameter in parameters])
    return history


@pytest.mark.parametrize(("name", "arguments"), CASES)
# In float32 Keras also computes the powers of beta in float32, which Adam's first steps feel.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_trajectory_is_keras(name, arguments, dtype, tolerance):
    keras = pytest.importorskip("keras", reason="needs keras")
    torch = pytest.importorskip("torch", reason="needs torch==2.13.0")
    if "clipnorm" in str(arguments):
        tolerance = max(tolerance, 2e-8)  # Keras computes norms in float32
    start, gradients = _data(dtype)
    # Powers of two are the same in float32, in which Keras keeps learning rate and weight decay.
    own = _trajectory(getattr(optimizers, name)(**{"learning_rate": 2**-7, **arguments}), start, gradients)
    theirs = getattr(keras.optimizers, name)(**{"learning_rate": 2**-7, **arguments})
    variables = [keras.Variable(value, dtype=dtype) for value in start]
    for step, expected in zip(gradients, own, strict=True):
        theirs.apply([torch.from_numpy(g) for g in step], variables)
        for variable, value in zip(variables, expected, strict=True):
            np.testing.assert_allclose(value, variable.value.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (lambda: optimizers.SGD(0.1), lambda t, p: t.optim.SGD(p, lr=0.1)),
        (lambda: optimizers.SGD(0.1, momentum=0.9), lambda t, p: t.optim.SGD(p, lr=0.1, momentum=0.9)),
        (
            lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
            lambda t, p: t.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        ),
        # With a tiny epsilon it does not matter where it stands; that is what the comparison with Keras is for.
        (lambda: optimizers.Adam(0.02, epsilon=1e-30), lambda t, p: t.optim.Adam(p, lr=0.02, eps=1e-30)),
        (
            lambda: optimizers.AdamW(0.02, weight_decay=0.1, epsilon=1e-30),
            lambda t, p: t.optim.AdamW(p, lr=0.02, weight_decay=0.1, eps=1e-30),
        ),
        (
            lambda: optimizers.RMSprop(0.02, rho=0.9, epsilon=1e-30),
            lambda t, p: t.optim.RMSprop(p, lr=0.02, alpha=0.9, eps=1e-30),
        ),
        (
            lambda: optimizers.Adagrad(0.1, initial_accumulator_value=0.2, epsilon=1e-30),
            lambda t, p: t.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.2, eps=1e-30),
        ),
    ],
)
def test_trajectory_is_pytorch(own, theirs):
    torch = pytest.importorskip("torch", reason="needs torch==2.13.0")
    start, gradients = _data("float64")
    history = _trajectory(own(), start, gradients)
    tensors = [torch.nn.Parameter(torch.tensor(value)) for value in start]
    optimizer = theirs(torch, tensors)
    for step, expected in zip(gradients, history, strict=True):
        for tensor, gradient in zip(tensors, step, strict=True):
            tensor.grad = torch.tensor(gradient)
        optimizer.step()
        for tensor, value in zip(tensors, expected, strict=True):
            np.testing.assert_allclose(value, tensor.detach().numpy(), rtol=1e-10, atol=1e-10)


KERNEL_CASES = [
    ("sgd", 0, {"momentum": 0.0, "nesterov": 0.0}),
    ("sgd", 1, {"momentum": 0.9, "nesterov": 0.0}),
    ("sgd", 1, {"momentum": 0.9, "nesterov": 1.0}),
    ("rmsprop", 1, {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7}),
    ("rmsprop", 2, {"rho": 0.9, "momentum": 0.6, "epsilon": 1e-7}),
    ("adam", 2, {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
    ("adamw", 2, {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
    ("adagrad", 1, {"epsilon": 1e-7}),
]


@pytest.mark.parametrize(("kind", "slots", "hyper"), KERNEL_CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-6)])
def test_kernel_is_reference(kind, slots, hyper, dtype, tolerance):
    rng = np.random.default_rng(1)
    sizes = [*range(1, 36), 1000]  # every tail of every vector width
    hyper = {"learning_rate": 0.02, "weight_decay": 0.1, "scale": 0.7, "step": 3, **hyper}
    values = [rng.normal(size=n).astype(dtype) for n in sizes]
    grads = [rng.normal(size=n).astype(dtype) for n in sizes]
    states = [[rng.random(n).astype(dtype) for _ in range(slots)] for n in sizes]
    twins = [v.copy() for v in values], [[s.copy() for s in state] for state in states]
    kept = [g.copy() for g in grads]
    ops.optimizer_step(kind, values, grads, states, hyper)
    reference.optimizer_step(kind, twins[0], kept, twins[1], hyper)
    for own, expected in zip(values, twins[0], strict=True):
        np.testing.assert_allclose(own, expected, rtol=tolerance, atol=tolerance)
    for own_state, expected_state in zip(states, twins[1], strict=True):
        for own, expected in zip(own_state, expected_state, strict=True):
            np.testing.assert_allclose(own, expected, rtol=tolerance, atol=tolerance)
    assert all(np.array_equal(a, b) for a, b in zip(grads, kept, strict=True))


def test_apply_leaves_parameters_without_gradient_alone_and_counts_versions():
    parameters = [Parameter("a", np.ones(3)), Parameter("b", np.ones(3))]
    parameters[0].add_grad(np.ones(3))
    optimizer = optimizers.SGD(0.5)
    optimizer.apply(parameters)
    assert parameters[0].value.tolist() == [0.5] * 3
    assert parameters[1].value.tolist() == [1.0] * 3
    assert parameters[0].version > 0
    assert parameters[1].version == 0
    assert optimizer.iterations == 1


def test_strided_gradient():
    parameter = Parameter("a", np.zeros((2, 3)))
    parameter.add_grad(np.arange(6.0).reshape(3, 2).T)
    optimizers.SGD(1.0).apply([parameter])
    np.testing.assert_array_equal(parameter.value, -np.arange(6.0).reshape(3, 2).T)


def test_nan_gradient_reaches_the_weights_under_clipping():
    for clipping in ({"global_clipnorm": 1.0}, {"clipnorm": 1.0}, {"clipvalue": 1.0}):
        parameter = Parameter("a", np.zeros(2))
        parameter.add_grad(np.array([np.nan, 1.0]))
        optimizers.SGD(1.0, **clipping).apply([parameter])
        assert np.isnan(parameter.value[0]), clipping


SCHEDULES = [
    ("ExponentialDecay", (0.1, 10, 0.9), {}),
    ("ExponentialDecay", (0.1, 10, 0.9), {"staircase": True}),
    ("InverseTimeDecay", (0.1, 10, 0.5), {}),
    ("InverseTimeDecay", (0.1, 10, 0.5), {"staircase": True}),
    ("PiecewiseConstantDecay", ([5, 12], [0.1, 0.01, 0.0]), {}),
    ("PolynomialDecay", (0.1, 20), {}),
    ("PolynomialDecay", (0.1, 7), {"end_learning_rate": 0.0, "power": 2.0, "cycle": True}),
    ("CosineDecay", (0.1, 20), {"alpha": 0.1}),
    ("CosineDecay", (0.0, 20), {"warmup_target": 0.2, "warmup_steps": 5}),
]


@pytest.mark.parametrize(("name", "arguments", "options"), SCHEDULES)
def test_schedule_is_keras(name, arguments, options):
    keras = pytest.importorskip("keras", reason="needs keras")
    own = getattr(schedules, name)(*arguments, **options)
    theirs = getattr(keras.optimizers.schedules, name)(*arguments, **options)
    again = schedules.get(schedules.serialize(own))
    for step in range(31):
        assert own(step) == pytest.approx(float(theirs(step)), rel=2e-6, abs=1e-9), step
        assert again(step) == own(step)


def test_schedule_drives_the_optimizer_and_may_reach_zero():
    optimizer = optimizers.SGD(schedules.PolynomialDecay(1.0, 2, end_learning_rate=0.0))
    parameter = Parameter("a", np.zeros(1))
    rates = []
    for _ in range(4):
        parameter.zero_grad()
        parameter.add_grad(np.ones(1))
        rates.append(optimizer.learning_rate)
        optimizer.apply([parameter])
    assert rates == [1.0, 0.5, 0.0, 0.0]
    assert parameter.value[0] == -1.5
    with pytest.raises(TypeError, match="schedule"):
        optimizer.learning_rate = 0.1


@pytest.mark.parametrize("name", ["sgd", "RMSprop", "adam", "AdamW", "adagrad"])
def test_names_defaults_and_round_trip(name):
    keras = pytest.importorskip("keras", reason="needs keras")
    own = optimizers.get(name)
    config = own.get_config()
    theirs = keras.optimizers.get(name).get_config()
    assert {key: theirs[key] for key in config} == pytest.approx(config)
    own.learning_rate = 0.0  # a callback may have got there
    again = optimizers.get(optimizers.serialize(own))
    assert again.get_config() == own.get_config()
    assert again.learning_rate == 0


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: optimizers.SGD(0), ValueError),
        (lambda: optimizers.SGD(-0.1), ValueError),
        (lambda: optimizers.SGD(math.nan), ValueError),
        (lambda: optimizers.SGD(math.inf), ValueError),
        (lambda: optimizers.SGD("0.1"), (TypeError, ValueError)),
        (lambda: optimizers.SGD(True), TypeError),
        (lambda: optimizers.SGD(None), TypeError),
        (lambda: optimizers.SGD(momentum=1.5), ValueError),
        (lambda: optimizers.Adam(beta_1=1.0), ValueError),
        (lambda: optimizers.Adam(epsilon=0), ValueError),
        (lambda: optimizers.RMSprop(epsilon=-1e-7), ValueError),
        (lambda: optimizers.Adam(weight_decay=-1), ValueError),
        (lambda: optimizers.AdamW(weight_decay=None), ValueError),
        (lambda: optimizers.Adam(clipnorm=0), ValueError),
        (lambda: optimizers.Adam(clipnorm=1, clipvalue=1), ValueError),
        (lambda: optimizers.get("adm"), ValueError),
        (lambda: optimizers.get(optimizers.Adam), TypeError),
        (lambda: optimizers.get(3), TypeError),
        (lambda: schedules.ExponentialDecay(0, 10, 0.9), ValueError),
        (lambda: schedules.CosineDecay(0.0, 10), ValueError),
        (lambda: schedules.PiecewiseConstantDecay([1], [0.1]), ValueError),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [0.1, 0.1, 0.1]), ValueError),
        (lambda: reference.optimizer_step("lion", [], [], [], {}), ValueError),
    ],
)
def test_bad_arguments(make, error):
    with pytest.raises(error):
        make()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["sgd", "rmsprop", "adam"])
def test_states_that_decay_end_at_zero_and_not_in_slow_denormals(kind, dtype):
    """Without gradients momentum shrinks step by step; rounding would keep its last denormal number for ever."""
    smallest = np.finfo(dtype).tiny
    hyper = {"learning_rate": 0.1, "weight_decay": 0.0, "scale": 1.0, "momentum": 0.9, "nesterov": 0, "rho": 0.9}
    hyper.update(epsilon=1e-7, beta_1=0.9, beta_2=0.999, step=1)
    values, grads = [np.ones(37, dtype)], [np.zeros(37, dtype)]
    states = [[np.full(37, 1.0001 * smallest, dtype) for _ in range({"sgd": 1}.get(kind, 2))]]
    states[0][0][5] = np.nan
    states[0][0][6] = -smallest if kind == "sgd" else 2 * smallest
    ops.optimizer_step(kind, values, grads, states, hyper)
    if kind == "sgd":
        assert np.isnan(states[0][0][5])
        assert not np.delete(states[0][0], 5).any()
    for state in states[0]:
        assert not ((np.abs(state) < smallest) & (state != 0)).any()
