"""The same bits from run to run and for every number of threads; every instruction set against the reference."""

import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import op_selfcheck
import pytest
from op_calls import OpCall, op_calls
from op_selfcheck import LARGE
from processes import ENVIRONMENT, run_python
from support import Array, ConvCase, randn

import fastconv as fc
from fastconv import _kernels, ops

ISAS = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "isas.py"))["ISAS"]
INSTRUCTION_SETS = [isa for of_machine in ISAS.values() for isa in of_machine]
each_large_call = pytest.mark.parametrize("call", op_calls(c=70, batch=80, rows=1500), ids=lambda call: call.name)


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


def threads_started(run: Callable[[], object]) -> int:
    """How many threads ``run`` starts. It runs in a Python thread of its own, for which OpenMP makes a new team."""
    started = 0

    def count() -> None:
        nonlocal started
        before = set(os.listdir("/proc/self/task"))
        run()
        started = len(set(os.listdir("/proc/self/task")) - before)

    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    return started


@pytest.mark.skipif(
    not (_kernels.has_openmp() and sys.platform.startswith("linux")), reason="NOT TESTED: needs OpenMP, reads /proc"
)
@each_large_call
def test_every_op_is_large_enough_for_several_threads(call: OpCall) -> None:
    """Or the test above compares one thread with itself. Far more threads are allowed than the work is worth: then
    their number follows from the size alone, not from what else the machine does."""
    arrays = call.arrays("float32")
    fc.set_num_threads(1)
    expected = call.run(ops, arrays)
    assert threads_started(lambda: call.run(ops, arrays)) == 0
    fc.set_num_threads(200)
    got: list[tuple[Array, ...]] = []
    assert threads_started(lambda: got.append(call.run(ops, arrays))) > 0
    assert all(np.array_equal(a, b) for a, b in zip(got[0], expected, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("case", "algorithm"), [(case, name) for case in LARGE for name in case.algorithms], ids=lambda value: str(value)
)
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


def selfcheck(isa: str, threads: int) -> subprocess.CompletedProcess[str]:
    """Run op_selfcheck.py in a process of its own."""
    environment = {**ENVIRONMENT, "FASTCONV_ISA": isa, "FASTCONV_NUM_THREADS": str(threads)}
    return subprocess.run(
        [sys.executable, op_selfcheck.__file__],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
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


def test_several_python_threads_at_once() -> None:
    """Kernels run without the GIL: calls from four threads do not disturb one another."""
    calls = [(call, call.arrays("float32")) for call in op_calls(c=33, batch=8)]
    expected = [call.run(ops, arrays) for call, arrays in calls]

    def run(order: int) -> None:
        for index in np.random.default_rng(order).permutation(len(calls)):
            call, arrays = calls[index]
            for got, want in zip(call.run(ops, arrays), expected[index], strict=True):
                assert np.array_equal(got, want), call.name

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(8)))


FORK = """
import multiprocessing, sys
import numpy as np
from fastconv import ops
import fastconv as fc

fc.set_num_threads(2)
a = np.arange(4.0e6, dtype=np.float32).reshape(2000, 2000) % 7
expected = ops.matmul(a, a)  # a parallel region, before the fork

def child(queue):
    queue.put(bool(np.array_equal(ops.matmul(a, a), expected)))

context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(queue,))
process.start()
print(queue.get(timeout=60))
"""

TORCH_BESIDE_US = """
import numpy as np
{imports}
a = np.arange(1.0e6, dtype=np.float32).reshape(1000, 1000) % 5
for _ in range(3):
    ours = ops.matmul(a, a)
    theirs = (torch.from_numpy(a) @ torch.from_numpy(a)).numpy()
    assert np.array_equal(ours, theirs)
x = np.random.default_rng(0).standard_normal((8, 32, 32, 16)).astype(np.float32)
k = np.random.default_rng(1).standard_normal((3, 3, 16, 32)).astype(np.float32)
theirs = torch.nn.functional.conv2d(torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(k).permute(3, 2, 0, 1))
print(bool(np.abs(ops.conv2d(x, k) - theirs.permute(0, 2, 3, 1).numpy()).max() < 1e-3))
"""


def test_fork_after_a_parallel_region() -> None:
    """By multiprocessing: libgomp would hang in the child, had the fork handler not ended its threads before."""
    assert run_python(FORK) == "True"


@pytest.mark.parametrize("first", ["torch", "fastconv"])
def test_torch_in_the_same_process(first: str) -> None:
    """Two OpenMP runtimes, in both import orders."""
    pytest.importorskip("torch", reason="needs torch==2.13.0")
    imports = ["import torch", "from fastconv import ops"]
    code = TORCH_BESIDE_US.format(imports="\n".join(imports if first == "torch" else imports[::-1]))
    assert run_python(code) == "True"
