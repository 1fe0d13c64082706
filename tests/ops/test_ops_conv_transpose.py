"""conv2d_transpose and its gradients: Keras where padding is a word, PyTorch where it is numbers."""

from typing import Any

import numpy as np
import pytest
from support import TAIL_CHANNELS, assert_close, both_dtypes, both_implementations, integers, pads_of, randn
from torch_oracle import F, keras_on_torch, nchw, nhwc, torch, torch_gradients

from fastconv import ops, reference


def random_arguments(rng: np.random.Generator, named: bool) -> dict[str, Any]:
    """strides, padding, output_padding (< stride), dilation_rate."""
    strides = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    dilation = (int(rng.integers(1, 3)), int(rng.integers(1, 3))) if max(strides) == 1 else (1, 1)
    extra = tuple(int(rng.integers(0, s)) for s in strides) if rng.random() < 0.5 else None
    if named:
        padding: Any = ["valid", "same"][rng.integers(2)]
    else:
        padding = [1, (0, 1), ((0, 1), (1, 0))][rng.integers(3)]
    return {"strides": strides, "padding": padding, "output_padding": extra, "dilation_rate": dilation}


def random_shapes(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of x (N, H, W, C) and kernel (KH, KW, filters, C), large enough for padding 1.

    From two filters and channels: with one, PyTorch 2.13 stops at "grad_weight needs to be contiguous".
    """
    channels, filters = int(rng.integers(2, 34)), int(rng.integers(2, 34))
    x_shape = (int(rng.integers(1, 4)), int(rng.integers(2, 7)), int(rng.integers(2, 7)), channels)
    return x_shape, (int(rng.integers(2, 6)), int(rng.integers(2, 6)), filters, channels)


def by_torch(x: Any, kernel: Any, bias: Any, arguments: dict[str, Any]) -> Any:
    """Explicit padding: PyTorch's full output, cropped (PyTorch itself pads both sides alike)."""
    (top, bottom), (left, right) = pads_of(arguments["padding"], (9, 9), (1, 1), (1, 1))
    eh, ew = arguments["output_padding"] or (0, 0)
    full = F.conv_transpose2d(
        nchw(x), kernel.permute(3, 2, 0, 1), None, arguments["strides"], dilation=arguments["dilation_rate"]
    )
    full = F.pad(full, (0, ew, 0, eh))
    return nhwc(full[:, :, top : full.shape[2] - bottom, left : full.shape[3] - right]) + bias


def check(impl: Any, seed: int, dtype: str, arguments: dict[str, Any], oracle: Any) -> None:
    rng = np.random.default_rng(seed)
    x_shape, kernel_shape = random_shapes(rng)
    x, kernel, bias = (randn(rng, shape, dtype) for shape in (x_shape, kernel_shape, kernel_shape[2:3]))
    y, dy, gradients = torch_gradients(lambda *tensors: oracle(*tensors, arguments), [x, kernel, bias])
    dy = dy.astype(dtype)
    what = f"{x_shape} {kernel_shape} {arguments}"
    assert_close(impl.conv2d_transpose(x, kernel, bias, **arguments), y, dtype, what)
    results = impl.conv2d_transpose_backward(dy, x, kernel, **arguments)
    for name, got, want in zip(("dx", "dkernel", "dbias"), results, gradients, strict=True):
        assert_close(got, want, dtype, f"{name} {what}")
    none, dkernel, dbias = impl.conv2d_transpose_backward(dy, x, kernel, **arguments, need_dx=False)
    assert none is None
    assert np.array_equal(dkernel, results[1])
    assert np.array_equal(dbias, results[2])


@both_implementations
@both_dtypes
@pytest.mark.parametrize("seed", range(50))
def test_explicit_padding_is_pytorchs(impl: Any, seed: int, dtype: str) -> None:
    check(impl, seed, dtype, random_arguments(np.random.default_rng(1000 + seed), named=False), by_torch)


def test_the_oracle_is_pytorchs_own_padding() -> None:
    rng = np.random.default_rng(0)
    x, kernel = torch.randn(2, 4, 5, 3), torch.randn(4, 3, 6, 3)
    arguments = {"strides": (3, 2), "padding": (1, 0), "output_padding": (2, 1), "dilation_rate": (1, 1)}
    bias = torch.from_numpy(randn(rng, (6,), "float32"))
    want = F.conv_transpose2d(nchw(x), kernel.permute(3, 2, 0, 1), bias, (3, 2), (1, 0), (2, 1))
    assert torch.allclose(by_torch(x, kernel, bias, arguments), nhwc(want), atol=1e-5)


@both_implementations
@both_dtypes
@pytest.mark.parametrize("seed", range(50))
def test_named_padding_is_keras(impl: Any, seed: int, dtype: str) -> None:
    keras = keras_on_torch()

    def by_keras(x: Any, kernel: Any, bias: Any, arguments: dict[str, Any]) -> Any:
        return keras.ops.conv_transpose(x, kernel, **arguments) + bias

    check(impl, seed, dtype, random_arguments(np.random.default_rng(2000 + seed), named=True), by_keras)


@both_dtypes
def test_vector_tails(dtype: str) -> None:
    """Integers, so exactly the reference; every channel count."""
    rng = np.random.default_rng(3)
    for channels in TAIL_CHANNELS:
        x = integers(rng, (2, 3, 4, channels), dtype)
        kernel = integers(rng, (3, 2, 34 - channels, channels), dtype)
        bias = integers(rng, (34 - channels,), dtype)
        y = ops.conv2d_transpose(x, kernel, bias, strides=2, padding="same")
        assert np.array_equal(y, reference.conv2d_transpose(x, kernel, bias, strides=2, padding="same"))
        got = ops.conv2d_transpose_backward(y, x, kernel, strides=2, padding="same")
        want = reference.conv2d_transpose_backward(y, x, kernel, strides=2, padding="same")
        for g, w in zip(got, want, strict=True):
            assert np.array_equal(g, w)


@pytest.mark.parametrize("activation", ["relu", ("leaky_relu", 0.3), "tanh", "softmax"])
def test_fused_activation(activation: Any) -> None:
    rng = np.random.default_rng(4)
    x, kernel, bias = (randn(rng, shape, "float32") for shape in [(2, 3, 4, 5), (3, 3, 7, 5), (7,)])
    linear = ops.conv2d_transpose(x, kernel, bias, strides=2)
    fused = ops.conv2d_transpose(x, kernel, bias, strides=2, activation=activation)
    assert_close(fused, ops.activate(linear, activation).astype(np.float64), "float32")


@both_implementations
def test_zero_batch(impl: Any) -> None:
    x, kernel = np.zeros((0, 3, 4, 5), np.float32), np.ones((3, 3, 7, 5), np.float32)
    y = impl.conv2d_transpose(x, kernel, strides=2, padding="same")
    assert y.shape == (0, 6, 8, 7)
    dx, dkernel, dbias = impl.conv2d_transpose_backward(y, x, kernel, strides=2, padding="same")
    assert dx.shape == x.shape
    assert np.array_equal(dkernel, np.zeros_like(kernel))
    assert np.array_equal(dbias, np.zeros(7))
