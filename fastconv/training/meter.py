"""Loss and metrics over the batches of an epoch, or of one batch."""

from __future__ import annotations

from ..data.batches import Batch
from ..metrics.base import Mean, Metric, fresh, mean_of
from .objective import JointObjective, Objective, Outcome


class Meter:
    """Loss and metrics over batches: means of the losses, and a copy of its own of each metric."""

    def __init__(self, objective: Objective | JointObjective) -> None:
        self._objective = objective
        self._losses = [Mean() for _ in objective.loss_names]
        self._metrics = [[(name, fresh(metric)) for name, metric in output] for output in objective.metrics]

    def update(self, batch: Batch, outcome: Outcome) -> None:
        """Take in a batch and what became of it."""
        for mean, value in zip(self._losses, self._objective.loss_values(outcome), strict=True):
            mean.add(value, batch.size)
        for (target, prediction), metrics in zip(self._objective.pairs(batch, outcome), self._metrics, strict=True):
            for _, metric in metrics:
                metric.update(target, prediction)

    def logs(self) -> dict[str, float]:
        """Return name -> value so far."""
        logs = {name: mean.result() for name, mean in zip(self._objective.loss_names, self._losses, strict=True)}
        logs.update((name, float(metric.result())) for output in self._metrics for name, metric in output)
        return logs


def batch_logs(objective: Objective | JointObjective, batch: Batch, outcome: Outcome) -> dict[str, float]:
    """Return name -> value for one batch."""
    logs = dict(zip(objective.loss_names, objective.loss_values(outcome), strict=True))
    for (target, prediction), metrics in zip(objective.pairs(batch, outcome), objective.metrics, strict=True):
        for name, metric in metrics:
            if getattr(type(metric), "update", None) is Metric.update:  # a mean over samples: no state is needed
                logs[name] = mean_of(metric(target, prediction))
            else:
                metric = fresh(metric)
                metric.update(target, prediction)
                logs[name] = float(metric.result())
    return logs
