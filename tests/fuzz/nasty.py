"""Values that no sensible program passes, for any argument."""

from __future__ import annotations

import array
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
INT_MAX = 2**31 - 1

NUMBERS = (
    0, -1, True, False, 1.5, 0.0, -0.0, 1e308, 5e-324, math.nan, math.inf, -math.inf, 1j, 2**15, 2**16, 2**30,
    INT_MAX, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, -(2**31), -(2**63), 10**30, 10**5000, Decimal("1.5"),
    Fraction(1, 2), np.int8(3), np.int64(2), np.uint64(2**63), np.bool_(True), np.float32(2), np.float64("nan"),
    np.float16(0.5), np.longdouble(1), np.datetime64("2020-01-01"),
)  # fmt: skip
STRINGS = (
    "", "same", "SAME", "valid", "full", "3", "nan", "relu", "prelu", "naive", "winograd", "depthwise", "float16",
    "float64", "x" * 10_000, "\0", "\ud800", "a/b", b"", b"valid", bytearray(8),
)  # fmt: skip
SEQUENCES = (
    (), (1,), (0, 1), (1, 0), (1, 2), (1, 2, 3), (1.0, 2), (True, 1), (-1, 1), (2**30, 2**30), (2**30, 1), (1, 2**30),
    (INT_MAX, INT_MAX), (INT_MAX, 1), (1, INT_MAX), (2**31, 1), (1, 2**63), ((0, 0), (0, 0)), ((0, 0), (2**30, 0)),
    ((2**30, 2**30), (2**30, 2**30)), ((INT_MAX, INT_MAX), (INT_MAX, INT_MAX)), ((1, 1), (1, 1), (1, 1)), ((1, 1), 2),
    ((1, 2, 3), (1, 2)), (None, 1), ("a", "b"), ("relu", 1), ("leaky_relu", math.nan), ("elu", "x"), ("prelu", None),
    (2, 7, 8, 6), (2**31, 7, 8, 6), (2, 2**20, 2**20, 6), (2, INT_MAX, INT_MAX, 6), (0, 0, 0, 0), (None, None, None, 6),
    (1,) * 70, range(2), range(10**9),
)  # fmt: skip
CONTAINERS: tuple[Any, ...] = (
    {},
    set(),
    {"a": 1},
    {0: 1},
    frozenset({1}),
    slice(1),
    ...,
    NotImplemented,
    None,
    None,
    object,
)


class ProvokedError(RuntimeError):
    """What the objects below raise: it may come through."""


def _raise(*_: Any, **__: Any) -> Any:
    raise ProvokedError("raised on purpose by a hostile object")


_METHODS = (
    "__len__", "__index__", "__int__", "__float__", "__array__", "__iter__", "__getitem__", "__bool__", "__eq__",
    "__hash__", "__repr__", "__str__", "__contains__", "__call__", "__fspath__", "__format__", "__array_priority__",
)  # fmt: skip
#: An object of each class raises as soon as one method is called.
RAISING = tuple(type(f"Raises_{name.strip('_')}", (), {name: _raise}) for name in _METHODS)
#: An object of each class answers nonsense.
LYING = tuple(
    type(f"Lies_{name.strip('_')}", (), {name: answer})
    for name, answer in {
        "__len__": lambda self: 2**62,
        "__index__": lambda self: 2**70,
        "__float__": lambda self: math.nan,
        "__array__": lambda self, *_, **__: np.empty((0, 7), object),
        "__iter__": lambda self: iter(range(3)),
        "__getitem__": lambda self, key: self,
        "__bool__": lambda self: True,
        "__eq__": lambda self, other: True,
        "__call__": lambda self, *_, **__: self,
    }.items()
)


class LooksLikeAnArray:
    """Has what is asked of an array first, and no values."""

    shape, dtype, ndim, size, itemsize = (2, 7, 8, 6), np.dtype(np.float32), 4, 672, 4
    strides, nbytes = (1344, 192, 24, 4), 2688


class Subclass(np.ndarray):
    """An array of another type."""


def _deep() -> list[Any]:
    result: list[Any] = []
    for _ in range(100):
        result = [result]
    return result


#: Made anew for every case, because using them up or writing to them would change the next.
FRESH: tuple[Callable[[], Any], ...] = (
    object, LooksLikeAnArray, _deep, list, lambda: [1, 2], lambda: ["1", "2"], lambda: [[1], [2]],
    lambda: [1, [2]], lambda: iter((1, 2)), lambda: (i for i in range(2)), lambda: _raise, lambda: memoryview(b"abcd"),
    lambda: array.array("f", [1, 2]), lambda: np.array(3), lambda: np.array([1, 2]), lambda: np.array([2**40, 1]),
    lambda: np.zeros(0), lambda: np.zeros((2, 7, 8, 6)), lambda: np.zeros((2, 7, 8, 6), np.float32),
    lambda: np.ones(4, np.float32), lambda: np.array(None), lambda: np.zeros((3, 0, 5), np.float32),
    lambda: np.broadcast_to(np.float32(1), (2**31, 7, 8, 6)), *RAISING, *LYING,
)  # fmt: skip

