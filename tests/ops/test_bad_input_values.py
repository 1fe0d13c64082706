"""What an op says to arrays of a wrong dtype, bad indices, labels and numbers, and sizes that no machine has."""

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


def substitutes(call: OpCall) -> list[int]:
    """Positions of the arrays that reach the op itself (others only feed an argmax, or are made positive first)."""
    if call.name.startswith(("max_", "global_max_", "softmax_cross_entropy")):
        return [0]
    return list(range(min(4, len(call.shapes))))


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


#: Ops of two arrays or more, each with the position of one that is not of the others' dtype. No such op: where the
#: second array only feeds an argmax. No such position: targets, which are converted.
MIXED = [
    (call, position)
    for call in op_calls()
    if len(call.shapes) > 1 and not call.name.startswith(("max_", "global_max_"))
    for position in range(len(call.shapes))
    if (call.name, position) != ("softmax_cross_entropy_backward", 1)
]


@pytest.mark.parametrize(("call", "position"), MIXED, ids=[f"{call.name}, {position}" for call, position in MIXED])
def test_mixed_dtypes(call: OpCall, position: int) -> None:
    arrays = call.arrays("float32")
    call.run(ops, arrays)
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


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FASTCONV_NUM_THREADS", "abc", "it must be a whole number"),
        ("FASTCONV_NUM_THREADS", "0", "it must be a whole number"),
        ("OMP_NUM_THREADS", "-1", "it must be a whole number"),
        ("FASTCONV_ISA", "foo", "this build has"),
    ],
)
@pytest.mark.parametrize("installed", [True, False], ids=["fastconv", "python -m"])
def test_the_command_says_which_variable_is_bad(
    variable: str, value: str, message: str, installed: bool, tmp_path: Path
) -> None:
    script = tmp_path / "fastconv"  # what pip installs
    script.write_text("import sys\nfrom fastconv.cli import main\nsys.exit(main())\n")
    program = [str(script)] if installed else ["-m", "fastconv.cli"]
    environment = {**os.environ, "PYTHONPATH": str(Path(fc.__file__).parents[1]), variable: value}
    environment |= {} if variable == "FASTCONV_NUM_THREADS" else {"FASTCONV_NUM_THREADS": ""}
    result = subprocess.run(
        [sys.executable, *program, "config"], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]  # libgomp may have said something before
    assert "Traceback" not in result.stderr
    assert line.startswith(f"fastconv: {variable}={value!r} in the environment: ")
    assert message in line


def test_unknown_instruction_set() -> None:
    result = run_with(FASTCONV_ISA="mmx")
    assert result.returncode != 0
    last = result.stderr.splitlines()[-1]
    assert "ValueError" in last
    assert "'mmx'" in last
    assert "baseline" in last
