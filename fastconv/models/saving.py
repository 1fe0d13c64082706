"""Checkpoints: one safetensors file, written atomically, holding arrays and JSON. No pickle, so no code.

Keys of the arrays: ``"conv2d/kernel"`` for weights; in files of :func:`save_model` also
``"optimizer//conv2d/kernel/momentum"`` and ``"random_state//dropout"``. Layer names hold no slash and are not empty,
so the double slash tells them apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import losses, metrics, optimizers
from ..atomic import Path
from ..errors import CheckpointError, shortened
from ..graph.architecture import count_calls, deserialize_layer
from ..graph.layer import GraphLayer
from ..interop.own_weights import fitting_weights, mismatches, specs_of
from ..layers.weights import to_be_loaded
from ..registry import custom_object, custom_object_scope, serialize
from ..tensor_file import Spec, TensorFile, open_tensors, write_tensors
from ..training.trainable import Trainable

_OPTIMIZER, _RANDOM_STATE = "optimizer//", "random_state//"
_VERSION = "1"
_MOST_CALLS = 100_000  # a few seconds' work to find all shapes


def save_weights(model: Trainable, path: Path) -> None:
    """Write a model's weights; see :meth:`Model.save_weights`."""
    write_tensors(path, _weights_of(model), {"format": "fastconv weights", "version": _VERSION})


def save_model(model: Trainable, path: Path) -> None:
    """Write a model and the state of its training; see :meth:`Model.save`."""
    tensors = _weights_of(model)
    training: dict[str, Any] = {"epoch": model.epoch, "shuffle_seed": model.shuffle_seed, "compile": None}
    if model.compile_arguments is not None and model.optimizer is not None:
        training["compile"] = {name: _encode(value) for name, value in model.compile_arguments.items()}
        training["optimizer"] = serialize(model.optimizer)
        training["iterations"] = model.optimizer.iterations
        names = model.optimizer.slot_names()
        for key, parameter in model.named_parameters():
            for name, array in zip(names, model.optimizer.slots.get(parameter, ()), strict=False):
                tensors[f"{_OPTIMIZER}{key}/{name}"] = array
    for key, layer in model.named_layers():
        if layer.random_state is not None:
            tensors[_RANDOM_STATE + key] = layer.random_state
    metadata = {
        "format": "fastconv model",
        "version": _VERSION,
        "model": _to_json(serialize(model)),
        "training": _to_json(training),
    }
    write_tensors(path, tensors, metadata)


def load_model(path: Path, custom_objects: Mapping[str, Any] | None = None, compile: bool = True) -> Any:
    """Read a model that ``model.save`` wrote: architecture, weights, and the state of its training.

    Args:
        path: the file.
        custom_objects: name -> class or function, for layers, losses, metrics of your own.
        compile: whether to compile the model as it was, with the optimizer's state.

    Returns:
        The model. ``fit(..., initial_epoch=model.epoch)`` continues the run that was saved.

    Raises:
        CheckpointError: a damaged or foreign file, or a class that is not known.
        OSError: the file cannot be read, or is no regular file.
    """
    with open_tensors(path) as file:
        if file.metadata.get("format") != "fastconv model" or file.metadata.get("version") != _VERSION:
            said = ", ".join(f"{key} {shortened(file.metadata.get(key), 40)}" for key in ("format", "version"))
            raise CheckpointError(
                f"{file.name} was not written by model.save of this version (it says: {said}); load_weights reads "
                "weight files"
            )
        with custom_object_scope(custom_objects):
            model = _rebuild(file, compile)
        for key, parameter in fitting_weights(model, file).items():
            parameter.assign(file.read(key))
        if model.optimizer is not None:
            _assign_slots(model, file)
        _assign_random_states(model, file)
    return model


def _rebuild(file: TensorFile, compile: bool) -> Any:
    """Return the model that a file describes, its weights still to be read."""
    try:
        with to_be_loaded(file.size):
            model = _build(json.loads(file.metadata["model"]))
        training = json.loads(file.metadata["training"])
        if compile and training["compile"] is not None:
            _compile(model, training)
        model.epoch, model.shuffle_seed = int(training["epoch"]), training["shuffle_seed"]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"{file.name}: cannot rebuild the model: {error}") from error
    return model


def _build(description: Any) -> Any:
    calls = count_calls(description)
    if calls > _MOST_CALLS:
        raise ValueError(f"its models within models come to {calls:,} calls of layers, above {_MOST_CALLS:,}")
    model = deserialize_layer(description)
    if not isinstance(model, GraphLayer):
        raise TypeError(f"the file describes a {type(model).__name__}, not a model")
    return model


def _compile(model: Any, training: Mapping[str, Any]) -> None:
    arguments = training["compile"]
    model.compile(
        optimizers.get(training["optimizer"]),
        loss=_decode(arguments["loss"], losses.get),
        loss_weights=arguments["loss_weights"],
        metrics=_decode(arguments["metrics"], metrics.get),
    )
    model.optimizer.iterations = int(training["iterations"])


def _encode(value: Any) -> Any:
    """Describe a compile argument, which may be nested, in JSON's terms."""
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    return value if isinstance(value, (int, float)) else serialize(value)


def _decode(value: Any, get: Any) -> Any:
    """Turn descriptions back into objects; names of built-in ones stay names, as the user gave them."""
    if isinstance(value, list):
        return [_decode(item, get) for item in value]
    if isinstance(value, dict) and "class_name" not in value:
        return {key: _decode(item, get) for key, item in value.items()}
    if value is None or (isinstance(value, str) and custom_object(value) is None):
        return value
    return get(value)


def _to_json(value: Any) -> str:
    # Numbers of NumPy's types may sit in a user's configuration.
    return json.dumps(value, default=lambda obj: obj.item() if isinstance(obj, np.generic) else _refuse(obj))


def _refuse(obj: Any) -> Any:
    raise TypeError(f"{obj!r} cannot be saved: get_config must return JSON's types (numbers, strings, lists, dicts)")


def _weights_of(model: Trainable) -> dict[str, np.ndarray]:
    model.graph  # raises if the model is not built  # noqa: B018
    return {key: parameter.value for key, parameter in model.named_parameters()}


def _assign_slots(model: Trainable, file: TensorFile) -> None:
    """Set the optimizer's arrays; a parameter that was never trained has none."""
    optimizer = model.optimizer
    if optimizer is None:
        return
    names = optimizer.slot_names()
    trained = {
        key: parameter
        for key, parameter in model.named_parameters()
        if names and f"{_OPTIMIZER}{key}/{names[0]}" in file.specs
    }
    expected = specs_of((f"{key}/{name}", parameter) for key, parameter in trained.items() for name in names)
    problems = mismatches(expected, _below(_OPTIMIZER, file))
    if problems:
        raise CheckpointError(f"{file.name}: optimizer state: {'; '.join(problems)}")
    for key, parameter in trained.items():
        optimizer.slots[parameter] = [file.read(f"{_OPTIMIZER}{key}/{name}") for name in names]


def _assign_random_states(model: Trainable, file: TensorFile) -> None:
    states = {key: layer.random_state for key, layer in model.named_layers() if layer.random_state is not None}
    problems = mismatches(specs_of(states.items()), _below(_RANDOM_STATE, file))
    if problems:
        raise CheckpointError(f"{file.name}: random states: {'; '.join(problems)}")
    for key, state in states.items():
        state[...] = file.read(_RANDOM_STATE + key)


def _below(prefix: str, file: TensorFile) -> dict[str, Spec]:
    return {key[len(prefix) :]: spec for key, spec in file.specs.items() if key.startswith(prefix)}
