"""Layers and arguments that Keras 3 lacks or rounds, against PyTorch in float64: outputs and all gradients."""

from __future__ import annotations

import numpy as np
import pytest
from support import assert_close, both_dtypes, randn
from torch_oracle import F, nchw, nhwc, torch, torch_gradients

import fastconv.layers as fl

IMAGE = (2, 7, 9, 6)


def run(layer, xs, training=False):
    """Build, randomise the weights; return y, its cache and the weights (float64 for PyTorch)."""
    rng = np.random.default_rng(3)
    inputs = [fl.Input(x.shape[1:], dtype=str(x.dtype)) if x.dtype.kind == "f" else None for x in xs]
    layer(inputs if len(inputs) > 1 else inputs[0])
    layer.set_weights([np.abs(randn(rng, w.shape, "float64")) + 0.1 for w in layer.get_weights()])
    y, cache = layer.forward(*xs, training=training)
    return y, cache, [w.astype(np.float64) for w in layer.get_weights()]


def compare(layer, x, function, dtype, training=False):
    """``function(x, *weights)`` is the layer in PyTorch."""
    y, cache, weights = run(layer, [x], training)
    dy = randn(np.random.default_rng(4), y.shape, dtype)
    dx = layer.backward(dy, cache)
    weights = weights[: len(layer.trainable_weights)]
    want, _, gradients = torch_gradients(function, [x, *weights], dy)
    assert_close(y, want, dtype, "y")
    assert_close(dx, gradients[0], dtype, "dx")
    for parameter, gradient in zip(layer.trainable_weights, gradients[1:], strict=True):
        assert_close(parameter.grad, gradient, dtype, parameter.name)


@pytest.fixture
def x(dtype):
    return randn(np.random.default_rng(1), IMAGE, dtype)


@both_dtypes
def test_dense(x, dtype):
    compare(fl.Dense(5, "tanh", dtype=dtype), x, lambda x, k, b: torch.tanh(x @ k + b), dtype)


@both_dtypes
def test_global_average(x, dtype):
    compare(fl.GlobalAvgPool2D(dtype=dtype), x, lambda x: x.mean((1, 2)), dtype)


@both_dtypes
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm(x, dtype, training):
    layer = fl.BatchNormalization(epsilon=0.01, momentum=0.7, dtype=dtype)
    layer.build(IMAGE)

    def function(x, gamma, beta):
        if training:
            return nhwc(F.batch_norm(nchw(x), None, None, gamma, beta, True, 0, 0.01))
        mean, variance = (torch.from_numpy(p.numpy().astype(np.float64)) for p in layer.non_trainable_weights)
        return nhwc(F.batch_norm(nchw(x), mean, variance, gamma, beta, False, 0, 0.01))

    compare(layer, x, function, dtype, training)


@both_dtypes
@pytest.mark.parametrize("padding", [1, (2, 1), ((1, 0), (2, 3))])
def test_conv_numeric_padding(x, dtype, padding):
    (top, bottom), (left, right) = {1: ((1, 1), (1, 1)), (2, 1): ((2, 2), (1, 1))}.get(padding, padding)

    def function(x, kernel, bias):
        padded = F.pad(nchw(x), (left, right, top, bottom))
        return nhwc(F.conv2d(padded, kernel.permute(3, 2, 0, 1), bias, (2, 1))).relu()

    compare(fl.Conv2D(5, (3, 2), (2, 1), padding, activation="relu", dtype=dtype), x, function, dtype)


@both_dtypes
@pytest.mark.parametrize("output_padding", [None, (1, 2)])
def test_conv_transpose_numeric_padding(x, dtype, output_padding):
    layer = fl.Conv2DTranspose(4, (3, 2), (2, 3), (1, 0), output_padding, activation=("leaky_relu", 0.3), dtype=dtype)

    def function(x, kernel, bias):
        y = F.conv_transpose2d(nchw(x), kernel.permute(3, 2, 0, 1), bias, (2, 3), (1, 0), output_padding or 0)
        return F.leaky_relu(nhwc(y), 0.3)

    compare(layer, x, function, dtype)


