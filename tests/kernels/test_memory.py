"""The pool under the arrays: blocks come back, aligned, and a steady training step asks the system for nothing."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from processes import run_python

import fastconv as fc
from fastconv import _kernels, applications, layers


def test_a_block_comes_back_when_the_last_array_over_it_dies() -> None:
    _kernels.pool_trim()
    used, waiting = _kernels.pool_usage()
    assert waiting == 0
    array = _kernels.empty((1000, 333), np.float32)
    address, view = array.ctypes.data, array[5:]
    assert address % 64 == 0
    assert _kernels.pool_usage()[0] - used >= array.nbytes
    del array
    assert _kernels.pool_usage()[0] > used, "a view still needs the block"
    del view
    assert _kernels.pool_usage()[0] == used
    assert _kernels.pool_usage()[1] > 0
    again = _kernels.empty((1000, 333), np.float32)
    assert again.ctypes.data == address
    assert _kernels.pool_usage()[1] == 0


def test_a_block_also_serves_what_is_a_little_smaller() -> None:
    """Up to two size classes, so at most half of it is unused."""
    _kernels.pool_trim()
    address = _kernels.empty((1 << 20,), np.uint8).ctypes.data
    fresh = _kernels.pool_fresh()
    assert _kernels.empty((740_000,), np.uint8).ctypes.data == address
    assert _kernels.pool_fresh() == fresh
    small = _kernels.empty((600_000,), np.uint8)
    assert small.ctypes.data != address
    assert _kernels.pool_fresh() - fresh >= small.nbytes


def test_the_pool_lets_old_sizes_go() -> None:
    """Ever new sizes, one at a time: at most twice the largest need stays."""
    _kernels.pool_trim()
    used = _kernels.pool_usage()[0]
    for size in (*range(1_000_000, 5_000_000, 100_000), *range(100_000_000, 180_000_000, 10_000_000)):
        _kernels.empty((size,), np.uint8)
        in_use, waiting = _kernels.pool_usage()
        assert in_use == used
        assert waiting <= 2 * (used + 1.25 * size)


RESIDENT = """
import numpy as np
from fastconv import _kernels

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

before = resident()
blocks = [_kernels.zeros((500_000,), np.uint8) for _ in range(400)]
pins = [np.ones(10_000) for _ in range(400)]
held = resident() - before
del blocks
_kernels.pool_trim()
print(held, resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: reads /proc")
def test_trimming_gives_memory_back_to_the_system() -> None:
    """Not to the C library, which keeps what was freed in the middle of its heap."""
    held, kept = map(int, run_python(RESIDENT).split())
    assert held > 200e6
    assert kept < 60e6


@pytest.fixture
def one_thread() -> Iterator[None]:
    """How many pay may change in the middle, beside other programs, and with it how large a workspace is."""
    before = fc.get_num_threads()
    fc.set_num_threads(1)
    yield
    fc.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_a_steady_step_takes_no_new_memory() -> None:
    fc.utils.set_random_seed(0)
    model = fc.Sequential(
        [
            layers.Input((24, 20, 3)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPool2D(2),
            layers.Conv2D(24, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x, y = rng.random((32, 24, 20, 3), dtype=np.float32), rng.integers(0, 5, 32)
    totals = []
    for _ in range(16):
        model.train_on_batch(x, y)
        totals.append(sum(_kernels.pool_usage()))
    assert len(set(totals[8:])) == 1


#: Networks of every kind at the size of their pictures; with two pictures a step, the larger ones need 0.2 to 1 GB.
ZOO = (
    "AlexNet", "ZFNet", "VGG16", "GoogLeNet", "ResNet18", "ResNet50", "InceptionV3", "Xception", "SqueezeNet",
    "DenseNet121", "MobileNet", "MobileNetV2", "NiN",
)  # fmt: skip


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ZOO)
def test_a_steady_step_of_the_zoo_takes_no_fresh_memory(name: str) -> None:
    """A step wants other sizes backward than forward: what waits for the next step must not go meanwhile."""
    _kernels.pool_trim()
    model = getattr(applications, name)()
    model.compile("sgd", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.random((2, *model.input_shape[1:]), dtype=np.float32)
    y = rng.integers(0, model.output_shape[-1], 2)
    taken = [1]
    while taken[-2:] != [0, 0]:  # a few steps, until every request finds a block that is not too large for it
        assert len(taken) < 12, taken
        before = _kernels.pool_fresh()
        model.train_on_batch(x, y)
        taken.append(_kernels.pool_fresh() - before)
    assert sum(taken[2:]) < 0.05 * taken[1]
