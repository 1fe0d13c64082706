"""What a case does, in words: printed beforehand when it is run alone, and added to the error that it ends in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

#: Whether to print; a crash leaves no other trace of the arguments.
verbose = False


def describe(value: Any) -> str:
    """A short text for any value, also for one whose ``repr`` raises."""
    if isinstance(value, np.ndarray):
        order = "" if value.flags.c_contiguous else f", strides {value.strides}"
        return f"<{value.dtype} {value.shape}{order}>"
    if isinstance(value, list | tuple) and len(value) < 20:
        inner = ", ".join("..." if item is value else describe(item) for item in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict) and len(value) < 40:
        return "{" + ", ".join(f"{describe(key)}: {describe(item)}" for key, item in value.items()) + "}"
    try:
        text = repr(value)
    except Exception as error:  # such values are among the hostile ones
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"


@contextlib.contextmanager
def doing(what: str, **arguments: Any) -> Iterator[None]:
    """Say what happens in the ``with`` block."""
    if verbose:
        print(_sentence(what, arguments), flush=True)
    try:
        yield
    except BaseException as error:
        error.add_note(_sentence(what, arguments))
        raise


def _sentence(what: str, arguments: dict[str, Any]) -> str:
    return f"{what}({', '.join(f'{name}={describe(value)}' for name, value in arguments.items())})"
