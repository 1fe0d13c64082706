"""Memory that a kernel takes was used before: what it reads without having written it shows."""

import numpy as np
import pytest

from fastconv import _kernels

SIZES = [2**power + part * 2 ** (power - 2) for power in range(10, 22) for part in range(4)]  # bytes, 1 KB to 4 MB


@pytest.fixture(scope="module", autouse=True)
def used_memory() -> None:
    """Leave blocks of every size full of NaN in the pool; fresh ones from the system would hold zeros."""
    blocks = [_kernels.empty((size // 4,), np.float32) for size in SIZES for _ in range(2)]
    for block in blocks:
        block.fill(np.nan)
