"""Data sets: the embedded one, the order of the places searched, and files that lie."""

import functools
import gzip
import hashlib
import http.server
import io
import os
import pathlib
import struct
import subprocess
import sys
import tarfile
import threading

import numpy as np
import pooch
import pytest
import requests

from fastconv.datasets import _files, _idx, cifar10, fashion_mnist, mnist, mnist_mini
from fastconv.errors import DatasetError

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(array, shape=None, magic=None):
    """Bytes of an IDX file; `shape` and `magic` lie when given."""
    shape = array.shape if shape is None else shape
    magic = bytes([0, 0, 8, array.ndim]) if magic is None else magic
    return magic + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


@pytest.fixture
def digits():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (12, 7)]
    labels = [rng.integers(0, 10, n, dtype=np.uint8) for n in (12, 7)]
    return images[0], labels[0], images[1], labels[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty $FASTCONV_DATA, an empty cache and no network."""

    def offline(url, *args, **kwargs):
        raise requests.exceptions.ConnectionError(f"no network for {url}")

    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pooch, "retrieve", offline)
    return tmp_path / "data"


def write_mnist(folder, arrays, dataset="mnist", packed=True, **replaced):
    (folder / dataset).mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, arrays, strict=True):
        data = replaced.get(name.replace("-", "_"), idx(array))
        if packed:
            (folder / dataset / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / dataset / name).write_bytes(data)


def test_mnist_mini_holds_500_and_100_digits_a_class():
    (x_train, y_train), (x_test, y_test) = mnist_mini.load_data()
    assert (x_train.shape, y_train.shape) == ((5000, 28, 28), (5000,))
    assert (x_test.shape, y_test.shape) == ((1000, 28, 28), (1000,))
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert np.bincount(y_train).tolist() == [500] * 10
    assert np.bincount(y_test).tolist() == [100] * 10
    assert x_train.max() == 255
    assert x_train.flags.writeable
    everything = np.concatenate([x_train, x_test]).reshape(6000, -1)
    assert len(np.unique(everything, axis=0)) == 6000  # no test digit among the training digits


def test_mnist_mini_carries_its_licence():
    folder = mnist_mini._FOLDER
    assert "Attribution-ShareAlike 3.0" in (folder / "LICENSE.txt").read_text()
    readme = (folder / "README.md").read_text()
    assert all(author in readme for author in ("Yann LeCun", "Corinna Cortes", "Burges", "CC BY-SA 3.0"))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dataset", [mnist, fashion_mnist])
def test_files_under_fastconv_data_come_first(folder, digits, dataset, packed):
    write_mnist(folder, digits, dataset.__name__.rpartition(".")[2], packed)
    (x_train, y_train), (x_test, y_test) = dataset.load_data()
    for got, expected in zip((x_train, y_train, x_test, y_test), digits, strict=True):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == np.uint8


def test_mini_digits_are_read_by_the_same_reader(folder):
    (x_train, y_train), (x_test, y_test) = mnist_mini.load_data()
    write_mnist(folder, (x_train, y_train, x_test, y_test))
    np.testing.assert_array_equal(mnist.load_data()[1][0], x_test)


IMAGES = np.zeros((12, 28, 28), np.uint8)
LABELS = np.zeros(12, np.uint8)


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (idx(IMAGES)[:-1], r"truncated: the header states 12 x 28 x 28 = 9,408 bytes, the file holds 9,407"),
        (idx(IMAGES) + b"\0", r"more data than the 12 x 28 x 28 = 9,408 bytes"),
        (idx(IMAGES, shape=(13, 28, 28)), r"truncated"),
        (idx(IMAGES, shape=(2**32 - 1, 2**32 - 1, 2**32 - 1)), r"the header claims 4,294,967,295 x"),
        (idx(IMAGES, shape=(2**31, 2**31, 4)), r"the header claims"),  # a product that is 0 in 64 bits
        (idx(IMAGES, shape=(0, 28, 28)), r"the header claims 0 x 28 x 28"),
        (idx(IMAGES.reshape(12, 14, 56)), r"images of 14 x 56 pixels, expected 28 x 28"),
        (idx(IMAGES, magic=b"\0\0\x0d\x03"), r"starts with 00 00 0d 03, not 00 00 08 03"),
        (idx(LABELS), r"not an IDX file of 3 dimensions"),
        (idx(IMAGES)[:10], r"truncated in the header, after 10 of 16 bytes"),
        (b"", r"not an IDX file"),
        (idx(np.zeros((11, 28, 28), np.uint8)), r"12 labels for the 11 images"),
    ],
)
def test_idx_files_that_lie(folder, digits, lie, message):
    write_mnist(folder, digits, train_images_idx3_ubyte=lie)
    with pytest.raises(DatasetError, match=message) as error:
        mnist.load_data()
    assert "Delete this file and put the original" in str(error.value)
    assert "mnist_mini" in str(error.value)


def test_labels_out_of_range(folder, digits):
    write_mnist(folder, digits, train_labels_idx1_ubyte=idx(np.full(12, 10, np.uint8)))
    with pytest.raises(DatasetError, match="label 10 found, expected 0 to 9"):
        mnist.load_data()


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:40], lambda data: b"not gzip"])
def test_damaged_gzip(folder, digits, damage):
    write_mnist(folder, digits)
    path = folder / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match="truncated or damaged gzip file"):
        mnist.load_data()


def test_a_flipped_bit_in_gzip_is_noticed(folder, digits):
    write_mnist(folder, digits)
    path = folder / "mnist" / "t10k-images-idx3-ubyte.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="damaged gzip"):
        mnist.load_data()


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        (mnist, "mnist/train-images-idx3-ubyte.gz"),
        (fashion_mnist, "fashion_mnist/train-images-idx3-ubyte.gz"),
        (cifar10, "cifar10/cifar-10-binary.tar.gz"),
    ],
)
def test_offline_says_where_to_put_the_file(folder, monkeypatch, dataset, name):
    with pytest.raises(DatasetError, match="ConnectionError") as error:
        dataset.load_data()
    assert f"Put the file at {folder / name}" in str(error.value)
    assert "mnist_mini" in str(error.value)
    monkeypatch.delenv("FASTCONV_DATA")
    with pytest.raises(DatasetError) as error:
        dataset.load_data()
    assert f"Put the file at $FASTCONV_DATA/{name}" in str(error.value)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on this machine that serves one file; yields (url, content)."""
    content = np.random.default_rng(1).bytes(1000)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "file.gz").write_bytes(content)
    monkeypatch.delenv("FASTCONV_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Silence."""

    handler = functools.partial(Handler, directory=tmp_path / "web")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/file.gz", content
        server.shutdown()


def test_download_checks_the_hash_and_fills_the_cache(server, monkeypatch):
    url, content = server
    sha256 = hashlib.sha256(content).hexdigest()
    missing = url.replace("file.gz", "missing.gz")
    path = _files.fetch("somewhere", "file.gz", (missing, url), sha256)  # the second mirror delivers
    assert path.read_bytes() == content
    assert _files.fetch("somewhere", "file.gz", (missing,), sha256) == path  # from the cache now
    path.write_bytes(b"damaged")
    assert _files.fetch("somewhere", "file.gz", (url,), sha256).read_bytes() == content


def test_download_with_another_hash_is_refused(server):
    url, _content = server
    with pytest.raises(DatasetError, match="wrong SHA-256"):
        _files.fetch("somewhere", "file.gz", (url,), "0" * 64)


def cifar_batches(seed=0):
    """Six batches of the true size: bytes and the (image, label) of one record of each."""
    rng = np.random.default_rng(seed)
    for name in (*cifar10._TRAIN, cifar10._TEST):
        records = np.zeros((10_000, 3073), np.uint8)
        records[:, 0] = rng.integers(0, 10, 10_000)
        records[:100, 1:] = rng.integers(0, 256, (100, 3072))
        yield name, records


def write_archive(path, batches):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in batches:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="module")
def cifar_records():
    return dict(cifar_batches())


