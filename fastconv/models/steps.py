"""One training or test step on a batch: forward, loss, backward, regularizers, optimizer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..interrupts import uninterrupted
from .batching import Batch, Ports
from .objective import Objective, Outcome

if TYPE_CHECKING:
    from ..layers.base import Layer
    from ..optimizers import Optimizer
    from .graph import Graph
    from .model import Model


class Steps:
    """What running batches of a compiled model takes; made anew when the model's graph changes.

    The model comes with every call: it holds its steps, and a circle would keep its weights in memory.

    Args:
        model: built.
        loss, loss_weights, metrics: as given to ``compile``.
    """

    def __init__(self, model: Model, loss: Any, loss_weights: Any, metrics: Any) -> None:
        self.graph: Graph = model.graph
        self.ports = ports_of(model)
        softmax_outputs = frozenset(i for i, name in enumerate(model.final_activations) if name == "softmax")
        self.objective = Objective(loss, loss_weights, metrics, self.ports.output_names, softmax_outputs)
        self.parameters = model.parameters
        self.regularized = [p for p in self.parameters if p.regularizer is not None]
        self.stateful = stateful_layers(model)

    def train(self, model: Model, batch: Batch, warn: Callable[[Batch, float], None] | None = None) -> list[Any]:
        """Update the weights by one batch; return what the objective measures, taken before the update.

        A step that fails, be it by Ctrl-C, leaves the model as it was, without gradients.

        Args:
            model: the one that the steps were made for.
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
        self, model: Model, optimizer: Optimizer, batch: Batch, warn: Callable[[Batch, float], None] | None
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

    def test(self, model: Model, batch: Batch) -> list[Any]:
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


def stateful_layers(model: Model) -> list[Layer]:
    """Return the layers, each once, of which :class:`State` keeps something."""
    layers = dict.fromkeys(layer for _, layer in model.named_layers())
    return [layer for layer in layers if layer._state_parameters or layer.random_state is not None]


def ports_of(model: Model) -> Ports:
    """Describe a built model's inputs and outputs."""
    names = model.graph.names
    return Ports(
        [t.node.layer.name for t in model.inputs],
        [t.shape for t in model.inputs],
        [t.dtype for t in model.inputs],
        _distinct([names.get(t.node.layer, t.node.layer.name) for t in model.outputs]),
    )


def _distinct(names: Sequence[str]) -> list[str]:
    """Number names that occur several times: an output layer may be shared, or have several outputs."""
    counts: dict[str, int] = {}
    result = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(name if counts[name] == 1 else f"{name}_{counts[name] - 1}")
    return result


def warn_non_finite(model: Model, batch: Batch, loss: float) -> None:
    """Warn that a loss is NaN or infinite, and name the first layer whose output is.

    Runs the batch through the model once more; moving statistics and dropout counters are put back.
    """
    state = State(stateful_layers(model))
    found = [("the model's input", kind) for kind in _non_finite(batch.x)]
    for name, layer, y in () if found else model.trace(*batch.x, training=True):
        kinds = _non_finite(y if isinstance(y, (list, tuple)) else [y])
        found += [(f'the output of layer "{name}" ({type(layer).__name__})', kind) for kind in kinds]
        if "NaN" in kinds:
            break
    state.restore()
    first = {kind: where for where, kind in reversed(found)}
    origin = " and ".join(f"the first {kind} is in {where}" for kind, where in first.items())
    if not found:
        origin = "every layer's output is finite, so it arises in the loss: look at the targets and sample weights"
    warnings.warn(f"the loss is {loss}: {origin}", RuntimeWarning, stacklevel=2)


def _non_finite(arrays: Sequence[np.ndarray]) -> list[str]:
    """Return which of "NaN" and "infinity" occur."""
    arrays = [a for a in arrays if a.dtype.kind == "f"]
    kinds = {"NaN": any(np.isnan(a).any() for a in arrays), "infinity": any(np.isinf(a).any() for a in arrays)}
    return [kind for kind, occurs in kinds.items() if occurs]
