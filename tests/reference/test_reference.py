"""The NumPy reference itself. (Its values are held against PyTorch in test_ops_*.py, which run for both.)"""

import ast
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from op_calls import OpCall, op_calls
from support import assert_close, both_dtypes, integers, randn, random_conv_cases

from fastconv import ops, reference

# concatenate_growing computes what concatenate does, in memory of another layout.
ONLY_IN_OPS = {"register_conv2d", "conv2d_algorithms", "conv2d_choice", "prepare_conv2d", "concatenate_growing"}


def test_ops_and_reference_have_the_same_names() -> None:
    functions = {name: value for name, value in vars(ops).items() if inspect.isfunction(value)}
    public = {name for name, value in functions.items() if value.__module__.startswith("fastconv.ops")}
    assert public - ONLY_IN_OPS == set(reference.__all__)


@pytest.mark.parametrize("name", sorted(reference.__all__))
def test_ops_and_reference_have_the_same_signature(name: str) -> None:
    def parameters(function: object) -> list[tuple[str, object]]:
        found = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
        return [(p.name, p.default) for p in found if p.name != "method"]

    assert parameters(getattr(ops, name)) == parameters(getattr(reference, name))


def test_every_function_is_documented_and_in_the_table_of_calls() -> None:
    for name in reference.__all__:
        assert getattr(reference, name).__doc__, name
    called = {call.name for call in op_calls()}
    assert set(reference.__all__) - called - {"optimizer_step"} == set()


def imported(source: str) -> set[str]:
    """The modules that a program imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


@pytest.mark.parametrize("path", sorted(Path(reference.__file__).parent.rglob("*.py")), ids=lambda path: path.stem)
def test_reference_imports_numpy_the_standard_library_and_itself(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"__import__|import_module|\bexec\b|\beval\b", source)
    allowed = sys.stdlib_module_names | {"numpy"}
    others = {name for name in imported(source) if name.partition(".")[0] not in allowed}
    assert {name for name in others if not f"{name}.".startswith("fastconv.reference.")} == set()


def test_imports_are_seen_in_every_form() -> None:
    """Or the test above proves nothing."""
    source = "import torch\nimport os, torch.nn as nn\ndef f():\n    from keras import ops\n    from .. import config"
    assert imported(source) == {"torch", "os", "torch.nn", "keras", ".."}


@pytest.mark.parametrize("case", random_conv_cases(25, seed=1), ids=str)
def test_loops_equal_im2col_exactly_on_integers(case) -> None:  # type: ignore[no-untyped-def]
    x, kernel, bias = case.arrays(integers, seed=2, dtype="float64")
    x, kernel, bias = x[:1], kernel[..., :], bias
    by_loops = reference.conv2d(x, kernel, bias, **case.arguments, method="loops")
    assert np.array_equal(by_loops, reference.conv2d(x, kernel, bias, **case.arguments))


def test_unknown_method() -> None:
    with pytest.raises(ValueError, match="'loops' or 'im2col', got 'fft'"):
        reference.conv2d(np.zeros((1, 3, 3, 1)), np.zeros((1, 1, 1, 1)), method="fft")


@both_dtypes
@pytest.mark.parametrize("call", op_calls(), ids=lambda call: call.name)
def test_results_have_the_dtype_of_the_input_and_inputs_stay(call: OpCall, dtype: str) -> None:
    arrays = call.arrays(dtype)
    before = [a.copy() for a in arrays]
    for result in call.run(reference, arrays):
        assert result.dtype in (dtype, np.int32)
    for array, copy in zip(arrays, before, strict=True):
        assert np.array_equal(array, copy)


@pytest.mark.parametrize("call", op_calls(), ids=lambda call: call.name)
def test_float32_agrees_with_float64(call: OpCall) -> None:
    arrays = call.arrays("float32")
    wide = call.run(reference, [a.astype(np.float64) for a in arrays])
    for narrow, want in zip(call.run(reference, arrays), wide, strict=True):
        if narrow.dtype == np.int32:
            assert np.array_equal(narrow, want)
        else:
            assert_close(narrow, want, "float32", call.name)


def test_randn_is_the_same_in_both_dtypes() -> None:
    a, b = (randn(np.random.default_rng(0), (3, 4), dtype) for dtype in ("float32", "float64"))
    assert np.abs(a - b).max() < 1e-6
