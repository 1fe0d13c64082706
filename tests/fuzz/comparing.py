"""Runs an op on arrays in awkward layouts and holds it against the reference in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from support import TOLERANCE, awkward_arrays, integers, randn

import fastconv as fc
from fastconv import ops, reference

from . import journal
from .worker import MOST_THREADS

Array = np.ndarray[Any, Any]


class Comparison:
    """The random choices of one case, and what all cases check.

    Attributes:
        rng: of the case.
        dtype: float32 or float64.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = "float32" if self.chance(0.6) else "float64"
        self._make = integers if self.chance(0.2) else randn
        self._awkward = self.chance(0.5)
        fc.set_conv2d_accuracy("exact" if self.chance(0.3) else "fast")

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def number(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both possible."""
        return int(self.rng.integers(low, high + 1))

    def one_of(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def batch(self) -> int:
        return self.one_of(0, 1, 1, 2, 2, 3, 5)

    def channels(self) -> int:
        """Around the vector widths, rarely many."""
        return self.number(1, 34) if self.chance(0.95) else self.number(35, 150)

    def array(self, *shape: int) -> Array:
        """Normal values, or small integers, so that ties and zeros occur."""
        return self._make(self.rng, shape, self.dtype)

    def same(self, name: str, *arguments: Any, scale: float = 1.0, **options: Any) -> tuple[Array, ...]:
        """Run ``ops.name`` and ``reference.name``; raise unless they agree.

        Args:
            arguments, options: of both; arrays are laid out at random.
            scale: the size of the terms that a result is a sum of: the error is relative to it, or to the largest
                result, whichever is more.

        Returns:
            The op's results.
        """
        arguments = tuple(self._laid_out(value) for value in arguments)
        before = [value.copy() if isinstance(value, np.ndarray) else None for value in arguments]
        threads = self.number(1, MOST_THREADS)
        with journal.doing(f"{name} ({threads} threads)", **_named(arguments), **options):
            fc.set_num_threads(threads)
            got = _tuple(getattr(ops, name)(*arguments, **options))
            want = _tuple(getattr(reference, name)(*map(_exact, arguments), **_reference_options(options)))
            assert len(got) == len(want), f"{len(got)} results, not {len(want)}"
            for i, (mine, other) in enumerate(zip(got, want, strict=True)):
                check_close(mine, other, self.dtype, scale, f"result {i}")
            for value, copy in zip(arguments, before, strict=True):
                assert copy is None or np.array_equal(value, copy, equal_nan=True), "an input has changed"
            if self.chance(0.3):
                fc.set_num_threads(1 + threads % MOST_THREADS)
                again = _tuple(getattr(ops, name)(*arguments, **options))
                assert all(map(_same_bits, got, again)), "other bits on another number of threads"
        return got

    def _laid_out(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._laid_out(item) for item in value]
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or not value.ndim or not self._awkward:
            return value
        layouts = [layout for _, layout in awkward_arrays(value)]
        return self.one_of(value, *layouts)


def check_close(got: Any, want: Any, dtype: str, scale: float, what: str) -> None:
    """``got`` has the dtype, the shape and, but for rounding, the values of ``want``; indices are the same."""
    if want is None:
        assert got is None, f"{what}: not None"
        return
    assert isinstance(got, np.ndarray), f"{what}: {type(got)}"
    assert got.shape == want.shape, f"{what}: shape {got.shape}, not {want.shape}"
    if want.dtype.kind in "iu":
        assert np.array_equal(got, want), f"{what}: other indices"
        return
    assert got.dtype == dtype, f"{what}: {got.dtype}, not {dtype}"
    if want.size:
        error = np.abs(got.astype(np.float64) - want)
        bound = TOLERANCE[dtype] * max(float(np.abs(want).max()), scale)
        assert error.max() <= bound, (
            f"{what}: {error.max():.3g} > {bound:.3g} at {np.unravel_index(error.argmax(), error.shape)}"
        )


def _same_bits(a: Any, b: Any) -> bool:
    return (a is None and b is None) or (a.shape == b.shape and a.tobytes() == b.tobytes())


def _tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def _exact(value: Any) -> Any:
    """What the reference gets: float64, contiguous."""
    if isinstance(value, list):
        return [_exact(item) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return np.array(value, np.float64, order="C")
    return value


def _reference_options(options: dict[str, Any]) -> dict[str, Any]:
    """``("prelu", alpha)`` holds an array, too."""
    activation = options.get("activation")
    if not isinstance(activation, tuple):
        return options
    return {**options, "activation": (activation[0], _exact(activation[1]))}


def _named(arguments: tuple[Any, ...]) -> dict[str, Any]:
    return {f"_{i}": value for i, value in enumerate(arguments)}


Case = Callable[[Comparison], None]
