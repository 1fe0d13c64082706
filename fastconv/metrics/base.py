"""What a metric is: state that takes in batches, and the mean over samples that most of them are."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from ..registry import Configurable, snake_case


class Mean:
    """A running mean, weighted by the number of samples."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, value: Any, samples: int) -> None:
        """Take in a batch: ``value`` is its mean or an array of its values, ``samples`` its size."""
        self.total += mean_of(value) * samples
        self.count += samples

    def result(self) -> float:
        """Return the mean so far, 0 before the first sample."""
        return self.total / self.count if self.count else 0.0


def mean_of(value: Any) -> float:
    """Return the mean of a number or an array; 0 for an empty one."""
    if isinstance(value, float):
        return value
    array = np.asarray(value)
    return float(array.sum(dtype=np.float64)) / array.size if array.size else 0.0


class Metric(Configurable):
    """Base class of metrics.

    A metric that is a mean over samples defines ``__call__``. One that is not, such as the mean IoU, which divides sums
    over all samples, defines :meth:`update`, :meth:`result` and :meth:`reset`::

        class MeanIoU(Metric):
            def __init__(self, classes, name=None):
                super().__init__(name)
                self.classes = classes
                self.reset()

            def reset(self):
                self.matrix = np.zeros((self.classes, self.classes), int)

            def update(self, y_true, y_pred):
                np.add.at(self.matrix, (y_true, y_pred.argmax(axis=-1)), 1)

            def result(self):
                hits = np.diag(self.matrix)
                unions = self.matrix.sum(axis=0) + self.matrix.sum(axis=1) - hits
                return float((hits / np.maximum(unions, 1))[unions > 0].mean())

    Each epoch of ``fit`` and each ``evaluate`` works on a copy of what ``compile`` was given, so none sees the state of
    another.

    Args:
        name: what the metric is called in logs; by default the class name in snake case.
    """

    _mean: Mean | None = None

    def __init__(self, name: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        """Return one number per sample (more for predictions with inner axes, such as pixels)."""
        raise NotImplementedError(f"{type(self).__name__} defines neither __call__ nor update")

    def update(self, y_true: Any, y_pred: Any) -> None:
        """Take in a batch, of any size.

        Args:
            y_true: the targets of an output, as given to ``fit``.
            y_pred: what the model put out, (N, ...); beside a :class:`fastconv.losses.JointLoss` both are lists.
        """
        if self._mean is None:
            self._mean = Mean()
        self._mean.add(self(y_true, y_pred), len(y_pred[0] if isinstance(y_pred, list) else y_pred))

    def result(self) -> float:
        """Return the value for all batches since :meth:`reset`."""
        return 0.0 if self._mean is None else self._mean.result()

    def reset(self) -> None:
        """Forget all batches."""
        self._mean = None

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


class FunctionMetric(Metric):
    """The mean of a function ``(y_true, y_pred) -> number or one number per sample``, which copies share."""

    def __init__(self, function: Callable[[Any, Any], Any], name: str) -> None:
        super().__init__(name)
        self.function = function

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(y_true, y_pred)

    def __deepcopy__(self, memo: Any) -> FunctionMetric:
        return FunctionMetric(self.function, self.name)


def fresh(metric: Any) -> Any:
    """Return a copy of a metric that has seen no batch."""
    metric = copy.deepcopy(metric)
    metric.reset()
    return metric
