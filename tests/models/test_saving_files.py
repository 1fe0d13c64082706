"""Checkpoints as files: what they may replace, modes and owners, writers that are killed, disks that are full."""

import errno
import fcntl
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from safetensors import safe_open

from fastconv import atomic, callbacks, layers
from fastconv.models import Sequential, load_model

ROOT = os.geteuid() == 0


def _network(units=3):
    model = Sequential([layers.Dense(units, input_shape=(4,))])
    model.compile("sgd", "mse")
    return model


def _checkpoint(path):
    watch = callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: pytest.fail("found out too late"))
    keep = callbacks.ModelCheckpoint(path)
    _network().fit(np.ones((4, 4), np.float32), np.ones((4, 3)), verbose=0, callbacks=[keep, watch])


SAVE = {
    "save": lambda path: _network().save(path),
    "save_weights": lambda path: _network().save_weights(path),
    "ModelCheckpoint": _checkpoint,
}
READ = {"load_model": load_model, "load_weights": lambda path: _network().load_weights(path)}


PROGRAM = """
import os, resource, signal, sys
from fastconv import layers
from fastconv.models import Sequential
path = sys.argv[1]
model = Sequential([layers.Dense(3000, input_shape=(3000,))])
"""


def _start(code, path):
    """Start a program that has a model of 36 MB and a path."""
    program = [sys.executable, "-c", PROGRAM + textwrap.dedent(code), str(path)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True)


# ---- what is there already ----


def _make(kind, path):
    if kind == "folder":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif not ROOT:
        pytest.skip("only root makes devices")
    else:  # like /dev/null, and like a disk that no driver knows
        kind, device = (stat.S_IFCHR, os.makedev(1, 3)) if kind == "character device" else (stat.S_IFBLK, 0)
        os.mknod(path, kind | 0o666, device)


@pytest.mark.parametrize("call", [*SAVE, *READ])
@pytest.mark.parametrize("kind", ["folder", "FIFO", "socket", "character device", "block device"])
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path, monkeypatch, kind, call):
    monkeypatch.chdir(tmp_path)  # the address of a socket is a short path
    path = tmp_path / "there"
    _make(kind, path.relative_to(tmp_path))
    (tmp_path / "link").symlink_to(path)
    before = os.lstat(path)
    for name in (path, "link"):
        with pytest.raises(OSError, match=rf"^\[Errno \d+\] this is a .*{kind}.*, not a file: '.*{name}'$") as caught:
            (SAVE | READ)[call](name)
        assert isinstance(caught.value, IsADirectoryError) == (kind == "folder")
    now = os.lstat(path)
    assert (now.st_mode, now.st_ino, now.st_rdev) == (before.st_mode, before.st_ino, before.st_rdev)
    assert sorted(os.listdir(tmp_path)) == ["link", "there"]


@pytest.mark.parametrize("call", SAVE)
@pytest.mark.parametrize("name", ["zz/", "zz/.", "{epoch}/", ""])
def test_a_name_that_is_a_folders(tmp_path, monkeypatch, call, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError, match=f"this names a folder, not a file: '{re.escape(name)}'$"):
        SAVE[call](name)
    assert os.listdir(tmp_path) == []


# ---- modes and owners ----


def _mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_the_mode_of_an_existing_file_is_kept(tmp_path, mode):
    path = tmp_path / "w"
    path.touch()
    path.chmod(mode)
    with atomic.replacing(path) as file:
        assert _mode(file.name) == 0o600  # what was private is so while it is written, too
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert _mode(path) == mode
    for save in (_network().save, _network().save_weights):
        save(path)
        assert _mode(path) == mode
    umask = os.umask(0o027)
    try:
        _network().save(tmp_path / "new")
    finally:
        os.umask(umask)
    assert _mode(tmp_path / "new") == 0o640


@pytest.mark.skipif(not ROOT, reason="only root gives files away")
def test_the_owner_of_an_existing_file_is_kept(tmp_path):
    path = tmp_path / "w"
    path.touch()
    path.chmod(0o600)
    os.chown(path, 12345, 54321)
    _network().save(path)
    now = path.stat()
    assert (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) == (12345, 54321, 0o600)


# ---- writers that are killed ----


def _left_alone(path):
    """Save once more, and check that nothing but the file is left."""
    _network().save(path)
    assert os.listdir(path.parent) == [path.name]
    load_model(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("method", ["save", "save_weights"])
def test_the_next_save_clears_up_after_a_killed_one(tmp_path, step, method):
    with _start(
        f"os.{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\nmodel.{method}(path)", tmp_path / "w"
    ) as process:
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 1
    _left_alone(tmp_path / "w")


def test_a_save_that_is_killed_at_any_moment(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(6):
        with _start("print(flush=True)\nwhile True: model.save(path)", tmp_path / "w") as process:
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.3))
            process.kill()
    _left_alone(tmp_path / "w")


