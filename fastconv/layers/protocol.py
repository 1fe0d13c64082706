"""What a layer's methods must keep to, checked where they are called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np


def output_and_cache(layer: Any, result: Any) -> tuple[Any, Any]:
    """Return what ``forward`` returned, once it is known to be a pair."""
    if isinstance(result, tuple) and len(result) == 2:
        return result
    got = f"{len(result)} things" if isinstance(result, tuple) else f"one {type(result).__name__}"
    shape = f" of shape {result.shape}" if isinstance(result, np.ndarray) else ""
    raise TypeError(
        f"{type(layer).__name__}.forward must return two things, the output and a cache for backward (or None), "
        f"but it returned {got}{shape}"
    )


def accepts_need_dx(method: Callable[..., Any]) -> bool:
    """Whether a layer's ``forward`` or ``backward`` has an argument ``need_dx``."""
    return "need_dx" in inspect.signature(method).parameters


def build_once(build: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Wrap a subclass's ``build``: a second call does nothing, a failed one leaves no weights behind."""

    @functools.wraps(build)
    def wrapper(self: Any, input_shape: Any) -> None:
        if self.built:
            return
        try:
            build(self, input_shape)
        except BaseException:
            self._trainable_parameters.clear()
            self._state_parameters.clear()
            raise
        self.built = True

    return wrapper
