"""What the pickle in a PyTorch checkpoint says: tensors, and the storages that hold their values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import CheckpointError, shortened
from ._pickle_machine import LIMIT, LONGEST_NAME, Global, PickleMachine, plain_key

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
    if not (isinstance(identifier, tuple) and len(identifier) in (5, 6) and text_of(identifier[0]) == "storage"):
        raise CheckpointError(f"{source}: its pickle has a persistent id that is not a storage")
    kind, key, count = identifier[1], text_of(identifier[2]), _count(identifier[4], "a storage's size", source)
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


def text_of(value: Any) -> str | None:
    """A string, also from a pickle of Python 2; None for anything else, or a string too long for a name."""
    if not isinstance(value, str | bytes) or len(value) > LONGEST_NAME:
        return None
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _count(value: Any, what: str, source: str) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise CheckpointError(f"{source}: {what} is {shortened(value)}, it must be an integer from 0 to 2^63 - 1")
    return value


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
