"""The progress bar of ``fit`` and ``evaluate``: tqdm in a terminal or notebook, one line an epoch in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from ..callbacks import Callback, Logs

_REFRESH = 0.1  # seconds between two updates of a bar


def resolve_verbose(verbose: Any) -> int:
    """Return 0 (silent), 1 (a bar) or 2 (a line an epoch).

    ``"auto"`` means 1. A bar needs a terminal or a notebook: where standard error is a file or a pipe, 1 becomes 2.

    Raises:
        ValueError: something else.
    """
    if verbose not in (0, 1, 2, "auto"):
        raise ValueError(f"verbose must be 0, 1, 2 or 'auto', got {verbose!r}")
    if verbose in (0, 2):
        return int(verbose)
    return 1 if sys.stderr is not None and (sys.stderr.isatty() or _in_notebook()) else 2


def _in_notebook() -> bool:
    """Whether tqdm would draw a notebook's widget here."""
    if "ipykernel" not in sys.modules:
        return False
    from tqdm.auto import tqdm

    return any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)


class Progress(Callback):
    """Shows how training goes: a bar an epoch with loss, metrics and images per second, or a line an epoch.

    Args:
        verbose: 1 for bars, 2 for lines, as :func:`resolve_verbose` returns.
        epochs: number of the last epoch; None for a single pass, such as ``evaluate``.
        steps: batches an epoch, or None if unknown.
        label: in place of the epoch's number.
    """

    def __init__(self, verbose: int, steps: int | None, epochs: int | None = None, label: str = "") -> None:
        self.verbose, self.steps, self.epochs, self.label = verbose, steps, epochs, label
        self._bar: Any = None
        self._steps_done, self._images, self._started, self._shown, self._seconds = 0, 0, 0.0, 0.0, 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.epochs is not None:
            self.label = f"epoch {epoch + 1}/{self.epochs}"
        self._steps_done, self._images, self._seconds, self._shown = 0, 0, 0.0, 0.0
        self._started = time.perf_counter()
        if self.verbose == 1:
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=self.steps,
                desc=self.label,
                unit="batch",
                leave=True,
                bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
            )

    def advance(self, images: int, logs: Callable[[], Logs]) -> None:
        """Take note of a finished batch; ``logs`` is called when they are shown."""
        self._steps_done += 1
        self._images += images
        now = time.perf_counter()
        self._seconds = now - self._started
        if self._bar is not None and now - self._shown > _REFRESH:
            self._shown = now
            self._draw(logs())

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.finish(logs or {})

    def finish(self, logs: Logs) -> None:
        """Show the epoch's last state and close its bar, or write its line."""
        if self._bar is not None:
            if self._bar.total is None:
                self._bar.total = self._steps_done
            self._draw(logs)
            self.close()
        elif self.verbose == 2:
            print(f"{self.label}: {self._text(logs)}, {self._seconds:.1f} s", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Close a bar that is still open, as it stands."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.close()

    def _draw(self, logs: Logs) -> None:
        self._bar.set_postfix_str(self._text(logs), refresh=False)
        self._bar.n = self._steps_done
        self._bar.refresh()

    def _text(self, logs: Logs) -> str:
        rate = self._images / self._seconds if self._seconds else 0.0
        return ", ".join([*(f"{name}: {value:.4g}" for name, value in logs.items()), f"{rate:,.0f} images/s"])
