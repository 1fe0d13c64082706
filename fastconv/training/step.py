"""One training or test step on a batch: forward, loss, backward, regularizers, optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..data.batches import Batch
from ..interrupts import uninterrupted
from ..layers.base import Layer
from ..optimizers import Optimizer
from .objective import Objective, Outcome
from .ports import ports_of
from .trainable import Trainable


class TrainingStep:
    """What running batches of a compiled model takes; made anew when the model's graph changes.

    The model comes with every call: it holds its step, and a circle would keep its weights in memory.

    Args:
        model: built.
        loss, loss_weights, metrics: as given to ``compile``.
    """

    def __init__(self, model: Trainable, loss: Any, loss_weights: Any, metrics: Any) -> None:
        self.graph = model.graph
        self.ports = ports_of(model)
        softmax_outputs = frozenset(i for i, name in enumerate(model.final_activations) if name == "softmax")
        self.objective = Objective(loss, loss_weights, metrics, self.ports.output_names, softmax_outputs)
        self.parameters = model.parameters
        self.regularized = [p for p in self.parameters if p.regularizer is not None]
        self.stateful = stateful_layers(model)

    def train(self, model: Trainable, batch: Batch, warn: Callable[[Batch, float], None] | None = None) -> list[Any]:
        """Update the weights by one batch; return what the objective measures, taken before the update.

        A step that fails, be it by Ctrl-C, leaves the model as it was, without gradients.

        Args:
            model: the one that the step was made for.
            batch: with targets.
            warn: called with the batch and the loss if the loss is NaN or infinite, before the update.
        """
        if model.optimizer is None:
            raise RuntimeError("the model has no optimizer: call compile")
        iterations = model.optimizer.iterations
        state = State(self.stateful)
        try:
            return self._train(model, model.optimizer, batch, warn)
        except BaseException:
            with uninterrupted():
                for parameter in self.parameters:
                    parameter.zero_grad()
                if model.optimizer.iterations == iterations:  # else Ctrl-C came when all was done
                    state.restore()
            raise

    def _train(
        self, model: Trainable, optimizer: Optimizer, batch: Batch, warn: Callable[[Batch, float], None] | None
    ) -> list[Any]:
        y = self._targets(batch)
        linear = self.objective.linear_outputs
        for parameter in self.parameters:
            parameter.zero_grad()
        output, tape = model.forward(*batch.x, training=True, linear_outputs=linear, need_dx=False)
        outcome = self.objective.forward(y, self._list(output), batch.sample_weight)
        outcome = outcome._replace(loss=outcome.loss + self.penalty())
        if warn is not None and not math.isfinite(outcome.loss):
            warn(batch, outcome.loss)
        values = self.objective.measure(y, outcome)
        model.backward(self.objective.backward(outcome.caches), tape, need_dx=False, linear_outputs=linear)
        for parameter in self.regularized:
            if parameter.trainable:
                parameter.add_grad(parameter.regularizer.gradient(parameter.value))
        optimizer.apply([p for p in self.parameters if p.trainable])
        return values

    def test(self, model: Trainable, batch: Batch) -> list[Any]:
        """Return what the objective measures on a batch; nothing changes."""
        y = self._targets(batch)
        outputs = model.infer(*batch.x, linear_outputs=self.objective.linear_outputs)
        outcome: Outcome = self.objective.forward(y, self._list(outputs), batch.sample_weight)
        return self.objective.measure(y, outcome._replace(loss=outcome.loss + self.penalty()))

    def penalty(self) -> float:
        """Return what the regularizers of trainable weights add to the loss."""
        return sum((p.regularizer.loss(p.value) for p in self.regularized if p.trainable), 0.0)

    def _targets(self, batch: Batch) -> list[np.ndarray]:
        if batch.y is None:
            raise ValueError("training and evaluation need targets: pass y, or batches (x, y)")
        return batch.y

    def _list(self, outputs: Any) -> Sequence[np.ndarray]:
        return [outputs] if len(self.ports.output_names) == 1 else outputs


def step_of(model: Trainable) -> TrainingStep:
    """Return the step of a compiled model, the same as long as its graph does not change.

    Raises:
        RuntimeError: the model is not compiled.
    """
    check_compiled(model)
    if model._training_step is None or model._training_step.graph is not model._graph:
        model._training_step = TrainingStep(model, **(model.compile_arguments or {}))
    return model._training_step


def check_compiled(model: Trainable) -> None:
    """Raise RuntimeError before ``compile``."""
    if model.compile_arguments is None:
        raise RuntimeError(f"{model.label} must be compiled first: model.compile(optimizer=..., loss=...)")


class State:
    """What a forward pass in training changes: moving averages, the counters of dropout. They are small."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._values = [(p, p.version, p.numpy()) for layer in layers for p in layer._state_parameters]
        self._counters = [(s, s.copy()) for layer in layers if (s := layer.random_state) is not None]

    def restore(self) -> None:
        """Put back what has changed since."""
        for parameter, version, value in self._values:
            if parameter.version != version:
                parameter.assign(value)
        for state, value in self._counters:
            state[...] = value


def stateful_layers(model: Trainable) -> list[Layer]:
    """Return the layers, each once, of which :class:`State` keeps something."""
    layers = dict.fromkeys(layer for _, layer in model.named_layers())
    return [layer for layer in layers if layer._state_parameters or layer.random_state is not None]
