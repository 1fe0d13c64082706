"""One training or test step on a batch: forward, loss, backward, regularizers, optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..data.batches import Batch
from ..interrupts import uninterrupted
from ..layers.base import Layer
from ..layers.parameter import Parameter
from .objective import JointObjective, Objective, Outcome, joint_loss
from .ports import ports_of
from .trainable import Trainable

Measure = Callable[[Batch, Outcome], Any]
BeforeUpdate = Callable[[list[Parameter]], bool | None]


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
        self.objective: Objective | JointObjective
        joint = joint_loss(loss)
        if joint is not None:
            self.objective = JointObjective(joint, loss_weights, metrics)
        else:
            softmax_outputs = frozenset(i for i, name in enumerate(model.final_activations) if name == "softmax")
            self.objective = Objective(loss, loss_weights, metrics, self.ports.output_names, softmax_outputs)
        self.parameters = model.parameters
        self.regularized = [p for p in self.parameters if p.regularizer is not None]
        self.stateful = stateful_layers(model)

    def train(
        self,
        model: Trainable,
        batch: Batch,
        measure: Measure,
        warn: Callable[[Batch, float], None] | None = None,
        before_update: BeforeUpdate | None = None,
        add: bool = False,
    ) -> bool:
        """Update the weights by one batch; return whether they were.

        A step that fails, be it by Ctrl-C, leaves the model as it was, without gradients.

        Args:
            model: the one that the step was made for.
            batch: with targets.
            measure: gets the batch and its outcome, of before the update.
            warn: called with the batch and the loss if the loss is NaN or infinite, before the update.
            before_update: gets the trainable parameters with their gradients; if it returns False, there is no update,
                and the gradients stay.
            add: add to the gradients that an earlier step left.
        """
        if model.optimizer is None:
            raise RuntimeError("the model has no optimizer: call compile")
        iterations = model.optimizer.iterations
        state = State(self.stateful)
        try:
            if not add:
                for parameter in self.parameters:
                    parameter.zero_grad()
            self._add_gradients(model, batch, measure, warn)
            trainable = [p for p in self.parameters if p.trainable]
            if before_update is not None and before_update(trainable) is False:
                return False
            model.optimizer.apply(trainable)
        except BaseException:
            with uninterrupted():
                for parameter in self.parameters:
                    parameter.zero_grad()
                if model.optimizer.iterations == iterations:  # else Ctrl-C came when all was done
                    state.restore()
            raise
        return True

    def _add_gradients(
        self, model: Trainable, batch: Batch, measure: Measure, warn: Callable[[Batch, float], None] | None
    ) -> None:
        linear = self.objective.linear_outputs
        output, tape = model.forward(*batch.x, training=True, linear_outputs=linear, need_dx=False)
        outcome = self._outcome(batch, output)
        del output
        if warn is not None and not math.isfinite(outcome.loss):
            warn(batch, outcome.loss)
        measure(batch, outcome)
        model.backward(self.objective.backward(outcome.caches), tape, need_dx=False, linear_outputs=linear)
        for parameter in self.regularized:
            if parameter.trainable:
                parameter.add_grad(parameter.regularizer.gradient(parameter.value))

    def test(self, model: Trainable, batch: Batch, measure: Measure) -> None:
        """Run a batch; ``measure`` gets it and its outcome, and nothing else changes."""
        measure(batch, self._outcome(batch, model.infer(*batch.x, linear_outputs=self.objective.linear_outputs)))

    def _outcome(self, batch: Batch, outputs: Any) -> Outcome:
        """The losses of a batch, with what the regularizers add."""
        if batch.y is None:
            raise ValueError("training and evaluation need targets: pass y, or batches (x, y)")
        outputs = [outputs] if len(self.ports.output_names) == 1 else outputs
        outcome = self.objective.forward(batch.y, outputs, batch.sample_weight)
        return outcome._replace(loss=outcome.loss + self.penalty())

    def penalty(self) -> float:
        """Return what the regularizers of trainable weights add to the loss."""
        return sum((p.regularizer.loss(p.value) for p in self.regularized if p.trainable), 0.0)


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
