"""Downloads by pooch that end, whether a server sends without end or hardly sends."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DatasetError

_TIMEOUT = 30  # seconds without a byte
_SECONDS = 300  # that any file may take as a whole, and as many more as its largest size takes at
_SLOWEST = 20_000  # bytes a second


def download(url: str, known_hash: str | None, name: str, folder: Path, max_bytes: int) -> Path:
    """Return the path of a file in ``folder``, downloaded if it is not there or has another hash.

    Args:
        url: of the file, HTTP or HTTPS.
        known_hash: ``"sha256:..."`` or ``"md5:..."``; None takes what comes.
        name: of the file in ``folder``.
        folder: made if need be.
        max_bytes: a longer file is not downloaded to its end.

    Raises:
        DatasetError: more bytes, or too slow a server. ValueError: another hash. OSError: the network's or the disk's.
    """
    import pooch  # slow to import, and needed only for files that are not at hand

    seconds = _SECONDS + max_bytes // _SLOWEST

    def fetch(url: str, output_file: str, _: Any) -> None:
        with open(output_file, "wb") as file:
            limited = _Limited(file, max_bytes, seconds)
            with _hang_up_after(seconds) as hooks, limited.explaining():
                pooch.HTTPDownloader(progressbar=True, timeout=_TIMEOUT, hooks=hooks)(url, limited, None)

    return Path(pooch.retrieve(url, known_hash, fname=name, path=folder, downloader=fetch))


class _Limited:
    """A file to write to that refuses too many bytes, and those that come too late."""

    def __init__(self, file: BinaryIO, max_bytes: int, seconds: float) -> None:
        self.file = file
        self.max_bytes = max_bytes
        self.seconds = seconds
        self.end = time.monotonic() + seconds
        self.left = max_bytes

    def write(self, data: bytes) -> None:
        self.left -= len(data)
        self.check()
        self.file.write(data)

    def check(self) -> None:
        if self.left < 0:
            raise DatasetError(f"sends more than the {self.max_bytes:,} bytes that are expected at most")
        if time.monotonic() >= self.end:
            raise DatasetError(f"sent {self.max_bytes - self.left:,} bytes in {self.seconds:,} seconds, then given up")

    def flush(self) -> None:
        self.file.flush()

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Hanging up looks like an error of the network or like the end of the file."""
        try:
            yield
        except OSError:
            self.check()
            raise
        self.check()


@contextlib.contextmanager
def _hang_up_after(seconds: float) -> Iterator[dict[str, Any]]:
    """Hooks for requests that end a connection: while a server sends a byte now and then, reading from it does not."""
    responses: list[Any] = []

    def hang_up() -> None:
        for response in responses:
            with contextlib.suppress(OSError, ValueError):  # if it has just ended
                line = socket.socket(fileno=os.dup(response.raw.fileno()))
                with line:
                    line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield {"response": lambda response, *args, **kwargs: responses.append(response)}
    finally:
        timer.cancel()
