"""Sizes far from all that makes sense, but some of them valid: strides, padding, dilation and pools up to 2**31.

What is accepted goes through forward and backward; what is small enough is compared with the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv import ops, reference

from .comparing import check_close
from .nasty import size

Array = np.ndarray[Any, Any]
_SMALL = 4096  # pixels on a side, up to which the reference is asked


def sizes_case(rng: np.random.Generator) -> tuple[str, Callable[..., Any], dict[str, Any]]:
    """What to call, and its keywords."""
    make, use = _FAMILIES[rng.integers(len(_FAMILIES))]
    return use.__name__.strip("_"), use, make(rng)


def _array(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def _image(rng: np.random.Generator, channels: int) -> Array:
    height, width = (int(n) for n in rng.integers(1, 10, 2))
    return _array(rng, int(rng.integers(1, 3)), height, width, channels)


def _channels(rng: np.random.Generator) -> int:
    return int(rng.choice([1, 2, 4, 6, 8, 16, 32, 34]))


def _strange(rng: np.random.Generator, usual: Any, chance: float = 0.4) -> Any:
    """``usual``, or any size."""
    return size(rng) if rng.random() < chance else usual


def _windows(rng: np.random.Generator) -> dict[str, Any]:
    padding = ("valid", "same", 1, ((0, 1), (2, 0)))[rng.integers(4)]
    return {
        "strides": _strange(rng, 1, 0.7),
        "padding": _strange(rng, padding, 0.2),
        "dilation_rate": _strange(rng, 1, 0.2),
    }


def _close(got: Array, name: str, *arguments: Any, **options: Any) -> None:
    """``got`` is the reference's result, if no side of the padded image is long."""
    sides = [n for value in options.values() for n in np.ravel(value) if not isinstance(n, str)]
    if max(sides, default=0) <= _SMALL or options.get("padding") in ("valid", "same", 1):
        exact = [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arguments]
        want = getattr(reference, name)(*exact, **options)
        want = want[0] if isinstance(want, tuple) else want
        check_close(got, want, "float32", 100.0, name)


