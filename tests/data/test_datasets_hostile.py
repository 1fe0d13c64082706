"""Data sets from servers that do not stop, and from archives that lie."""

import bz2
import contextlib
import errno
import gzip
import hashlib
import http.server
import lzma
import tarfile
import threading
import time

import numpy as np
import pytest
from test_datasets import write_archive

from fastconv.applications import _weights
from fastconv.datasets import _download, _files, cifar10, fashion_mnist, mnist
from fastconv.errors import DatasetError

CONTENT = np.random.default_rng(1).bytes(1000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty $FASTCONV_DATA."""
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on this machine; yields its address.

    /good sends CONTENT, /endless never stops, /slow and /silent send a byte now and then, or none after the first.
    """
    monkeypatch.delenv("FASTCONV_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    stopped = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            """Silence."""

        def do_GET(self):
            self.send_response(200)
            if self.path != "/endless":
                self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            with contextlib.suppress(OSError):  # the other side hung up
                if self.path == "/good":
                    self.wfile.write(CONTENT)
                elif self.path == "/endless":
                    while not stopped.is_set():
                        self.wfile.write(bytes(100_000))
                else:
                    self.wfile.write(b"x")
                    while not stopped.wait(0.1):
                        self.wfile.write(b"x" if self.path == "/slow" else b"")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        stopped.set()
        server.shutdown()


def fetch(*urls, max_bytes):
    return _files.fetch("somewhere", "file.gz", urls, SHA256, max_bytes)


def files_of(cache):
    return [path for path in cache.rglob("*") if path.is_file()]


def test_a_download_stops_at_the_largest_size(server, tmp_path):
    with pytest.raises(DatasetError, match=r"/good \(sends more than the 999 bytes that are expected at most\)"):
        fetch(f"{server}/good", max_bytes=999)
    with pytest.raises(DatasetError, match=r"/endless \(sends more than the 5,000,000 bytes"):
        fetch(f"{server}/endless", max_bytes=5_000_000)
    assert files_of(tmp_path / "cache") == []
    # The next mirror still delivers, of exactly that size.
    assert fetch(f"{server}/endless", f"{server}/good", max_bytes=1000).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["slow", "silent"])
def test_a_download_does_not_wait_for_ever(server, tmp_path, monkeypatch, name):
    """Reading a thousand bytes of a server that sends ten a second would take minutes."""
    monkeypatch.setattr(_download, "_SECONDS", 1)
    start = time.monotonic()
    with pytest.raises(DatasetError, match=rf"/{name} \(sent \d+ bytes in 1 seconds, then given up\)"):
        fetch(f"{server}/{name}", max_bytes=2000)
    assert time.monotonic() - start < 10
    assert files_of(tmp_path / "cache") == []


def test_every_download_has_a_limit(data, monkeypatch):
    asked = []

    def download(url, known_hash, name, cache, max_bytes):
        asked.append((name, max_bytes))
        raise DatasetError("too long")

    monkeypatch.setattr(_files, "download", download)
    monkeypatch.setattr(_download, "download", download)
    for dataset in (mnist, fashion_mnist, cifar10):
        with pytest.raises(DatasetError, match=r"\(too long\)"):
            dataset.load_data()
    with pytest.raises(DatasetError, match=r"\(too long\)"):
        _weights.published("vgg19", True)()
    # What these files have, and what they may have.
    sizes = {"train-images-idx3-ubyte.gz": (9_912_422, 30 << 20), "cifar-10-binary.tar.gz": (170_052_171, 180 << 20)}
    for name, limit in asked:
        least, most = sizes.get(name, (574_710_816, 600 << 20))
        assert least <= limit <= most


PACKERS = {"tar": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("ending", [".tar.gz", ".tar"])
@pytest.mark.parametrize("packer", PACKERS)
def test_cifar10_archives_that_lie(tmp_path, monkeypatch, packer, ending):
    """Damaged anywhere, packed by anything, with sizes up to 2^95: the six batches or a DatasetError."""
    monkeypatch.setattr(cifar10, "_RECORDS", 2)
    rng = np.random.default_rng(0)
    write_archive(tmp_path / "a.tar.gz", [(name, bytes(2 * 3073)) for name in (*cifar10._TRAIN, cifar10._TEST)])
    whole = gzip.decompress((tmp_path / "a.tar.gz").read_bytes())
    path = tmp_path / f"cifar-10-binary{ending}"
    read = 0
    for i in range(150):
        raw = bytearray(whole)
        if i % 3 == 0:
            lie_in_header(raw, rng)
        data = bytearray(PACKERS[packer](bytes(raw)))
        if i % 3 == 1:
            for place in rng.integers(0, len(data) if i % 2 else 60, 3):
                data[place] = rng.integers(256)
        path.write_bytes(data if i % 10 else data[: rng.integers(len(data))])
        with contextlib.suppress(DatasetError):
            read += len(dict(cifar10._read_archive(path))) == 6
    assert (read > 0) == ((packer, ending) in (("gz", ".tar.gz"), ("tar", ".tar")))


def lie_in_header(raw, rng):
    """Change kind and size of an archive's first member, with a right sum of its header."""
    raw[156:157] = rng.choice([b"0", b"L", b"x", b"g", b"S", b"5"])
    size = int(rng.choice([-1, 0, 2**33, 2**62, 2**63 - 1])) << int(rng.choice([0, 30]))
    raw[124:136] = b"\xff" * 12 if size < 0 else b"\x80" + (size % 2**88).to_bytes(11, "big")
    raw[148:156] = b"%06o\0 " % (256 + sum(raw[:148]) + sum(raw[156:512]))


def test_cifar10_errors_of_the_disk_stay_what_they_are(data, monkeypatch):
    (data / "cifar10").mkdir(parents=True)
    (data / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(b"")

    def broken_disk(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(tarfile, "open", broken_disk)
    with pytest.raises(OSError, match="Input/output error"):
        cifar10.load_data()


def test_cifar10_members_that_are_no_files(data):
    path = data / "cifar10" / "cifar-10-binary.tar"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w") as archive:
        for name in (*cifar10._TRAIN, cifar10._TEST):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
    with pytest.raises(DatasetError, match=r"the archive lacks cifar-10-batches-bin/data_batch_1\.bin"):
        cifar10.load_data()
