"""Damaged files of every kind that is read: loaded, or refused with an error that says so; the model unchanged."""

from __future__ import annotations

import contextlib
import gzip
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastconv as fc
from fastconv.datasets import cifar10, mnist
from fastconv.errors import CheckpointError, DatasetError
from fastconv.interop import load_weights
from fastconv.models import load_model

from . import journal
from .damage import Damage, blindly, within_gzip, within_png, within_safetensors, within_zip
from .good_files import CIFAR_RECORDS, HAS_H5PY, IDX_NAMES, cifar_archive, idx_files, pictures, weight_files
from .hostile import ACCEPTED, NOT_ACCEPTED
from .networks import tiny

MEMORY = 2.0
_LONGEST = 3000  # characters of a message: a file cannot fill the screen
_LARGEST = 10**6  # values of an input that a model of a damaged file is tried with

_CONTAINERS: dict[str, Damage] = {
    ".safetensors": within_safetensors,
    ".png": within_png,
    ".gz": within_gzip,
    "zip.pth": within_zip,
}
_MODEL = tiny()
_WEIGHTS = _MODEL.get_weights()


def notes() -> list[str]:
    return [] if HAS_H5PY else ["h5py is not installed: no HDF5 files"]


def run(seed: int) -> None:
    """One case."""
    rng = np.random.default_rng(seed)
    fc.set_num_threads(1)
    kind = rng.random()
    with tempfile.TemporaryDirectory() as folder:
        if kind < 0.6:
            _weights(rng, Path(folder))
        elif kind < 0.85:
            _picture(rng, Path(folder))
        elif kind < 0.95:
            _digits(rng, Path(folder))
        else:
            _cifar(rng, Path(folder))


def _damaged(rng: np.random.Generator, name: str, data: bytes, others: list[bytes]) -> bytes:
    inside = next((damage for ending, damage in _CONTAINERS.items() if name.endswith(ending)), None)
    if inside is not None and rng.random() < 0.6:
        return inside(rng, data)
    return blindly(rng, data, others)


@contextlib.contextmanager
def _refusing(*errors: type[Exception]) -> Iterator[None]:
    """One of ``errors``, or the operating system's, may end the block, with a message of decent length."""
    try:
        yield
    except Exception as error:
        by_the_system = isinstance(error, OSError) and error.errno is not None
        if not isinstance(error, errors) and not by_the_system:
            raise
        if not 0 < len(str(error)) <= _LONGEST:
            raise AssertionError(f"a message of {len(str(error))} characters") from error


def _weights(rng: np.random.Generator, folder: Path) -> None:
    """A weight file, or a whole model."""
    files = weight_files()
    name = list(files)[rng.integers(len(files))]
    path = folder / name
    path.write_bytes(_damaged(rng, name, files[name], list(files.values())))
    readers: list[Callable[[Any], Any]] = [lambda p: load_weights(_MODEL, p)]
    if name.endswith(".safetensors"):
        readers.append(_MODEL.load_weights)
    if name == "model.safetensors":
        readers += [_load_and_try] * 4
    reader = readers[rng.integers(len(readers))]
    with journal.doing(f"{getattr(reader, '__name__', reader)} of a damaged {name}", size=path.stat().st_size):
        loaded = False
        with _refusing(CheckpointError):
            reader(path)
            loaded = True
        now = _MODEL.get_weights()
        if not loaded:
            same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(_WEIGHTS, now, strict=True))
            assert same, "the file was refused, but the model has changed"
        _MODEL.set_weights(_WEIGHTS)


def _load_and_try(path: Path) -> None:
    """What loads as a model must run, or say why it does not."""
    model = load_model(path)
    try:
        shapes = [tuple(2 if n is None else n for n in tensor.shape) for tensor in model.inputs]
        if all(np.prod(shape, dtype=float) <= _LARGEST for shape in shapes):
            inputs = [np.ones(shape, model.inputs[i].dtype) for i, shape in enumerate(shapes)]
            model(inputs[0] if len(inputs) == 1 else inputs)
    except ACCEPTED as error:
        if isinstance(error, NOT_ACCEPTED):
            raise


def _picture(rng: np.random.Generator, folder: Path) -> None:
    files = pictures()
    name = list(files)[rng.integers(len(files))]
    path = folder / name
    path.write_bytes(_damaged(rng, name, files[name], list(files.values())))
    size = (None, 7, (9, 5))[rng.integers(3)]
    mode = ("rgb", "grayscale", "rgba")[rng.integers(3)]
    with journal.doing(f"load_image of a damaged {name}", size=size, color_mode=mode), _refusing(ValueError):
        image = fc.preprocessing.load_image(path, size, mode)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == {"rgb": 3, "grayscale": 1, "rgba": 4}[mode]


def _digits(rng: np.random.Generator, folder: Path) -> None:
    packed = bool(rng.integers(2))
    files = {name: gzip.compress(data, 1, mtime=0) if packed else data for name, data in idx_files().items()}
    target = IDX_NAMES[rng.integers(len(IDX_NAMES))]
    ending = ".gz" if packed else ""
    files[target] = _damaged(rng, target + ending, files[target], list(files.values()))
    (folder / "mnist").mkdir()
    for name, data in files.items():
        (folder / "mnist" / f"{name}{ending}").write_bytes(data)
    with journal.doing(f"mnist.load_data with a damaged {target}{ending}"), _data_in(folder), _refusing(DatasetError):
        mnist.load_data()


def _cifar(rng: np.random.Generator, folder: Path) -> None:
    (folder / "cifar10").mkdir()
    name = "cifar-10-binary.tar.gz"
    (folder / "cifar10" / name).write_bytes(_damaged(rng, name, cifar_archive(), [b"", b"\xfd7zXZ\0", b"BZh9"]))
    with journal.doing(f"cifar10.load_data with a damaged {name}"), _data_in(folder), _refusing(DatasetError):
        cifar10.load_data()


@contextlib.contextmanager
def _data_in(folder: Path) -> Iterator[None]:
    """Data sets are read from ``folder``; CIFAR-10's files are small."""
    before, records = os.environ.get("FASTCONV_DATA"), cifar10._RECORDS
    os.environ["FASTCONV_DATA"] = str(folder)
    cifar10._RECORDS = CIFAR_RECORDS
    try:
        yield
    finally:
        cifar10._RECORDS = records
        del os.environ["FASTCONV_DATA"]
        if before is not None:
            os.environ["FASTCONV_DATA"] = before
