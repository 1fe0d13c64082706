"""What an op says to a bad argument: the type of the error, and a message that shows the numbers."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from op_calls import OpCall, op_calls

import fastconv as fc
from fastconv import ops

X = np.zeros((2, 7, 8, 6), np.float32)
K = np.zeros((3, 2, 6, 4), np.float32)
Y = np.zeros((2, 5, 7, 4), np.float32)  # conv2d(X, K)
POOLED = np.zeros((2, 3, 4, 6), np.float32)
ARGMAX = np.zeros((2, 3, 4, 6), np.int32)
ROWS = np.zeros((3, 5), np.float32)
LABELS = np.array([0, 4, 2])
VECTOR = np.zeros(6, np.float32)
LIMIT = 2**31 - 1

Call = Callable[..., Any]

#: name of the argument -> calls that receive a bad value for it. Every one must be an int >= 1, or two.
POSITIVE_PAIRS: dict[str, list[Call]] = {
    "strides": [
        lambda v: ops.conv2d(X, K, strides=v),
        lambda v: ops.conv2d_backward_data(Y, K, X.shape, strides=v),
        lambda v: ops.conv2d_backward_weights(X, Y, (3, 2), strides=v),
        lambda v: ops.depthwise_conv2d(X, np.zeros((3, 2, 6, 1), np.float32), strides=v),
        lambda v: ops.conv2d_transpose(X, K.transpose(0, 1, 3, 2), strides=v),
        lambda v: ops.im2col(X, 3, strides=v),
        lambda v: ops.max_pool2d(X, 2, strides=v),
        lambda v: ops.avg_pool2d(X, 2, strides=v),
        lambda v: ops.locally_connected2d(X, np.zeros((5, 6, 54, 2), np.float32), None, 3, strides=v),
    ],
    "dilation_rate": [
        lambda v: ops.conv2d(X, K, dilation_rate=v),
        lambda v: ops.conv2d_backward_data(Y, K, X.shape, dilation_rate=v),
        lambda v: ops.conv2d_backward_weights(X, Y, (3, 2), dilation_rate=v),
        lambda v: ops.conv2d_transpose(X, K.transpose(0, 1, 3, 2), dilation_rate=v),
        lambda v: ops.im2col(X, 3, dilation_rate=v),
    ],
    "kernel_size": [
        lambda v: ops.im2col(X, v),
        lambda v: ops.col2im(ROWS, X.shape, v),
        lambda v: ops.conv2d_backward_weights(X, Y, v),
        lambda v: ops.locally_connected2d(X, np.zeros((5, 6, 54, 2), np.float32), None, v),
    ],
    "pool_size": [
        lambda v: ops.max_pool2d(X, v),
        lambda v: ops.avg_pool2d(X, v),
        lambda v: ops.avg_pool2d_backward(POOLED, X.shape, v),
    ],
    "size": [lambda v: ops.upsampling2d(X, v), lambda v: ops.upsampling2d_backward(X, v, "bilinear")],
}
#: Likewise, but 0 is allowed: (call, name).
PADDINGS: dict[str, list[Call]] = {
    "padding": [
        lambda v: ops.conv2d(X, K, padding=v),
        lambda v: ops.conv2d_backward_data(Y, K, X.shape, padding=v),
        lambda v: ops.conv2d_transpose(X, K.transpose(0, 1, 3, 2), padding=v),
        lambda v: ops.im2col(X, 3, padding=v),
        lambda v: ops.max_pool2d(X, 3, padding=v),
        lambda v: ops.avg_pool2d(X, 3, padding=v),
        lambda v: ops.zero_padding2d(X, v),
    ],
    "cropping": [lambda v: ops.cropping2d(X, v)],
}


def flatten(table: dict[str, list[Call]]) -> list[Any]:
    return [pytest.param(name, call, id=f"{name}{i}") for name, calls in table.items() for i, call in enumerate(calls)]


each_pair = pytest.mark.parametrize(("name", "call"), flatten(POSITIVE_PAIRS))
each_padding = pytest.mark.parametrize(("name", "call"), flatten(PADDINGS))


@each_pair
@pytest.mark.parametrize("value", [0, -1, (1, 0), (-2, 1)], ids=str)
def test_below_one(name: str, call: Call, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name}.* at least 1, got (0|-1|-2)"):
        call(value)


@each_padding
@pytest.mark.parametrize("value", [-1, (0, -1), ((0, 0), (-1, 0))], ids=str)
def test_negative_padding(name: str, call: Call, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name}.* at least 0, got -1"):
        call(value)


@pytest.mark.parametrize(("name", "call"), flatten(POSITIVE_PAIRS | PADDINGS))
@pytest.mark.parametrize("value", [True, 1.0, float("nan"), np.float32(2), (1, 2.5), (True, 1), 1j], ids=str)
def test_not_an_integer(name: str, call: Call, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"{name}.*must be an integer, got"):
        call(value)


@pytest.mark.parametrize(("name", "call"), flatten(POSITIVE_PAIRS | PADDINGS))
@pytest.mark.parametrize("value", [[], (1,), (1, 2, 3), ((1, 1), (1, 1), (1, 1)), "full", "3", {}], ids=str)
def test_not_one_or_two_numbers(name: str, call: Call, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=name):
        call(value)


@pytest.mark.parametrize(("name", "call"), flatten(POSITIVE_PAIRS | PADDINGS))
@pytest.mark.parametrize("value", [LIMIT + 1, (1, 2**40), 2**80], ids=str)
def test_beyond_31_bits(name: str, call: Call, value: Any) -> None:
    with pytest.raises(OverflowError, match=rf"{name}.*2\*\*31 - 1"):
        call(value)


@pytest.mark.parametrize("groups", [0, -1])
def test_groups_below_one(groups: int) -> None:
    with pytest.raises(ValueError, match=f"groups.*at least 1, got {groups}"):
        ops.conv2d(X, K, groups=groups)


@pytest.mark.parametrize("groups", [True, 2.0, "2", None])
def test_groups_not_an_integer(groups: Any) -> None:
    with pytest.raises(TypeError, match="groups must be an integer"):
        ops.conv2d(X, K, groups=groups)


def test_a_kernel_larger_than_its_input_shows_the_arithmetic() -> None:
    message = r"kernel 5 \(dilated: 9\) is larger than the padded input 7 \(height 7 \+ padding 0 \+ 0\)"
    kernel = np.zeros((5, 1, 6, 4), np.float32)
    for call in (
        lambda: ops.conv2d(X, kernel, dilation_rate=2),
        lambda: ops.conv2d_backward_data(Y, kernel, X.shape, dilation_rate=2),
        lambda: ops.conv2d_backward_weights(X, Y, (5, 1), dilation_rate=2),
        lambda: ops.im2col(X, (5, 1), dilation_rate=2),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match=r"kernel 11 is larger than the padded input 10 \(width 8 \+ padding 2 \+ 0\)"):
        ops.conv2d(X, np.zeros((1, 11, 6, 4), np.float32), padding=((0, 0), (2, 0)))
    for stride in (2, 3, 100):  # checked before any floor: (7 - 8) // 3 + 1 would be 0, (7 - 8) // 2 + 1 as well
        with pytest.raises(ValueError, match="kernel 8 is larger than the padded input 7"):
            ops.conv2d(X, np.zeros((8, 1, 6, 4), np.float32), strides=stride)


def test_a_pool_larger_than_its_input() -> None:
    for call in (ops.max_pool2d, ops.avg_pool2d):
        with pytest.raises(ValueError, match=r"pool 9 is larger than the padded input 8 \(width 8 \+ padding 0 \+ 0\)"):
            call(X, (7, 9))


@pytest.mark.parametrize("padding", [2, (0, 2), ((0, 0), (0, 2))], ids=str)
def test_pool_padding_above_half_the_pool(padding: Any) -> None:
    for call in (ops.max_pool2d, ops.avg_pool2d):
        with pytest.raises(ValueError, match="padding 2 is more than half the pool 3"):
            call(X, 3, padding=padding)


MISMATCHES: dict[str, tuple[Call, str]] = {
    "channels": (lambda: ops.conv2d(X, K[:, :, :5]), r"6.*5|5.*6"),
    "channels in groups": (lambda: ops.conv2d(X, K, groups=2), r"6.*2"),
    "input channels and groups": (lambda: ops.conv2d(X, K[:, :, :1], groups=4), r"6 .*not divisible by groups = 4"),
    "filters and groups": (lambda: ops.conv2d(X, K[:, :, :2], groups=3), r"4 .*not divisible by groups = 3"),
    "bias": (lambda: ops.conv2d(X, K, np.zeros(5, np.float32)), r"bias.*\(5,\).*\(4,\)"),
    "bias of two axes": (lambda: ops.conv2d(X, K, np.zeros((1, 4), np.float32)), r"bias.*\(1, 4\).*\(4,\)"),
    "depthwise channels": (lambda: ops.depthwise_conv2d(X, np.zeros((3, 2, 5, 1), np.float32)), r"6.*5|5.*6"),
    "transposed channels": (lambda: ops.conv2d_transpose(X, K), r"6.*4|4.*6"),
    "locally connected kernel": (
        lambda: ops.locally_connected2d(X, np.zeros((5, 6, 53, 2), np.float32), None, 3),
        r"53.*54",
    ),
    "locally connected size": (
        lambda: ops.locally_connected2d(X, np.zeros((5, 5, 54, 2), np.float32), None, 3),
        r"5, 5.*5, 6",
    ),
    "dense": (lambda: ops.dense(X, np.zeros((5, 3), np.float32)), r"6.*5|5.*6"),
    "dense bias": (lambda: ops.dense(X, np.zeros((6, 3), np.float32), VECTOR), r"bias.*\(6,\).*\(3,\)"),
    "matmul": (lambda: ops.matmul(ROWS, ROWS), r"3, 5"),
    "matmul of three axes": (lambda: ops.matmul(X[0], ROWS), r"2 axes.*\(7, 8, 6\)"),
    "gamma": (lambda: ops.batch_norm(X, VECTOR[:5], None), r"gamma.*\(5,\).*\(6,\)"),
    "moving mean": (
        lambda: ops.batch_norm_inference(X, None, None, VECTOR[:5], VECTOR),
        r"mean.*\(5,\).*\(6,\)",
    ),
    "prelu alpha": (lambda: ops.prelu(X, np.zeros((7, 8, 5), np.float32)), r"alpha.*\(7, 8, 5\)"),
    "fused prelu alpha": (lambda: ops.conv2d(X, K, activation=("prelu", VECTOR)), r"alpha.*\(6,\).*\(4,\)"),
    "conv2d of three axes": (lambda: ops.conv2d(X[0], K), r"x must have 4 axes, got shape \(7, 8, 6\)"),
    "kernel of three axes": (lambda: ops.conv2d(X, K[0]), r"kernel must have 4 axes, got shape \(2, 6, 4\)"),
    "pool of three axes": (lambda: ops.max_pool2d(X[0], 2), r"4 axes, got shape \(7, 8, 6\)"),
    "batch norm of one axis": (lambda: ops.batch_norm(VECTOR, None, None), r"\(6,\)"),
    "labels' shape": (lambda: ops.softmax_cross_entropy(ROWS, LABELS[:2]), r"targets.*\(2,\).*\(3,"),
    "rows' shape": (lambda: ops.softmax_cross_entropy(ROWS, ROWS[:, :4]), r"targets.*\(3, 4\).*\(3, 5\)"),
    "sample weight": (
        lambda: ops.softmax_cross_entropy(ROWS, LABELS, sample_weight=np.ones(2, np.float32)),
        r"sample_weight.*\(2,\).*\(3,\)",
    ),
    "cropping everything": (lambda: ops.cropping2d(X, 4), r"4.*7|7.*4"),
    "output shape of unpooling": (lambda: ops.max_unpool2d(POOLED, ARGMAX, (2, 7, 8, 5)), r"5"),
    "argmax and x": (lambda: ops.max_unpool2d(POOLED, ARGMAX[:, :2], X.shape), r"\(2, 2, 4, 6\).*\(2, 3, 4, 6\)"),
    "upsampled gradient": (lambda: ops.upsampling2d_backward(X, 3), r"7.*3"),
    "unknown algorithm": (lambda: ops.conv2d(X, K, algorithm="fft"), r"'fft'.*naive"),
    "unknown activation": (lambda: ops.conv2d(X, K, activation="rellu"), r"'rellu'.*relu6"),
    "unknown padding": (lambda: ops.conv2d(X, K, padding="full"), r"'valid'.*'same'.*'full'"),
    "output_padding": (
        lambda: ops.conv2d_transpose(X, K.transpose(0, 1, 3, 2), strides=2, output_padding=2),
        r"output_padding 2.*stride 2",
    ),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_shapes_that_do_not_belong_together(case: str) -> None:
    call, message = MISMATCHES[case]
    with pytest.raises(ValueError, match=message):
        call()


WRONG_DY: dict[str, Call] = {
    "conv2d_backward_data": lambda dy: ops.conv2d_backward_data(dy, K, X.shape),
    "conv2d_backward_weights": lambda dy: ops.conv2d_backward_weights(X, dy, (3, 2)),
    "depthwise_conv2d_backward_data": lambda dy: ops.depthwise_conv2d_backward_data(
        dy, np.zeros((3, 2, 6, 1), np.float32), X.shape
    ),
    "depthwise_conv2d_backward_weights": lambda dy: ops.depthwise_conv2d_backward_weights(X, dy, (3, 2)),
    "conv2d_transpose_backward": lambda dy: ops.conv2d_transpose_backward(dy, X, K.transpose(0, 1, 3, 2)),
    "locally_connected2d_backward": lambda dy: ops.locally_connected2d_backward(
        dy, X, np.zeros((5, 6, 54, 2), np.float32), 3
    ),
    "max_pool2d_backward": lambda dy: ops.max_pool2d_backward(dy, ARGMAX, X.shape),
    "avg_pool2d_backward": lambda dy: ops.avg_pool2d_backward(dy, X.shape, 2),
    "global_avg_pool2d_backward": lambda dy: ops.global_avg_pool2d_backward(dy, X.shape),
    "global_max_pool2d_backward": lambda dy: ops.global_max_pool2d_backward(dy, ARGMAX[:, 0, 0], X.shape),
    "batch_norm_backward": lambda dy: ops.batch_norm_backward(dy, X, VECTOR, VECTOR, VECTOR),
    "batch_norm_inference_backward": lambda dy: ops.batch_norm_inference_backward(dy, X, VECTOR, VECTOR, VECTOR),
    "local_response_norm_backward": lambda dy: ops.local_response_norm_backward(dy, X),
    "dense_backward": lambda dy: ops.dense_backward(dy, X, np.zeros((6, 3), np.float32)),
    "prelu_backward": lambda dy: ops.prelu_backward(dy, X, VECTOR),
    "relu_backward": lambda dy: ops.relu_backward(dy, X),
    "softmax_backward": lambda dy: ops.softmax_backward(dy, X),
    "activation_backward": lambda dy: ops.activation_backward(dy, X, "tanh"),
    "cropping2d_backward": lambda dy: ops.cropping2d_backward(dy, 1, X.shape),
}


@pytest.mark.parametrize("name", WRONG_DY)
def test_gradient_of_another_shape(name: str) -> None:
    """Never broadcast, never read out of bounds: the message has both shapes."""
    for shape in [(2, 3, 3, 3), (1, 1, 1, 1), (2, 1)]:
        with pytest.raises(ValueError, match=r"\(.*\(|axes, got shape|\d filters are not divisible by groups"):
            WRONG_DY[name](np.zeros(shape, np.float32))


def substitutes(call: OpCall) -> list[int]:
    """Positions of the arrays that reach the op itself (others only feed an argmax, or may be of any dtype)."""
    if "max_" in call.name and len(call.shapes) > 1:
        return [0]
    if call.name == "softmax_cross_entropy_backward":
        return [0]
    if call.name.startswith("batch_norm") or call.name == "softmax_cross_entropy":
        return list(range(min(4, len(call.shapes))))[: 1 if call.name == "softmax_cross_entropy" else 4]
    return list(range(len(call.shapes)))


each_call = pytest.mark.parametrize("call", op_calls(), ids=lambda call: call.name)


@each_call
def test_integer_arrays_are_told_how_to_become_floats(call: OpCall) -> None:
    for position in substitutes(call):
        for dtype in ("int64", "uint8", "bool"):
            arrays = call.arrays("float32")
            arrays[position] = arrays[position].astype(dtype)
            with pytest.raises(TypeError, match=rf"{dtype}.*astype\(np\.float32\)"):
                call.run(ops, arrays)


@each_call
def test_arrays_that_are_no_numbers_or_too_wide(call: OpCall) -> None:
    for position in substitutes(call):
        for dtype in ("complex64", "object", "U8", "float16", "longdouble"):
            arrays = call.arrays("float32")
            arrays[position] = arrays[position].astype(dtype)
            with pytest.raises(TypeError, match="float32 or float64, got "):
                call.run(ops, arrays)


@each_call
def test_mixed_dtypes(call: OpCall) -> None:
    positions = substitutes(call)
    for position in positions if len(call.shapes) > 1 and len(positions) > 1 else []:
        arrays = call.arrays("float32")
        arrays[position] = arrays[position].astype("float64")
        with pytest.raises(TypeError, match=r"float64.*float32|float32.*float64"):
            call.run(ops, arrays)


EMPTY: dict[str, Call] = {
    "height": lambda: ops.conv2d(X[:, :0], K),
    "width": lambda: ops.conv2d(X[:, :, :0], K),
    "channels": lambda: ops.conv2d(X[..., :0], K[:, :, :0]),
    "filters": lambda: ops.conv2d(X, K[..., :0]),
    "kernel height": lambda: ops.conv2d(X, K[:0]),
    "pool": lambda: ops.max_pool2d(X[..., :0], 2),
    "global pool": lambda: ops.global_avg_pool2d(X[:, :0]),
    "batch norm": lambda: ops.batch_norm(X[..., :0], None, None),
    "softmax": lambda: ops.softmax(ROWS[:, :0]),
    "dense": lambda: ops.dense(ROWS[:, :0], np.zeros((0, 3), np.float32)),
    "units": lambda: ops.dense(ROWS, np.zeros((5, 0), np.float32)),
    "upsampling": lambda: ops.upsampling2d(X[:, :0], 2),
    "padding with width 0": lambda: ops.conv2d(X[:, :, :0], K, padding=3),
    "input_shape": lambda: ops.conv2d_backward_data(Y, K, (2, 7, 0, 6)),
}


@pytest.mark.parametrize("case", EMPTY)
def test_no_height_width_channels_or_filters(case: str) -> None:
    with pytest.raises(ValueError, match=r"at least 1|\b0\b"):
        EMPTY[case]()


@pytest.mark.parametrize(
    "shape", [(2, 7, 8), (2, 7, 8, 6, 1), 4, None, "abcd", (2, 7, 8.0, 6), (2, 7, True, 6), (-1, 7, 8, 6)]
)
def test_input_shape_that_is_none(shape: Any) -> None:
    for call in (
        lambda: ops.conv2d_backward_data(Y, K, shape),
        lambda: ops.col2im(ROWS, shape, 3),
        lambda: ops.max_pool2d_backward(POOLED, ARGMAX, shape),
        lambda: ops.avg_pool2d_backward(POOLED, shape, 2),
        lambda: ops.global_avg_pool2d_backward(POOLED[:, 0, 0], shape),
        lambda: ops.max_unpool2d(POOLED, ARGMAX, shape),
        lambda: ops.cropping2d_backward(POOLED, 1, shape),
    ):
        with pytest.raises((TypeError, ValueError), match="shape"):
            call()


@pytest.mark.parametrize("index", [-1, 56, LIMIT, -(2**31)])
def test_argmax_outside_the_plane(index: int) -> None:
    argmax = ARGMAX.copy()
    argmax[1, 2, 3, 5] = index
    for call in (
        lambda: ops.max_unpool2d(POOLED, argmax, X.shape),
        lambda: ops.max_unpool2d_backward(X, argmax),
        lambda: ops.max_pool2d_backward(POOLED, argmax, X.shape),
        lambda: ops.global_max_pool2d_backward(POOLED[:, 0, 0], argmax[:, 2, 3], X.shape),
    ):
        with pytest.raises(IndexError, match=r"56|7 x 8"):
            call()


@pytest.mark.parametrize("dtype", ["float32", "bool", "complex64"])
def test_argmax_must_be_integers(dtype: str) -> None:
    with pytest.raises(TypeError, match=f"argmax.*{dtype}"):
        ops.max_unpool2d(POOLED, ARGMAX.astype(dtype), X.shape)
    with pytest.raises(TypeError, match=f"argmax.*{dtype}"):
        ops.max_pool2d_backward(POOLED, ARGMAX.astype(dtype), X.shape)


@pytest.mark.parametrize("label", [-1, 5, 2**40, -(2**63)])
def test_label_out_of_range(label: int) -> None:
    labels = np.array([0, label, 2])
    for call in (ops.softmax_cross_entropy, lambda z, t: ops.softmax_cross_entropy_backward(z, t, 1.0)):
        with pytest.raises(ValueError, match=rf"{label}.*5"):
            call(ROWS, labels)


@pytest.mark.parametrize("labels", [[0.0, 1.0, 2.0], [0, np.nan, 1], [True, False, True], ["0", "1", "2"]], ids=str)
def test_labels_that_are_no_integers(labels: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"label|target"):
        ops.softmax_cross_entropy(ROWS, np.array(labels))


@pytest.mark.parametrize("rate", [1, 1.0, -0.1, 2, float("nan"), float("inf")])
def test_dropout_rate(rate: float) -> None:
    for call in (ops.dropout, ops.spatial_dropout2d, ops.dropout_backward, ops.spatial_dropout2d_backward):
        with pytest.raises(ValueError, match="rate must be"):
            call(X, rate, 1, 2)


@pytest.mark.parametrize("value", [-1, 2**64, 1.5, True, "1", None])
def test_seed_and_counter(value: Any) -> None:
    for arguments in [(value, 0), (0, value)]:
        with pytest.raises((TypeError, ValueError, OverflowError), match=r"seed|counter"):
            ops.dropout(X, 0.5, *arguments)


@pytest.mark.parametrize("epsilon", [0, -1e-3, float("nan"), float("inf"), True, "1e-3", None])
def test_epsilon(epsilon: Any) -> None:
    for call in (
        lambda: ops.batch_norm(X, None, None, epsilon),
        lambda: ops.batch_norm_backward(X, X, VECTOR, VECTOR, VECTOR, epsilon),
        lambda: ops.batch_norm_inference(X, None, None, VECTOR, VECTOR, epsilon),
    ):
        with pytest.raises((TypeError, ValueError), match=r"epsilon must be"):
            call()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth_radius", -1),
        ("depth_radius", 1.5),
        ("depth_radius", True),
        ("depth_radius", 2**31),
        ("bias", float("nan")),
        ("bias", "1"),
        ("alpha", float("inf")),
        ("alpha", None),
        ("beta", float("nan")),
    ],
)
def test_local_response_norm(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError), match=name):
        ops.local_response_norm(X, **{name: value})


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, float("nan"), "a", None, True])
def test_label_smoothing(smoothing: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="label_smoothing must be"):
        ops.softmax_cross_entropy(ROWS, LABELS, smoothing)


@pytest.mark.parametrize("parameter", [float("nan"), "0.2", None, True])
def test_activation_parameters(parameter: Any) -> None:
    for call in (
        lambda: ops.leaky_relu(X, parameter),
        lambda: ops.elu(X, parameter),
        lambda: ops.activate(X, ("leaky_relu", parameter)),
        lambda: ops.conv2d(X, K, activation=("elu", parameter)),
    ):
        with pytest.raises((TypeError, ValueError), match=r"must be"):
            call()


@pytest.mark.parametrize(
    "activation", [3, ["relu"], ("relu", 0.1), ("leaky_relu",), ("a", "b", "c"), b"relu", ops.relu]
)
def test_activation_arguments(activation: Any) -> None:
    for call in (
        lambda: ops.activate(X, activation),
        lambda: ops.conv2d(X, K, activation=activation),
        lambda: ops.dense(X, np.zeros((6, 3), np.float32), activation=activation),
        lambda: ops.batch_norm(X, None, None, activation=activation),
    ):
        with pytest.raises((TypeError, ValueError), match="activation"):
            call()


def test_a_negative_slope_has_no_gradient_from_the_output() -> None:
    """The sign of x is lost: y > 0 on both sides of the kink."""
    with pytest.raises(ValueError, match="slope"):
        ops.leaky_relu_backward(X, X, -0.1)


BIG = np.zeros((1, 2, 2, 1), np.float32)
DEEP = np.zeros((1, 1, 1, 2**17), np.float32)

BEYOND_64_BITS: dict[str, Call] = {
    "zero padding": lambda: ops.zero_padding2d(BIG, LIMIT),
    "up-sampling": lambda: ops.upsampling2d(BIG, LIMIT),
    "unpooling": lambda: ops.max_unpool2d(BIG, BIG.astype(np.int32), (1, LIMIT, LIMIT, 1)),
    "convolution": lambda: ops.conv2d(BIG, np.zeros((1, 1, 1, 9), np.float32), padding=LIMIT),
    "transposed convolution": lambda: ops.conv2d_transpose(BIG, np.zeros((1, 1, 9, 1), np.float32), strides=LIMIT),
    "im2col": lambda: ops.im2col(BIG, (1, 2), padding=LIMIT),
    "average pooling": lambda: ops.avg_pool2d(BIG, LIMIT, 1, padding=LIMIT // 2),
}
BEYOND_MEMORY: dict[str, Call] = {
    "zero padding": lambda: ops.zero_padding2d(BIG, 2**22),
    "up-sampling": lambda: ops.upsampling2d(BIG, 2**22),
    "unpooling": lambda: ops.max_unpool2d(DEEP, DEEP.astype(np.int32), (1, 2**15, 2**15, 2**17)),
    "convolution": lambda: ops.conv2d(BIG, np.zeros((1, 1, 1, 1), np.float32), padding=2**22),
    "transposed convolution": lambda: ops.conv2d_transpose(BIG, np.zeros((1, 1, 1, 1), np.float32), strides=2**22),
    "im2col": lambda: ops.im2col(BIG, 1, padding=2**22),
}


@pytest.mark.parametrize("case", BEYOND_64_BITS)
def test_sizes_beyond_64_bits(case: str) -> None:
    """The element or byte count does not fit an int64: said before anything is allocated."""
    with pytest.raises(OverflowError):
        BEYOND_64_BITS[case]()


@pytest.mark.parametrize("case", BEYOND_MEMORY)
def test_sizes_no_machine_has(case: str) -> None:
    """From 2**46 floats: a legal size that cannot be allocated (2**48 bytes exceed the address space)."""
    with pytest.raises(MemoryError):
        BEYOND_MEMORY[case]()
    assert ops.zero_padding2d(BIG, 1).shape == (1, 4, 4, 1)  # the process lives


@pytest.mark.parametrize("value", [None, "image", [[1, 2], [3]], {}, object()], ids=str)
def test_things_that_are_no_arrays(value: Any) -> None:
    for call in (lambda: ops.conv2d(value, K), lambda: ops.relu(value), lambda: ops.max_pool2d(value, 2)):
        with pytest.raises((TypeError, ValueError)):
            call()


@pytest.mark.parametrize("threads", [0, -1])
def test_thread_count_below_one(threads: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {threads}"):
        fc.set_num_threads(threads)


@pytest.mark.parametrize("threads", [True, 1.5, "2", None])
def test_thread_count_that_is_none(threads: Any) -> None:
    with pytest.raises(TypeError, match="threads must be an integer"):
        fc.set_num_threads(threads)


def run_with(**environment: str) -> subprocess.CompletedProcess[str]:
    code = "import numpy, fastconv; fastconv.ops.relu(numpy.zeros(3)); fastconv.show_config()"
    environment = {**os.environ, "PYTHONPATH": str(Path(fc.__file__).parents[1]), **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("value", ["0", "-3", "two", "1.5"])
def test_thread_count_from_the_environment(value: str) -> None:
    result = run_with(FASTCONV_NUM_THREADS=value)
    assert result.returncode != 0
    assert "ValueError" in result.stderr.splitlines()[-1]
    assert f"FASTCONV_NUM_THREADS={value!r}" in result.stderr


def test_unknown_instruction_set() -> None:
    result = run_with(FASTCONV_ISA="mmx")
    assert result.returncode != 0
    last = result.stderr.splitlines()[-1]
    assert "ValueError" in last
    assert "'mmx'" in last
    assert "baseline" in last