@pytest.fixture(scope="module")
def cifar_archive(tmp_path_factory, cifar_records):
    path = tmp_path_factory.mktemp("cifar") / "cifar-10-binary.tar.gz"
    write_archive(path, ((name, records.tobytes()) for name, records in cifar_records.items()))
    return path


def test_cifar10_from_the_archive(folder, cifar_archive, cifar_records):
    (folder / "cifar10").mkdir(parents=True)
    (folder / "cifar10" / "cifar-10-binary.tar.gz").symlink_to(cifar_archive)
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    assert (x_train.shape, y_train.shape) == ((50_000, 32, 32, 3), (50_000, 1))
    assert (x_test.shape, y_test.shape) == ((10_000, 32, 32, 3), (10_000, 1))
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    record = cifar_records["data_batch_2.bin"][7]
    np.testing.assert_array_equal(x_train[10_007], record[1:].reshape(3, 32, 32).transpose(1, 2, 0))
    assert y_train[10_007, 0] == record[0]
    np.testing.assert_array_equal(y_test[:, 0], cifar_records["test_batch.bin"][:, 0])
    assert x_train.flags.c_contiguous
    assert x_test.flags.c_contiguous


def test_cifar10_unpacked(folder, cifar_records):
    """Files lie in the data set's folder or in the archive's own folder below it."""
    (folder / "cifar10" / "cifar-10-batches-bin").mkdir(parents=True)
    paths = [
        folder / "cifar10" / ("cifar-10-batches-bin" if i % 2 else "") / name for i, name in enumerate(cifar_records)
    ]
    for path in paths:
        path.write_bytes(cifar_records[path.name].tobytes())
    (_, y_train), (x_test, _) = cifar10.load_data()
    np.testing.assert_array_equal(y_train[20_000:30_000, 0], cifar_records["data_batch_3.bin"][:, 0])
    assert x_test.shape == (10_000, 32, 32, 3)
    with open(paths[3], "r+b") as file:
        file.truncate(paths[3].stat().st_size - 1)
    with pytest.raises(DatasetError, match=r"holds 30,729,999 bytes, expected 10,000 x 3,073 = 30,730,000"):
        cifar10.load_data()


