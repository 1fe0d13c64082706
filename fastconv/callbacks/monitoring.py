"""Callbacks that watch one value of the epoch's logs: stop, slow down or save by it."""

import errno
import math
import os
import warnings

from ..atomic import check_target
from .base import Callback, Logs, say


class Monitor(Callback):
    """Base of callbacks that watch one value of the epoch's logs."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
        if not min_delta >= 0:
            raise ValueError(f"min_delta must be >= 0, got {min_delta}")
        self.monitor, self.min_delta = monitor, min_delta
        self.mode = mode if mode != "auto" else "max" if "acc" in monitor else "min"
        self.best: float | None = None

    def current(self, logs: Logs | None) -> float | None:
        """Return the watched value, or warn and return None."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            known = ", ".join(logs or {})
            warnings.warn(f"{type(self).__name__}: no {self.monitor!r} in the logs; there are: {known}", stacklevel=3)
        return value

    def improved(self, value: float, reference: float | None) -> bool:
        """Whether ``value`` is better than ``reference`` by more than ``min_delta``. NaN never is."""
        if math.isnan(value):
            return False
        if reference is None:
            return True
        gain = reference - value if self.mode == "min" else value - reference
        return gain > self.min_delta


class EarlyStopping(Monitor):
    """Stop when a watched value has not improved for ``patience`` epochs.

    Args:
        monitor: name in the epoch's logs.
        min_delta: smaller improvements do not count.
        patience: epochs without improvement to wait for.
        verbose: 1 says what happens.
        mode: ``"min"``, ``"max"``, or ``"auto"``: max if the name contains "acc".
        baseline: waiting only starts over when the value also beats this.
        restore_best_weights: end with the weights of the best epoch.
        start_from_epoch: ignore earlier epochs.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self._reset()

    def _reset(self) -> None:
        self.best, self.best_epoch, self.best_weights = None, 0, None
        self.wait, self.stopped_epoch = 0, 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        value = self.current(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.improved(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.improved(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= max(self.patience, 1):
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            say(f"epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                say(f"restoring the weights of epoch {self.best_epoch + 1}, the best")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(Monitor):
    """Multiply the learning rate by ``factor`` when a watched value has not improved for ``patience`` epochs.

    Adds ``learning_rate`` to the logs.

    Args:
        monitor, verbose, mode, min_delta: see :class:`EarlyStopping`.
        factor: in (0, 1).
        patience: epochs without improvement to wait for.
        cooldown: epochs to wait after a reduction before counting again.
        min_lr: the learning rate is not reduced below this.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not 0 < factor < 1:
            raise ValueError(f"factor must lie in (0, 1), got {factor}")
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self.wait, self.cooldown_counter = 0, 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.best, self.wait, self.cooldown_counter = None, 0, 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        if logs is not None:
            logs["learning_rate"] = optimizer.learning_rate
        value = self.current(logs)
        if value is None:
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improved(value, self.best):
            self.best, self.wait = value, 0
            return
        if self.cooldown_counter:
            return
        self.wait += 1
        if self.wait >= self.patience and optimizer.learning_rate > self.min_lr:
            optimizer.learning_rate = max(optimizer.learning_rate * self.factor, self.min_lr)
            self.cooldown_counter, self.wait = self.cooldown, 0
            if self.verbose:
                say(f"epoch {epoch + 1}: learning rate reduced to {optimizer.learning_rate:g}")


class ModelCheckpoint(Monitor):
    """Save the model, or its weights, after epochs; files are replaced atomically.

    Put it last in the list when another callback changes the learning rate, so that what is saved is what the next
    epoch starts from. A run is continued with ``load_model(path)`` and ``fit(..., initial_epoch=model.epoch)``.

    Args:
        filepath: where to save; ``{epoch}`` (from 1) and names of the logs are filled in:
            ``"{epoch:02d}-{val_loss:.3f}.safetensors"``.
        monitor, verbose, mode: see :class:`EarlyStopping`.
        save_best_only: save only when the watched value is the best so far.
        save_weights_only: ``save_weights`` in place of ``save``.
        save_freq: ``"epoch"``, or a number of batches.
        initial_value_threshold: what the first value must beat.

    Raises:
        FileNotFoundError: at the start of ``fit``: the folder of ``filepath`` does not exist.
        OSError: there, too: ``filepath`` ends in a slash, or is no regular file but a folder or a device.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        if save_freq != "epoch" and (isinstance(save_freq, (str, bool)) or save_freq < 1):
            raise ValueError(f"save_freq must be 'epoch' or a number of batches, got {save_freq!r}")
        self.filepath, self.verbose = os.fspath(filepath), verbose
        self.save_best_only, self.save_weights_only, self.save_freq = save_best_only, save_weights_only, save_freq
        self.best = initial_value_threshold
        self._epoch, self._batches = 0, 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        check_target(self.filepath)  # with something to fill in there is nothing of that name yet: only a slash is seen
        folder = os.path.dirname(self.filepath)
        if "{" not in folder and not os.path.isdir(folder or os.curdir):  # else it is known when the name is filled in
            raise FileNotFoundError(
                errno.ENOENT, "ModelCheckpoint cannot save there: make the folder before fit", folder
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self.save_freq != "epoch" and self._batches % int(self.save_freq) == 0:
            self._save(self._epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, logs)

    def _save(self, epoch: int, logs: Logs | None) -> None:
        if self.save_best_only:
            value = self.current(logs)
            if value is None or not self.improved(value, self.best):
                return
            self.best = value
        try:
            path = self.filepath.format(epoch=epoch + 1, **(logs or {}))
        except KeyError as error:
            known = ", ".join(["epoch", *(logs or {})])
            raise KeyError(f"filepath {self.filepath!r} asks for {error}; there are: {known}") from None
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            say(f"epoch {epoch + 1}: saved {path}")
