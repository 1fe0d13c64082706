"""Ctrl-C in a moment when half of a change would be done."""

from __future__ import annotations

import threading

# What `signal` wraps in a search for members of an enum, which takes ten times as long as the rest.
from _signal import SIGINT, getsignal, signal  # type: ignore[import-not-found]
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C until the end of the block.

    Only the main thread is ever interrupted: in others nothing is done, nor where Ctrl-C calls no Python function.
    """
    handler = getsignal(SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    signal(SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal(SIGINT, handler)
        if held:
            handler(*held[0])
