"""Safetensors files: whether one is, whose it is, and the tensors of one that is not fastconv's own."""

from __future__ import annotations

import json
import os

import numpy as np

from ..errors import CheckpointError, brief, shortened

# bfloat16 has no NumPy dtype; it is the upper half of a float32.
_DTYPES = {
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8",
    "U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "?",
}  # fmt: skip

ZIP = b"PK\x03\x04"


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return name -> array, in the order in which the tensors lie in the file; bfloat16 becomes float32.

    PyTorch's files are ordered by dtype and name, so their order says nothing about the module.

    Raises:
        CheckpointError: a damaged file, or a dtype that is not known. OSError: the file cannot be read.
    """
    from safetensors import SafetensorError, deserialize

    name = os.fspath(path)
    with open(name, "rb") as file:
        data = file.read()
    try:
        tensors = deserialize(data)
    except SafetensorError as error:
        raise CheckpointError(f"{name} is not a readable safetensors file: {brief(error)}") from error
    arrays = {}
    for key, tensor in tensors:
        dtype = tensor["dtype"]
        if dtype not in _DTYPES:
            raise CheckpointError(f"{name}: {shortened(key)} has dtype {dtype}, which is not read")
        array = np.frombuffer(tensor["data"], _DTYPES[dtype]).reshape(tensor["shape"])
        arrays[key] = (array.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else array
    return arrays


def is_own(path: str | os.PathLike[str]) -> bool:
    """Whether fastconv wrote a safetensors file: its metadata says so, or, where another tool has dropped them, the
    names, which are ``"layer/weight"``; PyTorch's end in ``"module.weight"``.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= size - 8 else b""
    try:
        names = dict(json.loads(header))
    except (ValueError, TypeError, RecursionError):
        return False  # damaged, which the reader of foreign files says
    metadata = names.pop("__metadata__", None)
    if isinstance(metadata, dict) and str(metadata.get("format")).startswith("fastconv"):
        return True
    ends = (name.rpartition("/") for name in names)
    return any(slash and "." not in weight for _, slash, weight in ends)


def is_safetensors(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as safetensors files do: the length of a header, then the header, which is JSON.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return begins_as_safetensors(file.read(64))


def begins_as_safetensors(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a safetensors file."""
    return head[8:9] == b"{" and not head.startswith((b"{", ZIP))
