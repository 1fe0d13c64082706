"""The process-wide source of randomness: weights, dropout seeds and shuffle seeds are drawn from it."""

import contextlib
import operator
import random as _python_random
from collections.abc import Iterator

import numpy as np

_generator = np.random.default_rng()


def set_random_seed(seed: int) -> None:
    """Make everything drawn from now on reproducible.

    Seeds fastconv's own generator and, as Keras does, Python's ``random`` and NumPy's legacy ``np.random``.

    Args:
        seed: integer in [0, 2**32).

    Raises:
        TypeError: the seed is not an integer.
        ValueError: the seed is out of range.
    """
    global _generator
    if isinstance(seed, bool):
        raise TypeError("seed must be an integer, got a bool")
    seed = operator.index(seed)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie in [0, 2**32), got {seed}")
    _generator = np.random.default_rng(seed)
    _python_random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (for code that still draws from it)


def generator() -> np.random.Generator:
    """Return the process-wide generator; drawing from it advances it."""
    return _generator


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a generator of this seed inside a ``with`` block, and go on with the present one after it."""
    global _generator
    before = _generator
    _generator = np.random.default_rng(seed)
    try:
        yield
    finally:
        _generator = before


def next_seed() -> int:
    """Draw a seed in [0, 2**63) for something that keeps its own random state (a dropout layer, a shuffle)."""
    return int(_generator.integers(2**63))
