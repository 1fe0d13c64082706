"""Checkpoints: one safetensors file, written atomically, holding arrays and JSON. No pickle, so no code.

Keys of the arrays: ``"conv2d/kernel"`` for weights; in files of :func:`save_model` also
``"optimizer//conv2d/kernel/momentum"`` and ``"random_state//dropout"``. Layer names hold no slash and are not empty,
so the double slash tells them apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import losses, metrics, optimizers
from ..errors import CheckpointError
from ..registry import custom_object, custom_object_scope, serialize

if TYPE_CHECKING:
    from .model import Model

Path = str | os.PathLike[str]

_OPTIMIZER, _RANDOM_STATE = "optimizer//", "random_state//"
_DTYPES = {"F32": "float32", "F64": "float64", "U64": "uint64"}
_VERSION = "1"


def save_weights(model: Model, path: Path) -> None:
    """Write a model's weights; see :meth:`Model.save_weights`."""
    _write(path, _weights_of(model), {"format": "fastconv weights", "version": _VERSION})


def load_weights(model: Model, path: Path) -> None:
    """Read a model's weights; see :meth:`Model.load_weights`."""
    model.graph  # raises if the model is not built  # noqa: B018
    _, tensors = _read(path)
    _assign_weights(model, {key: value for key, value in tensors.items() if "//" not in key}, path)


def save_model(model: Model, path: Path) -> None:
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
    _write(path, tensors, metadata)


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
        OSError: the file cannot be read.
    """
    metadata, tensors = _read(path)
    if metadata.get("format") != "fastconv model" or metadata.get("version") != _VERSION:
        raise CheckpointError(
            f"{os.fspath(path)} was not written by model.save of this version (it says: format "
            f"{metadata.get('format')!r}, version {metadata.get('version')!r}); load_weights reads weight files"
        )
    with custom_object_scope(custom_objects):
        try:
            model = _build(json.loads(metadata["model"]))
            training = json.loads(metadata["training"])
            if compile and training["compile"] is not None:
                _compile(model, training)
            model.epoch, model.shuffle_seed = int(training["epoch"]), training["shuffle_seed"]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, MemoryError) as error:
            raise CheckpointError(f"{os.fspath(path)}: cannot rebuild the model: {error}") from error
    _assign_weights(model, {key: value for key, value in tensors.items() if "//" not in key}, path)
    if model.optimizer is not None:
        _assign_slots(model, tensors, path)
    _assign_random_states(model, tensors, path)
    return model


def _build(description: Any) -> Any:
    from .architecture import deserialize_layer
    from .model import Model

    model = deserialize_layer(description)
    if not isinstance(model, Model):
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


def _weights_of(model: Model) -> dict[str, np.ndarray]:
    model.graph  # raises if the model is not built  # noqa: B018
    return {key: parameter.value for key, parameter in model.named_parameters()}


def _write(path: Path, tensors: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write beside the target, sync, then rename: a reader sees the old file or the new one, whole."""
    from safetensors.numpy import save_file

    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            mode = os.fstat(file.fileno()).st_mode  # what the umask gives; the library's own is 0600
        save_file({key: np.ascontiguousarray(array) for key, array in tensors.items()}, temporary, metadata)
        os.chmod(temporary, stat.S_IMODE(mode))
        _sync(temporary)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if _is_safetensors_error(error):
            raise OSError(f"cannot write {target}: {error}") from error
        raise
    _sync(folder)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Return metadata and arrays of a safetensors file, whose header the library checks before anything is read."""
    from safetensors import safe_open

    name = os.fspath(path)
    with open(name, "rb"):
        pass  # a missing or forbidden file is an OSError, not a damaged checkpoint
    tensors = {}
    try:
        with safe_open(name, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            for key in file.keys():  # noqa: SIM118
                dtype = file.get_slice(key).get_dtype()
                if dtype not in _DTYPES:
                    raise CheckpointError(f"{name}: {key!r} has dtype {dtype}; only float32 and float64 can be loaded")
                tensors[key] = file.get_tensor(key)
    except Exception as error:
        if not _is_safetensors_error(error):
            raise
        raise CheckpointError(f"{name} is not a readable safetensors file: {error}") from error
    return metadata, tensors


def _is_safetensors_error(error: BaseException) -> bool:
    from safetensors import SafetensorError

    return isinstance(error, SafetensorError)


def _assign_weights(model: Model, tensors: Mapping[str, np.ndarray], path: Path) -> None:
    """Set all weights, or raise and change none."""
    parameters = dict(model.named_parameters())
    problems = _mismatches({key: (p.shape, p.dtype) for key, p in parameters.items()}, tensors)
    if problems:
        raise CheckpointError(f"{os.fspath(path)} does not fit the model, which is unchanged: {'; '.join(problems)}")
    for key, parameter in parameters.items():
        parameter.assign(tensors[key])


def _assign_slots(model: Model, tensors: Mapping[str, np.ndarray], path: Path) -> None:
    """Set the optimizer's arrays; a parameter that was never trained has none."""
    optimizer = model.optimizer
    if optimizer is None:
        return
    given = {key[len(_OPTIMIZER) :]: value for key, value in tensors.items() if key.startswith(_OPTIMIZER)}
    expected: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    for key, parameter in model.named_parameters():
        keys = [f"{key}/{name}" for name in optimizer.slot_names()]
        if keys and keys[0] in given:
            expected.update((slot, (parameter.shape, parameter.dtype)) for slot in keys)
            optimizer.slots[parameter] = [given[slot].copy() for slot in keys if slot in given]
    problems = _mismatches(expected, given)
    if problems:
        raise CheckpointError(f"{os.fspath(path)}: optimizer state: {'; '.join(problems)}")


def _assign_random_states(model: Model, tensors: Mapping[str, np.ndarray], path: Path) -> None:
    given = {key[len(_RANDOM_STATE) :]: value for key, value in tensors.items() if key.startswith(_RANDOM_STATE)}
    states = {key: layer.random_state for key, layer in model.named_layers() if layer.random_state is not None}
    problems = _mismatches({key: (state.shape, state.dtype) for key, state in states.items()}, given)
    if problems:
        raise CheckpointError(f"{os.fspath(path)}: random states: {'; '.join(problems)}")
    for key, state in states.items():
        state[...] = given[key]


def _mismatches(expected: Mapping[str, tuple[tuple[int, ...], np.dtype]], given: Mapping[str, np.ndarray]) -> list[str]:
    problems = []
    missing, extra = [k for k in expected if k not in given], [k for k in given if k not in expected]
    if missing:
        problems.append(f"missing: {', '.join(missing)}")
    if extra:
        problems.append(f"not in the model: {', '.join(extra)}")
    for key, (shape, dtype) in expected.items():
        if key in given and given[key].shape != shape:
            problems.append(f"{key} has shape {given[key].shape} in the file, {shape} in the model")
        elif key in given and given[key].dtype != dtype:
            problems.append(f"{key} is {given[key].dtype} in the file, {dtype} in the model")
    return problems
