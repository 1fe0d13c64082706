"""Reads PyTorch's checkpoints (.pth, .pt) without PyTorch, and without executing the pickle inside.

Two formats of ``torch.save``: a zip archive (since PyTorch 1.6) with the pickle in ``data.pkl`` and one member for
each storage, and the older one, a series of pickles with the storages behind them. See
https://pytorch.org/docs/stable/notes/serialization.html.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import CheckpointError, shortened
from ._pickle_machine import LIMIT, LONGEST_NAME, Global, NumberKey, PickleMachine, plain_key

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the older format
_MAX_DIMENSIONS = 8
_MOST_PAIRS = LIMIT // 32  # of OrderedDicts: a pickle takes more bytes to describe a tensor

# The name of a storage class -> dtype. bfloat16 is the upper half of a float32.
_STORAGES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}


class Storage(NamedTuple):
    """A one-dimensional array in the file, or a part of it.

    Attributes:
        key: which one.
        dtype: from ``_STORAGES``.
        whole: elements of the array in the file.
        start, size: the part, in elements.
    """

    key: str
    dtype: str
    whole: int
    start: int
    size: int

    @property
    def nbytes(self) -> int:
        """Bytes of the array in the file."""
        return self.whole * int(self.dtype[-1])


class TensorInfo(NamedTuple):
    """A tensor that the pickle describes; all numbers are checked against the storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


Fetch = Callable[[Storage], np.ndarray]  # -> the whole array, in native byte order


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
            from .torch_zip import read_zip  # beside the other format, in a file of its own

            content, fetch = read_zip(file, size, name)
        else:
            content, fetch = _read_older(BoundedFile(file, size), head, name)
        return _arrays(_state_dict(content, name), fetch, name)


