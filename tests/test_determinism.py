"""The same bits from run to run and for every number of threads; every instruction set against the reference."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from op_calls import OpCall, op_calls
from op_selfcheck import LARGE
from support import ConvCase, randn

import fastconv as fc
from fastconv import _kernels, ops

INSTRUCTION_SETS = ("baseline", "avx2", "avx512", "neon")
each_large_call = pytest.mark.parametrize("call", op_calls(c=70, batch=40), ids=lambda call: call.name)


@pytest.fixture(autouse=True)
def _restore_threads():  # type: ignore[no-untyped-def]
    before = fc.get_num_threads()
    yield
    fc.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_large_call
def test_every_op_on_one_to_three_threads(call: OpCall, dtype: str) -> None:
    arrays = call.arrays(dtype)
    fc.set_num_threads(1)
    expected = call.run(ops, arrays)
    for threads in (1, 2, 3):
        fc.set_num_threads(threads)
        for got, want in zip(call.run(ops, arrays), expected, strict=True):
            assert np.array_equal(got, want), f"{threads} threads"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algorithm", ops.conv2d_algorithms())
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_every_convolution_on_one_to_three_threads(case: ConvCase, algorithm: str, dtype: str) -> None:
    x, kernel, bias = case.arrays(randn, seed=1, dtype=dtype)
    results = []
    for threads in (1, 2, 3, 2):
        fc.set_num_threads(threads)
        y = ops.conv2d(x, kernel, bias, **case.arguments, algorithm=algorithm)
        dx = ops.conv2d_backward_data(y, kernel, x.shape, **case.arguments, algorithm=algorithm)
        results.append((y, dx, *ops.conv2d_backward_weights(x, y, case.kernel, **case.arguments, algorithm=algorithm)))
    for result in results[1:]:
        for name, got, want in zip(("y", "dx", "dkernel", "dbias"), result, results[0], strict=True):
            assert np.array_equal(got, want), name


#: A subprocess imports the fastconv that this process has, installed or not; idle threads sleep, they do not spin.
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(fc.__file__).parents[1]),
    "OMP_WAIT_POLICY": "passive",
    "OPENBLAS_NUM_THREADS": "1",
}


def selfcheck(isa: str, threads: int) -> subprocess.CompletedProcess[str]:
    """Run op_selfcheck.py in a process of its own."""
    environment = {**ENVIRONMENT, "FASTCONV_ISA": isa, "FASTCONV_NUM_THREADS": str(threads)}
    script = Path(__file__).with_name("op_selfcheck.py")
    return subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_instruction_set_against_the_reference(isa: str) -> None:
    """In a process of its own, with one thread and with two: right, and the same bits."""
    if isa not in _kernels.available_isas():
        reason = "not built for this machine" if isa not in _kernels.built_isas() else "this CPU lacks it"
        pytest.skip(f"NOT TESTED: instruction set {isa}: {reason}")
    one, two = selfcheck(isa, 1), selfcheck(isa, 2)
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    assert one.stdout == two.stdout


def test_the_forced_instruction_set_is_the_one_in_use() -> None:
    for isa in _kernels.available_isas():
        code = "from fastconv import _kernels, ops; import numpy; ops.relu(numpy.zeros(3)); print(_kernels.isa())"
        environment = {**ENVIRONMENT, "FASTCONV_ISA": isa}
        output = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert output.stdout.strip() == isa


def test_an_instruction_set_this_cpu_lacks_is_an_error() -> None:
    missing = [isa for isa in _kernels.built_isas() if isa not in _kernels.available_isas()]
    if not missing:
        pytest.skip("NOT TESTED: this CPU has every instruction set of the build")
    for isa in missing:
        with pytest.raises(RuntimeError, match=f"cannot run '{isa}'.*{_kernels.isa()}"):
            _kernels.select_isa(isa)
