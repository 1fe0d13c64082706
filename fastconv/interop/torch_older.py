"""The format of ``torch.save`` before PyTorch 1.6: a series of pickles, with the storages behind them."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import numpy as np

from ..errors import CheckpointError, shortened
from ._pickle_machine import PickleMachine
from .torch_pickle import Fetch, Storage, native, text_of, unpickle

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def read_older(handle: BinaryIO, size: int, head: bytes, source: str) -> tuple[Any, Fetch]:
    """Return what a file describes, and a function that reads a storage.

    In it are pickles of a magic number, the protocol, the machine, the object, the keys; then each storage's size and
    data. All numbers are little-endian, whatever machine wrote them.

    Args:
        handle: of a file of ``size`` bytes, at its beginning.
        head: its first 512 bytes.
        source: for messages.

    Raises:
        CheckpointError: see ``read_torch_file``.
    """
    file = BoundedFile(handle, size)
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
        key = text_of(entry)
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
