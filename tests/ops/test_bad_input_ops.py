"""What an op says to a bad geometry or to shapes that do not fit: the type of the error, and the numbers in it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

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


HYPER = {"learning_rate": 0.1, "weight_decay": 0.0, "scale": 1.0, "momentum": 0.9, "nesterov": 0.0, "step": 1}
HYPER |= {"rho": 0.9, "epsilon": 1e-7, "beta_1": 0.9, "beta_2": 0.999}


def optimizer_step(kind: Any = "sgd", **changed: Any) -> None:
    """One step of sgd with momentum on one parameter, with some of its arguments replaced."""
    arguments: dict[str, Any] = {"values": [VECTOR.copy()], "grads": [VECTOR], "states": [[VECTOR.copy()]]}
    ops.optimizer_step(kind, *(arguments | {"hyper": HYPER} | changed).values())


def without(left_out: str) -> dict[str, Any]:
    return {name: value for name, value in HYPER.items() if name != left_out}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": ["sgd"]}, "kind must be a string, got list"),
        ({"values": VECTOR}, "values must be a list of arrays, got ndarray"),
        ({"values": None}, "values must be a list of arrays, got NoneType"),
        ({"values": "x"}, "values must be a list of arrays, got str"),
        ({"values": [[0.0, 0.0]]}, "values must be a list of arrays, got list in it"),
        ({"values": [None]}, "values must be a list of arrays, got NoneType in it"),
        ({"values": [3.0]}, "values must be a list of arrays, got float in it"),
        ({"values": ["x"]}, "values must be a list of arrays, got str in it"),
        ({"values": [LABELS]}, "value is int64"),
        ({"grads": 3.0}, "grads must be a list of arrays, got float"),
        ({"grads": [None]}, "grad must be float32 or float64, got object"),
        ({"grads": ["x"]}, "grad must be float32 or float64, got <U1"),
        ({"grads": [[0.0] * 6]}, "grad is float64 but the first array is float32"),
        ({"states": None}, "states must be a list of lists of arrays, got NoneType"),
        ({"states": [None]}, "states must be a list of lists of arrays, got NoneType in it"),
        ({"states": [VECTOR[np.newaxis]]}, "states must be a list of lists of arrays, got ndarray in it"),
        ({"states": ["x"]}, "states must be a list of lists of arrays, got str in it"),
        ({"states": [[0.0]]}, "states must be a list of lists of arrays, got float in it"),
        ({"states": [[LABELS]]}, "state is int64"),
        ({"hyper": None}, "hyper must be a dict of numbers, got NoneType"),
        ({"hyper": [0.1]}, "hyper must be a dict of numbers, got list"),
        ({"hyper": HYPER | {"momentum": "0.9"}}, r"hyper\['momentum'\] must be a number, got '0.9' \(str\)"),
        ({"hyper": HYPER | {"scale": None}}, r"hyper\['scale'\] must be a number, got None \(NoneType\)"),
    ],
)
def test_an_optimizer_step_of_other_things(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}"):
        optimizer_step(**changed)


@pytest.mark.parametrize(
    ("kind", "slots", "needed"),
    [
        ("sgd", 0, []),
        ("sgd", 1, ["momentum", "nesterov"]),
        ("rmsprop", 1, ["rho", "epsilon"]),
        ("rmsprop", 2, ["rho", "epsilon", "momentum"]),
        ("adam", 2, ["beta_1", "beta_2", "epsilon", "step"]),
        ("adamw", 2, ["beta_1", "beta_2", "epsilon", "step"]),
        ("adagrad", 1, ["epsilon"]),
    ],
)
def test_an_optimizer_step_lacks_a_number(kind: str, slots: int, needed: list[str]) -> None:
    """Nothing is updated with a number that nobody gave."""
    for name in ("learning_rate", "weight_decay", "scale", *needed):
        value, states = np.ones(6, np.float32), [np.ones(6, np.float32) for _ in range(slots)]
        with pytest.raises(ValueError, match=f"^hyper lacks '{name}', which {kind} needs; it has "):
            optimizer_step(kind, values=[value], states=[states], hyper=without(name))
        assert all((array == 1).all() for array in (value, *states))
    enough = {name: HYPER[name] for name in ("learning_rate", "weight_decay", "scale", *needed)}
    optimizer_step(kind, states=[[VECTOR.copy() for _ in range(slots)]], hyper=enough)
    optimizer_step(kind, values=[], grads=[], states=[], hyper={})


def test_the_first_step_of_an_optimizer_is_1() -> None:
    with pytest.raises(ValueError, match=r"hyper\['step'\] must be at least 1, got 0"):
        optimizer_step("adam", states=[[VECTOR.copy(), VECTOR.copy()]], hyper=HYPER | {"step": 0})
