"""Weights in fastconv's own safetensors files, which :mod:`fastconv.models.saving` writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ..atomic import Path
from ..errors import CheckpointError
from ..graph.layer import GraphLayer
from ..layers.parameter import Parameter
from ..layers.weights import WeightOwner
from ..tensor_file import Spec, TensorFile, open_tensors


def load_own_weights(model: GraphLayer, path: Path) -> None:
    """Read a model's weights from a file of ``model.save_weights`` or ``model.save``.

    Raises:
        CheckpointError: a damaged file, or weights that are missing, too many, or of another shape or dtype; the model
            is unchanged.
        RuntimeError: the model is not built. OSError: the file cannot be read.
    """
    model.graph  # raises if the model is not built  # noqa: B018
    with open_tensors(path) as file:
        parameters = fitting_weights(model, file)
        values = {key: file.read(key) for key in parameters}  # all, before anything changes
    for key, parameter in parameters.items():
        parameter.assign(values[key])


def fitting_weights(model: WeightOwner, file: TensorFile) -> dict[str, Parameter]:
    """Return the model's weights by their keys in the file, which has an array of the right shape for each."""
    parameters = dict(model.named_parameters())
    given = {key: spec for key, spec in file.specs.items() if "//" not in key}
    problems = mismatches(specs_of(parameters.items()), given)
    if problems:
        raise CheckpointError(f"{file.name} does not fit the model, which is unchanged: {'; '.join(problems)}")
    return parameters


def specs_of(named: Iterable[tuple[str, Parameter | np.ndarray]]) -> dict[str, Spec]:
    """Return key -> (shape, dtype)."""
    return {key: (array.shape, array.dtype) for key, array in named}


def mismatches(expected: Mapping[str, Spec], given: Mapping[str, Spec]) -> list[str]:
    """Say what is missing, too much or different, in the words of a user who looks for the file's fault."""
    problems = []
    missing, extra = [k for k in expected if k not in given], [k for k in given if k not in expected]
    if missing:
        problems.append(f"missing: {', '.join(missing)}")
    if extra:
        problems.append(f"not in the model: {', '.join(extra)}")
    for key in (key for key in expected if key in given):  # in the model's order
        (shape, dtype), (given_shape, given_dtype) = expected[key], given[key]
        if given_shape != shape:
            problems.append(f"{key} has shape {given_shape} in the file, {shape} in the model")
        elif given_dtype != dtype:
            problems.append(f"{key} is {given_dtype} in the file, {dtype} in the model")
    return problems
