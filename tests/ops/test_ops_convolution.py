"""conv2d and its gradients, every algorithm, against PyTorch and against the reference."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from support import (
    FOR_GROUPS,
    TAIL_CHANNELS,
    WINOGRAD,
    Array,
    ConvCase,
    assert_close,
    both_dtypes,
    integers,
    randn,
    random_conv_cases,
)
from torch_oracle import keras_on_torch, torch, torch_conv2d, torch_gradients

from fastconv import ops, reference

ALGORITHMS = [name for name in ops.conv2d_algorithms() if name not in (*FOR_GROUPS, *WINOGRAD)]  # of any convolution
RANDOM_CASES = random_conv_cases(240, seed=3)
TAIL_CASES = [ConvCase(1, (4, 5), c, 34 - c, (2, 3), (1, 2), "same") for c in TAIL_CHANNELS]
#: Sizes that fill several blocks and tiles of the kernels, with remainders.
LARGE_CASES = [
    ConvCase(2, (29, 31), 3, 17, (5, 3), (2, 1), ((2, 1), (0, 2))),
    ConvCase(1, (40, 37), 19, 70, (3, 3), (1, 1), "same"),
    ConvCase(3, (17, 23), 150, 33, (1, 1)),
    ConvCase(2, (23, 19), 48, 36, (3, 5), (3, 2), "same", (1, 1), 4),
    ConvCase(1, (35, 33), 6, 40, (11, 7), (4, 4)),
    ConvCase(2, (7, 7), 512, 20, (7, 7)),
    ConvCase(2, (33, 30), 40, 40, (3, 3), (2, 2), "same", (1, 1), 40),
    ConvCase(9, (5, 5), 13, 130, (3, 3), (1, 1), 1, (2, 2)),
    ConvCase(1, (36, 33), 64, 200, (3, 3), (1, 1), "same"),
    ConvCase(2, (6, 5), 90, 150, (3, 3), (1, 1), "same"),  # more weights than data, either way
    ConvCase(2, (7, 9), 140, 75, (1, 1), (2, 1)),
    ConvCase(3, (21, 26), 34, 50, (3, 2), (2, 3), 1),  # several panels, several blocks of rows
    *(ConvCase(2, (40, 33), 9 - k, k, (3, 5), (1, 1), ((2, 0), (1, 3))) for k in range(1, 9)),  # few columns
    ConvCase(2, (50, 41), 40, 3, (3, 3), (1, 1), "same", (2, 3)),  # in several bands
    ConvCase(1, (45, 60), 5, 70, (4, 5), (2, 2), 1),
    ConvCase(2, (130, 128), 2, 64, (3, 2), (1, 1), 1),  # an output of more than 8 MB
    ConvCase(2, (12, 30), 12, 8, (2, 2), (1, 1), "valid", (1, 1), 4),
]


def run_all(
    module: Any, case: ConvCase, x: Array, kernel: Array, bias: Array, dy: Array, algorithm: str
) -> list[Array]:
    """y, dx, dkernel, dbias."""
    y = module.conv2d(x, kernel, bias, **case.arguments, algorithm=algorithm)
    dx = module.conv2d_backward_data(dy, kernel, case.input_shape, **case.arguments, algorithm=algorithm)
    weights = module.conv2d_backward_weights(x, dy, case.kernel, **case.arguments, algorithm=algorithm)
    return [y, dx, *weights]


def check_against_torch(case: ConvCase, dtype: str) -> None:
    x, kernel, bias = case.arrays(randn, seed=4, dtype=dtype)
    out_shape = reference.conv2d(x, kernel, bias, **case.arguments).shape
    dy = randn(np.random.default_rng(5), out_shape, dtype)
    y, _, gradients = torch_gradients(partial(torch_conv2d, case), [x, kernel, bias], dy)
    for module, algorithm in [(reference, "auto"), *((ops, name) for name in case.algorithms)]:
        results = run_all(module, case, x, kernel, bias, dy, algorithm)
        for name, got, want in zip(("y", "dx", "dkernel", "dbias"), results, [y, *gradients], strict=True):
            assert_close(got, want, dtype, f"{module.__name__} {algorithm} {name}")


@both_dtypes
@pytest.mark.parametrize("case", RANDOM_CASES, ids=str)
def test_random_geometry(case: ConvCase, dtype: str) -> None:
    check_against_torch(case, dtype)


@both_dtypes
@pytest.mark.parametrize("case", TAIL_CASES + LARGE_CASES, ids=str)
def test_vector_tails_and_several_blocks(case: ConvCase, dtype: str) -> None:
    check_against_torch(case, dtype)


@both_dtypes
@pytest.mark.parametrize("case", RANDOM_CASES[:60] + TAIL_CASES + LARGE_CASES[:4], ids=str)
def test_integers_are_exact(case: ConvCase, dtype: str, exact_accuracy: None) -> None:
    x, kernel, bias = case.arrays(integers, seed=6, dtype=dtype)
    out_shape = reference.conv2d(x, kernel, bias, **case.arguments).shape
    dy = integers(np.random.default_rng(7), out_shape, dtype)
    expected = run_all(reference, case, x, kernel, bias, dy, "auto")
    for algorithm in case.algorithms:
        if algorithm in WINOGRAD:
            continue
        results = run_all(ops, case, x, kernel, bias, dy, algorithm)
        for name, got, want in zip(("y", "dx", "dkernel", "dbias"), results, expected, strict=True):
            assert np.array_equal(got, want), f"{algorithm} {name}"


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2, (3, 1)])
def test_named_padding_is_keras(padding: str, strides: Any) -> None:
    keras = keras_on_torch()
    for size in [(7, 8), (8, 9), (5, 5)]:
        x = randn(np.random.default_rng(8), (2, *size, 3), "float64")
        kernel = randn(np.random.default_rng(9), (4, 3, 3, 5), "float64")
        want = keras.ops.conv(torch.from_numpy(x), torch.from_numpy(kernel), strides, padding).numpy()
        assert_close(ops.conv2d(x, kernel, strides=strides, padding=padding), want, "float64")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "activation",
    ["linear", "relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "softmax", ("leaky_relu", 0.05), ("elu", 0.7)],
)
def test_fused_activation_equals_the_op_itself(algorithm: str, activation: Any) -> None:
    for dtype, filters in [("float64", 3), ("float32", 5), ("float32", 33)]:
        case = ConvCase(2, (6, 7), 5, filters, (3, 2), (1, 2), "same")
        x, kernel, bias = case.arrays(randn, seed=10, dtype=dtype)
        linear = ops.conv2d(x, kernel, bias, **case.arguments, algorithm=algorithm)
        fused = ops.conv2d(x, kernel, bias, **case.arguments, activation=activation, algorithm=algorithm)
        assert_close(fused, ops.activate(linear, activation).astype(np.float64), dtype)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_fused_prelu(algorithm: str) -> None:
    for filters, kernel_size in [(3, (3, 2)), (16, (3, 2)), (21, (3, 2)), (130, (3, 2)), (130, (1, 1))]:
        case = ConvCase(2, (6, 7), 5, filters, kernel_size)
        x, kernel, bias = case.arrays(randn, seed=11, dtype="float32")
        alpha = randn(np.random.default_rng(12), (filters,), "float32")
        linear = ops.conv2d(x, kernel, bias, algorithm=algorithm)
        fused = ops.conv2d(x, kernel, bias, activation=("prelu", alpha), algorithm=algorithm)
        assert_close(fused, np.where(linear > 0, linear, alpha * linear).astype(np.float64), "float32")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 4, 8, 17, 33])
def test_nan_and_inf_stay_where_they_belong(algorithm: str, value: float, channels: int) -> None:
    """One special value in each lane in turn: it reaches the outputs that see it, and no other."""
    case = ConvCase(1, (5, 6), channels, 7, (2, 3))
    x, kernel, bias = (np.abs(a) + np.float32(0.1) for a in case.arrays(randn, seed=13, dtype="float32"))
    seen = np.zeros((1, 4, 4, 1), bool)
    seen[0, 1:3, 1:4] = True  # the windows that cover pixel (2, 3)
    for channel in range(channels):
        poisoned = x.copy()
        poisoned[0, 2, 3, channel] = value
        y = ops.conv2d(poisoned, kernel, bias, algorithm=algorithm)
        assert np.array_equal(~np.isfinite(y), np.broadcast_to(seen, y.shape)), channel
        assert np.array_equal(np.isnan(y), np.broadcast_to(seen & np.isnan(value), y.shape))
        dkernel, dbias = ops.conv2d_backward_weights(poisoned, np.ones_like(y), (2, 3), algorithm=algorithm)
        assert not np.isfinite(dkernel[:, :, channel]).any()
        assert np.isfinite(np.delete(dkernel, channel, axis=2)).all()
        assert np.isfinite(dbias).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("filters", [1, 5, 16, 33])
def test_nan_in_upstream_gradient(algorithm: str, filters: int) -> None:
    case = ConvCase(1, (5, 6), 3, filters, (2, 3))
    x, kernel, _ = (np.abs(a) + np.float32(0.1) for a in case.arrays(randn, seed=14, dtype="float32"))
    seen = np.zeros((1, 5, 6, 3), bool)
    seen[0, 1:3, 2:5] = True  # the window of output pixel (1, 2)
    for k in range(filters):
        dy = np.ones((1, 4, 4, filters), np.float32)
        dy[0, 1, 2, k] = np.nan
        assert np.array_equal(np.isnan(ops.conv2d_backward_data(dy, kernel, x.shape, algorithm=algorithm)), seen)
        dkernel, dbias = ops.conv2d_backward_weights(x, dy, (2, 3), algorithm=algorithm)
        assert np.isnan(dkernel[..., k]).all()
        assert np.isfinite(np.delete(dkernel, k, axis=-1)).all()
        assert np.isnan(dbias[k])
        assert np.isnan(dbias).sum() == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@both_dtypes
def test_zero_batch(algorithm: str, dtype: str) -> None:
    case = ConvCase(0, (6, 7), 4, 6, (3, 2), (2, 1), "same", (1, 1), 2)
    x, kernel, bias = case.arrays(randn, seed=15, dtype=dtype)
    y = ops.conv2d(x, kernel, bias, **case.arguments, activation="relu", algorithm=algorithm)
    assert y.shape == (0, 3, 7, 6)
    assert y.dtype == dtype
    dx = ops.conv2d_backward_data(y, kernel, x.shape, **case.arguments, algorithm=algorithm)
    assert dx.shape == x.shape
    assert dx.dtype == dtype
    dkernel, dbias = ops.conv2d_backward_weights(x, y, (3, 2), **case.arguments, algorithm=algorithm)
    assert np.array_equal(dkernel, np.zeros_like(kernel))
    assert np.array_equal(dbias, np.zeros_like(bias))
    assert dkernel.dtype == dbias.dtype == dtype


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rows_no_window_covers_get_gradient_zero(algorithm: str) -> None:
    """7 x 7, kernel 3, stride 3: floor gives 2 x 2; the last row and column are never seen."""
    kernel = np.ones((3, 3, 2, 4))
    dx = ops.conv2d_backward_data(np.ones((1, 2, 2, 4)), kernel, (1, 7, 7, 2), strides=3, algorithm=algorithm)
    assert dx.shape == (1, 7, 7, 2)
    assert (dx[:, 6] == 0).all()
    assert (dx[:, :, 6] == 0).all()
    assert (dx[:, :6, :6] == 4).all()


@both_dtypes
@pytest.mark.parametrize("case", [case for case in RANDOM_CASES if case.groups == 1][:60], ids=str)
def test_im2col_and_col2im(case: ConvCase, dtype: str) -> None:
    """im2col is PyTorch's unfold with the columns reordered; col2im is exactly the reference's on integers."""
    geometry = {key: value for key, value in case.arguments.items() if key != "groups"}
    x = integers(np.random.default_rng(16), case.input_shape, dtype)
    cols = ops.im2col(x, case.kernel, **geometry)
    assert cols.dtype == dtype
    assert np.array_equal(cols, reference.im2col(x, case.kernel, **geometry))
    identity = np.eye(cols.shape[1]).reshape(*case.kernel, case.channels, -1)  # a convolution that copies every tap
    assert np.array_equal(
        cols, torch_conv2d(case, *map(torch.from_numpy, (x.astype(float), identity))).numpy().reshape(cols.shape)
    )
    dcols = integers(np.random.default_rng(17), cols.shape, dtype)
    dx = ops.col2im(dcols, case.input_shape, case.kernel, **geometry)
    assert dx.dtype == dtype
    assert np.array_equal(dx, reference.col2im(dcols, case.input_shape, case.kernel, **geometry))


@pytest.mark.parametrize("multiplier", [1, 2, 3])
@both_dtypes
def test_depthwise(multiplier: int, dtype: str) -> None:
    """Against PyTorch, and as conv2d with one group a channel."""
    for channels in TAIL_CHANNELS:
        case = ConvCase(2, (5, 6), channels, channels * multiplier, (3, 2), (2, 1), "same", (1, 1), channels)
        x, kernel, bias = case.arrays(randn, seed=18, dtype=dtype)
        y, dy, gradients = torch_gradients(partial(torch_conv2d, case), [x, kernel, bias])
        dy, depthwise = dy.astype(dtype), kernel.reshape(3, 2, channels, multiplier)
        geometry = {"strides": (2, 1), "padding": "same"}
        assert_close(ops.depthwise_conv2d(x, depthwise, bias, **geometry), y, dtype)
        assert_close(ops.depthwise_conv2d_backward_data(dy, depthwise, x.shape, **geometry), gradients[0], dtype)
        dkernel, dbias = ops.depthwise_conv2d_backward_weights(x, dy, (3, 2), **geometry)
        assert_close(dkernel, gradients[1].reshape(depthwise.shape), dtype)
        assert_close(dbias, gradients[2], dtype)


def test_register_conv2d(monkeypatch: pytest.MonkeyPatch) -> None:
    """A student's own algorithm is usable by name; the passes it lacks are auto's."""
    monkeypatch.setattr("fastconv.ops.algorithms.registered", {})
    calls = []

    def mine(x: Array, kernel: Array, **geometry: Any) -> Array:
        calls.append(geometry)
        return reference.conv2d(x, kernel, **geometry)

    ops.register_conv2d("mine", mine)
    assert ops.conv2d_algorithms()[-1] == "mine"
    case = ConvCase(2, (6, 7), 4, 6, (3, 2), (2, 1), "same", (1, 1), 2)
    x, kernel, bias = case.arrays(integers, seed=19, dtype="float32")
    y = ops.conv2d(x, kernel, bias, **case.arguments, activation="relu", algorithm="mine")
    padding = ((0, 1), (0, 1))
    assert calls == [{"strides": (2, 1), "padding": padding, "dilation_rate": (1, 1), "groups": 2}]
    assert np.array_equal(y, reference.conv2d(x, kernel, bias, **case.arguments, activation="relu"))
    dx = ops.conv2d_backward_data(y, kernel, x.shape, **case.arguments, algorithm="mine")
    assert np.array_equal(dx, reference.conv2d_backward_data(y, kernel, x.shape, **case.arguments))


def test_register_conv2d_refuses_bad_results_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastconv.ops.algorithms.registered", {})
    with pytest.raises(ValueError, match="'naive' is a built-in algorithm"):
        ops.register_conv2d("naive", lambda x, kernel, **geometry: x)
    for name, function in [("", np.add), (3, np.add), ("mine", None), ("mine", "fast")]:
        with pytest.raises(TypeError, match="must be a"):
            ops.register_conv2d(name, function)
    ops.register_conv2d("mine", lambda x, kernel, **geometry: x[:, :1])
    with pytest.raises(ValueError, match=r"mine.*\(1, 1, 4, 2\).*\(1, 4, 4, 3\)"):
        ops.conv2d(np.zeros((1, 4, 4, 2)), np.zeros((1, 1, 2, 3)), algorithm="mine")
