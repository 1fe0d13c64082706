"""One valid call of every op, as keywords: what a hostile case starts from."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastconv import ops

Array = np.ndarray[Any, Any]

#: Not functions of arrays: a class, a list of names, a registry.
LEFT_OUT = ("PreparedKernel", "conv2d_algorithms", "register_conv2d")

_POOL: dict[str, Any] = {"pool_size": (3, 2), "strides": (2, 1), "padding": ((1, 1), (1, 0)), "ceil_mode": True}
_WINDOWS: dict[str, Any] = {"strides": (2, 1), "padding": ((1, 0), (0, 1)), "dilation_rate": (1, 2)}
_HYPER = {
    "learning_rate": 0.1, "weight_decay": 0.01, "scale": 1.0, "momentum": 0.9, "nesterov": 1.0, "rho": 0.9,
    "epsilon": 1e-7, "beta_1": 0.9, "beta_2": 0.99, "step": 3,
}  # fmt: skip


#: Below, at and above the vector widths: other numbers take other ways through the kernels.
CHANNELS = (1, 4, 6, 8, 17, 34)


@functools.cache
def op_arguments(dtype: str, c: int) -> dict[str, dict[str, Any]]:
    """Name -> keywords, for every op, for images of ``c`` channels."""
    rng = np.random.default_rng(0)

    def a(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    return {
        **_convolutions(a, c),
        **_matrices(a, c),
        **_pools(a, c),
        **_norms(a, c),
        **_elements(a, c),
        **_shapes(a, c),
    }


def _convolutions(a: Any, c: int) -> dict[str, dict[str, Any]]:
    groups = 2 if c % 3 == 0 or c == 34 else 1
    x, kernel, y = a(2, 7, 8, c), a(3, 2, c // groups, 4), a(2, 3, 7, 4)
    conv = {**_WINDOWS, "groups": groups, "algorithm": "auto"}
    plain = {"strides": 1, "padding": "same", "dilation_rate": 1, "algorithm": "auto"}
    transposed = {"strides": (2, 1), "padding": (1, 0), "output_padding": (1, 0), "dilation_rate": (1, 2)}
    window = {"kernel_size": (3, 2), "strides": (2, 1)}
    depthwise = a(3, 2, c, 2)
    calls: dict[str, dict[str, Any]] = {
        "conv2d": {"x": x, "kernel": kernel, "bias": a(4), **conv, "activation": "relu"},
        "conv2d_backward_data": {"dy": y, "kernel": kernel, "input_shape": x.shape, **conv},
        "conv2d_backward_weights": {"x": x, "dy": y, "kernel_size": (3, 2), **conv},
        "conv2d_choice": {"input_shape": x.shape, "kernel_shape": kernel.shape, **_WINDOWS, "groups": groups},
        "prepare_conv2d": {"kernel": a(3, 3, c, 4), "input_shape": x.shape, **conv, "groups": 1},
        "depthwise_conv2d": {"x": x, "kernel": depthwise, "bias": a(2 * c), **plain, "activation": "relu6"},
        "depthwise_conv2d_backward_data": {
            "dy": a(2, 7, 8, 2 * c),
            "kernel": depthwise,
            "input_shape": x.shape,
            **plain,
        },
        "depthwise_conv2d_backward_weights": {"x": x, "dy": a(2, 7, 8, 2 * c), "kernel_size": (3, 2), **plain},
        "im2col": {"x": x, "kernel_size": (3, 2), **_WINDOWS},
        "col2im": {"cols": a(2 * 3 * 7, 6 * c), "input_shape": x.shape, "kernel_size": (3, 2), **_WINDOWS},
        "conv2d_transpose": {"x": x, "kernel": a(3, 2, 4, c), "bias": a(4), **transposed, "activation": None},
        "conv2d_transpose_backward": {"dy": a(2, 14, 10, 4), "x": x, "kernel": a(3, 2, 4, c), **transposed},
        "locally_connected2d": {"x": x, "kernel": a(3, 7, 6 * c, 4), "bias": a(3, 7, 4), **window},
        "locally_connected2d_backward": {"dy": a(2, 3, 7, 4), "x": x, "kernel": a(3, 7, 6 * c, 4), **window},
    }
    return calls


def _matrices(a: Any, c: int) -> dict[str, dict[str, Any]]:
    return {
        "matmul": {"a": a(5, c), "b": a(7, 5), "transpose_a": True, "transpose_b": True},
        "dense": {"x": a(3, c), "kernel": a(c, 4), "bias": a(4), "activation": "tanh"},
        "dense_backward": {"dy": a(3, 4), "x": a(3, c), "kernel": a(c, 4), "need_dx": True},
    }


def _pools(a: Any, c: int) -> dict[str, dict[str, Any]]:
    x, y, shape = a(2, 7, 8, c), a(2, 4, 8, c), (2, 7, 8, c)
    argmax, flat = ops.max_pool2d(x, **_POOL)[1], ops.global_max_pool2d(x)[1]
    return {
        "max_pool2d": {"x": x, **_POOL, "return_argmax": True},
        "max_pool2d_backward": {"dy": y, "argmax": argmax, "input_shape": shape, **_POOL},
        "avg_pool2d": {"x": x, **_POOL, "count_include_pad": True},
        "avg_pool2d_backward": {"dy": y, "input_shape": shape, **_POOL, "count_include_pad": False},
        "global_avg_pool2d": {"x": x},
        "global_avg_pool2d_backward": {"dy": a(2, c), "input_shape": shape},
        "global_max_pool2d": {"x": x},
        "global_max_pool2d_backward": {"dy": a(2, c), "argmax": flat, "input_shape": shape},
        "max_unpool2d": {"x": y, "argmax": argmax, "output_shape": shape},
        "max_unpool2d_backward": {"dy": x, "argmax": argmax},
    }


def _norms(a: Any, c: int) -> dict[str, dict[str, Any]]:
    x, channels = a(2, 7, 8, c), a(c)
    variance = np.abs(a(c)) + channels.dtype.type(0.5)
    moving = {"moving_mean": channels, "moving_variance": variance, "epsilon": 1e-3, "activation": "relu"}
    gradient = {"dy": x, "x": x, "gamma": channels}
    lrn = {"depth_radius": 2, "bias": 1.0, "alpha": 0.1, "beta": 0.75}
    return {
        "batch_norm": {"x": x, "gamma": channels, "beta": channels, "epsilon": 1e-3, "activation": "relu"},
        "batch_norm_backward": {
            **gradient, "mean": channels, "variance": variance, "epsilon": 1e-3, "activation": "relu", "beta": channels,
        },
        "batch_norm_inference": {"x": x, "gamma": channels, "beta": channels, **moving},
        "batch_norm_inference_backward": {**gradient, **moving, "beta": channels, "need_weights": True},
        "local_response_norm": {"x": x, **lrn},
        "local_response_norm_backward": {"dy": x, "x": x, **lrn},
    }  # fmt: skip


def _elements(a: Any, c: int) -> dict[str, dict[str, Any]]:
    x, rows = a(2, 7, 8, c), a(3, 5)
    mask = {"rate": 0.4, "seed": 7, "counter": 9}
    labels = np.array([0, 4, 2])
    calls: dict[str, dict[str, Any]] = {
        "activate": {"x": x, "activation": ("elu", 0.5)},
        "activation_backward": {"dy": x, "y": x, "activation": ("leaky_relu", 0.1)},
        "prelu": {"x": x, "alpha": a(1, 8, c)},
        "prelu_backward": {"dy": x, "x": x, "alpha": a(1, 8, c), "need_weights": True},
        "dropout": {"x": x, **mask},
        "dropout_backward": {"dy": x, **mask},
        "spatial_dropout2d": {"x": x, **mask},
        "spatial_dropout2d_backward": {"dy": x, **mask},
        "softmax_cross_entropy": {
            "logits": rows, "targets": labels, "label_smoothing": 0.1, "sample_weight": np.abs(a(3)),
        },
        "softmax_cross_entropy_backward": {
            "probabilities": rows, "targets": labels, "scale": a(3), "label_smoothing": 0.1,
        },
        "optimizer_step": {
            "kind": "adam", "values": [x, rows], "grads": [x.copy(), rows.copy()],
            "states": [[np.abs(x), np.abs(x)], [np.abs(rows), np.abs(rows)]], "hyper": _HYPER,
        },
    }  # fmt: skip
    for name in ("relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "softmax"):
        parameter = {"leaky_relu": {"negative_slope": 0.2}, "elu": {"alpha": 1.0}}.get(name, {})
        calls[name] = {"x": x, **parameter}
        calls[f"{name}_backward"] = {"dy": x, "y": x, **parameter}
    return calls


def _shapes(a: Any, c: int) -> dict[str, dict[str, Any]]:
    x, sides = a(2, 7, 8, c), ((1, 2), (0, 3))
    return {
        "add": {"a": x, "b": x},
        "concatenate": {"arrays": [x, a(2, 7, 8, 3)], "axis": -1},
        "concatenate_backward": {"dy": x, "sizes": (2, 5), "axis": 1},
        "concatenate_growing": {"arrays": [x, a(2, 7, 8, 3)], "room": c + 6, "append": False},
        "zero_padding2d": {"x": x, "padding": sides},
        "zero_padding2d_backward": {"dy": x, "padding": sides},
        "cropping2d": {"x": x, "cropping": sides},
        "cropping2d_backward": {"dy": a(2, 4, 5, c), "cropping": sides, "input_shape": x.shape},
        "upsampling2d": {"x": x, "size": (3, 2), "interpolation": "bilinear"},
        "upsampling2d_backward": {"dy": a(2, 6, 8, c), "size": (3, 2), "interpolation": "bilinear"},
        **{name: {"x": x} for name in ("nchw_to_nhwc", "nhwc_to_nchw")},
        **{name: {"kernel": a(3, 2, c, 4)} for name in ("oihw_to_hwio", "hwio_to_oihw")},
    }
