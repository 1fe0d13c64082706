"""The pool under the arrays: blocks come back, aligned, and a steady training step asks the system for nothing."""

import numpy as np

import fastconv as fc
from fastconv import _kernels, layers


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


def test_the_pool_lets_old_sizes_go() -> None:
    """Ever new sizes, one at a time: at most twice the largest need stays; of large ones, 32 MB more than that."""
    _kernels.pool_trim()
    used = _kernels.pool_usage()[0]
    for step in range(40):
        _kernels.empty((1_000_000 + 100_000 * step,), np.uint8)
        in_use, waiting = _kernels.pool_usage()
        assert in_use == used
        assert waiting <= 2 * (used + 1.25 * (1_000_000 + 100_000 * step))
    for step in range(8):
        _kernels.empty((100_000_000 + 10_000_000 * step,), np.uint8)
        assert _kernels.pool_usage()[1] <= used + 1.25 * (100_000_000 + 10_000_000 * step) + (32 << 20)


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
    for _ in range(12):
        model.train_on_batch(x, y)
        totals.append(sum(_kernels.pool_usage()))
    assert len(set(totals[4:])) == 1
