"""Checks of numbers and arrays that every part of fastconv may use: this module imports none of them."""

from __future__ import annotations

import operator
import os
from typing import Any

import numpy as np

INT_MAX = 2**31 - 1
_MOST_THREADS = 1024

_MOST_OF_A_RANGE = 2**27  # 1 GB as an array


def integer(value: Any, name: str, minimum: int = 1) -> int:
    """Return ``value`` as an int.

    Raises TypeError for a bool, float or string, ValueError below ``minimum``, OverflowError above 2**31 - 1.
    """
    number = any_integer(value, name)
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {number}")
    if number > INT_MAX:
        raise OverflowError(f"{name} = {number} is above 2**31 - 1")
    return number


def any_integer(value: Any, name: str) -> int:
    """Return ``value`` as an int of any size; TypeError for a bool, float or string."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be an integer, got the bool {value}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r} ({type(value).__name__})") from None


def thread_count(value: Any) -> int:
    """A number of threads, at least 1 and at most 1024."""
    count = integer(value, "number of threads")
    if count > _MOST_THREADS:
        raise ValueError(f"number of threads must be at most {_MOST_THREADS}, got {count}")
    return count


def environment_threads(variable: str) -> int | None:
    """The thread count in an environment variable (its first number: OpenMP allows a list), or None if unset."""
    text = os.environ.get(variable, "").split(",")[0].strip()
    if not text:
        return None
    try:
        return thread_count(int(text))
    except (ValueError, OverflowError) as error:
        message = f"{variable}={text!r} in the environment: it must be a whole number from 1 to {_MOST_THREADS}"
        raise ValueError(message) from error


def as_array(value: Any, name: str) -> np.ndarray:
    """Return ``np.asarray(value)``; ValueError for a range so long that the array of its numbers would fill memory."""
    if isinstance(value, range) and len(value) > _MOST_OF_A_RANGE:
        raise ValueError(f"{name} is {value!r}, {len(value):,} numbers: pass an array")
    return np.asarray(value)
