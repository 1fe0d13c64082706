"""Identities that hold for every geometry, on geometries that hypothesis looks for.

A backward pass is the adjoint of a linear forward pass: ``<A x, y> = <x, A' y>``. On small integers the two sides are
equal to the bit, so a wrong index anywhere shows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support import Array, ConvCase, assert_close, integers, randn, same_padding

from fastconv import ops
from fastconv.ops import geometry

settings.register_profile(
    "fastconv", max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fastconv")

seeds = st.integers(0, 2**32 - 1)
channel_counts = st.integers(1, 33)


@dataclass(frozen=True)
class Window:
    """A sliding window on both axes, and an image it fits."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]

    @property
    def arguments(self) -> dict[str, Any]:
        return {"strides": self.strides, "padding": self.padding, "dilation_rate": self.dilation}


@st.composite
def windows(draw: Any, dilated: bool = True, pooling: bool = False) -> Window:
    axes = []
    for _ in range(2):
        kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        dilation = draw(st.integers(1, 3)) if dilated else 1
        limit = kernel // 2 if pooling else 4
        before, after = draw(st.integers(0, limit)), draw(st.integers(0, limit))
        covered = (kernel - 1) * dilation + 1
        size = draw(st.integers(max(1, covered - before - after), covered + 6))
        axes.append((size, kernel, stride, dilation, (before, after)))
    return Window(*zip(*axes, strict=True))


def inner(a: Array, b: Array) -> float:
    return float(np.vdot(a, b))


# -- adjoints --------------------------------------------------------------------------------------------------------


@given(windows(), channel_counts, seeds)
def test_col2im_is_the_adjoint_of_im2col(window: Window, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = integers(rng, (2, *window.size, channels), "float64")
    cols = ops.im2col(x, window.kernel, **window.arguments)
    dcols = integers(rng, cols.shape, "float64")
    assert inner(cols, dcols) == inner(x, ops.col2im(dcols, x.shape, window.kernel, **window.arguments))


@given(windows(), st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), seeds)
def test_conv2d_and_both_gradients(window: Window, groups: int, channels: int, filters: int, seed: int) -> None:
    """<conv(x, k), dy> = <x, dx> = <k, dk>, for every algorithm; and dbias is the plain sum."""
    rng = np.random.default_rng(seed)
    x = integers(rng, (2, *window.size, groups * channels), "float64")
    kernel = integers(rng, (*window.kernel, channels, groups * filters), "float64")
    case = ConvCase(
        2, window.size, groups * channels, groups * filters, window.kernel, window.strides, window.padding,
        window.dilation, groups,
    )  # fmt: skip
    for algorithm in case.algorithms:
        if algorithm.startswith("winograd"):
            continue
        arguments = {**window.arguments, "groups": groups, "algorithm": algorithm}
        y = ops.conv2d(x, kernel, **arguments)
        dy = integers(np.random.default_rng(seed), y.shape, "float64")
        dkernel, dbias = ops.conv2d_backward_weights(x, dy, window.kernel, **arguments)
        want = inner(y, dy)
        assert want == inner(x, ops.conv2d_backward_data(dy, kernel, x.shape, **arguments)), algorithm
        assert want == inner(kernel, dkernel), algorithm
        assert np.array_equal(dbias, dy.sum(axis=(0, 1, 2))), algorithm


@given(windows(), st.integers(1, 12), st.integers(1, 12), seeds)
def test_conv2d_transpose_is_conv2d_backward_data(window: Window, channels: int, filters: int, seed: int) -> None:
    """Where the convolution leaves no row uncovered, and with its adjoint identities."""
    rng = np.random.default_rng(seed)
    large = (2, *window.size, filters)
    kernel = integers(rng, (*window.kernel, filters, channels), "float64")
    small = ops.conv2d(integers(rng, large, "float64"), kernel, **window.arguments)
    x = integers(rng, small.shape, "float64")
    extra = tuple(
        (n + sum(p) - ((k - 1) * d + 1)) % s
        for n, p, k, d, s in zip(
            window.size, window.padding, window.kernel, window.dilation, window.strides, strict=True
        )
    )
    y = ops.conv2d_transpose(x, kernel, **window.arguments, output_padding=extra)
    assert np.array_equal(y, ops.conv2d_backward_data(x, kernel, large, **window.arguments))
    dy = integers(rng, y.shape, "float64")
    dx, dkernel, dbias = ops.conv2d_transpose_backward(dy, x, kernel, **window.arguments, output_padding=extra)
    assert inner(y, dy) == inner(x, dx) == inner(kernel, dkernel)
    assert np.array_equal(dbias, dy.sum(axis=(0, 1, 2)))


