"""HDF5 and other files that are damaged or hostile, and files of all kinds with flipped bits: refused, or loaded."""

from __future__ import annotations

import os
import struct
import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interop_support import MODEL, keras_file, refused, state
from torch_oracle import torch

from fastconv.errors import CheckpointError
from fastconv.interop import load_weights

h5py = pytest.importorskip("h5py", reason="needs h5py")

KERNEL = "dense/dense/kernel:0"


def replaced(make):
    """Put something else in the kernel's place."""

    def change(file, folder):
        del file[KERNEL]
        make(file, folder)

    return change


def _link_outside(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = np.ones((18, 2), np.float32)
    file[KERNEL] = h5py.ExternalLink(str(folder / "other.h5"), "x")


def _virtual(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = np.ones((18, 2), np.float32)
    layout = h5py.VirtualLayout((18, 2), "f4")
    layout[...] = h5py.VirtualSource(str(folder / "other.h5"), "x", (18, 2))
    file.create_virtual_dataset(KERNEL, layout)


def _external_storage(file, folder):
    (folder / "secret").write_bytes(bytes(144))
    file.create_dataset(KERNEL, (18, 2), "f4", external=[(str(folder / "secret"), 0, 144)])


def _soft(file, folder):
    file["elsewhere"] = np.ones((18, 2), np.float32)
    file[KERNEL] = h5py.SoftLink("/elsewhere")


def _set(dtype, shape=(18, 2), **options):
    return lambda file, folder: file.create_dataset(KERNEL, shape, dtype, **options)


def _names(value, attribute="weight_names", group="dense"):
    def change(file, folder):
        del file[group].attrs[attribute]
        file[group].attrs[attribute] = value

    return change


def _unknown_filter(file, folder):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((18, 2))
    plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    space = h5py.h5s.create_simple((18, 2))
    dataset = h5py.h5d.create(file["dense/dense"].id, b"kernel:0", h5py.h5t.IEEE_F32LE, space, plist)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones((18, 2), np.float32))


HOSTILE_HDF5 = {
    "external link": (replaced(_link_outside), "ExternalLink"),
    "soft link": (replaced(_soft), "SoftLink"),
    "virtual dataset": (replaced(_virtual), "data in other files"),
    "external storage": (replaced(_external_storage), "data in other files"),
    "references": (replaced(_set(h5py.ref_dtype)), "dtype object"),
    "objects": (replaced(_set(h5py.vlen_dtype("f4"))), "dtype object"),
    "strings": (replaced(_set(h5py.string_dtype())), "dtype object"),
    "integers": (replaced(_set("i4", data=np.ones((18, 2), "i4"))), "dtype int32"),
    "compound": (replaced(_set([("a", "f4")])), r"dtype \[\('a'"),
    "no data": (replaced(_set("f4")), r"shape \(18, 2\), but no data"),
    "terabytes": (replaced(_set("f4", (10**6, 10**6), chunks=(1000, 1000))), r"\(1000000, 1000000\)"),
    "huge chunks": (
        replaced(_set("f4", maxshape=(None, 2), chunks=(10**7, 2), compression="gzip", data=np.ones((18, 2)))),
        "chunks of 80000000 bytes",
    ),
    "unknown filter": (replaced(_unknown_filter), r"filters \[32015\]"),
    "a group in place of a dataset": (
        replaced(lambda file, folder: file.create_group(KERNEL)),
        r"missing: 'dense/kernel:0' for kernel of layer \"dense\"",
    ),
    "a dataset in place of a group": (
        lambda file, folder: (file.pop("dense"), file.create_dataset("dense", data=1.0)),
        "no group 'dense'",
    ),
    "a missing group": (lambda file, folder: file.pop("dense"), "no group 'dense'"),
    "a way up": (_names(np.array([b"../conv2d/conv2d/kernel:0", b"dense/bias:0"])), "not a name that Keras"),
    "an absolute path": (_names(np.array([b"/dense/dense/kernel:0", b"dense/bias:0"])), "not a name that Keras"),
    "numbers as names": (_names(np.arange(2)), "holds int64, not strings"),
    "references as names": (
        lambda file, folder: _names(np.array([file["dense"].ref] * 2, h5py.ref_dtype))(file, folder),
        "not strings",
    ),
    "names that are not UTF-8": (_names(np.array([b"\xff\xfe", b"dense/bias:0"])), "damaged"),
    "a layer twice": (
        _names(np.array([b"conv2d", b"conv2d", b"dense"]), "layer_names", "/"),
        "lists a layer twice",
    ),
    "no layers": (_names(np.array([], "S1"), "layer_names", "/"), "0 layers with weights, the model 3"),
}


@pytest.mark.parametrize("name", HOSTILE_HDF5)
def test_hostile_hdf5(tmp_path, name):
    change, message = HOSTILE_HDF5[name]
    path = keras_file(tmp_path / "w.h5")
    with h5py.File(path, "r+") as file:
        change(file, tmp_path)
    refused(path, message)


def test_the_hdf5_file_that_was_distorted_is_good(tmp_path):
    load_weights(MODEL, keras_file(tmp_path / "w.h5"))


def test_hdf5_that_contains_itself(tmp_path):
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        outer = file.create_group("layers/sequential")
        inner = outer.create_group("layers")
        inner["a"] = inner["b"] = outer
    refused(tmp_path / "w.weights.h5", "or itself")


def test_hdf5_string_that_claims_gigabytes(tmp_path):
    """The library would allocate what a string of variable length claims, before it looks where the string is."""
    path = keras_file(tmp_path / "w.h5")
    with h5py.File(path, "r+") as file:
        names = [name.decode() for name in file["dense"].attrs["weight_names"]]
        del file["dense"].attrs["weight_names"]
        file["dense"].attrs["weight_names"] = names  # str: stored with variable length
    load_weights(MODEL, path)
    data = path.read_bytes()
    reference = struct.pack("<IQ", len(names[0]), data.find(b"GCOL"))
    assert data.count(reference) == 1
    path.write_bytes(data.replace(reference, struct.pack("<IQ", 0xF0000000, data.find(b"GCOL"))))
    refused(path, r"weight_names of '/dense' .*claims 4026531840 bytes; object 2 of the heap has 14 bytes")
    heap = data.find(b"GCOL")
    for size in (0, 1, 2**63):  # of the first object: the library searches some damaged heaps for ever
        path.write_bytes(data[: heap + 24] + struct.pack("<Q", size) + data[heap + 32 :])
        refused(path, "weight_names of '/dense' is damaged")


@pytest.mark.parametrize("version", ["earliest", "v108", "latest"])
def test_hdf5_strings_of_variable_length(tmp_path, version):
    from fastconv.interop.hdf5 import Hdf5File

    with h5py.File(tmp_path / "w.h5", "w", libver=version, track_order=version == "v108") as file:
        file.attrs["before"] = "x" * 500
        file.attrs["layer_names"] = [f"conv2d_{i}" for i in range(300)]
        for i in range(4):
            file.attrs[f"after{i}"] = ["y", "z" * i]
    with Hdf5File(tmp_path / "w.h5") as file:
        assert file.names(file.root, "layer_names") == [f"conv2d_{i}" for i in range(300)]
        assert file.names(file.root, "after3") == ["y", "zzz"]
        assert file.names(file.root, "before") == ["x" * 500]


def test_hdf5_truncated(tmp_path):
    path = keras_file(tmp_path / "w.h5")
    data = path.read_bytes()
    for size in (8, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        refused(path, "damaged")


# ---- files of another kind ----

OTHERS = {
    "text.h5": (b"hello, this is no weight file\n", "is not an HDF5 file .*begins with b'hello"),
    "text.pth": (b"hello, this is no weight file\n", "not a PyTorch checkpoint.*hello"),
    "text.safetensors": (b"hello, this is no weight file\n", "is not a safetensors file"),
    "text": (b"hello, this is no weight file\n", "no weight file that is known"),
    "page.h5": (b"<!DOCTYPE html><html>404</html>", "DOCTYPE"),
    "empty.h5": (b"", "is empty"),
    "empty.pth": (b"", "not a PyTorch checkpoint|is empty"),
    "lfs.h5": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "text.keras": (b"no archive either", r"\.keras archive"),
    "tar.pth": (b"\x80".ljust(257, b"\0") + b"ustar".ljust(300, b"\0"), "tar format"),
    "huge header.safetensors": (struct.pack("<Q", 2**62) + b"{}", "not a readable safetensors"),
    "lying.safetensors": (
        struct.pack("<Q", 61) + b'{"0.weight":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'[:61] + bytes(8),
        "not a readable safetensors",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_files_of_another_kind(tmp_path, name):
    data, message = OTHERS[name]
    (tmp_path / name).write_bytes(data)
    refused(tmp_path / name, message)


# ---- bits that flip ----


def _saved(write, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"w{suffix}")
        write(path)
        with open(path, "rb") as file:
            return file.read(), suffix


def _safetensors(path):
    from safetensors.torch import save_file

    save_file(state(), path)


GOOD = {
    "zip": lambda: _saved(lambda path: torch.save(state(), path), ".pth"),
    "older": lambda: _saved(lambda path: torch.save(state(), path, _use_new_zipfile_serialization=False), ".pth"),
    "safetensors": lambda: _saved(_safetensors, ".safetensors"),
    "hdf5": lambda: _saved(keras_file, ".h5"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_mutated_files_load_or_are_refused(tmp_path, kind):
    good, suffix = GOOD[kind]()
    path = tmp_path / f"w{suffix}"
    path.write_bytes(good)
    load_weights(MODEL, path)
    flips = st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(1, 255)), max_size=5)

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(flips, st.none() | st.integers(0, len(good)))
    def check(changes, size):
        data = bytearray(good)
        for position, bits in changes:
            data[position] ^= bits
        path.write_bytes(bytes(data[:size]))
        before = MODEL.get_weights()
        try:
            load_weights(MODEL, path)
        except CheckpointError:
            assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, MODEL.get_weights(), strict=True))

    check()
