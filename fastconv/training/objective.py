"""What ``compile`` sets up: for each output its loss, its weight in the total, and its metrics; or one loss of all."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import losses as losses_module
from .. import metrics as metrics_module
from ..data.batches import Batch
from ..losses import JointLoss


class Outcome(NamedTuple):
    """One batch through the objective.

    Attributes:
        loss: the weighted sum over the outputs.
        losses: each output's own loss, unweighted; None for an output without one.
        caches: for :meth:`Objective.backward`.
        predictions: the model's outputs, probabilities where the model ran on logits.
    """

    loss: float
    losses: list[float | None]
    caches: list[Any]
    predictions: list[np.ndarray]


class Objective:
    """Losses, their weights and metrics, one entry per output of the model.

    Args:
        loss, loss_weights, metrics: as given to ``compile``.
        output_names: names of the model's outputs.
        softmax_outputs: the outputs that end in a softmax which nothing else uses; where such an output's loss
            accepts logits, the model runs without that softmax.
    """

    def __init__(
        self, loss: Any, loss_weights: Any, metrics: Any, output_names: Sequence[str], softmax_outputs: frozenset[int]
    ) -> None:
        self.output_names = list(output_names)
        count = len(self.output_names)
        entries = per_output(loss, self.output_names, "loss") if is_nested(loss) else [loss] * count
        self.losses = [None if entry is None else losses_module.get(entry) for entry in entries]
        if all(entry is None for entry in self.losses):
            raise ValueError("the model was compiled without a loss")
        weights = [1.0] * count if loss_weights is None else per_output(loss_weights, self.output_names, "loss_weights")
        self.weights = [1.0 if weight is None else float(weight) for weight in weights]
        self.metrics = self._resolve_metrics(metrics)
        self.linear_outputs = frozenset(i for i in softmax_outputs if _runs_on_logits(self.losses[i]))
        self._takes_weight = [entry is None or _takes_weight(entry.forward) for entry in self.losses]

    @property
    def loss_names(self) -> list[str]:
        """The loss, then each output's loss if there are several."""
        if len(self.output_names) == 1:
            return ["loss"]
        pairs = zip(self.output_names, self.losses, strict=True)
        return ["loss", *(f"{output}_loss" for output, loss in pairs if loss is not None)]

    @property
    def names(self) -> list[str]:
        """What is reported, in order: the losses, then the metrics."""
        return [*self.loss_names, *(name for output in self.metrics for name, _ in output)]

    def forward(
        self, y: Sequence[np.ndarray], outputs: Sequence[np.ndarray], sample_weight: Sequence[np.ndarray | None] | None
    ) -> Outcome:
        """Compute the losses of a batch; outputs in ``linear_outputs`` are logits."""
        total, each, caches, predictions = 0.0, [], [], []
        for i, (loss, output) in enumerate(zip(self.losses, outputs, strict=True)):
            value, cache, prediction = None, None, output
            if loss is not None:
                weight = () if sample_weight is None or sample_weight[i] is None else (sample_weight[i],)
                if weight and not self._takes_weight[i]:
                    raise ValueError(f"{loss!r} does not take sample weights: its forward has no third argument")
                if i in self.linear_outputs:
                    value, cache, prediction = loss.forward_logits(y[i], output, *weight)
                else:
                    value, cache = loss.forward(_as_float(y[i], output.dtype), output, *weight)
                value = float(value)
                total += self.weights[i] * value
            each.append(value)
            caches.append((cache, output))
            predictions.append(prediction)
        return Outcome(total, each, caches, predictions)

    def backward(self, caches: Sequence[Any]) -> list[np.ndarray | None]:
        """Return the gradient of the total loss for each output, None for outputs without a loss."""
        gradients: list[np.ndarray | None] = []
        for i, (loss, (cache, output)) in enumerate(zip(self.losses, caches, strict=True)):
            if loss is None:
                gradients.append(None)
                continue
            dy = loss.backward_logits(cache) if i in self.linear_outputs else np.asarray(loss.backward(cache))
            if dy.shape != output.shape:
                raise ValueError(f"backward of {loss!r} returned shape {dy.shape} for predictions {output.shape}")
            dy = dy.astype(output.dtype, copy=False)
            gradients.append(dy if self.weights[i] == 1 else dy * output.dtype.type(self.weights[i]))
        return gradients

    def loss_values(self, outcome: Outcome) -> list[float]:
        """Return the values for :attr:`loss_names`."""
        if len(self.output_names) == 1:
            return [outcome.loss]
        return [outcome.loss, *(value for value in outcome.losses if value is not None)]

    def pairs(self, batch: Batch, outcome: Outcome) -> list[tuple[Any, Any]]:
        """Return targets and predictions for each entry of :attr:`metrics`."""
        return list(zip(batch.y or (), outcome.predictions, strict=True))

    def _resolve_metrics(self, metrics: Any) -> list[list[tuple[str, Any]]]:
        """Return (name in the logs, metric) for each metric of each output."""
        if metrics is None:
            per = [None] * len(self.output_names)
        elif len(self.output_names) == 1 and not isinstance(metrics, Mapping):
            per = [metrics]
        else:
            per = per_output(metrics, self.output_names, "metrics")
        resolved: list[list[tuple[str, Any]]] = []
        taken: set[str] = set()
        for output, entries in zip(self.output_names, per, strict=True):
            functions = []
            for entry in _as_list(entries):
                name = metrics_module.name_of(entry)
                name = _unique(f"{output}_{name}" if len(self.output_names) > 1 else name, taken)
                functions.append((name, metrics_module.with_state(entry)))
            resolved.append(functions)
        return resolved