@given(windows(dilated=False), st.integers(1, 6), st.integers(1, 6), seeds)
def test_locally_connected2d(window: Window, channels: int, filters: int, seed: int) -> None:
    assume(all(n >= k for n, k in zip(window.size, window.kernel, strict=True)))
    rng = np.random.default_rng(seed)
    x = integers(rng, (2, *window.size, channels), "float64")
    oh, ow = ((n - k) // s + 1 for n, k, s in zip(window.size, window.kernel, window.strides, strict=True))
    kernel = integers(rng, (oh, ow, window.kernel[0] * window.kernel[1] * channels, filters), "float64")
    y = ops.locally_connected2d(x, kernel, None, window.kernel, window.strides)
    dy = integers(rng, y.shape, "float64")
    dx, dkernel, dbias = ops.locally_connected2d_backward(dy, x, kernel, window.kernel, window.strides)
    assert inner(y, dy) == inner(x, dx) == inner(kernel, dkernel)
    assert np.array_equal(dbias, dy.sum(axis=0))


@given(windows(dilated=False, pooling=True), channel_counts, st.booleans(), seeds)
def test_pooling(window: Window, channels: int, ceil_mode: bool, seed: int) -> None:
    """Max pooling is linear once its argmax is fixed; average pooling is linear."""
    rng = np.random.default_rng(seed)
    x = integers(rng, (2, *window.size, channels), "float64")
    assume(all(n + sum(p) >= k for n, p, k in zip(window.size, window.padding, window.kernel, strict=True)))
    arguments: dict[str, Any] = {
        "pool_size": window.kernel,
        "strides": window.strides,
        "padding": window.padding,
        "ceil_mode": ceil_mode,
    }
    y, argmax = ops.max_pool2d(x, **arguments)
    dy = integers(rng, y.shape, "float64")
    assert inner(y, dy) == inner(x, ops.max_pool2d_backward(dy, argmax, x.shape))
    for count_include_pad in (False, True):
        mean = ops.avg_pool2d(x, **arguments, count_include_pad=count_include_pad)
        dx = ops.avg_pool2d_backward(dy, x.shape, **arguments, count_include_pad=count_include_pad)
        assert np.isclose(inner(mean, dy), inner(x, dx), rtol=1e-12, atol=1e-9)
        if not count_include_pad:
            assert (mean <= y + 1e-12).all()
            ones = ops.avg_pool2d(np.ones_like(x), **arguments)
            assert np.array_equal(ones, np.ones_like(ones))


@given(st.integers(1, 5), st.integers(1, 5), channel_counts, seeds)
def test_global_pools_and_unpooling(height: int, width: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = integers(rng, (2, 2 * height, 2 * width, channels), "float64")
    flat, argmax = ops.global_max_pool2d(x)
    dy = integers(rng, flat.shape, "float64")
    assert inner(flat, dy) == inner(x, ops.global_max_pool2d_backward(dy, argmax, x.shape))
    mean = ops.global_avg_pool2d(x)
    assert np.isclose(inner(mean, dy), inner(x, ops.global_avg_pool2d_backward(dy, x.shape)))
    pooled, argmax = ops.max_pool2d(x, 2)
    unpooled = ops.max_unpool2d(pooled, argmax, x.shape)
    dlarge = integers(rng, x.shape, "float64")
    assert inner(unpooled, dlarge) == inner(pooled, ops.max_unpool2d_backward(dlarge, argmax))


@given(st.tuples(*[st.integers(0, 3)] * 4), st.integers(1, 5), st.integers(1, 5), channel_counts, seeds)
def test_padding_and_cropping(sides: Any, height: int, width: int, channels: int, seed: int) -> None:
    padding = (sides[:2], sides[2:])
    rng = np.random.default_rng(seed)
    x = integers(rng, (2, height, width, channels), "float64")
    y = ops.zero_padding2d(x, padding)
    assert y.shape == (2, height + sum(sides[:2]), width + sum(sides[2:]), channels)
    dy = integers(rng, y.shape, "float64")
    assert inner(y, dy) == inner(x, ops.zero_padding2d_backward(dy, padding))
    assert np.array_equal(ops.cropping2d(y, padding), x)
    assert inner(ops.cropping2d(dy, padding), x) == inner(dy, ops.cropping2d_backward(x, padding, dy.shape))


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), channel_counts, seeds)
def test_upsampling(fh: int, fw: int, height: int, width: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = integers(rng, (2, height, width, channels), "float64")
    for interpolation in ("nearest", "bilinear"):
        y = ops.upsampling2d(x, (fh, fw), interpolation)
        assert y.shape == (2, height * fh, width * fw, channels)
        dy = integers(rng, y.shape, "float64")
        dx = ops.upsampling2d_backward(dy, (fh, fw), interpolation)
        assert np.isclose(inner(y, dy), inner(x, dx), rtol=1e-12, atol=1e-9)
        flat = ops.upsampling2d(np.ones_like(x), (fh, fw), interpolation)
        assert_close(flat, np.ones_like(flat), "float64")


@given(st.floats(0, 0.99), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), seeds)
def test_dropout_is_its_own_adjoint(rate: float, seed: int, counter: int, data: int) -> None:
    x, dy = (randn(np.random.default_rng(data + i), (3, 2, 2, 5), "float64") for i in range(2))
    for forward, backward in [
        (ops.dropout, ops.dropout_backward),
        (ops.spatial_dropout2d, ops.spatial_dropout2d_backward),
    ]:
        y, dx = forward(x, rate, seed, counter), backward(dy, rate, seed, counter)
        assert np.isclose(inner(y, dy), inner(x, dx))
        assert np.array_equal(forward(x, rate, seed, counter), y)


# -- one op said in terms of another ---------------------------------------------------------------------------------


@given(windows(), st.integers(1, 9), st.integers(1, 9), seeds)
def test_conv2d_is_im2col_times_matrix(window: Window, channels: int, filters: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = integers(rng, (2, *window.size, channels), "float32")
    kernel = integers(rng, (*window.kernel, channels, filters), "float32")
    y = ops.conv2d(x, kernel, **window.arguments)
    cols = ops.im2col(x, window.kernel, **window.arguments)
    assert np.array_equal(y.reshape(-1, filters), ops.matmul(cols, kernel.reshape(-1, filters)))


@given(windows(), st.integers(1, 9), st.integers(1, 9), seeds)
def test_stride_padding_dilation_and_groups_said_otherwise(
    window: Window, channels: int, filters: int, seed: int
) -> None:
    """Padding pads first; stride keeps every s-th output; dilation is a kernel with holes; groups are separate."""
    rng = np.random.default_rng(seed)
    x = integers(rng, (1, *window.size, 2 * channels), "float32")
    kernel = integers(rng, (*window.kernel, channels, 2 * filters), "float32")
    y = ops.conv2d(x, kernel, **window.arguments, groups=2)
    padded = ops.zero_padding2d(x, window.padding)
    (sh, sw), (dh, dw), (kh, kw) = window.strides, window.dilation, window.kernel
    holes = np.zeros(((kh - 1) * dh + 1, (kw - 1) * dw + 1, *kernel.shape[2:]), "float32")
    holes[::dh, ::dw] = kernel
    halves = [
        ops.conv2d(padded[..., g * channels :][..., :channels], holes[..., g * filters :][..., :filters])[:, ::sh, ::sw]
        for g in range(2)
    ]
    assert np.array_equal(y, np.concatenate(halves, axis=-1))


@given(windows(), st.integers(0, 3), st.integers(0, 3), seeds)
def test_translation_equivariance(window: Window, down: int, right: int, seed: int) -> None:
    """Moving the image by whole strides moves the output."""
    rng = np.random.default_rng(seed)
    x = integers(rng, (1, *window.size, 3), "float32")
    kernel = integers(rng, (*window.kernel, 3, 5), "float32")
    (sh, sw), ((top, bottom), (left, end)) = window.strides, window.padding
    y = ops.conv2d(x, kernel, **window.arguments)
    shifted = {**window.arguments, "padding": ((top + down * sh, bottom), (left + right * sw, end))}
    assert np.array_equal(ops.conv2d(x, kernel, **shifted)[:, down:, right:], y)


@given(windows(dilated=False, pooling=True), channel_counts, seeds)
def test_max_pool_of_the_unpooled_is_the_pooled(window: Window, channels: int, seed: int) -> None:
    x = np.abs(randn(np.random.default_rng(seed), (2, *window.size, channels), "float32")) + np.float32(0.1)
    assume(all(n >= k for n, k in zip(window.size, window.kernel, strict=True)))
    y, argmax = ops.max_pool2d(x, window.kernel)
    assert np.array_equal(ops.max_pool2d(ops.max_unpool2d(y, argmax, x.shape), window.kernel)[0], y)


@given(st.integers(2, 40), st.integers(1, 4), st.floats(-200, 200), seeds)
def test_softmax_and_cross_entropy(classes: int, batch: int, shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = 5 * randn(rng, (batch, classes), "float64"), rng.integers(0, classes, batch)
    y = ops.softmax(logits)
    assert_close(y.sum(axis=-1), np.ones(batch), "float64")
    assert_close(ops.softmax(logits + shift), y, "float64")
    loss, probabilities = ops.softmax_cross_entropy(logits, labels)
    assert (loss >= 0).all()
    assert_close(loss, -np.log(y[np.arange(batch), labels]), "float64")
    dlogits = ops.softmax_cross_entropy_backward(probabilities, labels, 1.0)
    assert np.abs(dlogits.sum(axis=-1)).max() < 1e-12


@given(st.integers(2, 6), st.integers(1, 6), channel_counts, seeds)
def test_batch_norm_normalises(height: int, width: int, channels: int, seed: int) -> None:
    """Whatever the scale and offset of the data; and a gradient along them is lost."""
    rng = np.random.default_rng(seed)
    x = randn(rng, (3, height, width, channels), "float64")
    y, mean, variance = ops.batch_norm(x, None, None, 1e-12)
    assert np.abs(y.mean(axis=(0, 1, 2))).max() < 1e-9
    assert np.abs(y.var(axis=(0, 1, 2)) - 1).max() < 1e-6
    assert_close(ops.batch_norm(3 * x + 7, None, None, 1e-12)[0], y, "float64")
    dy = randn(rng, x.shape, "float64")
    dx, _, _ = ops.batch_norm_backward(dy, x, None, mean, variance, 1e-12)
    assert np.abs(dx.sum(axis=(0, 1, 2))).max() < 1e-7
    assert np.abs((dx * x).sum(axis=(0, 1, 2))).max() < 1e-7


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), seeds)
def test_layout_round_trips(batch: int, channels: int, height: int, width: int, seed: int) -> None:
    x = randn(np.random.default_rng(seed), (batch, height, width, channels), "float32")
    assert np.array_equal(ops.nchw_to_nhwc(ops.nhwc_to_nchw(x)), x)
    assert np.array_equal(ops.oihw_to_hwio(ops.hwio_to_oihw(x)), x)


# -- sizes -----------------------------------------------------------------------------------------------------------


def count_windows(size: int, before: int, after: int, window: int, stride: int, ceil_mode: bool = False) -> int:
    """Walk: place windows one stride after another while they fit (or, in ceil_mode, while input is left for them)."""
    count, start = 0, 0
    while start + window <= size + before + after or (
        ceil_mode and start < size + before and start - stride + window < size + before + after
    ):
        count, start = count + 1, start + stride
    return count


@given(windows())
def test_conv_output_size(window: Window) -> None:
    shape = geometry.conv2d_output_shape((2, *window.size, 3), window.kernel, 5, **window.arguments)
    covered = [(k - 1) * d + 1 for k, d in zip(window.kernel, window.dilation, strict=True)]
    by_walking = [
        count_windows(n, *p, k, s)
        for n, p, k, s in zip(window.size, window.padding, covered, window.strides, strict=True)
    ]
    assert shape == (2, *by_walking, 5)
    kernel = np.ones((*window.kernel, 3, 5), "float32")
    assert ops.conv2d(np.ones((2, *window.size, 3), "float32"), kernel, **window.arguments).shape == shape
    assert geometry.conv2d_output_shape((None, None, window.size[1], 3), window.kernel, 5, **window.arguments) == (
        None,
        None,
        by_walking[1],
        5,
    )


