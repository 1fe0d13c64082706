"""CIFAR-10: 60,000 colour pictures in ten classes (Krizhevsky, 2009), https://www.cs.toronto.edu/~kriz/cifar.html.

Read from the binary version, which needs no pickle: records of one label byte and 3 x 32 x 32 pixel bytes (planes of
red, green, blue), 10,000 records a file.
"""

import errno
import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import DatasetError, brief
from . import _files, _idx

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_ARCHIVE = "cifar-10-binary.tar.gz"
_FOLDER = "cifar-10-batches-bin"
_URLS = ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",)
_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"  # as published by TensorFlow Datasets
_MAX_BYTES = 180 << 20  # the archive has 170 million
_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_TEST = "test_batch.bin"
#: What tarfile and gzip raise for archives that are damaged, or lie about the sizes of what they hold.
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, OverflowError, MemoryError)
_RECORDS = 10_000
_RECORD_BYTES = 1 + 3 * 32 * 32


def load_data() -> _idx.Arrays:
    """Load CIFAR-10 from `$FASTCONV_DATA/cifar10/`, the cache or the network (170 MB).

    Under `$FASTCONV_DATA/cifar10/` may lie the archive `cifar-10-binary.tar.gz` or its six unpacked `.bin` files (also
    in their folder `cifar-10-batches-bin`).

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images `(50000, 32, 32, 3)` and `(10000, 32, 32, 3)`, labels
        `(50000, 1)` and `(10000, 1)`, all uint8; `CLASS_NAMES[label]` is the label in words.

    Raises:
        DatasetError: the data is missing and cannot be downloaded, or is damaged.
    """
    unpacked = {name: _unpacked(name) for name in (*_TRAIN, _TEST)}
    if all(unpacked.values()):
        batches = {name: _parse(path, _read_file(path)) for name, path in unpacked.items() if path}
    else:
        batches = dict(_read_archive(_files.fetch("cifar10", _ARCHIVE, _URLS, _SHA256, _MAX_BYTES)))
    x_train, y_train = zip(*(batches[name] for name in _TRAIN), strict=True)
    return (np.concatenate(x_train), np.concatenate(y_train)), batches[_TEST]


def _unpacked(name: str) -> Path | None:
    return _files.find_local("cifar10", name) or _files.find_local("cifar10", f"{_FOLDER}/{name}")


def _read_file(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            return file.read(_RECORDS * _RECORD_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, f"truncated or damaged gzip file ({error})") from error


def _read_archive(path: Path) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yield (name, (images, labels)) of the six batches; nothing is unpacked to disk."""
    wanted = {f"{_FOLDER}/{name}": name for name in (*_TRAIN, _TEST)}
    try:
        # Only what its name says: tarfile would also try bzip2 and xz, whose errors are others again.
        with tarfile.open(path, "r:gz" if path.suffix == ".gz" else "r:") as archive:
            for member in archive:
                name = wanted.pop(member.name, None) if member.isfile() else None
                file = archive.extractfile(member) if name else None
                if name and file:
                    yield name, _parse(path, file.read(_RECORDS * _RECORD_BYTES + 1), f"{name} in it ")
    except DatasetError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's, not the archive's, which may send its reader to a place before the first
        raise _damaged(path, f"truncated or damaged archive ({brief(error)})") from error
    if wanted:
        raise _damaged(path, f"the archive lacks {', '.join(wanted)}")


def _parse(path: Path, data: bytes, where: str = "") -> tuple[np.ndarray, np.ndarray]:
    expected = _RECORDS * _RECORD_BYTES
    if len(data) != expected:
        held = f"{len(data):,}" if len(data) < expected else f"more than {expected:,}"
        raise _damaged(path, f"{where}holds {held} bytes, expected {_RECORDS:,} x {_RECORD_BYTES:,} = {expected:,}")
    records = np.frombuffer(data, dtype=np.uint8).reshape(_RECORDS, _RECORD_BYTES)
    labels, planes = records[:, :1], records[:, 1:].reshape(-1, 3, 32, 32)
    if labels.max() >= len(CLASS_NAMES):
        raise _damaged(path, f"{where}holds label {labels.max()}, expected 0 to {len(CLASS_NAMES) - 1}")
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels.copy()


def _damaged(path: Path, problem: str) -> Exception:
    return _files.damaged("cifar10", path, _ARCHIVE, problem)
