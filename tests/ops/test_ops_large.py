"""Sizes that take ways of their own through the kernels: outputs larger than the caches, which are written past them;
pixels that collide in a cache; few filters; gradients of weights larger than the data."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Array, ConvCase, assert_close, both_dtypes, integers, randn
from torch_oracle import F, nchw, nhwc, torch_conv2d, torch_gradients

import fastconv
from fastconv import layers, ops, reference

#: More than 8 MB in float32, in whole vectors and not.
LARGE = [(1, 151, 150, 96), (1, 151, 149, 97)]


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    before = fastconv.get_num_threads()
    yield
    fastconv.set_num_threads(before)


large = pytest.mark.parametrize("shape", LARGE, ids=["aligned", "unaligned"])


def conv_passes(case: ConvCase, x: Array, kernel: Array, bias: Array, dy: Array, algorithm: str) -> list[Array]:
    """y, dx, dkernel, dbias."""
    arguments: dict[str, Any] = {**case.arguments, "algorithm": algorithm}
    dx = ops.conv2d_backward_data(dy, kernel, x.shape, **arguments)
    weights = ops.conv2d_backward_weights(x, dy, case.kernel, **arguments)
    return [ops.conv2d(x, kernel, bias, **arguments), dx, *weights]


FAR = (2**15, 2**30, 2**31 - 1)


@both_dtypes
@pytest.mark.parametrize(("channels", "filters", "groups"), [(4, 4, 1), (4, 4, 4), (6, 12, 3), (32, 40, 1), (64, 3, 1)])
def test_strides_far_beyond_the_image(channels: int, filters: int, groups: int, dtype: str) -> None:
    """Products of strides must neither wrap nor end up as a divisor of 0: that ends the process."""
    rng = np.random.default_rng(0)
    x, kernel = randn(rng, (2, 5, 6, channels), dtype), randn(rng, (3, 2, channels // groups, filters), dtype)
    for strides in [(far, other) for far in FAR for other in (1, *FAR)]:
        for padding in ("valid", "same", ((1, 2), (0, 1))):
            arguments: dict[str, Any] = {"strides": strides, "padding": padding, "groups": groups}
            want = reference.conv2d(x, kernel, **arguments)
            dy = randn(rng, want.shape, dtype)
            for algorithm in ("auto", "implicit_gemm", "im2col", "naive", *(["grouped"] if groups > 1 else [])):
                named = {**arguments, "algorithm": algorithm}
                assert_close(ops.conv2d(x, kernel, **named), want, dtype)
                dx = ops.conv2d_backward_data(dy, kernel, x.shape, **named)
                assert_close(dx, reference.conv2d_backward_data(dy, kernel, x.shape, **arguments), dtype)
                dkernel, _ = ops.conv2d_backward_weights(x, dy, (3, 2), **named)
                assert_close(dkernel, reference.conv2d_backward_weights(x, dy, (3, 2), **arguments)[0], dtype)


@pytest.mark.parametrize("far", FAR)
def test_layers_with_strides_far_beyond_the_image(far: int, tmp_path: Path) -> None:
    """Built, saved and loaded: a file that says so must not end the process either."""
    for layer in (
        layers.Conv2D(4, 2, strides=far),
        layers.DepthwiseConv2D(2, strides=far),
        layers.SeparableConv2D(4, 2, strides=far),
        layers.Conv2D(4, 2, strides=far, groups=2),
        layers.MaxPool2D(2, strides=far),
        layers.AvgPool2D(2, strides=far),
    ):
        model = fastconv.Sequential([fastconv.Input((5, 6, 4)), layer])
        x = np.ones((2, 5, 6, 4), np.float32)
        model.save(tmp_path / "far.safetensors")
        again = fastconv.models.load_model(tmp_path / "far.safetensors")
        assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize(("depth", "multiplier"), [(1, 2), (2, 1)], ids=["depthwise", "grouped"])
def test_a_kernel_far_larger_than_the_image(depth: int, multiplier: int) -> None:
    """Taps that no output meets cost a look each, not one for each other: it took 20 seconds and more."""
    rng, rows = np.random.default_rng(0), 40_000
    x, dy = randn(rng, (2, 7, 8, 8), "float32"), randn(rng, (2, 7, 8, 8 * multiplier), "float32")
    arguments: dict[str, Any] = {"padding": "same", "groups": 8 // depth}
    top = (rows - 1) // 2
    near = slice(top - 6, top + 7)  # the kernel rows that meet the image
    small = {**arguments, "padding": ((6, 6), (0, 1))}
    for algorithm in ("auto", "depthwise" if depth == 1 else "grouped"):
        start = time.process_time()
        dkernel, _ = ops.conv2d_backward_weights(x, dy, (rows, 2), **arguments, algorithm=algorithm)
        assert time.process_time() - start < 5
        assert_close(dkernel[near], reference.conv2d_backward_weights(x, dy, (13, 2), **small)[0], "float32")
        assert not dkernel[: top - 6].any()
        assert not dkernel[top + 7 :].any()
        assert_close(
            ops.conv2d(x, dkernel, **arguments, algorithm=algorithm),
            reference.conv2d(x, dkernel[near].copy(), **small),
            "float32",
        )


@pytest.mark.parametrize("far", [2**20, 2**29, 2**31 - 1])
def test_padding_far_around_the_image(far: int) -> None:
    """Strides as long as the padding meet the image in one place or nowhere."""
    rng = np.random.default_rng(0)
    x, kernel = randn(rng, (2, 5, 6, 4), "float32"), randn(rng, (1, 1, 4, 8), "float32")
    for groups in (1, 4):
        weights = kernel if groups == 1 else kernel[:, :, :1].copy()
        for sides in (((far, 0), (far, 0)), ((0, far), (far, 3)), ((far, far), (0, 1))):
            y = ops.conv2d(x, weights, strides=far, padding=sides, groups=groups)
            want = np.zeros_like(y)
            top, left = sides[0][0], sides[1][0]
            inside = ops.conv2d(x[:, :1, :1].copy(), weights, groups=groups)
            want[:, top // far, left // far] = inside[:, 0, 0]
            assert_close(y, want, "float32")
            dx = ops.conv2d_backward_data(y, weights, x.shape, strides=far, padding=sides, groups=groups)
            assert np.any(dx[:, 0, 0])
            assert not np.any(dx[:, 1:])


@both_dtypes
@large
@pytest.mark.parametrize("window", [1, 3])
def test_convolution(shape: tuple[int, ...], window: int, dtype: str) -> None:
    narrow = ConvCase(1, (shape[1], shape[2]), 5, shape[3], (window, window), padding="same")
    x, kernel, bias = narrow.arrays(randn, 1, dtype)
    y, dy, (dx, dkernel, dbias) = torch_gradients(lambda *a: torch_conv2d(narrow, *a), [x, kernel, bias])
    for algorithm in narrow.algorithms:
        if algorithm != "naive":
            results = conv_passes(narrow, x, kernel, bias, dy.astype(dtype), algorithm)
            for got, want in zip(results, (y, dx, dkernel, dbias), strict=True):
                assert_close(got, want, dtype)


@both_dtypes
@large
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise(shape: tuple[int, ...], stride: int, dtype: str) -> None:
    c = shape[3]
    case = ConvCase(1, (shape[1], shape[2]), c, c, (3, 3), (stride, stride), "same", groups=c)
    x, kernel, bias = case.arrays(randn, 1, dtype)
    y, dy, (dx, dkernel, dbias) = torch_gradients(lambda *a: torch_conv2d(case, *a), [x, kernel, bias])
    results = conv_passes(case, x, kernel, bias, dy.astype(dtype), "depthwise")
    for got, want in zip(results, (y, dx, dkernel, dbias), strict=True):
        assert_close(got, want, dtype)


@both_dtypes
@large
def test_batch_norm(shape: tuple[int, ...], dtype: str) -> None:
    x, gamma, beta = (
        randn(np.random.default_rng(1 + i), s, dtype) for i, s in enumerate((shape, shape[3:], shape[3:]))
    )

    def theirs(x: Any, gamma: Any, beta: Any) -> Any:
        return nhwc(F.batch_norm(nchw(x), None, None, gamma, beta, training=True, eps=1e-3))

    want, dy, gradients = torch_gradients(theirs, [x, gamma, beta])
    y, mean, variance = ops.batch_norm(x, gamma, beta, epsilon=1e-3)
    assert_close(y, want, dtype)
    arguments = (dy.astype(dtype), x, gamma, mean, variance, 1e-3)
    for got, expected in zip(ops.batch_norm_backward(*arguments), gradients, strict=True):
        assert_close(got, expected, dtype)


@both_dtypes
@large
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling(shape: tuple[int, ...], kind: str, dtype: str) -> None:
    x = randn(np.random.default_rng(1), shape, dtype)
    pool = F.max_pool2d if kind == "max" else F.avg_pool2d
    want, dy, (dx,) = torch_gradients(lambda x: nhwc(pool(nchw(x), 2, 1)), [x])
    dy = dy.astype(dtype)
    if kind == "max":
        y, argmax = ops.max_pool2d(x, 2, 1)
        got = ops.max_pool2d_backward(dy, argmax, shape, 2, 1)
    else:
        y, got = ops.avg_pool2d(x, 2, 1), ops.avg_pool2d_backward(dy, shape, 2, 1)
    assert_close(y, want, dtype)
    assert_close(got, dx, dtype)


@both_dtypes
@large
def test_add(shape: tuple[int, ...], dtype: str) -> None:
    a, b = (randn(np.random.default_rng(i), shape, dtype) for i in range(2))
    assert np.array_equal(ops.add(a, b), a + b)


def check_exact(case: ConvCase, dtype: str) -> None:
    """All passes on small integers, where every order of summation gives the same; 1 and 2 threads."""
    x, kernel, bias = case.arrays(integers, 1, dtype)
    dy = integers(np.random.default_rng(2), reference.conv2d(x, kernel, **case.arguments).shape, dtype)
    arguments = case.arguments
    expected = [
        reference.conv2d(x, kernel, bias, **arguments),
        reference.conv2d_backward_data(dy, kernel, x.shape, **arguments),
        *reference.conv2d_backward_weights(x, dy, case.kernel, **arguments),
    ]
    for threads in (1, 2):
        fastconv.set_num_threads(threads)
        results = conv_passes(case, x, kernel, bias, dy, "implicit_gemm")
        for name, got, want in zip(("y", "dx", "dkernel", "dbias"), results, expected, strict=True):
            assert np.array_equal(got, want), f"{case}: {name}"


@both_dtypes
@pytest.mark.parametrize(
    "case",
    [
        ConvCase(2, (5, 7), 1024, 130, (1, 1)),
        ConvCase(1, (9, 8), 1024, 65, (3, 2), (2, 1), "same"),
        ConvCase(3, (7, 7), 130, 1024, (1, 1)),
    ],
    ids=str,
)
def test_pixels_that_collide_in_a_cache(case: ConvCase, dtype: str) -> None:
    check_exact(case, dtype)


@both_dtypes
@pytest.mark.parametrize("filters", range(1, 10))
@pytest.mark.parametrize(
    "case",
    [
        ConvCase(3, (19, 28), 1, 0, (5, 5), padding="same"),
        ConvCase(18, (6, 16), 3, 0, (2, 3), padding=((2, 0), (0, 3))),
        ConvCase(1, (300, 35), 2, 0, (3, 4), dilation=(3, 2), padding=((1, 2), (5, 4))),  # several bands
        ConvCase(2, (13, 43), 4, 0, (1, 7)),
    ],
    ids=str,
)
def test_few_filters(case: ConvCase, filters: int, dtype: str) -> None:
    check_exact(ConvCase(**{**vars(case), "filters": filters}), dtype)


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_few_filters_keep_special_values_to_their_taps(special: float) -> None:
    case = ConvCase(2, (12, 28), 1, 6, (3, 3), padding=1)
    x, kernel, _ = case.arrays(randn, 1, "float32")
    dy = randn(np.random.default_rng(2), reference.conv2d(x, kernel, **case.arguments).shape, "float32")
    x[0, 0, 0, 0] = special  # the corner: only the first four taps see it
    dkernel, _ = ops.conv2d_backward_weights(x, dy, 3, padding=1)
    expected, _ = reference.conv2d_backward_weights(x, dy, 3, padding=1)
    assert np.array_equal(np.isfinite(dkernel), np.isfinite(expected))
    assert 0 < np.isfinite(dkernel).sum() < dkernel.size


@pytest.mark.parametrize(
    "case",
    [
        ConvCase(2, (7, 9), 75, 93, (3, 3), padding=1),  # weights larger than the data
        ConvCase(1, (4, 4), 300, 40, (3, 3), padding=1),
        ConvCase(6, (23, 22), 75, 93, (3, 3), padding=1),  # and smaller
    ],
    ids=str,
)
def test_winograd_gradients_of_many_weights(case: ConvCase) -> None:
    x, kernel, bias = case.arrays(randn, 1, "float32")
    _, dy, (_, dkernel, _) = torch_gradients(lambda *a: torch_conv2d(case, *a), [x, kernel, bias])
    dy = dy.astype(np.float32)
    found = []
    for threads in (1, 2):
        fastconv.set_num_threads(threads)
        found.append(ops.conv2d_backward_weights(x, dy, 3, **case.arguments, algorithm="winograd")[0])
    assert np.array_equal(found[0], found[1])
    assert np.linalg.norm(found[0] - dkernel) <= 5e-6 * np.linalg.norm(dkernel)