def test_cifar10_damaged(folder, cifar_archive, cifar_records):
    path = folder / "cifar10" / "cifar-10-binary.tar.gz"
    write_archive(path, [("data_batch_1.bin", cifar_records["data_batch_1.bin"].tobytes()[:3073])])
    with pytest.raises(DatasetError, match=r"data_batch_1\.bin in it holds 3,073 bytes"):
        cifar10.load_data()
    write_archive(path, [("data_batch_1.bin", cifar_records["data_batch_1.bin"].tobytes())])
    with pytest.raises(DatasetError, match=r"the archive lacks .*data_batch_2\.bin.*test_batch\.bin"):
        cifar10.load_data()
    wrong = cifar_records["data_batch_1.bin"].copy()
    wrong[5, 0] = 10
    write_archive(path, [("data_batch_1.bin", wrong.tobytes())])
    with pytest.raises(DatasetError, match="holds label 10, expected 0 to 9"):
        cifar10.load_data()
    whole = cifar_archive.read_bytes()
    for data in (whole[: len(whole) // 2], whole[:-100], b"not an archive", b""):
        path.write_bytes(data)
        with pytest.raises(DatasetError, match="truncated or damaged archive"):
            cifar10.load_data()


def test_mnist_mini_is_cut_from_mnist_as_the_tool_says(tmp_path):
    """The embedded digits can be made again from the original files, where these are at hand."""
    source = os.environ.get("FASTCONV_DATA")
    if not source or not (pathlib.Path(source) / "mnist" / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip("needs MNIST's files under $FASTCONV_DATA/mnist")
    tool = pathlib.Path(__file__).parents[2] / "tools" / "make_mnist_mini.py"
    command = [sys.executable, str(tool), f"{source}/mnist", "--target", str(tmp_path)]
    subprocess.run(command, check=True)
    made = _idx.load_parts("mnist_mini", tmp_path.joinpath)
    for part, expected in zip(made, mnist_mini.load_data(), strict=True):
        for got, array in zip(part, expected, strict=True):
            np.testing.assert_array_equal(got, array)
