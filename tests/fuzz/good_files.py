"""Files of every kind that is read, whole: what the damaged ones are made of."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import io
import pickle
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image, features
from safetensors.numpy import save_file

from .networks import tiny

HAS_H5PY = importlib.util.find_spec("h5py") is not None
CIFAR_RECORDS = 4  # instead of 10,000
IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CIFAR_NAMES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")


def _written(write: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        write(path)
        return path.read_bytes()


# ---- weights and models ----


def _model_file(path: Path) -> None:
    model = tiny()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(1)
    model.train_on_batch(rng.random((4, 5, 5, 1), np.float32), np.array([0, 1, 1, 0]))
    model.save(path)


def torch_state() -> dict[str, np.ndarray]:
    """The weights of ``tiny`` under PyTorch's names and in its layouts."""
    kernel, bias, gamma, beta, mean, variance, dense, dense_bias = tiny().get_weights()
    return {
        "0.weight": np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)),
        "0.bias": bias,
        "1.weight": gamma,
        "1.bias": beta,
        "1.running_mean": mean,
        "1.running_var": variance,
        "3.weight": np.ascontiguousarray(dense.reshape(3, 3, 2, 2).transpose(3, 2, 0, 1).reshape(2, 18)),
        "3.bias": dense_bias,
    }


def _keras_h5(path: Path) -> None:
    """The layout of keras.applications."""
    import h5py

    with h5py.File(path, "w") as file:
        named = list(tiny().named_parameters())
        layers = list(dict.fromkeys(name.split("/")[0] for name, _ in named))
        file.attrs["layer_names"] = np.array([name.encode() for name in layers])
        for layer in layers:
            own = [(f"{name}:0", p.value) for name, p in named if name.split("/")[0] == layer]
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name for name, _ in own]  # str: variable length
            for name, value in own:
                group[name] = value


def _keras_weights_h5(path: Path) -> None:
    """The layout of Keras 3, compressed in chunks."""
    import h5py

    with h5py.File(path, "w") as file:
        for layer in tiny().layers:
            for i, parameter in enumerate(layer.parameters):
                name = f"layers/{layer.name}/vars/{i}"
                file.create_dataset(name, data=parameter.value, chunks=parameter.shape, compression="gzip")


class _Global:
    """Pickles as a name."""

    def __init__(self, name: str) -> None:
        self.module, self.name = name.rsplit(".", 1)


class _Call:
    """Pickles as the call of a name."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.function, self.arguments = _Global(name), arguments


class _Storage:
    """Pickles as a reference to numbers outside the pickle."""

    def __init__(self, *identifier: Any) -> None:
        self.identifier = ("storage", _Global("torch.FloatStorage"), *identifier)


class _Pickler(pickle._Pickler):
    """Writes what ``torch.save`` would, without PyTorch."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def persistent_id(self, obj: Any) -> Any:
        return obj.identifier if isinstance(obj, _Storage) else None

    def save_global_name(self, obj: _Global) -> None:
        self.write(f"c{obj.module}\n{obj.name}\n".encode())  # type: ignore[attr-defined]

    def save_call(self, obj: _Call) -> None:
        self.save(obj.function)  # type: ignore[attr-defined]
        self.save(obj.arguments)  # type: ignore[attr-defined]
        self.write(pickle.REDUCE)  # type: ignore[attr-defined]

    dispatch |= {_Global: save_global_name, _Call: save_call}


def _pickled_state(state: Mapping[str, np.ndarray], *view: Any) -> bytes:
    tensors = {}
    for i, (name, array) in enumerate(state.items()):
        storage = _Storage(str(i), "cpu", array.size, *view)
        strides = tuple(step // array.itemsize for step in array.strides)
        hooks = _Call("collections.OrderedDict")
        tensors[name] = _Call("torch._utils._rebuild_tensor_v2", storage, 0, array.shape, strides, False, hooks)
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(tensors)
    return buffer.getvalue()


def pth_zip() -> bytes:
    """A state dict in today's format of PyTorch."""
    state, buffer = torch_state(), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        members = {"data.pkl": _pickled_state(state), "byteorder": b"little", "version": b"3\n"}
        members |= {f"data/{i}": array.tobytes() for i, array in enumerate(state.values())}
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
    return buffer.getvalue()


def pth_old() -> bytes:
    """A state dict in PyTorch's format before 1.6: pickles, then every storage's length and numbers."""
    state = torch_state()
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system))
    keys = [str(i) for i in range(len(state))]
    numbers = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in state.values())
    return head + _pickled_state(state, None) + pickle.dumps(keys, 2) + numbers


# ---- data sets and pictures ----


def idx_files() -> dict[str, bytes]:
    """Name -> content of MNIST's four files, with few digits."""
    rng = np.random.default_rng(2)
    files = {}
    for name in IDX_NAMES:
        shape = (5, 28, 28) if "images" in name else (5,)
        values = rng.integers(0, 10, shape, np.uint8)
        files[name] = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape) + values.tobytes()
    return files


def cifar_archive() -> bytes:
    """The archive of CIFAR-10, with few pictures."""
    rng, buffer = np.random.default_rng(3), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in CIFAR_NAMES:
            records = rng.integers(0, 10, (CIFAR_RECORDS, 3073), np.uint8).tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(records)
            archive.addfile(member, io.BytesIO(records))
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


def _picture(mode: str, ending: str, **options: Any) -> bytes:
    pixels = np.random.default_rng(4).integers(0, 256, (13, 20, 3), np.uint8)
    picture = Image.fromarray(pixels)
    if mode == "I;16":
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    elif mode != "RGB":
        picture = picture.convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, ending, **options)
    return buffer.getvalue()


def _turned() -> Any:
    """EXIF that says the camera was held on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@functools.cache
def weight_files() -> dict[str, bytes]:
    """Name, with the ending that says the kind -> content."""
    files = {
        "model.safetensors": _written(_model_file),
        "weights.safetensors": _written(lambda path: tiny().save_weights(path)),
        "torch.safetensors": _written(lambda path: save_file(torch_state(), path)),
        "zip.pth": pth_zip(),
        "old.pth": pth_old(),
    }
    if HAS_H5PY:
        files |= {"applications.h5": _written(_keras_h5), "keras3.weights.h5": _written(_keras_weights_h5)}
    return files


@functools.cache
def pictures() -> dict[str, bytes]:
    """Likewise for pictures."""
    another = Image.fromarray(np.zeros((13, 20), np.uint8))
    files = {
        "rgb.png": _picture("RGB", "PNG"),
        "grey16.png": _picture("I;16", "PNG"),
        "palette.png": _picture("P", "PNG", transparency=0),
        "alpha.png": _picture("RGBA", "PNG"),
        "photo.jpg": _picture("RGB", "JPEG", exif=_turned()),
        "grey.jpg": _picture("L", "JPEG", progressive=True),
        "print.jpg": _picture("CMYK", "JPEG"),
        "moving.gif": _picture("P", "GIF", save_all=True, append_images=[another]),
        "plain.bmp": _picture("RGB", "BMP"),
        "raw.tif": _picture("RGB", "TIFF"),
        "packed.tif": _picture("I;16", "TIFF", compression="tiff_lzw"),
        "plain.ppm": _picture("RGB", "PPM"),
    }
    if features.check("webp"):
        files["photo.webp"] = _picture("RGB", "WEBP")
    return files
