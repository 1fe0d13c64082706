"""Threads that the system does not give, and processes that fork."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_python

from fastconv import _kernels

pytestmark = pytest.mark.skipif(not _kernels.has_openmp(), reason="NOT TESTED: this build has no OpenMP")


# ---- forks ----

#: A child that computes on two threads; its answer, or "hangs".
CHILD = """
import os, select, sys, threading
import numpy as np
import fastconv as fc
from fastconv import ops

fc.set_num_threads(2)
a = np.arange(4.0e6, dtype=np.float32).reshape(2000, 2000) % 7

def fork():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        right = bool(np.array_equal(ops.matmul(a, a), expected))
        tasks = len(os.listdir("/proc/self/task"))
        os.write(writer, f"{right} {fc.get_num_threads()} {tasks > 1}".encode())
        os._exit(0)
    if select.select([reader], [], [], 30)[0]:
        print(os.read(reader, 100).decode())
    else:
        os.kill(child, 9)
        print("hangs")
    os.waitpid(child, 0)
"""
WORKS = "True 2 True"


def test_a_child_has_several_threads_too() -> None:
    """Also of a child; and the parent goes on as before."""
    code = CHILD + "expected = ops.matmul(a, a)\nfork()\nprint(np.array_equal(ops.matmul(a, a), expected))\nfork()"
    assert run_python(code).splitlines() == [WORKS, "True", WORKS]


def test_a_fork_from_another_thread() -> None:
    """The main thread's team is not there in the child, and nobody asks for it."""
    code = CHILD + "expected = ops.matmul(a, a)\nt = threading.Thread(target=fork)\nt.start()\nt.join()"
    assert run_python(code) == WORKS


LIBRARY = """
int run(void) {
  int n = 0;
#pragma omp parallel num_threads(2) reduction(+ : n)
  n += 1;
  return n;
}
"""


def test_another_library_has_used_the_same_openmp(tmp_path: Path) -> None:
    """Its threads are those of the OpenMP that both share, and our kernels had none before the fork."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("NOT TESTED: needs a C compiler")
    source, library = tmp_path / "other.c", tmp_path / "other.so"
    source.write_text(LIBRARY)
    subprocess.run([compiler, "-fopenmp", "-shared", "-fPIC", source, "-o", library], check=True)
    assert ctypes.CDLL(str(library)).run() == 2
    code = (
        CHILD
        + f"""
import ctypes
fc.set_num_threads(1)
expected = ops.matmul(a, a)
fc.set_num_threads(2)
assert ctypes.CDLL({str(library)!r}).run() == 2
fork()
"""
    )
    assert run_python(code) == WORKS


# ---- threads that cannot be had ----

#: 64 threads want 512 MB of address space for their stacks.
CROWDED = """
import resource
import numpy as np
import fastconv as fc
from fastconv import ops

a = np.arange(1.0e6, dtype=np.float32).reshape(1000, 1000) % 5
fc.set_num_threads(1)
expected = ops.matmul(a, a)
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (200 << 20), size + (200 << 20)))
fc.set_num_threads(64)
for _ in range(3):
    print(np.array_equal(ops.matmul(a, a), expected))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: reads /proc")
def test_fewer_threads_where_the_system_has_no_more() -> None:
    assert run_python(CROWDED, OMP_STACKSIZE="8M").splitlines() == ["True"] * 3


# ---- busy neighbours ----

#: On two processors, one of them busy: how much longer two threads take than one, interleaved.
BESIDE_A_NEIGHBOUR = """
import os, statistics, subprocess, sys, time
import numpy as np
import fastconv as fc

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
try:
    net = fc.applications.LeNet5()
    net.compile("sgd", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x, y = rng.random((64, *net.input_shape[1:]), dtype=np.float32), rng.integers(0, 10, 64)
    seconds = {1: [], 2: []}
    for _ in range(3):
        for threads, taken in seconds.items():
            fc.set_num_threads(threads)
            end = time.perf_counter() + 0.5
            while (start := time.perf_counter()) < end:
                net.train_on_batch(x, y)
                taken.append(time.perf_counter() - start)
    print(statistics.median(seconds[2]) / statistics.median(seconds[1]))
finally:
    busy.kill()
"""


@pytest.mark.skipif(
    not Path("/proc/thread-self/schedstat").exists() or len(os.sched_getaffinity(0)) < 2,
    reason="NOT TESTED: needs Linux and two processors",
)
def test_two_threads_beside_a_busy_neighbour_are_not_much_slower_than_one() -> None:
    """They were four times slower: each kernel waited for a thread that waited for a processor."""
    ratios = [float(run_python(BESIDE_A_NEIGHBOUR, OMP_WAIT_POLICY=None)) for _ in range(3)]
    assert min(ratios) < 1.5, ratios
