"""``compile``, ``fit``, ``evaluate``, ``predict`` and the same on one batch, as functions of a model."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import optimizers, random
from ..callbacks import CallbackList, History, Logs, as_list
from ..data.arrays import ArrayData
from ..data.batches import Batch, Data
from .loop import EpochLoop, evaluate_batches, limited, used_up
from .meter import batch_logs
from .objective import check_compile_arguments
from .progress import Progress
from .step import step_of
from .trainable import Trainable


class FitOptions(NamedTuple):
    """How ``fit`` runs; the names are those of its arguments, ``verbose`` resolved."""

    epochs: int
    initial_epoch: int
    verbose: int
    callbacks: Any
    shuffle: bool
    class_weight: Mapping[int, float] | None
    steps_per_epoch: int | None
    validation_steps: int | None


def compile_model(model: Trainable, optimizer: Any, loss: Any, loss_weights: Any, metrics: Any) -> None:
    """Choose how to train; see :meth:`Model.compile`. A model that cannot be trained so stays as it was."""
    if loss is None:
        raise ValueError("compile needs a loss, e.g. loss='sparse_categorical_crossentropy'")
    check_compile_arguments(loss, loss_weights, metrics)
    before = model.optimizer, model.compile_arguments, model._training_step
    model.optimizer = optimizers.get(optimizer)
    model.compile_arguments = {"loss": loss, "loss_weights": loss_weights, "metrics": metrics}
    model._training_step = None
    try:
        if model._graph is not None:
            step_of(model)
    except Exception:
        model.optimizer, model.compile_arguments, model._training_step = before
        raise


def fit(model: Trainable, data: Data, validation: Data | None, options: FitOptions) -> History:
    """Train a model and return the history; see :meth:`Model.fit`."""
    if isinstance(data, ArrayData):
        if not data.samples:
            raise ValueError("there are no samples to train on")
        if options.shuffle:
            data.seed = _shuffle_seed(model, options.initial_epoch)
    steps = limited(data, options.steps_per_epoch, "steps_per_epoch")
    validation_steps = None if validation is None else limited(validation, options.validation_steps, "validation_steps")
    model.history = History()
    progress = Progress(options.verbose, steps, options.epochs)
    hooks = CallbackList(
        [progress, *as_list(options.callbacks), model.history],
        model,
        {"epochs": options.epochs, "steps": steps, "verbose": options.verbose},
    )
    model.stop_training = False
    logs: Logs = {}
    loop = EpochLoop(model, data, steps, options.class_weight, hooks, progress)
    epoch = options.initial_epoch
    try:
        hooks.call("on_train_begin", {})
        for epoch in range(options.initial_epoch, options.epochs):
            hooks.call("on_epoch_begin", epoch, {})
            logs = loop.run(epoch)
            if not loop.batches:
                break
            if validation is not None:
                results = evaluate_batches(model, validation, validation_steps, hooks)
                logs.update((f"val_{name}", value) for name, value in results.items())
            model.epoch = epoch + 1
            hooks.call("on_epoch_end", epoch, logs)
            if model.stop_training or (epoch + 1 < options.epochs and used_up(data)):
                break
    except KeyboardInterrupt:
        progress.close()
        done = len(model.history.epoch)
        print(f"interrupted in epoch {epoch + 1}; the history holds {done} epochs", file=sys.stderr)
        hooks.call("on_train_end", logs)
        raise
    except BaseException:
        progress.close()
        raise
    hooks.call("on_train_end", logs)
    return model.history


def evaluate(model: Trainable, data: Data, steps: int | None, verbose: int, callbacks: Any) -> Logs:
    """Return name -> value of the loss and metrics; see :meth:`Model.evaluate`."""
    if isinstance(data, ArrayData) and not data.samples:
        raise ValueError("there are no samples to evaluate on")
    count = limited(data, steps, "steps")
    hooks = CallbackList(as_list(callbacks), model, {"steps": count, "verbose": verbose})
    return evaluate_batches(model, data, count, hooks, Progress(verbose, count, label="evaluate"))


def predict(model: Trainable, data: Data, steps: int | None, verbose: int, callbacks: Any) -> Any:
    """Return the model's output for a data set; see :meth:`Model.predict`."""
    count = limited(data, steps, "steps")
    hooks = CallbackList(as_list(callbacks), model, {"steps": count, "verbose": verbose})
    progress = Progress(1 if verbose == 1 else 0, count, label="predict")
    parts: list[list[np.ndarray]] = []
    hooks.call("on_predict_begin", {})
    progress.on_epoch_begin(0)
    try:
        for number, batch in enumerate(itertools.islice(data.epoch(0), count)):
            hooks.call("on_predict_batch_begin", number, {})
            output = model.infer(*batch.x)
            parts.append(list(output) if isinstance(output, (list, tuple)) else [output])
            hooks.call("on_predict_batch_end", number, {})
            progress.advance(batch.size, dict)
        progress.finish({})
    finally:
        progress.close()
    hooks.call("on_predict_end", {})
    if not parts:
        raise ValueError("there are no batches to predict on")
    outputs = [part[0] if len(parts) == 1 else np.concatenate(part) for part in zip(*parts, strict=True)]
    return outputs[0] if len(outputs) == 1 else outputs


def train_on_batch(model: Trainable, batch: Batch) -> Logs:
    """Make one training step; return name -> value of the loss and metrics, of before the step."""
    logs: Logs = {}
    step = step_of(model)
    step.train(model, batch, lambda batch, outcome: logs.update(batch_logs(step.objective, batch, outcome)))
    return logs


def test_on_batch(model: Trainable, batch: Batch) -> Logs:
    """Return name -> value of the loss and metrics of a batch."""
    logs: Logs = {}
    step = step_of(model)
    step.test(model, batch, lambda batch, outcome: logs.update(batch_logs(step.objective, batch, outcome)))
    return logs


def values_of(logs: Logs) -> Any:
    """Return what Keras returns of logs: the loss alone if there are no metrics, else ``[loss, metric, ...]``."""
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def _shuffle_seed(model: Trainable, initial_epoch: int) -> int:
    """Return the seed of the shuffle orders: a new one for a new run, the same for one that goes on."""
    if model.shuffle_seed is None or initial_epoch == 0:
        model.shuffle_seed = random.next_seed()
    return model.shuffle_seed
