"""Reads arrays and names from an HDF5 file that may be hostile.

Only what Keras writes is followed: groups and datasets by hard links, arrays of floating-point numbers that lie in the
file itself, strings in attributes. Shapes are compared before anything is read.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import CheckpointError, shortened
from .hdf5_strings import variable_length_strings

SIGNATURE = b"\x89HDF\r\n\x1a\n"

# Deflate, shuffle, Fletcher32 and h5py's LZF; for any other filter HDF5 would look for a library to load.
_FILTERS = (1, 2, 3, 32000)
_CHUNK_LIMIT = 1 << 20  # bytes; h5py's own chunks stay below
_ERRORS = (
    struct.error,
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    MemoryError,
    SystemError,
)


class Hdf5File:
    """An HDF5 file, opened for reading; use it in a ``with`` statement.

    Args:
        path: of the file.

    Attributes:
        root: the root group.

    Raises:
        ImportError: h5py is not installed. CheckpointError: not an HDF5 file, or a damaged one.
        OSError: the file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        self._h5py = _h5py()
        with open(self.name, "rb") as file:
            self.size = os.fstat(file.fileno()).st_size
            if file.read(len(SIGNATURE)) != SIGNATURE:
                raise CheckpointError(f"{self.name} is not an HDF5 file")
        with self.reading("the file"):
            self._file = self._h5py.File(self.name, "r")
            self.root = self._file["/"]

    def __enter__(self) -> Hdf5File:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self.reading("the file"):
            self._file.close()

    @contextlib.contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Turn what h5py raises on damaged files into a CheckpointError that names ``what``."""
        try:
            yield
        except CheckpointError:
            raise
        except _ERRORS as error:
            reason = str(error) or type(error).__name__
            raise CheckpointError(f"{self.name}: {what} is damaged: {shortened(reason, 300)[1:-1]}") from error

    def child(self, group: Any, path: str) -> Any:
        """Return the group or dataset at ``path`` (parts joined by slashes) below ``group``; None if there is none.

        Raises:
            CheckpointError: a link that leaves the file or is not what Keras writes.
        """
        for part in path.split("/"):
            if part in ("", ".", ".."):
                raise CheckpointError(f"{self.name}: {shortened(path)} is not a name that Keras writes")
            with self.reading(shortened(path)):
                if not isinstance(group, self._h5py.Group):
                    return None
                link = group.get(part, getlink=True)
                if link is None:
                    return None
                if not isinstance(link, self._h5py.HardLink):
                    raise CheckpointError(
                        f"{self.name}: {shortened(path)} is a {type(link).__name__}; only data in the file itself are "
                        "read"
                    )
                group = group[part]
        return group

    def group(self, parent: Any, path: str) -> Any:
        """Return a group that must exist.

        Raises:
            CheckpointError: it does not, or it is a dataset.
        """
        found = self.child(parent, path)
        if not isinstance(found, self._h5py.Group):
            raise CheckpointError(f"{self.name}: there is no group {shortened(path)} in {shortened(parent.name)}")
        return found

    def keys(self, group: Any) -> list[str]:
        """Return the names in a group."""
        with self.reading(shortened(group.name)):
            keys = list(group.keys())
        if not all(isinstance(key, str) for key in keys):  # h5py gives bytes for what is not UTF-8
            raise CheckpointError(f"{self.name}: {shortened(group.name)} holds a name that is not text")
        return keys

    def names(self, group: Any, attribute: str) -> list[str] | None:
        """Return the strings of an attribute, which Keras splits over ``attribute0``, ``attribute1``, ... if long.

        Returns None if there is none.
        """
        with self.reading(f"attribute {attribute} of {shortened(group.name)}"):
            if attribute in group.attrs:
                return self._strings(group, attribute)
            if f"{attribute}0" not in group.attrs:
                return None
            strings: list[str] = []
            number = 0
            while f"{attribute}{number}" in group.attrs:
                strings += self._strings(group, f"{attribute}{number}")
                number += 1
            return strings

    def _strings(self, group: Any, attribute: str) -> list[str]:
        stored = group.attrs.get_id(attribute)
        count = math.prod(stored.shape or ())
        if not count:
            return []  # an empty list has no type: Keras writes one of numbers
        text = self._h5py.check_string_dtype(stored.dtype)
        if text is None and stored.dtype.kind != "S":
            raise CheckpointError(
                f"{self.name}: attribute {attribute} of {shortened(group.name)} holds {stored.dtype}, not strings"
            )
        if count * max(stored.dtype.itemsize, 1) > self.size + 4096:
            raise CheckpointError(
                f"{self.name}: attribute {attribute} of {shortened(group.name)} claims {count} strings, the file has "
                f"{self.size} bytes"
            )
        if text is not None and text.length is None:
            values: Any = self._variable_length(group, attribute, count)
        else:
            values = np.atleast_1d(group.attrs[attribute]).ravel()
        return [bytes(value).decode("utf-8") for value in values]

    def _variable_length(self, group: Any, attribute: str, count: int) -> list[bytes]:
        with open(self.name, "rb") as file:
            address = self._h5py.h5o.get_info(group.id).addr
            values = variable_length_strings(file, self.size, address, attribute, count)
        if values is None:
            where = f"{self.name}: attribute {attribute} of {shortened(group.name)}"
            raise CheckpointError(f"{where} is not stored in the way that Keras does")
        return values

    def shape(self, parent: Any, path: str) -> tuple[int, ...] | None:
        """Return the shape of a dataset without reading it, or None if there is no such dataset."""
        dataset = self.child(parent, path)
        with self.reading(shortened(path)):
            return (
                tuple(dataset.shape) if isinstance(dataset, self._h5py.Dataset) and dataset.shape is not None else None
            )

    def array(self, parent: Any, path: str) -> np.ndarray:
        """Return a dataset of floating-point numbers; look at its :meth:`shape` first.

        Raises:
            CheckpointError: another type, data outside the file, or damage.
        """
        dataset = self.child(parent, path)
        where = f"{self.name}: {shortened(path)}"
        with self.reading(shortened(path)):
            if dataset.dtype.kind != "f":
                raise CheckpointError(f"{where} has dtype {dataset.dtype}; only floating-point numbers are read")
            if dataset.is_virtual or dataset.external:
                raise CheckpointError(f"{where} has its data in other files; only data in the file itself are read")
            self._check_storage(dataset, where)
            return np.asarray(dataset[()])

    def _check_storage(self, dataset: Any, where: str) -> None:
        """Raise unless the data can have been written by Keras: all there, in chunks that are no bombs."""
        if dataset.size and not dataset.id.get_storage_size():
            raise CheckpointError(f"{where} has shape {dataset.shape}, but no data")
        properties = dataset.id.get_create_plist()
        filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
        if any(code not in _FILTERS for code in filters):
            raise CheckpointError(f"{where} is stored with the filters {filters}; known are {list(_FILTERS)}")
        chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
        if chunk > max(_CHUNK_LIMIT, 2 * dataset.nbytes):
            raise CheckpointError(f"{where} has chunks of {chunk} bytes for {dataset.nbytes} bytes of data")


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("Keras' .h5 files are read by h5py: pip install fastconv[interop]") from error
    return h5py
