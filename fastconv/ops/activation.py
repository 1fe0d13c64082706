"""Activation functions, as ops and as the ``activation=`` argument of other ops."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from fastconv.ops import _checks

#: None, a name, or (name, parameter): ``"relu"``, ``("leaky_relu", 0.3)``, ``("elu", 0.5)``, ``("prelu", alpha)``.
Activation: TypeAlias = str | tuple[str, Any] | None

#: (fc_activation_kind, parameter, slope): what the binding passes to a kernel.
Resolved: TypeAlias = tuple[int, float, np.ndarray | None]

#: Names in the order of ``fc_activation_kind`` (csrc/fastconv.h).
NAMES = ("linear", "relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "softmax", "prelu")
LINEAR: Resolved = (0, 0.0, None)
_DEFAULTS = {"leaky_relu": 0.2, "elu": 1.0}
_PLAIN: dict[str | None, Resolved] = {
    None: LINEAR,
    **{name: (kind, _DEFAULTS.get(name, 0.0), None) for kind, name in enumerate(NAMES) if name != "prelu"},
}


def resolve(activation: Activation, channels: int, dtype: np.dtype) -> Resolved:
    """Return (kind, parameter, slope) for an ``activation=`` argument; ``slope`` is a contiguous (channels,) or None.

    Raises ValueError for an unknown name or a slope of another shape than (channels,), TypeError for a slope of another
    dtype or for an argument that is neither None, a string nor (name, parameter).
    """
    if activation is None or isinstance(activation, str):
        known = _PLAIN.get(activation)
        if known is not None:
            return known
        if activation == "prelu":
            raise ValueError("activation 'prelu' needs its slopes: pass ('prelu', alpha)")
        raise _unknown(activation)
    if not isinstance(activation, tuple | list) or len(activation) != 2:
        raise TypeError(f"activation must be None, a name or (name, parameter), got {activation!r}")
    name, parameter = activation
    if name == "prelu":
        slope = _checks.array(parameter, "prelu's alpha", like=np.empty(0, dtype))
        _checks.expect_shape(slope, (channels,), "prelu's alpha", "one slope a channel")
        return NAMES.index(name), 0.0, slope
    if name in _DEFAULTS:
        return NAMES.index(name), _checks.real(parameter, f"{name}'s parameter"), None
    if name in NAMES:
        raise ValueError(f"activation {name!r} has no parameter, got {parameter!r}")
    raise _unknown(name)


def _unknown(name: Any) -> ValueError:
    return ValueError(f"unknown activation {name!r}; one of {', '.join(NAMES)}")