def _conv_arguments(rng: np.random.Generator) -> dict[str, Any]:
    c, filters = _channels(rng), _channels(rng)
    groups = int(rng.choice([g for g in (1, 1, 2, c) if c % g == 0 and filters % g == 0]))
    kernel = _array(rng, *rng.integers(1, 4, 2), c // groups, filters)
    return {"x": _image(rng, c), "kernel": kernel, "groups": groups, **_windows(rng)}


def _convolution(x: Array, kernel: Array, **geometry: Any) -> None:
    y = ops.conv2d(x, kernel, **geometry)
    _close(y, "conv2d", x, kernel, **geometry)
    dy = np.ones_like(y)
    dx = ops.conv2d_backward_data(dy, kernel, x.shape, **geometry)
    _close(dx, "conv2d_backward_data", dy, kernel, x.shape, **geometry)
    dkernel, _ = ops.conv2d_backward_weights(x, dy, kernel.shape[:2], **geometry)
    _close(dkernel, "conv2d_backward_weights", x, dy, kernel.shape[:2], **geometry)
    ops.prepare_conv2d(kernel, x.shape, **geometry)
    if geometry.pop("groups") == 1:
        cols = ops.im2col(x, kernel.shape[:2], **geometry)
        ops.col2im(cols, x.shape, kernel.shape[:2], **geometry)


def _depthwise_arguments(rng: np.random.Generator) -> dict[str, Any]:
    c = _channels(rng)
    kernel = _array(rng, *rng.integers(1, 4, 2), c, int(rng.integers(1, 3)))
    return {"x": _image(rng, c), "kernel": kernel, **_windows(rng)}


def _depthwise(x: Array, kernel: Array, **geometry: Any) -> None:
    y = ops.depthwise_conv2d(x, kernel, **geometry)
    _close(y, "depthwise_conv2d", x, kernel, **geometry)
    dy = np.ones_like(y)
    dx = ops.depthwise_conv2d_backward_data(dy, kernel, x.shape, **geometry)
    _close(dx, "depthwise_conv2d_backward_data", dy, kernel, x.shape, **geometry)
    ops.depthwise_conv2d_backward_weights(x, dy, kernel.shape[:2], **geometry)


def _transposed_arguments(rng: np.random.Generator) -> dict[str, Any]:
    c = _channels(rng)
    kernel = _array(rng, *rng.integers(1, 4, 2), _channels(rng), c)
    x = _image(rng, c) if rng.random() < 0.5 else _array(rng, 1, 1, 1, c)  # one pixel needs no stride
    return {"x": x, "kernel": kernel, **_windows(rng), "output_padding": _strange(rng, None, 0.2)}


def _transposed(x: Array, kernel: Array, **geometry: Any) -> None:
    y = ops.conv2d_transpose(x, kernel, **geometry)
    ops.conv2d_transpose_backward(np.ones_like(y), x, kernel, **geometry)


def _pool_arguments(rng: np.random.Generator) -> dict[str, Any]:
    padding = ("valid", "same", 1)[rng.integers(3)]
    return {
        "x": _image(rng, _channels(rng)),
        "pool_size": _strange(rng, 2),
        "strides": _strange(rng, None, 0.6),
        "padding": _strange(rng, padding, 0.3),
        "ceil_mode": bool(rng.integers(2)),
    }


def _pools(x: Array, **geometry: Any) -> None:
    y, argmax = ops.max_pool2d(x, **geometry)
    ops.max_pool2d_backward(np.ones_like(y), argmax, x.shape, **geometry)
    mean = ops.avg_pool2d(x, **geometry, count_include_pad=True)
    ops.avg_pool2d_backward(np.ones_like(mean), x.shape, **geometry, count_include_pad=True)
    mean = ops.avg_pool2d(x, **geometry)
    assert (mean <= y + np.float32(1e-5)).all(), "a mean above its maximum"
    ops.avg_pool2d_backward(np.ones_like(mean), x.shape, **geometry)


def _local_arguments(rng: np.random.Generator) -> dict[str, Any]:
    kernel_size, strides = tuple(int(n) for n in rng.integers(1, 4, 2)), _strange(rng, 1, 0.8)
    x = _image(rng, _channels(rng))
    steps = strides if isinstance(strides, tuple) else (strides, strides)
    outputs = [
        max(n - k, 0) // s + 1 if isinstance(s, int) and s else 1
        for n, k, s in zip(x.shape[1:3], kernel_size, steps, strict=True)
    ]
    kernel = _array(rng, *outputs, math.prod(kernel_size) * x.shape[3], 3)
    return {"x": x, "kernel": kernel, "kernel_size": kernel_size, "strides": strides}


def _local(x: Array, kernel: Array, kernel_size: Any, strides: Any) -> None:
    y = ops.locally_connected2d(x, kernel, None, kernel_size, strides)
    ops.locally_connected2d_backward(np.ones_like(y), x, kernel, kernel_size, strides)


def _shape_arguments(rng: np.random.Generator) -> dict[str, Any]:
    return {"x": _image(rng, _channels(rng)), "padding": size(rng), "factor": size(rng), "radius": size(rng)}


def _shapes(x: Array, padding: Any, factor: Any, radius: Any) -> None:
    """Each for itself: one may be refused."""
    kind = x.shape[1] % 4
    if kind == 0:
        y = ops.zero_padding2d(x, padding)
        assert np.array_equal(ops.zero_padding2d_backward(y, padding), x)
        assert np.array_equal(ops.cropping2d(y, padding), x)
        assert np.array_equal(ops.cropping2d_backward(x, padding, y.shape), y)
    elif kind == 1:
        y = ops.upsampling2d(x, factor, "bilinear")
        ops.upsampling2d_backward(y, factor, "bilinear")
    elif kind == 2:
        y = ops.upsampling2d(x, factor)
        ops.upsampling2d_backward(y, factor)
    else:
        y = ops.local_response_norm(x, radius)
        _close(y, "local_response_norm", x, depth_radius=radius)
        ops.local_response_norm_backward(x, x, radius)


_FAMILIES: tuple[tuple[Callable[[np.random.Generator], dict[str, Any]], Callable[..., None]], ...] = (
    (_conv_arguments, _convolution),
    (_conv_arguments, _convolution),
    (_depthwise_arguments, _depthwise),
    (_transposed_arguments, _transposed),
    (_pool_arguments, _pools),
    (_local_arguments, _local),
    (_shape_arguments, _shapes),
)