class BoundedFile:
    """A binary file whose reads never ask for more than the file holds: lengths inside a file may lie."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size

    def read(self, length: int = -1) -> bytes:
        """Return at most ``length`` bytes."""
        left = max(self.size - self.file.tell(), 0)
        return self.file.read(left if length < 0 else min(length, left))

    def readline(self) -> bytes:
        """Return the bytes up to and including a line feed."""
        return self.file.readline()

    def tell(self) -> int:
        """Return the position."""
        return self.file.tell()

    def seek(self, position: int) -> None:
        """Go to a position."""
        self.file.seek(position)


def unpickle(stream: Any, storages: dict[str, Storage], source: str) -> Any:
    """Return what a pickle of ``torch.save`` describes, with :class:`TensorInfo` in place of tensors.

    Args:
        stream: positioned at the pickle.
        storages: filled with the storages that the pickle refers to, by key.
        source: for messages.

    Raises:
        CheckpointError: see :func:`read_torch_file`.
    """

    def persistent(identifier: Any) -> Storage:
        return _storage(identifier, storages, source)

    return PickleMachine(stream, _meanings(source), persistent, source).run()


def _meanings(source: str) -> Mapping[str, Any]:
    """Everything that a pickle may name, and what stands for it here.

    A call takes a few bytes, and may be made often with the same arguments: none may take long, or much memory.
    """
    pairs_so_far = 0

    def rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> TensorInfo:
        # The rest: requires_grad, hooks, and since 2.0 a dict of flags (conjugate, negative) that change the values.
        if len(rest) > 2 and rest[2]:
            raise CheckpointError(f"{source}: a tensor has flags beside its values ({type(rest[2]).__name__})")
        return _tensor(storage, offset, shape, strides, source)

    def parameter(data: Any, *rest: Any) -> TensorInfo:
        if not isinstance(data, TensorInfo):
            raise CheckpointError(f"{source}: a parameter is a {type(data).__name__}, not a tensor")
        return data

    def ordered_dict(items: Any = ()) -> dict[Any, Any]:
        nonlocal pairs_so_far
        if not isinstance(items, list | tuple):
            raise CheckpointError(f"{source}: an OrderedDict is made of a {type(items).__name__}")
        pairs_so_far += len(items)
        if pairs_so_far > _MOST_PAIRS:
            raise CheckpointError(f"{source}: its OrderedDicts are made of more than {_MOST_PAIRS} pairs")
        pairs = [(plain_key(key, source), value) for key, value in items]
        if not all(isinstance(key, str) for key, _ in pairs):
            raise CheckpointError(f"{source}: an OrderedDict has keys that are not strings")
        return dict(pairs)

    def size(sizes: Any) -> tuple[Any, ...]:
        if not isinstance(sizes, list | tuple):
            raise CheckpointError(f"{source}: a size is a {type(sizes).__name__}")
        if len(sizes) > _MAX_DIMENSIONS:
            raise CheckpointError(f"{source}: a size has {len(sizes)} dimensions, at most {_MAX_DIMENSIONS} are read")
        return tuple(sizes)

    return {
        "collections.OrderedDict": ordered_dict,
        "torch.Size": size,
        "torch._utils._rebuild_tensor": rebuild,
        "torch._utils._rebuild_tensor_v2": rebuild,
        "torch._utils._rebuild_parameter": parameter,
        **{f"{module}.{name}": dtype for module in ("torch", "torch.cuda") for name, dtype in _STORAGES.items()},
    }


def _storage(identifier: Any, storages: dict[str, Storage], source: str) -> Storage:
    """Check ("storage", class, key, device, elements) and, in the older format, a view (key, offset, elements)."""
    if not (isinstance(identifier, tuple) and len(identifier) in (5, 6) and _text(identifier[0]) == "storage"):
        raise CheckpointError(f"{source}: its pickle has a persistent id that is not a storage")
    kind, key, count = identifier[1], _text(identifier[2]), _count(identifier[4], "a storage's size", source)
    dtype = kind.meaning if isinstance(kind, Global) else None
    if key is None or not isinstance(dtype, str):
        raise CheckpointError(f"{source}: its pickle has a storage without a key or a known type")
    whole = Storage(key, dtype, count, 0, count)
    if storages.setdefault(key, whole) != whole:
        raise CheckpointError(f"{source}: storage {shortened(key)} is described twice, differently")
    view = identifier[5] if len(identifier) == 6 else None
    if view is None:
        return whole
    if not (isinstance(view, tuple) and len(view) == 3):
        raise CheckpointError(f"{source}: storage {shortened(key)} has a view that is not (key, offset, size)")
    start = _count(view[1], "a view's offset", source)
    size = _count(view[2], "a view's size", source)
    if start + size > count:
        raise CheckpointError(
            f"{source}: a view of storage {shortened(key)} ends at element {start} + {size} = {start + size}, the "
            f"storage has {count}"
        )
    return whole._replace(start=start, size=size)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, source: str) -> TensorInfo:
    if not isinstance(storage, Storage):
        raise CheckpointError(f"{source}: a tensor is made of a {type(storage).__name__}, not of a storage")
    if not (isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)):
        raise CheckpointError(f"{source}: a tensor's shape and strides are not tuples of the same length")
    if len(shape) > _MAX_DIMENSIONS:
        raise CheckpointError(f"{source}: a tensor has {len(shape)} dimensions, at most {_MAX_DIMENSIONS} are read")
    offset = _count(offset, "a tensor's offset", source)
    shape = tuple(_count(size, "a tensor's size", source) for size in shape)
    strides = tuple(_count(stride, "a tensor's stride", source) for stride in strides)
    size = math.prod(shape)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if size else offset - 1
    where = f"{source}: a tensor of shape {shape}, strides {strides}, offset {offset}"
    if last >= storage.size:
        raise CheckpointError(
            f"{where} reads element {last} of storage {shortened(storage.key)}, which has {storage.size}"
        )
    if size > storage.size:
        raise CheckpointError(
            f"{where} has {size} elements, storage {shortened(storage.key)} only {storage.size}: repeated elements are "
            "not read"
        )
    return TensorInfo(storage, offset, shape, strides)


def _text(value: Any) -> str | None:
    """A string, also from a pickle of Python 2; None for anything else, or a string too long for a name."""
    if not isinstance(value, str | bytes) or len(value) > LONGEST_NAME:
        return None
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _count(value: Any, what: str, source: str) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise CheckpointError(f"{source}: {what} is {shortened(value)}, it must be an integer from 0 to 2^63 - 1")
    return value


def _read_older(file: BoundedFile, head: bytes, source: str) -> tuple[Any, Fetch]:
    """The format before 1.6: magic number, protocol, machine, the object, the keys; then each storage's size and data.

    All numbers are little-endian, whatever machine wrote them.
    """
    if head[257:262] == b"ustar":
        raise CheckpointError(f"{source} is in PyTorch's tar format of 2016: load it with PyTorch and save it again")
    if not head.startswith(b"\x80"):
        raise CheckpointError(f"{source} is not a PyTorch checkpoint: it begins with {shortened(head[:16])}")
    magic, protocol = (PickleMachine(file, {}, None, source).run() for _ in range(2))  # type: ignore[arg-type]
    if magic != _MAGIC or protocol != _PROTOCOL:
        raise CheckpointError(f"{source} is a pickle, but not one of torch.save")
    PickleMachine(file, {}, None, source).run()  # type: ignore[arg-type]  # about the machine that wrote it
    storages: dict[str, Storage] = {}
    content = unpickle(file, storages, source)
    keys = PickleMachine(file, {}, None, source).run()  # type: ignore[arg-type]
    if not isinstance(keys, list):
        raise CheckpointError(f"{source}: the list of storages is a {type(keys).__name__}")
    positions = _positions(file, keys, storages, source)

    def fetch(storage: Storage) -> np.ndarray:
        if storage.key not in positions:
            raise CheckpointError(f"{source}: there is no data for storage {shortened(storage.key)}")
        file.seek(positions[storage.key])
        return native(file.read(storage.nbytes), storage, "<", source)

    return content, fetch


def _positions(file: BoundedFile, keys: list[Any], storages: dict[str, Storage], source: str) -> dict[str, int]:
    """Return where each storage's data begins."""
    positions: dict[str, int] = {}
    position = file.tell()
    for entry in keys:
        key = _text(entry)
        storage = None if key is None else storages.get(key)
        if key is None or storage is None or key in positions:
            raise CheckpointError(f"{source}: data for storage {shortened(entry)}, which no tensor uses, or twice")
        file.seek(position)
        count = file.read(8)
        if len(count) < 8 or struct.unpack("<q", count)[0] != storage.whole:
            said = struct.unpack("<q", count)[0] if len(count) == 8 else "the end of the file"
            raise CheckpointError(
                f"{source}: storage {shortened(key)} has {storage.whole} elements, its data say {said}"
            )
        positions[key] = position + 8
        position += 8 + storage.nbytes
        if position > file.size:
            raise CheckpointError(
                f"{source}: storage {shortened(key)} ({storage.whole} x {storage.dtype[-1]} bytes) ends at byte "
                f"{position}, the file has {file.size}: it is truncated"
            )
    return positions


def native(data: bytes, storage: Storage, order: str, source: str) -> np.ndarray:
    """Return a storage's bytes as an array in native byte order; bfloat16 as float32.

    Args:
        data: what the file holds.
        storage: what the pickle says about it.
        order: ``"<"`` or ``">"``.
        source: for messages.
    """
    if len(data) != storage.nbytes:
        raise CheckpointError(
            f"{source}: storage {shortened(storage.key)} should have {storage.whole} x {storage.dtype[-1]} = "
            f"{storage.nbytes} bytes, found {len(data)}"
        )
    if storage.dtype == "bf2":
        return (np.frombuffer(data, f"{order}u2").astype(np.uint32) << 16).view(np.float32)
    if storage.dtype == "b1":  # any byte but 0 is true: a bool array of other bytes would be undefined
        return np.frombuffer(data, np.uint8) != 0
    return np.frombuffer(data, f"{order}{storage.dtype}").astype(storage.dtype)


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
