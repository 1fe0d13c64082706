"""Model: a graph of layers that can be trained, evaluated and saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import training
from ..callbacks import History
from ..data.batches import Ports, as_inputs, make_batch
from ..data.sources import make_data, with_validation
from ..graph.layer import GraphLayer
from ..optimizers import Optimizer
from ..training.loop import check_epochs, weighted
from ..training.progress import resolve_verbose
from . import saving, summary

if TYPE_CHECKING:
    from .profile import Profile


class Model(GraphLayer):
    """The layers between ``inputs`` and ``outputs``, with training (``compile``, ``fit``, ...) on top::

        x = Input((28, 28, 1))
        y = layers.Conv2D(8, 3, activation="relu")(x)
        y = layers.Dense(10, activation="softmax")(layers.Flatten()(y))
        model = Model(x, y)

    A model is a layer: it can be called on tensors to become part of another model, and on arrays.

    Data may be float64 or integers, such as images of uint8: they are cast to the model's dtype, and **not** scaled.

    Args:
        inputs, outputs: a tensor or a list of them. An input may also be the output of another model's layer.
        name: of the model.
        trainable: False freezes all layers.

    Attributes:
        optimizer: set by :meth:`compile`.
        stop_training: a callback sets it to end :meth:`fit`.
        epoch: the number of epochs completed, what ``initial_epoch`` continues from after ``load_model``.
        history: of the last :meth:`fit`.
        shuffle_seed: what the order of each epoch follows from, with the epoch's number.
        compile_arguments: loss, loss_weights and metrics as given to :meth:`compile`, or None.

    Raises:
        TypeError: not tensors. ValueError: outputs that need an Input not listed, two layers with the same name.
    """

    default_name = "functional"
    config_fields = ()

    optimizer: Optimizer | None = None
    stop_training: bool = False
    epoch: int = 0
    shuffle_seed: int | None = None
    history: History | None = None
    compile_arguments: dict[str, Any] | None = None
    _training_step: Any = None

    # ---- training ----

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
        training.compile_model(self, optimizer, loss, loss_weights, metrics)

    @property
    def compiled(self) -> bool:
        """Whether :meth:`compile` has been called."""
        return self.compile_arguments is not None

    @property
    def metrics_names(self) -> list[str]:
        """Names of what :meth:`evaluate` returns, the loss first."""
        return training.step_of(self).objective.names

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
        training.check_compiled(self)
        verbosity = resolve_verbose(verbose)
        check_epochs(epochs, initial_epoch)
        data = make_data(x, y, sample_weight, batch_size, steps_per_epoch, self._ports)
        data, validation = with_validation(
            data, validation_data, validation_split, validation_batch_size, validation_steps, self._ports
        )
        options = training.FitOptions(
            epochs, initial_epoch, verbosity, callbacks, shuffle, class_weight, steps_per_epoch, validation_steps
        )
        return training.fit(self, data, validation, options)

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
        training.check_compiled(self)
        data = make_data(x, y, sample_weight, batch_size, steps, self._ports)
        logs = training.evaluate(self, data, steps, resolve_verbose(verbose), callbacks)
        return logs if return_dict else training.values_of(logs)

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
        return training.predict(self, data, steps, resolve_verbose(verbose), callbacks)

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
        training.check_compiled(self)
        batch = weighted(make_batch(x, y, sample_weight, self._ports(x)), class_weight)
        logs = training.train_on_batch(self, batch)
        return logs if return_dict else training.values_of(logs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Return one batch's loss and metrics, as :meth:`evaluate` does."""
        training.check_compiled(self)
        logs = training.test_on_batch(self, make_batch(x, y, sample_weight, self._ports(x)))
        return logs if return_dict else training.values_of(logs)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the model's output (a list with several) for one batch."""
        return self.infer(*as_inputs(x, self._ports(x)))

    def _ports(self, x: Any) -> Ports:
        return training.ports_for(self, x)

    # ---- files ----

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write all weights to a safetensors file, keys ``"conv2d/kernel"``.

        An existing file is replaced atomically and keeps its mode.

        Raises:
            RuntimeError: a model that is not built.
            OSError: the file cannot be written; a path that ends in a slash, or something there that is no regular
                file, such as a folder or a device. The message names it.
        """
        saving.save_weights(self, path)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Read weights from a file of fastconv, Keras (``.h5``) or PyTorch (``.pth``, ``.safetensors``).

        The content decides, whatever the file is called; see :func:`fastconv.interop.load_weights`, which this is.

        Raises:
            CheckpointError: an unknown or damaged file, or weights that are missing, too many, or of another shape or
                dtype; the message names them, and the model is unchanged.
            RuntimeError: a model that is not built. OSError: the file cannot be read, or is no regular file.
            ImportError: an ``.h5`` file without h5py.
        """
        from ..interop.files import load_weights  # the readers are many, and seldom needed

        load_weights(self, path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write architecture, weights and, if compiled, the whole state of training to one safetensors file.

        An existing file is replaced as by :meth:`save_weights`.
        :func:`fastconv.models.load_model` reads it back; a run that goes on from there with
        ``fit(..., initial_epoch=model.epoch)`` gives the same bits as one never interrupted.

        Raises:
            TypeError: a loss, metric or schedule that cannot be described in a file, such as a lambda.
            RuntimeError, OSError: as :meth:`save_weights`.
        """
        saving.save_model(self, path)

    # ---- descriptions ----

    def summary(self, line_length: int | None = None, print_fn: Callable[[str], Any] | None = None) -> None:
        """Print a table of the layers: output shape, parameters, multiply-adds and activation memory per sample.

        Args:
            line_length: width to which names are shortened; by default as wide as needed.
            print_fn: called with the text; by default ``print``.
        """
        (print_fn or print)(summary.render(self, line_length))

    def profile(self, x: Any, repeats: int = 5, training: bool = False) -> Profile:
        """Measure time, GFLOP/s and memory of every layer, forward and backward; print what is returned, or plot it.

        Weights, their gradients, moving averages and dropout's masks are afterwards what they were before.

        Args:
            x: a batch as the model takes it (a list with several inputs); any values do.
            repeats: runs; the times are medians.
            training: run as in training. Otherwise the forward time is that of inference, which keeps nothing for
                the backward pass.

        Raises:
            ValueError, TypeError: an array that the model does not take, an empty batch, repeats below 1.
        """
        from ..graph.profile import profile
        from .profile import Profile

        return Profile(**vars(profile(self, x, repeats, training)))
