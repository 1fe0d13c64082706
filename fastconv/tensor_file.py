"""Arrays and text in one safetensors file: https://huggingface.co/docs/safetensors, "Format".

The library reads, as it checks a header before anything is believed. Writing is done here: the library's own writer
loses the number of an error ("the disk is full"), and leaves a file of a meaningless name behind when it is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .atomic import Path, check_regular, replacing
from .errors import CheckpointError, brief

Spec = tuple[tuple[int, ...], np.dtype[Any]]

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("float32"), "F64": np.dtype("float64"), "U64": np.dtype("uint64")}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays and text; the file takes the place of an existing one at once and whole.

    Raises:
        TypeError: an array of another dtype than float32, float64 and uint64.
        OSError: see :func:`fastconv.atomic.replacing`.
    """
    for key, array in tensors.items():
        if array.dtype not in _CODES:
            raise TypeError(f"{key!r} is {array.dtype}: only float32 and float64 can be saved")
    # Wide items first: then every array begins at a multiple of its item's size.
    order = sorted(tensors, key=lambda key: -tensors[key].itemsize)
    arrays = {key: np.asarray(tensors[key], tensors[key].dtype.newbyteorder("<"), order="C") for key in order}
    header = _header(arrays, metadata)
    with replacing(path) as file:
        file.write(header)
        for array in arrays.values():
            file.write(array.data)


def _header(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The length of what follows in 8 bytes, then in JSON what arrays there are and where, counted from its end."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for key, array in arrays.items():
        start, end = end, end + array.nbytes
        code = _CODES[array.dtype.newbyteorder("=")]
        entries[key] = {"dtype": code, "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


class TensorFile:
    """An open safetensors file. Its header is checked; arrays are read one by one, when they are asked for.

    Attributes:
        name: of the file.
        size: of the file, in bytes.
        metadata: the text in it.
        specs: key -> (shape, dtype) of each array.
    """

    def __init__(self, name: str, handle: Any) -> None:
        self.name = name
        self.size = os.path.getsize(name)
        self.metadata: dict[str, str] = dict(handle.metadata() or {})
        self.specs: dict[str, Spec] = {}
        self._handle = handle
        for key in handle.keys():  # noqa: SIM118
            entry = handle.get_slice(key)
            code = entry.get_dtype()
            if code not in _DTYPES:
                raise CheckpointError(f"{name}: {key!r} has dtype {code}; only float32 and float64 can be loaded")
            self.specs[key] = tuple(entry.get_shape()), _DTYPES[code]

    def read(self, key: str) -> np.ndarray:
        """Return an array, which nobody else holds."""
        return self._handle.get_tensor(key)


@contextlib.contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """Open a safetensors file for reading.

    Raises:
        CheckpointError: a damaged or foreign file, also while the block reads from it.
        OSError: it is missing, may not be read, or is no regular file.
    """
    from safetensors import SafetensorError, safe_open

    name = os.fsdecode(path)
    check_regular(name)  # opening a pipe would wait for somebody to write to it
    with open(name, "rb"):
        pass  # a missing or forbidden file is an OSError, not a damaged checkpoint
    try:
        with safe_open(name, framework="numpy") as handle:
            yield TensorFile(name, handle)
    except SafetensorError as error:
        raise CheckpointError(f"{name} is not a readable safetensors file: {brief(error)}") from error