@given(windows(dilated=False, pooling=True), st.booleans())
def test_pool_output_size(window: Window, ceil_mode: bool) -> None:
    assume(all(n + sum(p) >= k for n, p, k in zip(window.size, window.padding, window.kernel, strict=True)))
    arguments = (window.kernel, window.strides, window.padding, ceil_mode)
    shape = geometry.pool2d_output_shape((2, *window.size, 3), *arguments)
    by_walking = [
        count_windows(n, *p, k, s, ceil_mode)
        for n, p, k, s in zip(window.size, window.padding, window.kernel, window.strides, strict=True)
    ]
    assert shape == (2, *by_walking, 3)
    x = np.ones((2, *window.size, 3), "float32")
    assert ops.max_pool2d(x, *arguments)[0].shape == shape
    assert ops.avg_pool2d(x, *arguments).shape == shape


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 6), st.integers(1, 3))
def test_same_padding(size: int, kernel: int, stride: int, dilation: int) -> None:
    """ceil(size / stride) outputs, the odd pixel of padding at the end, nothing more than needed."""
    pads = geometry.resolve_padding("same", (size, 1), (kernel, 1), (stride, 1), (dilation, 1))
    before, after = pads[0]
    covered = (kernel - 1) * dilation + 1
    assert (before, after) == same_padding(size, covered, stride)
    assert after - before in (0, 1)
    assert geometry.conv2d_output_shape((1, size, 1, 1), (kernel, 1), 1, (stride, 1), "same", (dilation, 1))[1] == -(
        -size // stride
    )


@given(windows(), st.booleans())
@pytest.mark.parametrize("padding", ["valid", "same", "explicit"])
def test_transposed_output_size(padding: str, window: Window, with_output_padding: bool) -> None:
    extra = tuple(s - 1 for s in window.strides) if with_output_padding else None
    arguments: dict[str, Any] = {**window.arguments, "output_padding": extra}
    if padding != "explicit":
        arguments["padding"] = padding
    full = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(window.size, window.strides, window.kernel, window.dilation, strict=True)
    ]
    # The crop of either side stays inside the output without padding.
    assume(padding != "explicit" or all(f > sum(p) for f, p in zip(full, window.padding, strict=True)))
    if padding == "same" and extra is not None:
        lengths = zip(window.size, window.strides, full, extra, strict=True)
        assume(all((n - 1) * s + f % 2 + e > 0 for n, s, f, e in lengths))
    shape = geometry.conv2d_transpose_output_shape((2, *window.size, 3), window.kernel, 5, **arguments)
    x, kernel = np.ones((2, *window.size, 3)), np.ones((*window.kernel, 5, 3))
    assert ops.conv2d_transpose(x, kernel, **arguments).shape == shape
    if padding == "same" and extra is None:
        assert shape[1:3] == tuple(n * s for n, s in zip(window.size, window.strides, strict=True))
