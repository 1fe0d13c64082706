"""Learning rate by epoch, gradients of several batches added up, a CSV file, an end to NaN."""

import csv
import math
import os
from collections.abc import Callable
from typing import IO, Any

from ..checks import integer
from .base import Callback, Logs, say


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch; adds ``learning_rate`` to the logs.

    Args:
        schedule: function ``(epoch, learning_rate) -> learning_rate``; may return 0.
        verbose: 1 says what is set.
    """

    def __init__(self, schedule: Callable[[int, float], float], verbose: int = 0) -> None:
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        optimizer.learning_rate = self.schedule(epoch, optimizer.learning_rate)
        if self.verbose:
            say(f"epoch {epoch + 1}: learning rate {optimizer.learning_rate:g}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = self.model.optimizer.learning_rate


class GradientAccumulation(Callback):
    """Update the weights once in ``batches`` batches, by the mean of their gradients: a large batch in the memory of a
    small one. What is left over at the end of training is dropped.

    Args:
        batches: an update, at least 1.

    Raises:
        TypeError: no integer. ValueError: below 1.
    """

    def __init__(self, batches: int) -> None:
        self.batches = integer(batches, "batches")
        self._waiting = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._waiting = 0

    def on_gradients(self, parameters: list[Any]) -> bool | None:
        self._waiting += 1
        if self._waiting < self.batches:
            return False
        self._waiting = 0
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.set_grad(parameter.grad * parameter.dtype.type(1 / self.batches))
        return None


class CSVLogger(Callback):
    """Write each epoch's logs as a line of a CSV file.

    Args:
        filename: where to.
        separator: between values.
        append: continue an existing file.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        self.filename, self.separator, self.append = os.fspath(filename), separator, append
        self._file: IO[str] | None = None
        self._writer: csv.DictWriter[str] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        mode = "a" if self.append else "w"
        self._file = open(self.filename, mode, newline="", encoding="utf-8")  # noqa: SIM115 (closed in on_train_end)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self._file is None:
            raise RuntimeError("CSVLogger works inside fit")
        logs = logs or {}
        if self._writer is None:
            names = ["epoch", *sorted(logs)]
            self._writer = csv.DictWriter(
                self._file, names, restval="NA", extrasaction="ignore", delimiter=self.separator
            )
            if self._file.tell() == 0:
                self._writer.writeheader()
        self._writer.writerow({"epoch": epoch, **logs})
        self._file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._writer = None, None


class TerminateOnNaN(Callback):
    """Stop training when the loss is NaN or infinite."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            say(f"batch {batch}: the loss is {loss}, training ends")
            self.model.stop_training = True
