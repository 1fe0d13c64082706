"""What holds for every op: awkward memory layouts, untouched inputs, fresh outputs, agreement with the reference."""

import numpy as np
import pytest
from op_calls import OpCall, op_calls
from support import WINOGRAD, Array, assert_close, awkward_arrays, both_dtypes, contiguous

from fastconv import ops, reference

each_call = pytest.mark.parametrize("call", op_calls(), ids=lambda call: call.name)


@both_dtypes
@each_call
def test_awkward_layouts_equal_the_contiguous_result(call: OpCall, dtype: str) -> None:
    arrays = call.arrays(dtype)
    for position, array in enumerate(arrays):
        for layout, awkward in awkward_arrays(array):
            given = [*arrays[:position], awkward, *arrays[position + 1 :]]
            results = call.run(ops, given)
            expected = call.run(ops, [contiguous(a) for a in given])
            for got, want in zip(results, expected, strict=True):
                assert got.dtype == want.dtype, f"argument {position} {layout}"
                assert got.dtype.isnative
                assert np.array_equal(got, want), f"argument {position} {layout}"


@both_dtypes
@each_call
def test_inputs_are_not_written_and_outputs_are_fresh(call: OpCall, dtype: str) -> None:
    arrays = call.arrays(dtype)
    before = [a.copy() for a in arrays]
    for array in arrays:
        array.flags.writeable = False
    for result in call.run(ops, arrays):
        assert result.flags.c_contiguous
        assert result.flags.writeable
        assert not any(np.shares_memory(result, a) for a in arrays)
    for array, copy in zip(arrays, before, strict=True):
        assert np.array_equal(array, copy)


@both_dtypes
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33])
def test_every_op_equals_the_reference(channels: int, dtype: str) -> None:
    for call in op_calls(channels):
        arrays = call.arrays(dtype, seed=channels)
        wide = call.run(reference, [a.astype(np.float64) for a in arrays])
        for got, want in zip(call.run(ops, arrays), wide, strict=True):
            if got.dtype == np.int32:
                assert np.array_equal(got, want), call.name
            else:
                assert_close(got, want, dtype, call.name)


@each_call
def test_zero_batch(call: OpCall) -> None:
    """Every op takes no samples at all, and gives the shapes and values of the reference."""
    empty = next(c for c in op_calls(batch=0) if c.name == call.name)
    arrays: list[Array] = empty.arrays("float32")
    for got, want in zip(empty.run(ops, arrays), empty.run(reference, arrays), strict=True):
        if got.dtype == np.int32:
            assert got.shape == want.shape
        else:
            assert_close(got, want.astype(np.float64), "float32")


def test_results_that_are_kept_are_never_overwritten() -> None:
    """Memory of results is reused once nobody can see it: views, slices and what shares memory still count as seen."""
    x = np.arange(2.0**18, dtype=np.float32).reshape(4, 64, 64, 16)
    kept = [ops.relu(x + i) for i in range(4)]
    views = [ops.relu(x + i)[:, 1::2].transpose(3, 0, 1, 2) for i in range(4)]
    buffers = [memoryview(ops.relu(x + i)) for i in range(4)]
    for i in range(40):
        ops.relu(x - i)  # dies at once: its memory comes back
    for i in range(4):
        assert np.array_equal(kept[i], x + i)
        assert np.array_equal(views[i], (x + i)[:, 1::2].transpose(3, 0, 1, 2))
        assert np.array_equal(np.asarray(buffers[i]), x + i)


@pytest.mark.parametrize("algorithm", [n for n in ops.conv2d_algorithms() if n not in ("grouped", *WINOGRAD)])
def test_more_than_two_to_the_31_elements(algorithm: str) -> None:
    """64-bit indices: 8.6 GB of zeros of which only the corners are read (so no memory is really used)."""
    side = 46_342
    try:
        x = np.zeros((1, side, side, 1), np.float32)
    except MemoryError:
        pytest.skip("NOT TESTED: this machine does not lend 8.6 GB of untouched memory")
    x[0, 0, -1], x[0, -1, 0], x[0, -1, -1] = 3, 5, 7
    kernel = np.ones((1, 1, 1, 2), np.float32)
    y = ops.conv2d(x, kernel, strides=side - 1, algorithm=algorithm)
    assert y[0, ..., 1].tolist() == [[0, 3], [5, 7]]
    dkernel, _ = ops.conv2d_backward_weights(x, y, 1, strides=side - 1, algorithm=algorithm)
    assert dkernel.ravel().tolist() == [83, 83]
    assert ops.avg_pool2d(x, 1, side - 1)[0, ..., 0].tolist() == [[0, 3], [5, 7]]