def test_the_temporary_file_of_a_live_writer_stays(tmp_path):
    path = tmp_path / "w"
    other = [".w.tmp", ".w.12345678.tmp.x", ".ww.12345678.tmp", ".w.1234567g.tmp", ".w.12345678.tmp"]
    for name in other[:-1]:
        (tmp_path / name).touch()
    (tmp_path / other[-1]).mkdir()
    with atomic.replacing(path) as file:
        file.write(b"the last one wins")
        _network().save(path)
        assert os.path.exists(file.name)
    assert path.read_bytes() == b"the last one wins"
    _network().save(path)
    assert sorted(os.listdir(tmp_path)) == sorted(["w", *other])


def test_a_sweep_before_the_writer_has_its_lock(tmp_path, monkeypatch):
    """Who comes between the two calls cannot know that the writer lives; the writer makes another file."""
    path, lock, calls = tmp_path / "w", fcntl.flock, []

    def slowly(file, operation):
        calls.append(file.name)
        if len(calls) == 1:
            atomic._sweep(str(path))
        elif len(calls) == 3:
            raise BlockingIOError
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", slowly)
    _network().save(path)
    first, swept, second, third = calls
    assert first == swept
    assert len({first, second, third}) == 3
    assert not os.path.exists(first)
    load_model(path)


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    """There nobody knows who lives: files are saved, and nothing is cleared up."""
    (tmp_path / ".w.12345678.tmp").touch()

    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    _network().save(tmp_path / "w")
    assert sorted(os.listdir(tmp_path)) == [".w.12345678.tmp", "w"]


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path, models = tmp_path / "w", [_network() for _ in range(4)]
    errors = []

    def save(model):
        try:
            for _ in range(40):
                model.save(path)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert os.listdir(tmp_path) == ["w"]
    last = load_model(path).get_weights()
    assert any(all(map(np.array_equal, last, model.get_weights())) for model in models)


# ---- errors of the system ----


def test_an_error_of_writing_has_its_number_and_the_files_name(tmp_path):
    """A limit of the size of files stands for a full disk: the first kilobytes are written, then no more."""
    code = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for save in (model.save, model.save_weights):
            try:
                save(path)
            except OSError as error:
                print(error.errno, error.filename)
    """
    with _start(code, tmp_path / "w") as process:
        assert process.stdout.read() == f"{errno.EFBIG} {tmp_path / 'w'}\n" * 2
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not ROOT, reason="only root mounts a small disk")
def test_a_full_disk(tmp_path):
    path = tmp_path / "w"
    _network().save(path)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no mounts here")
    try:
        _network().save(path)
        before = path.read_bytes()
        for save in (_network(20_000).save, _network(20_000).save_weights):
            with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device: '.*/w'$") as caught:
                save(path)
            assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
        assert os.listdir(tmp_path) == ["w"]
        assert path.read_bytes() == before
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_missing_folder_is_named_by_the_path_that_was_given(tmp_path):
    path = tmp_path / "no" / "w"
    with pytest.raises(FileNotFoundError) as caught:
        _network().save(path)
    assert caught.value.filename == str(path)


# ---- the format ----


class Temperature(layers.Layer):
    """A user's layer whose weight is a single number."""

    def build(self, input_shape):
        self.t = self.add_weight("t", (), "ones")
        self.none = self.add_weight("none", (0, 3), "zeros")

    def forward(self, x, training=False):
        return x * self.t.value, x

    def backward(self, dy, cache):
        return dy * self.t.value


def test_arrays_of_no_axis_and_of_no_items(tmp_path):
    model = Sequential([layers.Dense(2, input_shape=(3,)), Temperature(name="é")])
    model.layers[1].t.assign(np.float32(3))
    model.save(tmp_path / "w")
    loaded = load_model(tmp_path / "w", {"Temperature": Temperature})
    assert loaded.layers[1].t.value == 3
    assert loaded.layers[1].none.shape == (0, 3)


def test_the_library_reads_what_is_written(tmp_path):
    model = Sequential([layers.Dense(1, input_shape=(4,)), layers.Dropout(0.5), layers.Dense(2)])
    model.save(tmp_path / "w")
    with safe_open(tmp_path / "w", framework="numpy") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        assert file.metadata()["format"] == "fastconv model"
    for key, parameter in model.named_parameters():
        np.testing.assert_array_equal(arrays.pop(key), parameter.value)
    np.testing.assert_array_equal(arrays.pop("random_state//dropout"), model.layers[1].random_state)
    assert not arrays
    # Every array begins at a multiple of its item's size, for readers that map the file into memory.
    whole = (tmp_path / "w").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    assert {entry["dtype"] for key, entry in header.items() if key != "__metadata__"} == {"F32", "U64"}
    for key, entry in header.items():
        assert key == "__metadata__" or (8 + length + entry["data_offsets"][0]) % (int(entry["dtype"][1:]) // 8) == 0