class JointObjective:
    """One loss that gets all outputs at once, and metrics that do.

    Args:
        loss: the loss.
        loss_weights, metrics: as given to ``compile``.
    """

    linear_outputs: frozenset[int] = frozenset()

    def __init__(self, loss: JointLoss, loss_weights: Any, metrics: Any) -> None:
        if loss_weights is not None:
            raise ValueError(f"{loss!r} is one loss for all outputs: loss_weights have nothing to weigh")
        if isinstance(metrics, Mapping):
            raise ValueError(f"metrics beside {loss!r} get all outputs at once: give a list")
        self.loss = loss
        taken: set[str] = set()
        self.metrics = [
            [(_unique(metrics_module.name_of(m), taken), metrics_module.with_state(m)) for m in _as_list(metrics)]
        ]
        self._takes_weight = _takes_weight(loss.forward)

    loss_names: Sequence[str] = ("loss",)

    @property
    def names(self) -> list[str]:
        """What is reported, in order: the loss, then the metrics."""
        return ["loss", *(name for name, _ in self.metrics[0])]

    def forward(self, y: Sequence[np.ndarray], outputs: Sequence[np.ndarray], sample_weight: Any) -> Outcome:
        """Compute the loss of a batch."""
        weight = () if sample_weight is None else (sample_weight[0],)
        if weight and not self._takes_weight:
            raise ValueError(f"{self.loss!r} does not take sample weights: its forward has no third argument")
        value, cache = self.loss.forward(list(y), list(outputs), *weight)
        return Outcome(float(value), [], [cache, *outputs], list(outputs))

    def backward(self, caches: Sequence[Any]) -> list[np.ndarray | None]:
        """Return the gradient of the loss for each output, None where there is none."""
        cache, *outputs = caches
        gradients = list(self.loss.backward(cache))
        shapes = [None if dy is None else np.shape(dy) for dy in gradients]
        if len(shapes) != len(outputs) or any(s not in (None, y.shape) for s, y in zip(shapes, outputs, strict=True)):
            raise ValueError(
                f"backward of {self.loss!r} returned gradients of shapes {shapes} for outputs of shapes "
                f"{[y.shape for y in outputs]}"
            )
        pairs = zip(gradients, outputs, strict=True)
        return [None if dy is None else np.asarray(dy).astype(y.dtype, copy=False) for dy, y in pairs]

    def loss_values(self, outcome: Outcome) -> list[float]:
        """Return the values for :attr:`loss_names`."""
        return [outcome.loss]

    def pairs(self, batch: Batch, outcome: Outcome) -> list[tuple[Any, Any]]:
        """Return all targets and all predictions, for the metrics."""
        return [(batch.y, outcome.predictions)]


def joint_loss(loss: Any) -> JointLoss | None:
    """Return what ``compile`` was given as the one loss of all outputs; None if it is none."""
    found = None if loss is None or is_nested(loss) else losses_module.get(loss)
    return found if isinstance(found, JointLoss) else None


def check_compile_arguments(loss: Any, loss_weights: Any, metrics: Any) -> None:
    """Look every name up, so that a wrong one is an error in ``compile`` and not in the first batch."""
    for weight in _leaves(loss_weights):
        if isinstance(weight, str):
            raise TypeError(
                f"loss_weights must be numbers, got {weight!r}: the third argument of compile is loss_weights, as in "
                "Keras 3; name the metrics: compile(optimizer, loss, metrics=[...])"
            )
    for entry in _leaves(loss):
        losses_module.get(entry)
    for entry in _leaves(metrics):
        if not metrics_module.is_accuracy(entry):
            metrics_module.get(entry)


def is_nested(value: Any) -> bool:
    """Whether a value is one per output (a list or a dict by name), and not the description of one object."""
    return isinstance(value, (list, tuple)) or (isinstance(value, Mapping) and "class_name" not in value)


def per_output(value: Any, names: Sequence[str], what: str) -> list[Any]:
    """Return one entry per output from a list in their order or a dict by name.

    Raises:
        ValueError: another number of entries, or a name that is no output's.
    """
    if isinstance(value, Mapping):
        unknown = [name for name in value if name not in names]
        if unknown:
            raise ValueError(f"{what} names {unknown}; the model's outputs are {list(names)}")
        return [value.get(name) for name in names]
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{what} must be a list or a dict by output name, got {value!r}")
    if len(value) != len(names):
        raise ValueError(f"{what} has {len(value)} entries, the model {len(names)} outputs: {', '.join(names)}")
    return list(value)


def _leaves(value: Any) -> list[Any]:
    if value is None:
        return []
    if not is_nested(value):
        return [value]
    return [leaf for entry in (value.values() if isinstance(value, Mapping) else value) for leaf in _leaves(entry)]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _as_float(y: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Give float targets the predictions' width; integer labels stay integers."""
    return y.astype(dtype, copy=False) if y.dtype.kind == "f" else y


def _runs_on_logits(loss: Any) -> bool:
    return getattr(loss, "accepts_logits", False) and not loss.from_logits


def _takes_weight(forward: Callable[..., Any]) -> bool:
    parameters = inspect.signature(forward).parameters.values()
    return len(parameters) >= 3 or any(p.kind is p.VAR_POSITIONAL for p in parameters)


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate
