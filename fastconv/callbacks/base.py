"""The hooks of ``fit``, several callbacks called as one, and the history."""

import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Logs = dict[str, float]


class Callback:
    """Base class: override the moments you want.

    Epochs and batches count from 0. ``logs`` maps names to floats: in batch hooks the means over the epoch so far
    (``loss`` and the metrics), in :meth:`on_epoch_end` those of the whole epoch and, with validation data, ``val_...``;
    what a callback adds to the epoch's logs reaches the history. Setting ``self.model.stop_training = True`` ends
    training: inside an epoch after the batch, in :meth:`on_epoch_end` after the epoch.

    Attributes:
        model: the model, set before :meth:`on_train_begin`.
        params: ``{"epochs": ..., "steps": batches an epoch or None, "verbose": 0, 1 or 2}``.
    """

    model: Any = None
    params: Mapping[str, Any] = {}

    def set_model(self, model: Any) -> None:
        """Receive the model."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Receive what ``fit`` was called with."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Run when ``fit`` starts."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Run when ``fit`` ends, also after Ctrl-C; ``logs`` are those of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Run before an epoch's first batch."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Run after an epoch and its validation."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Run before a training batch."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Run after a training batch: the weights are updated."""

    def on_gradients(self, parameters: list[Any]) -> bool | None:
        """Run in a training step between backward pass and update; a hook of fastconv, which Keras does not have.

        Args:
            parameters: the trainable :class:`fastconv.layers.Parameter`, with the step's gradients in ``grad``. To
                change one: ``parameter.set_grad(gradient)``.

        Returns:
            False to leave out the update: the gradients stay, and those of the next batch are added to them.
        """

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Run when ``evaluate``, or the validation of an epoch, starts."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Run when it ends."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Run before a batch of it."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Run after a batch of it."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Run when ``predict`` starts."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Run when it ends."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Run before a batch of it."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Run after a batch of it."""


def as_list(callbacks: Any) -> list[Any]:
    """Return one callback, several or None as a list."""
    if callbacks is None:
        return []
    return [callbacks] if isinstance(callbacks, Callback) else list(callbacks)


class CallbackList:
    """Several callbacks called as one, in order; a hook that none of them overrides costs nothing.

    Raises:
        TypeError: something that is not a :class:`Callback` instance.
    """

    def __init__(self, callbacks: Iterable[Any], model: Any, params: Mapping[str, Any]) -> None:
        self.callbacks = list(callbacks)
        self._hooks: dict[str, list[Callable[..., None]]] = {}
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                hint = f": call it, {callback.__name__}(...)" if isinstance(callback, type) else ""
                raise TypeError(f"callbacks must be Callback instances, got {callback!r}{hint}")
            callback.set_model(model)
            callback.set_params(params)

    def hooks(self, name: str) -> list[Callable[..., None]]:
        """Return the bound methods called ``name`` that do something."""
        if name not in self._hooks:
            self._hooks[name] = [getattr(c, name) for c in self.callbacks if _overrides(c, name)]
        return self._hooks[name]

    def call(self, name: str, *arguments: Any) -> None:
        """Call a hook of every callback."""
        for hook in self.hooks(name):
            hook(*arguments)


def _overrides(callback: Callback, name: str) -> bool:
    return name in vars(callback) or getattr(type(callback), name) is not getattr(Callback, name)


class History(Callback):
    """What ``fit`` returns.

    It does not keep its model, which keeps it: many a program keeps the curves of many models.

    Attributes:
        history: name -> one value per completed epoch.
        epoch: the numbers of these epochs.
        model: None when nobody else holds it any more, and in a copy.
    """

    _model: weakref.ref[Any] | None = None

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def set_model(self, model: Any) -> None:
        self._model = weakref.ref(model)

    @property
    def model(self) -> Any:  # type: ignore[override]
        return None if self._model is None else self._model()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class LambdaCallback(Callback):
    """A callback from functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs))``.

    Raises:
        TypeError: a keyword that is not a hook of :class:`Callback`, or not a function.
    """

    def __init__(self, **hooks: Callable[..., None]) -> None:
        for name, function in hooks.items():
            if not name.startswith("on_") or not hasattr(Callback, name) or not callable(function):
                raise TypeError(f"LambdaCallback takes hooks of Callback as functions, got {name}={function!r}")
            setattr(self, name, function)


def say(text: str) -> None:
    """Print a line to standard error, where the progress display is."""
    print(text, file=sys.stderr)
