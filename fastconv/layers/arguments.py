"""Checks of constructor arguments that several layers share."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..errors import channels_first_hint, did_you_mean
from ..ops.geometry import resolve_padding

ActivationSpec = None | str | tuple[str, Any]

ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "softmax")
_PARAMETRIC = ("leaky_relu", "elu")


def check_data_format(data_format: str | None) -> None:
    """Raise ValueError for anything but Keras' ``"channels_last"`` (or None, which means it)."""
    if data_format not in (None, "channels_last"):
        raise ValueError(
            f"data_format must be 'channels_last' (N, H, W, C), got {data_format!r}; "
            "fastconv.utils.nchw_to_nhwc converts arrays"
        )


def check_padding(padding: Any) -> Any:
    """Return ``padding`` in the spelling ``ops`` take: a lower-case name, or numbers >= 0."""
    padding = padding.lower() if isinstance(padding, str) else padding
    resolve_padding(padding, (None, None), (1, 1), (1, 1), (1, 1))
    return padding


def real(value: Any, name: str) -> float:
    """Return ``value`` as a float; TypeError unless it is a number, ValueError if it is NaN."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if math.isnan(value):
        raise ValueError(f"{name} must not be NaN")
    return float(value)


def at_least(value: Any, name: str, minimum: float = 0.0) -> float:
    """Return ``value`` as a float; ValueError below ``minimum``."""
    number = real(value, name)
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum:g}, got {value}")
    return number


def positive(value: Any, name: str) -> float:
    """Return ``value`` as a float; ValueError unless it is above 0."""
    number = real(value, name)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive, got {value}")
    return number


def activation_spec(identifier: Any) -> ActivationSpec:
    """Return an activation as ``ops`` take it.

    Args:
        identifier: Keras' name; None or ``"linear"`` for none; ``(name, parameter)`` for ``"leaky_relu"`` (slope) and
            ``"elu"`` (alpha); or a layer such as ``LeakyReLU(0.1)`` that these can express.

    Raises:
        ValueError: an unknown name or a parameter that is not positive; the message lists the names.
    """
    if hasattr(identifier, "as_activation"):
        return identifier.as_activation()
    if identifier is None or identifier == "linear":
        return None
    if isinstance(identifier, str) and identifier in ACTIVATIONS:
        return identifier
    if isinstance(identifier, list | tuple) and len(identifier) == 2 and identifier[0] in _PARAMETRIC:
        return identifier[0], positive(identifier[1], f"the parameter of {identifier[0]}")
    known = ", ".join(repr(name) for name in (*ACTIVATIONS, "linear"))
    raise ValueError(
        f"unknown activation {identifier!r}{did_you_mean(identifier, ACTIVATIONS)}; known: {known}, "
        "('leaky_relu', slope), ('elu', alpha), "
        "or add an activation layer of its own"
    )


def check_algorithm(algorithm: str) -> str:
    """Raise TypeError unless ``algorithm`` is a string, ValueError unless it is one that convolutions have."""
    if not isinstance(algorithm, str):
        raise TypeError(f"algorithm must be the name of one, such as 'auto', got {algorithm!r}")
    known = ops.conv2d_algorithms()
    if algorithm not in known:
        raise ValueError(f"unknown algorithm {algorithm!r}; there are {', '.join(known)}")
    return algorithm


def image_channels(input_shape: Sequence[int | None]) -> int:
    """Return C of an input shape (N, H, W, C); ValueError for another number of axes or an unknown C."""
    if len(input_shape) != 4 or input_shape[-1] is None:
        raise ValueError(f"expected an input (N, H, W, C) with known C, got shape {tuple(input_shape)}")
    return input_shape[-1]


def check_channels(input_shape: Sequence[int | None], channels: int) -> None:
    """Raise ValueError unless ``input_shape`` is (N, H, W, channels), the channels that the weights were built for."""
    if image_channels(input_shape) != channels:
        hint = channels_first_hint(input_shape, channels)
        raise ValueError(f"expected {channels} input channels, got input shape {tuple(input_shape)}{hint}")
