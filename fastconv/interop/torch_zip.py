"""The zip format of ``torch.save``: ``<name>/data.pkl``, ``<name>/byteorder``, and ``<name>/data/<key>`` a storage."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any, BinaryIO

import numpy as np

from ..errors import CheckpointError, brief, shortened
from ._pickle_machine import LIMIT
from .torch_pickle import Fetch, Storage, native, unpickle

# What zipfile raises on damaged archives.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    OSError,
    ValueError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
)
_ENCRYPTED = 0x1


def read_zip(file: BinaryIO, size: int, source: str) -> tuple[Any, Fetch]:
    """Return what the archive's pickle describes, and a function that reads a storage.

    ``torch.save`` stores its members uncompressed, so a compressed one is refused, and with it every zip bomb.

    Args:
        file: of ``size`` bytes.
        source: for messages.

    Raises:
        CheckpointError: see ``read_torch_file``.
    """
    archive = _Archive(file, size, source)
    storages: dict[str, Storage] = {}
    content = unpickle(io.BytesIO(archive.read("data.pkl", LIMIT)), storages, source)
    order = "<"
    if archive.has("byteorder"):
        written = archive.read("byteorder", 16)
        if written not in (b"little", b"big"):
            raise CheckpointError(f"{source}: byteorder is {shortened(written)}, not little or big")
        order = "<" if written == b"little" else ">"
    read_so_far = 0

    def fetch(storage: Storage) -> np.ndarray:
        nonlocal read_so_far
        read_so_far += storage.nbytes
        if read_so_far > size:
            raise CheckpointError(f"{source}: its storages have {read_so_far} bytes and more, the file {size}")
        return native(archive.read(f"data/{storage.key}", storage.nbytes), storage, order, source)

    return content, fetch


class _Archive:
    """Members of a zip file, each checked before it is read."""

    def __init__(self, file: BinaryIO, size: int, source: str) -> None:
        self.size = size
        self.source = source
        try:
            self.zip = zipfile.ZipFile(file)
            members = self.zip.infolist()
        except _DAMAGE as error:
            raise CheckpointError(f"{source} is a damaged zip archive: {brief(error)}") from error
        self.members = {member.filename: member for member in members}
        if len(self.members) < len(members):
            raise CheckpointError(f"{source}: two members of the archive have the same name")
        pickles = [name for name in self.members if name.endswith("/data.pkl") and name.count("/") == 1]
        if any(name.endswith("/constants.pkl") for name in self.members):
            raise CheckpointError(
                f"{source} is a TorchScript archive, a program: save the weights, torch.save(module.state_dict(), path)"
            )
        if len(pickles) != 1:
            hint = "; a .keras archive is no weight file" if "model.weights.h5" in self.members else ""
            raise CheckpointError(f"{source} is a zip archive, but not one of torch.save: no member data.pkl{hint}")
        self.prefix = pickles[0].removesuffix("data.pkl")

    def has(self, name: str) -> bool:
        return self.prefix + name in self.members

    def read(self, name: str, limit: int) -> bytes:
        """Return a member of at most ``limit`` bytes."""
        member = self.members.get(self.prefix + name)
        where = f"{self.source}: member {shortened(self.prefix + name)}"
        if member is None:
            raise CheckpointError(f"{where} is missing")
        if member.flag_bits & _ENCRYPTED:
            raise CheckpointError(f"{where} is encrypted")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise CheckpointError(f"{where} is compressed; torch.save does not do that")
        if member.file_size > min(limit, self.size):
            raise CheckpointError(
                f"{where} has {member.file_size} bytes; at most {limit} are expected, the file has {self.size}"
            )
        try:
            return self.zip.read(member)
        except _DAMAGE as error:
            raise CheckpointError(f"{where} is damaged: {brief(error)}") from error
