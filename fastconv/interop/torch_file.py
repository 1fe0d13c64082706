"""Reads PyTorch's checkpoints (.pth, .pt) without PyTorch, and without executing the pickle inside.

Two formats of ``torch.save``: a zip archive (since PyTorch 1.6) with the pickle in ``data.pkl`` and one member for
each storage, and the older one, a series of pickles with the storages behind them. See
https://pytorch.org/docs/stable/notes/serialization.html.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import CheckpointError, shortened
from ._pickle_machine import NumberKey
from .torch_older import read_older
from .torch_pickle import Fetch, TensorInfo
from .torch_zip import read_zip


def read_torch_file(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the tensors that ``torch.save(module.state_dict(), path)`` wrote, in the file's order.

    A state dict inside a checkpoint, ``{"state_dict": ..., ...}`` (or ``"model_state_dict"``, ``"model"``), is found.
    PyTorch is not needed, and nothing that the file's pickle may contain is executed or imported.

    Args:
        path: of a ``.pth`` or ``.pt`` file, in the zip format or the older one.

    Returns:
        name -> array in PyTorch's layout (convolutions ``(filters, channels, height, width)``), of the file's dtype;
        bfloat16 becomes float32. Tensors that share a storage share memory.

    Raises:
        CheckpointError: a damaged or hostile file: a pickle that refers to anything but tensors of numbers, sizes,
            offsets or strides that do not fit the data, a compressed or encrypted archive.
        OSError: the file cannot be read.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(512)
        file.seek(0)
        if head[:4] == b"PK\x03\x04":
            content, fetch = read_zip(file, size, name)
        else:
            content, fetch = read_older(file, size, head, name)
        return _arrays(_state_dict(content, name), fetch, name)


def _state_dict(content: Any, source: str) -> dict[str, TensorInfo]:
    """Find the state dict in what the file holds."""
    for key in ("state_dict", "model_state_dict", "model", None):  # no tensor is called "model": names have dots
        found = content if key is None else content.get(key) if isinstance(content, dict) else None
        if isinstance(found, dict) and any(isinstance(value, TensorInfo) for value in found.values()):
            break
    else:
        kind = type(content).__name__
        keys = f" with the keys {', '.join(map(_shown, list(content)[:8]))}" if isinstance(content, dict) else ""
        raise CheckpointError(f"{source} holds no state dict, but a {kind}{keys}")
    for name, value in found.items():
        if not isinstance(name, str):
            raise CheckpointError(f"{source}: a tensor's name is {_shown(name)}, not a string")
        if not isinstance(value, TensorInfo):
            raise CheckpointError(f"{source}: {shortened(name)} is not a tensor, but a {type(value).__name__}")
    return found


def _shown(key: Any) -> str:
    return repr(key) if isinstance(key, NumberKey) else shortened(key)


def _arrays(tensors: Mapping[str, TensorInfo], fetch: Fetch, source: str) -> dict[str, np.ndarray]:
    fetched: dict[str, np.ndarray] = {}
    arrays = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        if storage.key not in fetched:
            try:
                fetched[storage.key] = fetch(storage)
            except CheckpointError as error:
                raise CheckpointError(f"{error} (needed for {shortened(name)})") from error
        flat = fetched[storage.key][storage.start : storage.start + storage.size]
        byte_strides = [stride * flat.itemsize for stride in tensor.strides]
        if math.prod(tensor.shape) == 0:
            arrays[name] = np.empty(tensor.shape, flat.dtype)
        else:
            arrays[name] = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, byte_strides)
    return arrays
