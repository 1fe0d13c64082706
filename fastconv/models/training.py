"""Training by Keras' words: compile, fit, evaluate, predict, and the same on one batch."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .. import optimizers, random
from ..callbacks import CallbackList, History, Logs, as_list
from ..layers.base import Layer
from ..metrics import mean_of
from . import objective, saving
from .batching import ArrayData, Ports, as_inputs, make_batch
from .loop import EpochLoop, check_epochs, evaluate_batches, limited, used_up, weighted
from .progress import Progress, resolve_verbose
from .sources import make_data, with_validation
from .steps import Steps, ports_of

if TYPE_CHECKING:
    from .model import Model


class Trainer(Layer):
    """The part of :class:`Model` that trains.

    Data may be float64 or integers, such as images of uint8: they are cast to the model's dtype, and **not** scaled.

    Attributes:
        optimizer: set by :meth:`compile`.
        stop_training: a callback sets it to end :meth:`fit`.
        epoch: the number of epochs completed, what ``initial_epoch`` continues from after ``load_model``.
        history: of the last :meth:`fit`.
        shuffle_seed: what the order of each epoch follows from, with the epoch's number.
        compile_arguments: loss, loss_weights and metrics as given to :meth:`compile`, or None.
    """

    optimizer: optimizers.Optimizer | None = None
    stop_training: bool = False
    epoch: int = 0
    shuffle_seed: int | None = None
    history: History | None = None
    compile_arguments: dict[str, Any] | None = None
    _cached_steps: Steps | None = None

    # ---- compile ----

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None, metrics: Any = None
    ) -> None:
        """Choose how to train.

        A loss of categorical cross-entropy on an output that ends in a softmax, which nothing else uses, is computed
        together with that softmax: stably, from the logits.

        Args:
            optimizer: a name (``"sgd"``, ``"rmsprop"``, ``"adam"``, ``"adamw"``, ``"adagrad"``) or an Optimizer.
            loss: a name, a Loss, or your own object with ``forward(y_true, y_pred) -> (loss, cache)`` and
                ``backward(cache) -> dy``. With several outputs a list or a dict by output name; None for an output
                leaves it untrained; a single loss serves all.
            loss_weights: a list or dict of factors in the total loss; 1 by default.
            metrics: a list of names or functions ``(y_true, y_pred)``; with several outputs a list of lists, or a
                dict by output name. ``"accuracy"`` becomes the kind that fits the shapes.

        Raises:
            ValueError: an unknown name. TypeError: not a loss, metric or optimizer.
        """
        if loss is None:
            raise ValueError("compile needs a loss, e.g. loss='sparse_categorical_crossentropy'")
        objective.check_compile_arguments(loss, loss_weights, metrics)
        before = self.optimizer, self.compile_arguments, self._cached_steps
        self.optimizer = optimizers.get(optimizer)
        self.compile_arguments = {"loss": loss, "loss_weights": loss_weights, "metrics": metrics}
        self._cached_steps = None
        try:
            if self._built_graph() is not None:
                self._steps()
        except Exception:
            self.optimizer, self.compile_arguments, self._cached_steps = before
            raise

    @property
    def compiled(self) -> bool:
        """Whether :meth:`compile` has been called."""
        return self.compile_arguments is not None

    @property
    def metrics_names(self) -> list[str]:
        """Names of what :meth:`evaluate` returns, the loss first."""
        return self._steps().objective.names

    # ---- fit ----

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
    ) -> History:
        """Train, and return the history.

        Ctrl-C ends training cleanly: the step it meets is done whole or not at all, ``on_train_end`` of the callbacks
        is called, and :attr:`history` holds the epochs so far. Then it goes on as KeyboardInterrupt.

        Args:
            x: inputs: an array, a list of them or a dict by input name; or an iterable of batches ``(x, y)`` or
                ``(x, y, sample_weight)``. An iterable is run through once an epoch; with ``steps_per_epoch`` it goes
                on where it was, and may be endless.
            y: targets, like x. Integer labels for the sparse losses.
            batch_size: samples a batch, 32 by default; only for arrays.
            epochs: train until this many are done, counted from 0.
            verbose: 0 silent, 1 a bar, 2 a line an epoch; ``"auto"``: a bar in a terminal or notebook, else lines.
            callbacks: a :class:`fastconv.callbacks.Callback` or a list of them.
            validation_split: fraction of the arrays' end, taken before shuffling, to validate on.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)`` to validate on after each epoch, or an iterable.
            shuffle: whether to shuffle arrays; epoch k's order follows from a seed and k.
            class_weight: class -> weight of its samples; missing classes weigh 1.
            sample_weight: a weight per sample.
            initial_epoch: continue from here: for a model from ``load_model``, ``initial_epoch=model.epoch`` gives
                the same bits as a run that was never interrupted.
            steps_per_epoch: batches an epoch.
            validation_steps: batches of the validation data to use.
            validation_batch_size: ``batch_size`` for the validation data.

        Raises:
            RuntimeError: before :meth:`compile`.
            ValueError: shapes that the model does not take, labels out of range, arguments that exclude each other.
            TypeError: arrays that are not numbers, labels that are not integers.
            KeyboardInterrupt: Ctrl-C.
        """
        self._check_compiled()
        verbosity = resolve_verbose(verbose)
        check_epochs(epochs, initial_epoch)
        data = make_data(x, y, sample_weight, batch_size, steps_per_epoch, self._ports)
        data, validation = with_validation(
            data, validation_data, validation_split, validation_batch_size, validation_steps, self._ports
        )
        if isinstance(data, ArrayData):
            if not data.samples:
                raise ValueError("there are no samples to train on")
            if shuffle:
                data.seed = self._shuffle_seed(initial_epoch)
        steps = limited(data, steps_per_epoch, "steps_per_epoch")
        validation_count = None if validation is None else limited(validation, validation_steps, "validation_steps")
        self.history = History()
        progress = Progress(verbosity, steps, epochs)
        hooks = CallbackList(
            [progress, *as_list(callbacks), self.history],
            self,
            {"epochs": epochs, "steps": steps, "verbose": verbosity},
        )
        self.stop_training = False
        logs: Logs = {}
        loop = EpochLoop(self, data, steps, class_weight, hooks, progress)
        epoch = initial_epoch
        try:
            hooks.call("on_train_begin", {})
            for epoch in range(initial_epoch, epochs):
                hooks.call("on_epoch_begin", epoch, {})
                logs = loop.run(epoch)
                if not loop.batches:
                    break
                if validation is not None:
                    results = evaluate_batches(self, validation, validation_count, hooks)
                    logs.update((f"val_{name}", value) for name, value in results.items())
                self.epoch = epoch + 1
                hooks.call("on_epoch_end", epoch, logs)
                if self.stop_training or (epoch + 1 < epochs and used_up(data)):
                    break
        except KeyboardInterrupt:
            progress.close()
            done = len(self.history.epoch)
            print(f"interrupted in epoch {epoch + 1}; the history holds {done} epochs", file=sys.stderr)
            hooks.call("on_train_end", logs)
            raise
        except BaseException:
            progress.close()
            raise
        hooks.call("on_train_end", logs)
        return self.history

    # ---- evaluate and predict ----

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Return the loss and metrics on a data set.

        Args:
            x, y, batch_size, sample_weight: as in :meth:`fit`.
            verbose: as in :meth:`fit`.
            steps: number of batches to use; needed for an endless generator.
            callbacks: a list, for their ``on_test_...`` hooks.
            return_dict: return name -> value.

        Returns:
            The loss alone if there are no metrics, else ``[loss, metric, ...]`` (see :attr:`metrics_names`).

        Raises:
            RuntimeError, ValueError, TypeError: as :meth:`fit`.
        """
        self._check_compiled()
        data = make_data(x, y, sample_weight, batch_size, steps, self._ports)
        if isinstance(data, ArrayData) and not data.samples:
            raise ValueError("there are no samples to evaluate on")
        count = limited(data, steps, "steps")
        verbosity = resolve_verbose(verbose)
        hooks = CallbackList(as_list(callbacks), self, {"steps": count, "verbose": verbosity})
        results = evaluate_batches(self, data, count, hooks, Progress(verbosity, count, label="evaluate"))
        if return_dict:
            return results
        values = list(results.values())
        return values[0] if len(values) == 1 else values

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return the model's output (a list with several) for a data set, computed batch by batch.

        Args:
            x: as in :meth:`fit`; the targets of an iterable's batches are ignored.
            batch_size: samples a batch, 32 by default; only for arrays.
            verbose: 1 shows a bar in a terminal or notebook.
            steps: number of batches; needed for an endless generator.
            callbacks: a list, for their ``on_predict_...`` hooks.

        Raises:
            ValueError: another shape than the model's input; the message shows both. TypeError: not numbers.
        """
        data = make_data(x, None, None, batch_size, steps, self._ports)
        count = limited(data, steps, "steps")
        verbosity = resolve_verbose(verbose)
        hooks = CallbackList(as_list(callbacks), self, {"steps": count, "verbose": verbosity})
        progress = Progress(1 if verbosity == 1 else 0, count, label="predict")
        parts: list[list[np.ndarray]] = []
        hooks.call("on_predict_begin", {})
        progress.on_epoch_begin(0)
        try:
            for number, batch in enumerate(itertools.islice(data.epoch(0), count)):
                hooks.call("on_predict_batch_begin", number, {})
                output = self.infer(*batch.x)
                parts.append(list(output) if isinstance(output, (list, tuple)) else [output])
                hooks.call("on_predict_batch_end", number, {})
                progress.advance(batch.size, {})
            progress.finish({})
        finally:
            progress.close()
        hooks.call("on_predict_end", {})
        if not parts:
            raise ValueError("there are no batches to predict on")
        outputs = [part[0] if len(parts) == 1 else np.concatenate(part) for part in zip(*parts, strict=True)]
        return outputs[0] if len(outputs) == 1 else outputs

    # ---- one batch ----

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Make one training step; return the batch's loss and metrics, of before the step, as :meth:`evaluate` does.

        Args:
            x, y, sample_weight, class_weight, return_dict: as in :meth:`fit` and :meth:`evaluate`.
        """
        self._check_compiled()
        batch = weighted(make_batch(x, y, sample_weight, self._ports(x)), class_weight)
        steps = self._steps()
        return self._batch_result(steps, steps.train(cast("Model", self), batch), return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Return one batch's loss and metrics, as :meth:`evaluate` does."""
        self._check_compiled()
        batch = make_batch(x, y, sample_weight, self._ports(x))
        steps = self._steps()
        return self._batch_result(steps, steps.test(cast("Model", self), batch), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the model's output (a list with several) for one batch."""
        return self.infer(*as_inputs(x, self._ports(x)))

    # ---- files ----

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write all weights to a safetensors file, keys ``"conv2d/kernel"``.

        An existing file is replaced atomically and keeps its mode.

        Raises:
            RuntimeError: a model that is not built.
            OSError: the file cannot be written; a path that ends in a slash, or something there that is no regular
                file, such as a folder or a device. The message names it.
        """
        saving.save_weights(cast("Model", self), path)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Read weights from a file of :meth:`save_weights` or :meth:`save`.

        Raises:
            CheckpointError: a damaged file, or weights that are missing, too many, or of another shape or dtype; the
                message names them, and the model is unchanged.
            RuntimeError: a model that is not built. OSError: the file cannot be read, or is no regular file.
        """
        saving.load_weights(cast("Model", self), path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write architecture, weights and, if compiled, the whole state of training to one safetensors file.

        An existing file is replaced as by :meth:`save_weights`.
        :func:`fastconv.models.load_model` reads it back; a run that goes on from there with
        ``fit(..., initial_epoch=model.epoch)`` gives the same bits as one never interrupted.

        Raises:
            TypeError: a loss, metric or schedule that cannot be described in a file, such as a lambda.
            RuntimeError, OSError: as :meth:`save_weights`.
        """
        saving.save_model(cast("Model", self), path)

    # ---- inside ----

    def _built_graph(self) -> Any:
        return getattr(self, "_graph", None)

    def _check_compiled(self) -> None:
        if not self.compiled:
            raise RuntimeError(f"{self.label} must be compiled first: model.compile(optimizer=..., loss=...)")

    def _steps(self) -> Steps:
        self._check_compiled()
        if self._cached_steps is None or self._cached_steps.graph is not self._built_graph():
            self._cached_steps = Steps(cast("Model", self), **(self.compile_arguments or {}))
        return self._cached_steps

    def _ports(self, x: Any) -> Ports:
        """Return the model's ports; a Sequential that does not know its input shape takes it from ``x``."""
        if self._cached_steps is not None and self._cached_steps.graph is self._built_graph():
            return self._cached_steps.ports
        if self._built_graph() is None:
            self.build((None, *np.shape(x)[1:]))
        return ports_of(cast("Model", self))

    def _shuffle_seed(self, initial_epoch: int) -> int:
        """Return the seed of the shuffle orders: a new one for a new run, the same for one that goes on."""
        if self.shuffle_seed is None or initial_epoch == 0:
            self.shuffle_seed = random.next_seed()
        return self.shuffle_seed

    def _batch_result(self, steps: Steps, values: Sequence[Any], return_dict: bool) -> Any:
        means = [mean_of(value) for value in values]
        if return_dict:
            return dict(zip(steps.objective.names, means, strict=True))
        return means[0] if len(means) == 1 else means
