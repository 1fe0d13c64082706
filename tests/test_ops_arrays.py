"""What holds for every op: awkward memory layouts, untouched inputs, fresh outputs, agreement with the reference."""

import numpy as np
import pytest
from op_calls import OpCall, op_calls
from support import Array, assert_close, awkward_arrays, both_dtypes, contiguous

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
