"""The batches of one epoch of ``fit`` or ``evaluate``, and the small questions around them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..callbacks import CallbackList, Logs
from ..data.arrays import ArrayData
from ..data.batches import Batch, Data, check_count, class_weights_of
from ..data.iterables import IterableData
from ..layers.parameter import Parameter
from .meter import Meter
from .non_finite import warn_non_finite
from .progress import Progress
from .step import step_of
from .trainable import Trainable


class EpochLoop:
    """The batches of an epoch of ``fit``; knows whether it has warned of a NaN loss, which happens once."""

    def __init__(
        self,
        model: Trainable,
        data: Data,
        steps: int | None,
        class_weight: Mapping[int, float] | None,
        hooks: CallbackList,
        progress: Progress,
    ) -> None:
        self.model, self.data, self.steps, self.class_weight = model, data, steps, class_weight
        self.hooks, self.progress = hooks, progress
        self.before_update = self._before_update if hooks.hooks("on_gradients") else None
        self.updated = True  # whether the last batch was followed by an update
        self.warned, self.trained = False, False
        self.batches = 0

    def run(self, epoch: int) -> Logs:
        """Train on the epoch's batches and return the mean loss and metrics."""
        meter: Meter | None = None
        self.batches = 0
        for number, batch in enumerate(self._batches(epoch)):
            self.hooks.call("on_train_batch_begin", number, {})
            step = step_of(self.model)
            meter = meter or Meter(step.objective)
            warn = None if self.warned else self._warn
            self.updated = step.train(self.model, batch, meter.update, warn, self.before_update, not self.updated)
            if self.hooks.hooks("on_train_batch_end"):
                self.hooks.call("on_train_batch_end", number, meter.logs())
            self.progress.advance(batch.size, meter.logs)
            self.batches += 1
            self.trained = True
            if self.model.stop_training:
                break
        if meter is None:
            if not self.trained:
                raise ValueError("the data to train on holds no batches")
            return {}
        return meter.logs()

    def _batches(self, epoch: int) -> Iterator[Batch]:
        for batch in itertools.islice(self.data.epoch(epoch), self.steps):
            yield weighted(batch, self.class_weight)

    def _before_update(self, parameters: list[Parameter]) -> bool:
        """Whether every callback wants the update."""
        answers = [hook(parameters) for hook in self.hooks.hooks("on_gradients")]
        return all(answer is not False for answer in answers)

    def _warn(self, batch: Batch, loss: float) -> None:
        self.warned = True
        warn_non_finite(self.model, batch, loss)


def evaluate_batches(
    model: Trainable, data: Data, count: int | None, hooks: CallbackList, progress: Progress | None = None
) -> Logs:
    """Run ``count`` batches and return the mean loss and metrics."""
    meter: Meter | None = None
    hooks.call("on_test_begin", {})
    if progress is not None:
        progress.on_epoch_begin(0)
    try:
        for number, batch in enumerate(itertools.islice(data.epoch(0), count)):
            hooks.call("on_test_batch_begin", number, {})
            step = step_of(model)
            meter = meter or Meter(step.objective)
            step.test(model, batch, meter.update)
            if hooks.hooks("on_test_batch_end"):
                hooks.call("on_test_batch_end", number, meter.logs())
            if progress is not None:
                progress.advance(batch.size, meter.logs)
        if meter is None:
            raise ValueError("the data to evaluate on holds no batches")
        logs = meter.logs()
        if progress is not None:
            progress.finish(logs)
    finally:
        if progress is not None:
            progress.close()
    hooks.call("on_test_end", logs)
    return logs


def weighted(batch: Batch, class_weight: Mapping[int, float] | None) -> Batch:
    """Return the batch with sample weights from class weights, if there are any."""
    if class_weight is None:
        return batch
    if batch.sample_weight is not None:
        raise ValueError("give either class_weight or sample_weight")
    return batch._replace(sample_weight=class_weights_of(batch.y or [], class_weight))


def limited(data: Data, steps: int | None, name: str) -> int | None:
    """Return how many batches an epoch takes."""
    if steps is None:
        return data.steps
    steps = check_count(steps, name)
    if isinstance(data, ArrayData) and steps > data.steps:
        raise ValueError(f"{name}={steps}, but {data.samples} samples make {data.steps} batches of {data.batch_size}")
    return steps


def used_up(data: Data) -> bool:
    """Whether the data is a generator that has ended; warns if so."""
    if isinstance(data, IterableData) and data.exhausted:
        warnings.warn("the generator is used up, so training ends; an iterable would start again", stacklevel=3)
        return True
    return False


def check_epochs(epochs: Any, initial_epoch: Any) -> None:
    """Raise unless both are integers, the first positive and the second not negative."""
    check_count(epochs, "epochs")
    if isinstance(initial_epoch, bool) or not isinstance(initial_epoch, (int, np.integer)):
        raise TypeError(f"initial_epoch must be an integer, got {initial_epoch!r}")
    if initial_epoch < 0:
        raise ValueError(f"initial_epoch must be >= 0, got {initial_epoch}")
