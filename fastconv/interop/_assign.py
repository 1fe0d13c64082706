"""The last step of every reader: check all arrays against all parameters, then set them; or raise and change none."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from ..errors import CheckpointError
from ..layers.parameter import Parameter

_SHOWN = 8  # problems that a message lists

Assignment = tuple[str, Parameter, np.ndarray]  # what the file calls it, where it goes, the values in fastconv's layout


def commit(source: str | os.PathLike[str], assignments: Sequence[Assignment], problems: Sequence[str]) -> None:
    """Set the parameters, if there are no problems and all values fit.

    float16, float32 and float64 convert to the parameter's dtype.

    Raises:
        CheckpointError: ``problems`` (what is missing, extra or misshaped), or values that do not fit; nothing has
            changed then.
    """
    found = [*problems, *(p for name, parameter, array in assignments if (p := _problem(name, parameter, array)))]
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise CheckpointError(
            f"{os.fspath(source)} does not fit the model, which is unchanged: {'; '.join(found[:_SHOWN])}{more}"
        )
    for _, parameter, array in assignments:
        parameter.assign(array)


def _problem(name: str, parameter: Parameter, array: np.ndarray) -> str | None:
    if array.shape != parameter.shape:
        return f"{name} has shape {array.shape} in the file, {parameter.shape} in the model"
    if array.dtype.kind != "f":
        return f"{name} has dtype {array.dtype} in the file, the model wants {parameter.dtype}"
    if array.dtype.itemsize > parameter.dtype.itemsize:
        largest = np.finfo(parameter.dtype).max
        if np.any(np.isfinite(array) & (np.abs(array) > largest)):
            return f"{name} holds values beyond {parameter.dtype}'s largest, {largest:.4g}"
    return None