@both_dtypes
@pytest.mark.parametrize("activation", [None, "relu", "softmax"])
def test_locally_connected(x, dtype, activation):
    def function(x, kernel, bias):
        columns = F.unfold(nchw(x), (3, 2), stride=(2, 1))  # rows are ordered c, kh, kw
        columns = columns.reshape(2, 6, 6, 3, 8).permute(0, 3, 4, 2, 1).reshape(2, 3, 8, 36)
        y = torch.einsum("nhwi,hwio->nhwo", columns, kernel) + bias
        return y if activation is None else getattr(torch, activation)(y, *([-1] if activation == "softmax" else []))

    compare(fl.LocallyConnected2D(4, (3, 2), (2, 1), activation=activation, dtype=dtype), x, function, dtype)


@both_dtypes
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("padding", [0, (1, 0)])
def test_max_pool_numeric_padding(x, dtype, padding, ceil_mode):
    layer = fl.MaxPool2D((3, 2), 2, padding, ceil_mode=ceil_mode, dtype=dtype)
    compare(layer, x, lambda x: nhwc(F.max_pool2d(nchw(x), (3, 2), 2, padding, 1, ceil_mode)), dtype)


@both_dtypes
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
def test_average_pool_numeric_padding(x, dtype, count_include_pad, ceil_mode):
    layer = fl.AvgPool2D(3, 2, (1, 0), ceil_mode=ceil_mode, count_include_pad=count_include_pad, dtype=dtype)
    compare(layer, x, lambda x: nhwc(F.avg_pool2d(nchw(x), 3, 2, (1, 0), ceil_mode, count_include_pad)), dtype)


@both_dtypes
def test_local_response_normalization(x, dtype):
    layer = fl.LocalResponseNormalization(2, bias=1.5, alpha=0.3, beta=0.75, dtype=dtype)
    # PyTorch divides alpha by the number of channels in the sum.
    compare(layer, x, lambda x: nhwc(F.local_response_norm(nchw(x), 5, 0.3 * 5, 0.75, 1.5)), dtype)


@both_dtypes
def test_rescaling_per_channel(x, dtype):
    scale, offset = np.arange(1.0, 7.0), -np.arange(6.0)
    layer = fl.Rescaling(list(scale), list(offset), dtype=dtype)
    compare(layer, x, lambda x: x * torch.from_numpy(scale) + torch.from_numpy(offset), dtype)


def test_rescaling_takes_images_of_bytes():
    y = fl.Rescaling(1 / 255)(np.array([[[[0], [51], [255]]]], np.uint8))
    assert_close(y, np.array([[[[0], [0.2], [1]]]]), "float32")


@both_dtypes
def test_unpooling_puts_values_back(x, dtype):
    """MaxUnpool2D of MaxPool2D's second output, the size given because 7 x 9 is not 2 * (3 x 4)."""
    image = fl.Input(IMAGE[1:], dtype=dtype)
    pool, unpool = fl.MaxPool2D(2, return_argmax=True), fl.MaxUnpool2D(2, output_size=(7, 9))
    y, argmax = pool(image)
    assert argmax.dtype == "int32"
    assert unpool([y, argmax]).shape == (None, *IMAGE[1:])

    (pooled, indices), cache = pool.forward(x)
    z, unpool_cache = unpool.forward(pooled, indices)
    dz = randn(np.random.default_rng(2), IMAGE, dtype)
    dpooled, nothing = unpool.backward(dz, unpool_cache)
    assert nothing is None
    dx = pool.backward((dpooled, None), cache)

    def function(x):
        values, where = F.max_pool2d(nchw(x), 2, return_indices=True)
        return nhwc(F.max_unpool2d(values, where, 2, output_size=(7, 9)))

    want, _, (gradient,) = torch_gradients(function, [x], dz)
    assert_close(z, want, dtype, "y")
    assert_close(dx, gradient, dtype, "dx")


def test_unpooling_sizes_and_errors():
    shape = (None, 3, 4, 2)
    assert fl.MaxUnpool2D((3, 2), (2, 1)).compute_output_shape([shape, shape]) == (None, 7, 5, 2)
    a, b = fl.Input((3, 4, 2)), fl.Input((3, 5, 2))
    with pytest.raises(ValueError, match=r"x has shape \(None, 3, 4, 2\), argmax \(None, 3, 5, 2\)"):
        fl.MaxUnpool2D()([a, b])
    with pytest.raises(ValueError, match="called with a list"):
        fl.MaxUnpool2D()(a)
    layer = fl.MaxUnpool2D()
    with pytest.raises(IndexError):
        layer([np.ones((1, 1, 1, 1), np.float32), np.full((1, 1, 1, 1), 4, np.int32)])
