"""IDX, the file format of MNIST: http://yann.lecun.com/exdb/mnist/.

A big-endian header (two zero bytes, a type code, the number of dimensions, then every dimension as uint32), followed by
the values in row-major order. MNIST uses type 0x08, unsigned byte.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import _files

IMAGE_SHAPE = (28, 28)
CLASSES = 10
MAX_BYTES = 2**30  # far above any file of this family; a header that claims more is lying

Arrays = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def load_parts(dataset: str, fetch: Callable[[str], Path]) -> Arrays:
    """Read MNIST's four files, found by `fetch(name)`, as `(x_train, y_train), (x_test, y_test)`.

    Raises:
        DatasetError: a file is damaged, or images and labels do not belong together.
    """
    return _load_part(dataset, fetch, "train"), _load_part(dataset, fetch, "t10k")


def _load_part(dataset: str, fetch: Callable[[str], Path], part: str) -> tuple[np.ndarray, np.ndarray]:
    images_name, labels_name = f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"
    images_path, labels_path = fetch(images_name), fetch(labels_name)
    images = read_idx(dataset, images_path, images_name, ndim=3)
    labels = read_idx(dataset, labels_path, labels_name, ndim=1)
    if images.shape[1:] != IMAGE_SHAPE:
        problem = f"images of {images.shape[1]} x {images.shape[2]} pixels, expected 28 x 28"
        raise _files.damaged(dataset, images_path, images_name, problem)
    if len(images) != len(labels):
        problem = f"{len(labels):,} labels for the {len(images):,} images of {images_path}"
        raise _files.damaged(dataset, labels_path, labels_name, problem)
    if labels.max() >= CLASSES:
        problem = f"label {labels.max()} found, expected 0 to {CLASSES - 1}"
        raise _files.damaged(dataset, labels_path, labels_name, problem)
    return images, labels


def read_idx(dataset: str, path: Path, name: str, ndim: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzip-compressed when `path` ends in .gz.

    Args:
        dataset, name: what the file should be, for the message of an error.
        ndim: the number of dimensions the file must have.

    Returns:
        A writable uint8 array with the shape the header states.

    Raises:
        DatasetError: wrong magic number, impossible dimensions, too few or too many bytes, broken compression.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            magic, header = file.read(4), file.read(4 * ndim)
            shape, problem = _parse_header(magic, header, ndim)
            if problem is None:
                size = math.prod(shape)
                data = file.read(size + 1)  # one more, to notice what does not belong there
                problem = _check_size(shape, size, data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        problem = f"truncated or damaged gzip file ({error})"
    if problem is not None:
        raise _files.damaged(dataset, path, name, problem)
    return np.frombuffer(data, dtype=np.uint8).reshape(shape).copy()


def _parse_header(magic: bytes, header: bytes, ndim: int) -> tuple[tuple[int, ...], str | None]:
    expected = bytes([0, 0, 8, ndim])
    if magic != expected:
        return (), f"not an IDX file of {ndim} dimensions: it starts with {magic.hex(' ')}, not {expected.hex(' ')}"
    if len(header) < 4 * ndim:
        return (), f"truncated in the header, after {4 + len(header)} of {4 + 4 * ndim} bytes"
    shape = struct.unpack(f">{ndim}I", header)
    if 0 in shape or math.prod(shape) > MAX_BYTES:
        return (), f"the header claims {_product(shape)} = {math.prod(shape):,} bytes"
    return shape, None


def _check_size(shape: tuple[int, ...], size: int, data: bytes) -> str | None:
    if len(data) < size:
        return f"truncated: the header states {_product(shape)} = {size:,} bytes, the file holds {len(data):,}"
    if len(data) > size:
        return f"more data than the {_product(shape)} = {size:,} bytes that the header states"
    return None


def _product(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{length:,}" for length in shape)
