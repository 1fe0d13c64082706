"""The depthwise and grouped kernels: every vector tail, every way to bring channels to their lanes, special values."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from support import TAIL_CHANNELS, Array, ConvCase, assert_close, both_dtypes, integers, randn
from torch_oracle import torch_conv2d, torch_gradients

from fastconv import _kernels, ops, reference

Geometry = tuple[tuple[int, int], tuple[int, int], Any, tuple[int, int]]
#: kernel, strides, padding, dilation: those with code of their own, then uneven ones.
GEOMETRIES: list[Geometry] = [
    ((3, 3), (1, 1), "same", (1, 1)),
    ((3, 3), (2, 2), "same", (1, 1)),
    ((5, 5), (1, 1), 2, (1, 1)),
    ((1, 1), (1, 1), 0, (1, 1)),
    ((3, 3), (1, 1), ((0, 2), (1, 0)), (1, 1)),
    ((3, 3), (1, 2), ((4, 3), (2, 5)), (1, 1)),  # more padding than kernel
    ((3, 3), (1, 1), "same", (2, 3)),
    ((2, 7), (3, 1), ((0, 1), (5, 2)), (1, 1)),
    ((4, 3), (2, 4), 1, (2, 1)),
]
#: (groups, channels of a group, filters of a group)
GROUPS = [
    (32, 4, 4), (16, 8, 8), (4, 4, 4), (3, 5, 7), (9, 2, 3), (4, 8, 4), (4, 12, 6), (7, 3, 3), (10, 6, 1), (6, 1, 9),
    (2, 17, 33), (5, 40, 2), (2, 1, 1), (24, 2, 1),
]  # fmt: skip


def cases(groups: int, channels: int, filters: int, size: tuple[int, int] = (7, 9)) -> list[ConvCase]:
    return [ConvCase(2, size, groups * channels, groups * filters, *g, groups) for g in GEOMETRIES]


def passes(
    module: Any, case: ConvCase, x: Array, kernel: Array, bias: Array, dy: Array, **algorithm: str
) -> list[Array]:
    """y, dx, dkernel, dbias."""
    arguments = {**case.arguments, **algorithm}
    dx = module.conv2d_backward_data(dy, kernel, x.shape, **arguments)
    weights = module.conv2d_backward_weights(x, dy, case.kernel, **arguments)
    return [module.conv2d(x, kernel, bias, **arguments), dx, *weights]


def check_exact(case: ConvCase, algorithm: str, dtype: str) -> None:
    x, kernel, bias = case.arrays(integers, seed=1, dtype=dtype)
    dy = integers(np.random.default_rng(2), reference.conv2d(x, kernel, **case.arguments).shape, dtype)
    expected = passes(reference, case, x, kernel, bias, dy)
    results = passes(ops, case, x, kernel, bias, dy, algorithm=algorithm)
    for name, got, want in zip(("y", "dx", "dkernel", "dbias"), results, expected, strict=True):
        assert got.dtype == dtype
        assert np.array_equal(got, want), f"{case}: {name}"


@both_dtypes
@pytest.mark.parametrize("multiplier", [1, 2, 3])
@pytest.mark.parametrize("channels", TAIL_CHANNELS)
def test_depthwise_is_exact_on_integers(channels: int, multiplier: int, dtype: str) -> None:
    for case in cases(channels, 1, multiplier):
        check_exact(case, "depthwise", dtype)


@both_dtypes
@pytest.mark.parametrize("shape", GROUPS, ids=str)
def test_grouped_is_exact_on_integers(shape: tuple[int, int, int], dtype: str) -> None:
    for case in cases(*shape):
        check_exact(case, "grouped", dtype)


@both_dtypes
@pytest.mark.parametrize("width", range(1, 20))
def test_every_width_of_a_row(width: int, dtype: str) -> None:
    """Tiles of every size, and images narrower than the kernel."""
    for groups, channels in [(17, 1), (5, 4)]:
        for kernel, strides in [((3, 3), (1, 1)), ((3, 3), (2, 2)), ((5, 5), (1, 1)), ((1, 4), (1, 1))]:
            case = ConvCase(
                1, (3, width), groups * channels, groups * channels, kernel, strides, "same", (1, 1), groups
            )
            check_exact(case, "grouped", dtype)


@both_dtypes
@pytest.mark.parametrize(
    "case",
    [
        ConvCase(2, (31, 29), 70, 70, (3, 3), (1, 1), "same", (1, 1), 70),
        ConvCase(2, (30, 33), 33, 66, (3, 3), (2, 2), "same", (1, 1), 33),
        ConvCase(3, (19, 22), 96, 96, (3, 3), (1, 1), "same", (1, 1), 24),
        ConvCase(2, (20, 17), 40, 80, (5, 5), (1, 2), 2, (1, 1), 10),
    ],
    ids=str,
)
def test_several_blocks_against_torch(case: ConvCase, dtype: str) -> None:
    x, kernel, bias = case.arrays(randn, seed=3, dtype=dtype)
    y, dy, gradients = torch_gradients(partial(torch_conv2d, case), [x, kernel, bias])
    results = passes(ops, case, x, kernel, bias, dy.astype(dtype), algorithm="grouped")
    for name, got, want in zip(("y", "dx", "dkernel", "dbias"), results, [y, *gradients], strict=True):
        assert_close(got, want, dtype, name)


@both_dtypes
@pytest.mark.parametrize("shape", [(5, 1, 1), (32, 1, 1), (21, 1, 2), (12, 3, 3)], ids=str)
@pytest.mark.parametrize(
    "activation", ["relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "softmax", ("leaky_relu", 0.05), "prelu"]
)
def test_fused_activation(activation: Any, shape: tuple[int, int, int], dtype: str) -> None:
    for case in cases(*shape)[:2]:
        x, kernel, bias = case.arrays(randn, seed=4, dtype=dtype)
        if activation == "prelu":
            activation = ("prelu", randn(np.random.default_rng(5), bias.shape, dtype))
        linear = ops.conv2d(x, kernel, bias, **case.arguments, algorithm="naive")
        y = ops.conv2d(x, kernel, bias, **case.arguments, activation=activation, algorithm="grouped")
        if isinstance(activation, tuple) and activation[0] == "prelu":
            want = np.where(linear > 0, linear, activation[1] * linear)
        else:
            want = ops.activate(linear, activation)
        assert_close(y, want.astype(np.float64), dtype)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(1, 1, 2), (19, 1, 1), (33, 1, 1), (9, 1, 2), (5, 4, 4), (3, 6, 2)], ids=str)
@pytest.mark.parametrize("kernel", [(3, 3), (2, 3)])
def test_special_values_stay_in_their_group(kernel: tuple[int, int], shape: tuple[int, int, int], value: float) -> None:
    """In each channel in turn: what reads it is special, everything else, the neighbouring lanes included, is not."""
    groups, channels, filters = shape
    algorithm = "depthwise" if channels == 1 else "grouped"
    case = ConvCase(1, (5, 6), groups * channels, groups * filters, kernel, (1, 1), "same", (1, 1), groups)
    x, w, bias = (np.abs(a) + np.float32(0.1) for a in case.arrays(randn, seed=6, dtype="float32"))
    arguments = {**case.arguments, "algorithm": algorithm}
    clean = ops.conv2d(x, w, bias, **arguments)
    for channel in range(groups * channels):
        group = channel // channels
        poisoned = x.copy()
        poisoned[0, 2, 3, channel] = value
        y = ops.conv2d(poisoned, w, bias, **arguments)
        hit = reference.conv2d((poisoned != x).astype(np.float32), np.ones_like(w), **case.arguments) != 0
        assert np.array_equal(~np.isfinite(y), hit), channel
        assert np.array_equal(y[~hit], clean[~hit])
        dw, _ = ops.conv2d_backward_weights(poisoned, np.ones_like(y), kernel, **arguments)
        special = np.zeros(w.shape, bool)
        special[:, :, channel % channels, group * filters : (group + 1) * filters] = True
        assert np.array_equal(~np.isfinite(dw), special), channel
    for k in range(groups * filters):
        dy = np.ones_like(clean)
        dy[0, 2, 3, k] = value
        marked = (dy != 1).astype(np.float32)
        dx = ops.conv2d_backward_data(dy, w, x.shape, **arguments)
        hit = reference.conv2d_backward_data(marked, np.ones_like(w), x.shape, **case.arguments) != 0
        assert np.array_equal(~np.isfinite(dx), hit), k
        dw, db = ops.conv2d_backward_weights(x, dy, kernel, **arguments)
        assert np.array_equal(~np.isfinite(dw), np.broadcast_to(np.arange(groups * filters) == k, dw.shape))
        assert np.array_equal(~np.isfinite(db), np.arange(groups * filters) == k)


@both_dtypes
@pytest.mark.parametrize("shape", [(6, 1, 1), (20, 1, 2), (8, 4, 4)], ids=str)
def test_zero_batch(shape: tuple[int, int, int], dtype: str) -> None:
    case = ConvCase(0, (6, 7), shape[0] * shape[1], shape[0] * shape[2], (3, 2), (2, 1), "same", (1, 1), shape[0])
    x, kernel, bias = case.arrays(randn, seed=7, dtype=dtype)
    y = ops.conv2d(x, kernel, bias, **case.arguments, activation="relu", algorithm="grouped")
    assert y.shape == (0, 3, 7, case.filters)
    assert ops.conv2d_backward_data(y, kernel, x.shape, **case.arguments, algorithm="grouped").shape == x.shape
    dkernel, dbias = ops.conv2d_backward_weights(x, y, (3, 2), **case.arguments, algorithm="grouped")
    assert np.array_equal(dkernel, np.zeros_like(kernel))
    assert np.array_equal(dbias, np.zeros_like(bias))


def test_auto_takes_the_depthwise_kernel() -> None:
    case = ConvCase(2, (9, 8), 40, 40, (3, 3), (1, 1), "same", (1, 1), 40)
    x, kernel, bias = case.arrays(randn, seed=8, dtype="float32")
    results = [passes(ops, case, x, kernel, bias, x, algorithm=name) for name in ("auto", "depthwise")]
    for got, want in zip(*results, strict=True):
        assert np.array_equal(got, want)


def test_auto_takes_the_grouped_kernel_for_small_groups() -> None:
    for which in ("forward", "backward_data", "backward_weights"):
        assert ops.conv2d_choice((2, 9, 9, 64), (3, 3, 2, 64), groups=32, which=which) == "grouped"
        assert ops.conv2d_choice((2, 9, 9, 96), (3, 3, 48, 256), groups=2, which=which) == "implicit_gemm"


def test_auto_takes_one_channel_for_a_dense_convolution() -> None:
    """The first layer of a network on grey images has as many groups as channels too."""
    for which in ("forward", "backward_data", "backward_weights"):
        assert ops.conv2d_choice((8, 28, 28, 1), (5, 5, 1, 6), padding=2, which=which) != "depthwise"


@pytest.mark.parametrize("algorithm", ["depthwise", "grouped"])
def test_what_it_refuses(algorithm: str) -> None:
    x, kernel = np.zeros((1, 5, 5, 4)), np.zeros((3, 3, 4, 4))
    for call in (
        lambda: ops.conv2d(x, kernel, algorithm=algorithm),
        lambda: ops.conv2d_backward_data(np.zeros((1, 3, 3, 4)), kernel, x.shape, algorithm=algorithm),
        lambda: ops.conv2d_backward_weights(x, np.zeros((1, 3, 3, 4)), 3, algorithm=algorithm),
    ):
        with pytest.raises(ValueError, match=rf"'{algorithm}' cannot do this .* pass: .*group"):
            call()
    assert _kernels.conv2d_refusal((1, 5, 5, 4, 3, 3, 8, 4, 1, 1, 1, 1, 0, 0, 0, 0), 0, algorithm) is None
