"""The algorithms of convolution by name: the built-in ones of the C core, and those that a user registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv import _kernels

PASSES: dict[str, int] = _kernels.CONV2D_PASSES  # name -> fc_pass


class Algorithm(NamedTuple):
    """Functions that :func:`register_conv2d` was given; a pass that is None runs ``"auto"``."""

    forward: Callable[..., np.ndarray]
    backward_data: Callable[..., np.ndarray] | None
    backward_weights: Callable[..., np.ndarray] | None


registered: dict[str, Algorithm] = {}
encoded: dict[str, bytes | None] = {"auto": None} | {name: name.encode() for name in _kernels.conv2d_algorithms()}


def conv2d_algorithms() -> tuple[str, ...]:
    """Names that ``algorithm=`` accepts: ``"auto"``, the built-in ones and those of :func:`register_conv2d`."""
    return (*encoded, *registered)


def register_conv2d(
    name: str,
    forward: Callable[..., np.ndarray],
    backward_data: Callable[..., np.ndarray] | None = None,
    backward_weights: Callable[..., np.ndarray] | None = None,
) -> None:
    """Make an algorithm of your own usable as ``conv2d(..., algorithm=name)`` and ``Conv2D(algorithm=name)``.

    Args:
        name: a new name; registering a name again replaces the functions, a built-in name is a ValueError.
        forward: ``forward(x, kernel, **geometry) -> y``.
        backward_data: ``backward_data(dy, kernel, input_shape, **geometry) -> dx``.
        backward_weights: ``backward_weights(x, dy, kernel_size, **geometry) -> dkernel``.

    Every function gets checked, contiguous arrays (NHWC and HWIO) and the keywords ``strides`` and ``dilation_rate`` as
    (h, w), ``padding`` as ((top, bottom), (left, right)) and ``groups``.
    Bias and activation are not its business. A pass that is None runs ``"auto"``.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"name must be a non-empty string, got {name!r}")
    if name in encoded:
        raise ValueError(f"{name!r} is a built-in algorithm; choose another name")
    for function, what in (
        (forward, "forward"),
        (backward_data, "backward_data"),
        (backward_weights, "backward_weights"),
    ):
        if not callable(function) and (function is not None or what == "forward"):
            raise TypeError(f"{what} must be a function, got {function!r}")
    registered[name] = Algorithm(forward, backward_data, backward_weights)


def user_function(algorithm: str, which: str) -> Callable[..., np.ndarray] | None:
    """Return a registered function for a pass; None where the C core serves it."""
    return getattr(registered[algorithm], which) if algorithm in registered else None


def built_in(algorithm: str, which: str, numbers: tuple[int, ...]) -> bytes | None:
    """Return the algorithm's name for the binding; ValueError if it is unknown or cannot serve this geometry."""
    if algorithm in registered:
        return None  # it left this pass to "auto"
    if algorithm not in encoded:
        raise ValueError(f"unknown algorithm {algorithm!r}; there are {', '.join(conv2d_algorithms())}")
    if algorithm != "auto" and (reason := _kernels.conv2d_refusal(numbers, PASSES[which], algorithm)):
        raise ValueError(f"algorithm {algorithm!r} cannot do this {which.replace('_', ' ')} pass: {reason}")
    return encoded[algorithm]


def from_user(algorithm: str, result: Any, shape: Sequence[int], like: np.ndarray) -> np.ndarray:
    """Return what a registered function returned, if it is an array of ``shape`` and of the dtype of ``like``."""
    if not isinstance(result, np.ndarray) or result.shape != tuple(shape) or result.dtype != like.dtype:
        got = f"{result.dtype} {result.shape}" if isinstance(result, np.ndarray) else type(result).__name__
        raise ValueError(f"algorithm {algorithm!r} returned {got}, expected {like.dtype} {tuple(shape)}")
    return result
