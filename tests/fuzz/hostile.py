"""Ops, layers and what stands around them with hostile arguments: a result, or an error that says what is wrong.

Of a valid call one to three arguments are replaced. What fastconv does not take, it refuses with a TypeError,
ValueError, OverflowError, IndexError, MemoryError or RuntimeError that has a message; the process lives and computes
as before.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

import fastconv as fc
from fastconv import ops

from . import journal
from .hostile_layers import ONE_BY_ONE, TIMES, targets
from .hostile_ops import CHANNELS, op_arguments
from .hostile_sizes import sizes_case
from .nasty import INT_MAX, instead_of, size
from .worker import MOST_THREADS

MEMORY = 1.0
ACCEPTED = (TypeError, ValueError, OverflowError, MemoryError, IndexError, RuntimeError)
#: Kinds of RuntimeError that no argument may cause.
NOT_ACCEPTED = (RecursionError, NotImplementedError)

#: Arguments that are integers, or tuples of them: no op may take a bool, a float or a number beyond 31 bits for one.
_INTEGERS = ("strides", "kernel_size", "pool_size", "dilation_rate", "groups", "size", "padding", "cropping",
             "output_padding", "depth_radius", "filters", "units", "depth_multiplier", "input_shape")  # fmt: skip

_X = np.random.default_rng(0).standard_normal((2, 7, 8, 6)).astype(np.float32)
_KERNEL = np.random.default_rng(1).standard_normal((3, 3, 6, 9)).astype(np.float32)
_EXPECTED = ops.conv2d(_X, _KERNEL, padding="same")


def run(seed: int) -> None:
    """One case."""
    rng = np.random.default_rng(seed)
    fc.set_num_threads(int(rng.integers(1, MOST_THREADS + 1)))
    if rng.random() < 0.3:
        name, function, arguments = sizes_case(rng)
        replaced = ["sizes"]
    else:
        name, function, valid = _target(rng)
        arguments, replaced = _replace(rng, valid)
        if name in ONE_BY_ONE:
            arguments = {key: _within_reach(value) for key, value in arguments.items()}
    with journal.doing(f"{name}: {', '.join(replaced)} replaced", **arguments):
        finished = _call(function, arguments)
        if finished and len(replaced) == 1 and replaced[0] in _INTEGERS:
            value = arguments[replaced[0]]
            assert not _is_no_size(value), f"{replaced[0]} = {journal.describe(value)} was accepted"
        again = ops.conv2d(_X, _KERNEL, padding="same")
        assert np.array_equal(again, _EXPECTED), "another op gives another result now"


def _target(rng: np.random.Generator) -> tuple[str, Callable[..., Any], dict[str, Any]]:
    """What to call, and valid keywords for it."""
    if rng.random() < 0.65:
        table = op_arguments("float32" if rng.random() < 0.7 else "float64", int(rng.choice(CHANNELS)))
        name = list(table)[rng.integers(len(table))]
        return name, getattr(ops, name), table[name]
    name = list(targets())[rng.integers(len(targets()))]
    return name, *targets()[name]


def _replace(rng: np.random.Generator, valid: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A copy of the keywords, one to three of them hostile, and which."""
    arguments = copy.deepcopy(valid)
    count = min(int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])), len(arguments))
    replaced = [str(name) for name in rng.choice(list(arguments), count, replace=False)]
    for name in replaced:
        value = size(rng) if name in _INTEGERS and rng.random() < 0.4 else instead_of(rng, arguments[name])
        if name in TIMES and isinstance(value, int | np.integer) and not -10 < int(value) < 10:
            value = 10**30 if name == "initial_epoch" else 3
        arguments[name] = value
    return arguments, replaced


def _within_reach(value: Any) -> Any:
    """The beginning of an array that claims terabytes: whoever takes one sample after another would need years."""
    if isinstance(value, np.ndarray) and value.size > 2**20:
        return value[tuple(slice(9) for _ in value.shape)]
    return value


def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> bool:
    """Call; return whether it returned. An error that is not accepted goes on."""
    try:
        function(**arguments)
    except ACCEPTED as error:
        if isinstance(error, NOT_ACCEPTED):
            raise
        # CPython's own MemoryError has no message.
        if type(error) is not MemoryError and not str(error).strip():
            raise AssertionError(f"a {type(error).__name__} without a message") from error
        return False
    return True


def _is_no_size(value: Any) -> bool:
    """Whether ``value`` is, or holds, what is no integer from 0 to 2**31 - 1."""
    if isinstance(value, list | tuple):
        return any(item is not value and _is_no_size(item) for item in value)
    if isinstance(value, bool | np.bool_ | float | np.floating | complex | Decimal | Fraction | bytes):
        return True
    return isinstance(value, int | np.integer) and not 0 <= value <= INT_MAX
