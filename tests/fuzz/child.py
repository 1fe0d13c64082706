"""One process of a part, seen from the driver."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .worker import LIBRARY, PATIENCE

_PROGRAM = [sys.executable, str(Path(__file__).parent)]
_LINES = 150  # of a process's output are shown


class Failure(NamedTuple):
    """A case that failed.

    Attributes:
        number: of the case; None if the process did not come to the first.
        key: the same for the same defect.
        text: traceback or output.
        fatal: whether it ended the process.
    """

    number: int | None
    key: str
    text: str
    fatal: bool


class Child:
    """Starts the process; :meth:`events` tells what happens in it until its end."""

    def __init__(self, part: str, seed: int, first: int, deadline: float, folder: str) -> None:
        self.finished = False  # whether it came to the end of its turn
        self._number: int | None = None
        self._silent = False
        self._pipe, write = os.pipe()
        self._log = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed in close)
        arguments = ["--child", part, str(seed), str(first), repr(deadline), str(write)]
        self._process = subprocess.Popen(
            _PROGRAM + arguments,
            pass_fds=(write,),
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": folder},  # what a crash leaves behind goes with the folder
            start_new_session=True,  # Ctrl-C is the driver's
        )
        os.close(write)

    def events(self) -> Iterator[str | Failure]:
        """Yield ``"+number"`` of a case that begins, ``"?note"``, and failures."""
        for line in self._lines():
            if line.startswith("+"):
                self._number = int(line[1:])
                yield line
            elif line.startswith("!"):
                report = json.loads(line[1:])
                yield Failure(self._number, report["key"], report["text"], False)
            elif line == ".":
                self.finished = True
            else:
                yield line
        hangs = not self._ends()
        status = self._process.wait()
        if hangs or not self.finished or status:
            output = self._output()
            yield Failure(self._number, _key(status, hangs, output), output, True)

    def _lines(self) -> Iterator[str]:
        """Lines from the pipe until it is closed, or silent for too long.

        Asked twice: where the whole machine stood still, the process has something to say a moment later.
        """
        rest = b""
        while any(select.select([self._pipe], [], [], wait)[0] for wait in (PATIENCE, PATIENCE / 10)):
            data = os.read(self._pipe, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
        self._silent = True

    def _ends(self) -> bool:
        """Wait for the end of a process that has closed its pipe; end one that hangs, and return False."""
        if not self._silent:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
                return True
        self._process.send_signal(signal.SIGUSR1)  # faulthandler writes where every thread is
        time.sleep(1)
        self._process.kill()
        return False

    def _output(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_LINES:])

    def close(self) -> None:
        """End the process, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._pipe)
        self._log.close()


def _key(status: int, hangs: bool, output: str) -> str:
    """What happened, and the innermost line of fastconv's where it did, if the output tells."""
    if hangs:
        what = f"no end after {PATIENCE:g} seconds"
    elif status < 0:
        what = signal.Signals(-status).name
    else:
        what = f"exit code {status}"
    summary = re.search(r"SUMMARY: (.*)|(.*runtime error: .*)", output)
    frames = re.findall(r'File "([^"]*)", line (\d+) in', output)
    inside = [frame for frame in frames if frame[0].startswith(LIBRARY)] or frames
    if summary:
        return f"{what}: {summary.group(0).strip()}"
    return f"{what} at {inside[0][0]}:{inside[0][1]}" if inside else what


def replayed(case: str) -> tuple[bool, str]:
    """Run a case alone; return whether it failed, and what it printed."""
    try:
        run = subprocess.run(
            [*_PROGRAM, "--case", case],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=3 * PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return True, (error.stdout or b"").decode(errors="replace")
    return run.returncode != 0, run.stdout.decode(errors="replace")