#: dtypes that an op refuses.
_DTYPES = ("object", "complex64", "int64", "uint8", "bool", "float16", "longdouble", "U8", "S3", "datetime64[s]", "V4")


def anything(rng: np.random.Generator) -> Any:
    """A value of any type."""
    pool = (NUMBERS, NUMBERS, SEQUENCES, SEQUENCES, STRINGS, CONTAINERS, FRESH, FRESH)[rng.integers(8)]
    value: Any = pool[rng.integers(len(pool))]
    return value() if pool is FRESH else value


def instead_of(rng: np.random.Generator, value: Any) -> Any:
    """Something nasty in the place of ``value``: often a little changed, sometimes anything."""
    if rng.random() < 0.35:
        return anything(rng)
    if isinstance(value, np.ndarray):
        return array_like(rng, value)
    if isinstance(value, list | tuple) and len(value):
        items = list(value)
        i = int(rng.integers(len(items)))
        items[i] = instead_of(rng, items[i])
        return type(value)(items)
    if isinstance(value, dict) and value:
        changed = dict(value)
        key = list(changed)[rng.integers(len(changed))]
        changed[key] = instead_of(rng, changed[key])
        return changed
    return anything(rng)


def size(rng: np.random.Generator) -> Any:
    """An integer from 0 to beyond 2**31, or two, or four of them as padding has.

    Small, or too large for the memory; between them, where a case would only take long, at most on one axis.
    """
    kind = rng.random()
    if kind < 0.4:
        return _integer(rng, 6)
    if kind < 0.6:
        return (_integer(rng, 12), _integer(rng, 12)), (_integer(rng, 6), _integer(rng, 6))
    pair = [_integer(rng, 12), _integer(rng, 6)]
    return tuple(pair if rng.random() < 0.5 else pair[::-1])


def _integer(rng: np.random.Generator, middle: int) -> int:
    """Often below 4, so that a pair has a good chance to be valid; else a power of two, or beside one.

    Products of powers of two are what wraps around to 0.
    """
    if rng.random() < 0.4:
        return int(rng.integers(0, 4))
    exponent = int(rng.integers(1, middle + 1)) if rng.random() < 0.4 else int(rng.integers(28, 32))
    return 2**exponent + int(rng.choice([0, -1, 1], p=[0.7, 0.15, 0.15]))


def array_like(rng: np.random.Generator, a: Array) -> Array:
    """``a`` with another shape, dtype, memory or values."""
    kind = rng.integers(4)
    if kind == 0:
        return a.astype(_DTYPES[rng.integers(len(_DTYPES))]) if a.dtype.kind in "fiu" else a
    if kind == 1:
        return _reshaped(rng, a)
    if kind == 2:
        return _stretched(rng, a)
    return _filled(rng, a)


def _reshaped(rng: np.random.Generator, a: Array) -> Array:
    choices: tuple[Callable[[], Array], ...] = (
        lambda: a[:0],
        lambda: a[..., :0],
        lambda: a.reshape(-1),
        lambda: a.T,
        lambda: a[None],
        lambda: a[0],
        lambda: a[..., :-1],
        lambda: a[1:],
        lambda: a[..., None],
        lambda: a[::-1],
        lambda: np.concatenate([a, a]),
        lambda: np.concatenate([a, a], axis=-1),
        lambda: np.array(a.flat[0] if a.size else 0, a.dtype),
        lambda: np.asfortranarray(a).view(Subclass),
        lambda: np.ma.masked_array(a, a > 0),
        lambda: np.zeros((1,) * 40, a.dtype),
    )
    return choices[rng.integers(len(choices))]()


def _stretched(rng: np.random.Generator, a: Array) -> Array:
    """One element as far as the eye can see: a few bytes of memory that claim to be terabytes."""
    if not a.ndim:
        return a
    shape = list(a.shape)
    for _ in range(rng.integers(1, 3)):
        shape[rng.integers(len(shape))] = int(rng.choice([0, 1, 2, 2**12, 2**28, 2**31 - 1, 2**31, 2**40]))
    if math.prod(n for n in shape if n) * a.itemsize >= 2**63:  # not even NumPy makes those
        return a
    return np.broadcast_to(a.flat[0] if a.size else a.dtype.type(1), shape)


def _filled(rng: np.random.Generator, a: Array) -> Array:
    values: tuple[Any, ...] = (math.nan, math.inf, -math.inf, 1e-40, 3e38, -3e38, -0.0)
    filled = a.copy()
    if a.dtype.kind in "iu":
        values, filled = (-1, 56, INT_MAX, -(2**31), 2**40, 2**63 - 1), a.astype(np.int64)
    value = values[rng.integers(len(values))]
    if rng.random() < 0.5 and filled.size:
        filled.reshape(-1)[rng.integers(filled.size)] = value
    else:
        filled[...] = value
    return filled
