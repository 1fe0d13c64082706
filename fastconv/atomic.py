"""Files that are replaced whole or not at all, and without traces of those who died while they wrote."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

from .interrupts import uninterrupted

Path = str | os.PathLike[str]

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


def check_regular(path: Path) -> os.stat_result | None:
    """Return the state of the regular file at ``path``, links followed, or None if there is nothing.

    Raises:
        IsADirectoryError: a folder. OSError: a device, a pipe, a socket.
    """
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(state.st_mode):
        kind = next((text for is_kind, text in _KINDS if is_kind(state.st_mode)), "something special")
        code = errno.EISDIR if stat.S_ISDIR(state.st_mode) else errno.EINVAL
        raise OSError(code, f"this is {kind}, not a file", os.fspath(path))
    return state


def check_target(path: Path) -> str:
    """Return where a file saved to ``path`` goes: symbolic links are followed.

    Raises:
        IsADirectoryError: a folder, or a name that ends in a slash.
        OSError: a device, a pipe, a socket, which a file would take the place of.
    """
    name = os.fsdecode(path)
    if os.path.basename(name) in ("", os.curdir, os.pardir):
        raise IsADirectoryError(errno.EISDIR, "this names a folder, not a file", name)
    check_regular(name)
    return os.path.realpath(name)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file, open for writing, that takes the place of ``path`` if the block ends without an error.

    A reader sees the old file or the new one, whole, also after a power failure. An existing file's mode is kept, and
    its owner where that is permitted.

    Raises:
        OSError: what :func:`check_target` refuses, or the file cannot be written; with ``errno`` and ``filename``.
    """
    target = check_target(path)
    file: BinaryIO | None = None
    try:
        _sweep(target)
        before = check_regular(target)
        with uninterrupted():  # Ctrl-C between two statements would leave the file behind
            file = _create(target, 0o666 if before is None else 0o600)  # a private file stays private throughout
        with file:
            yield file
            file.flush()
            if before is not None:
                _take_over(file.fileno(), before)
            os.fsync(file.fileno())
            os.replace(file.name, target)
        _sync_folder(os.path.dirname(target))
    except BaseException as error:
        if file is not None:
            with contextlib.suppress(OSError):  # a full disk is what the first error said
                file.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file.name)
        if isinstance(error, OSError) and error.errno is not None:
            # The name of the temporary file says nothing to the user, and an error of writing has none.
            raise OSError(error.errno, error.strerror, target) from error
        raise


def _create(target: str, mode: int) -> BinaryIO:
    """Create and lock a temporary file beside ``target``.

    The lock tells :func:`_sweep` that the file's writer lives. The system lifts it when a process dies, in whatever
    way; unlike a process id in the name it is also right across containers, hosts and restarts.
    """
    folder, name = os.path.split(target)
    while True:
        temporary = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.tmp")
        file = open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, mode))  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # somebody sweeps, and came between the two calls
        except OSError:
            return file  # a file system without locks: nobody gets one there, so nobody sweeps
        else:
            if os.fstat(file.fileno()).st_nlink:  # else it is swept already
                return file
        file.close()


def _sweep(target: str) -> None:
    """Remove the temporary files of processes that died while they wrote ``target``."""
    folder, name = os.path.split(target)
    pattern = re.compile(re.escape(f".{name}.") + r"[0-9a-f]{8}\.tmp")
    with os.scandir(folder) as entries:
        found = [
            entry.path for entry in entries if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        ]
    for path in found:
        try:
            with open(path, "r+b") as file:  # network file systems want this for a lock
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
        except OSError:  # its writer lives; or it is gone, or another user's: then saving still works
            continue


def _take_over(descriptor: int, before: os.stat_result) -> None:
    """Give a new file the owner, where permitted, and the mode of the one that it replaces."""
    now = os.fstat(descriptor)
    for owner, group in ((before.st_uid, -1), (-1, before.st_gid)):
        if owner not in (-1, now.st_uid) or group not in (-1, now.st_gid):
            with contextlib.suppress(OSError):
                os.fchown(descriptor, owner, group)
    mode = before.st_mode & 0o777
    if mode != now.st_mode & 0o777:
        os.fchmod(descriptor, mode)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
