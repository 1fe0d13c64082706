"""Ops that move, pool or normalise the pixels of images."""

from __future__ import annotations

import math

import numpy as np
from support import PoolCase, random_pool_case

from fastconv import ops

from .comparing import Array, Case, Comparison


def _image(c: Comparison) -> Array:
    return c.array(c.batch(), c.number(1, 12), c.number(1, 12), c.channels())


def _pool_case(c: Comparison) -> PoolCase:
    while True:
        case = random_pool_case(c.rng)
        try:
            ops.avg_pool2d(np.zeros(case.input_shape), **case.arguments)
            return case
        except ValueError:  # a pool larger than its padded input
            continue


def _max_pool(c: Comparison) -> None:
    case = _pool_case(c)
    x = c.array(*case.input_shape)
    y, argmax = c.same("max_pool2d", x, **case.arguments)
    c.same("max_pool2d", x, **case.arguments, return_argmax=False)
    dy, scale = c.array(*y.shape), float(math.prod(case.pool))
    c.same("max_pool2d_backward", dy, argmax, x.shape, **(case.arguments if c.chance(0.6) else {}), scale=scale)
    if c.chance(0.3):
        c.same("max_unpool2d", dy, argmax, x.shape)
        c.same("max_unpool2d_backward", c.array(*x.shape), argmax)


def _avg_pool(c: Comparison) -> None:
    case = _pool_case(c)
    options = {**case.arguments, "count_include_pad": c.chance(0.5)}
    x = c.array(*case.input_shape)
    (y,) = c.same("avg_pool2d", x, **options)
    c.same("avg_pool2d_backward", c.array(*y.shape), x.shape, **options, scale=float(math.prod(case.pool)))


def _global_pools(c: Comparison) -> None:
    x = _image(c)
    dy = c.array(x.shape[0], x.shape[3])
    c.same("global_avg_pool2d", x)
    c.same("global_avg_pool2d_backward", dy, x.shape)
    _, argmax = c.same("global_max_pool2d", x)
    c.same("global_max_pool2d_backward", dy, argmax, x.shape)


def _padding(c: Comparison) -> None:
    x = _image(c)
    sides = ((c.number(0, 3), c.number(0, 3)), (c.number(0, 3), c.number(0, 3)))
    padding = c.one_of(sides, (sides[0][0], sides[1][0]), sides[0][0])
    (y,) = c.same("zero_padding2d", x, padding)
    c.same("zero_padding2d_backward", c.array(*y.shape), padding)
    c.same("cropping2d", y, padding)
    c.same("cropping2d_backward", c.array(*x.shape), padding, y.shape)


def _upsampling(c: Comparison) -> None:
    x, size = _image(c), (c.number(1, 4), c.number(1, 4))
    interpolation = c.one_of("nearest", "bilinear")
    (y,) = c.same("upsampling2d", x, size, interpolation)
    c.same("upsampling2d_backward", c.array(*y.shape), size, interpolation, scale=float(math.prod(size)))


def _layout(c: Comparison) -> None:
    x = _image(c)
    for name in ("nchw_to_nhwc", "nhwc_to_nchw", "oihw_to_hwio", "hwio_to_oihw"):
        c.same(name, x)


def _merging(c: Comparison) -> None:
    x = _image(c)
    c.same("add", x, c.array(*x.shape))
    axis = c.one_of(-1, 3, 1, -2, 0)
    sizes = [c.number(1, 7) for _ in range(c.number(1, 4))]
    parts = []
    for size in sizes:
        shape = list(x.shape)
        shape[axis] = size
        parts.append(c.array(*shape))
    (y,) = c.same("concatenate", parts, axis)
    c.same("concatenate_backward", c.array(*y.shape), sizes, axis)


def _growing(c: Comparison) -> None:
    """A chain of concatenations in one piece of memory; NumPy is the reference."""
    first = _image(c)
    parts = [c.array(*first.shape[:3], c.number(1, 9)) for _ in range(3)]
    room = first.shape[3] + sum(part.shape[3] for part in parts)
    grown, plain = first, first
    for i, part in enumerate(parts):
        grown = ops.concatenate_growing([grown, part], room, append=i > 0)
        plain = np.concatenate([plain, part], axis=3)
        assert np.array_equal(grown, plain), f"after {i + 1} parts of {first.shape}"


def _features(c: Comparison) -> Array:
    """(..., C), an image or rows."""
    return _image(c) if c.chance(0.7) else c.array(c.number(0, 40), c.channels())


def _batch_norm(c: Comparison) -> None:
    x = _features(c)
    channels, epsilon = x.shape[-1], float(c.one_of(1e-3, 1e-5, 0.1))
    gamma, beta = c.one_of(None, c.array(channels)), c.one_of(None, c.array(channels))
    activation = c.one_of(None, "relu", "relu6", ("leaky_relu", 0.2), "elu")
    scale = 8 / math.sqrt(epsilon)
    _, mean, variance = c.same("batch_norm", x, gamma, beta, epsilon, activation, scale=scale)
    dy = c.array(*x.shape)
    through = None if activation == "elu" or _near_a_kink(x, gamma, beta, mean, variance, epsilon) else activation
    scale *= math.sqrt(max(x.size // channels, 1))
    c.same("batch_norm_backward", dy, x, gamma, mean, variance, epsilon, through, beta, scale=scale)
    c.same("batch_norm_inference", x, gamma, beta, mean, variance, epsilon, activation, scale=scale)
    need = c.chance(0.7)
    c.same(
        "batch_norm_inference_backward",
        *(dy, x, gamma, mean, variance, epsilon, through, beta, need),
        scale=scale,
    )


def _near_a_kink(
    x: Array, gamma: Array | None, beta: Array | None, mean: Array, variance: Array, epsilon: float
) -> bool:
    """Whether rounding could decide on which side of an activation's kink a value lies."""
    z = (x.astype(np.float64) - mean) / np.sqrt(variance.astype(np.float64) + epsilon)
    z = z * (1 if gamma is None else gamma) + (0 if beta is None else beta)
    return bool((np.abs(z) < 1e-3).any() or (np.abs(z - 6) < 1e-3).any())


def _local_response_norm(c: Comparison) -> None:
    x = _features(c)
    options = {
        "depth_radius": c.number(0, 6),
        "bias": float(c.one_of(1.0, 2.0, 0.5)),
        "alpha": float(c.one_of(1.0, 0.1, 1e-4)),
        "beta": float(c.one_of(0.5, 0.75, 1.0)),
    }
    c.same("local_response_norm", x, **options)
    c.same("local_response_norm_backward", c.array(*x.shape), x, **options, scale=20.0)


IMAGES: dict[str, tuple[float, Case]] = {
    "max pool": (2.0, _max_pool),
    "average pool": (1.5, _avg_pool),
    "global pools": (0.5, _global_pools),
    "padding": (0.5, _padding),
    "upsampling": (0.5, _upsampling),
    "layout": (0.5, _layout),
    "merging": (0.7, _merging),
    "growing": (0.3, _growing),
    "batch norm": (1.5, _batch_norm),
    "local response norm": (0.7, _local_response_norm),
}
