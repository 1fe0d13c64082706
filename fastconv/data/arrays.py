"""Batches cut from arrays that are in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .batches import Batch, Ports, as_targets, as_weights, cast, check_count, check_inputs, check_lengths, split_by_name


class ArrayData:
    """Batches cut from arrays that are in memory.

    Args:
        x, y, sample_weight: as a user passes them.
        ports: the model's inputs and outputs.
        batch_size: samples a batch; the last may be smaller.
        seed: shuffle, with an order that follows from ``(seed, epoch)`` alone; None keeps the arrays' order.

    Raises:
        ValueError: arrays of different lengths, shapes that the model does not take.
    """

    def __init__(
        self, x: Any, y: Any, sample_weight: Any, ports: Ports, batch_size: int = 32, seed: int | None = None
    ) -> None:
        self.x = split_by_name(x, ports.input_names, "input")
        check_inputs(self.x, ports)
        self.y = None if y is None else as_targets(y, ports)
        self.sample_weight = None if sample_weight is None else as_weights(sample_weight, ports)
        self.ports, self.batch_size, self.seed = ports, check_count(batch_size, "batch_size"), seed
        self.samples = len(self.x[0])
        check_lengths([*self.x, *(self.y or []), *(self.sample_weight or [])])

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return max(1, math.ceil(self.samples / self.batch_size))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Iterate over the batches of an epoch; no samples make one empty batch."""
        order = None if self.seed is None else np.random.default_rng([self.seed, epoch]).permutation(self.samples)
        for start in range(0, max(self.samples, 1), self.batch_size):
            chosen: Any = slice(start, start + self.batch_size)
            yield self._take(chosen if order is None else order[chosen])

    def split(self, fraction: float) -> tuple[ArrayData, ArrayData]:
        """Return (all but the last ``fraction`` of the samples, the last ``fraction``, unshuffled)."""
        if not 0 < fraction < 1:
            raise ValueError(f"validation_split must lie in (0, 1), got {fraction}")
        border = math.floor(self.samples * (1 - fraction))
        if not 0 < border < self.samples:
            raise ValueError(f"validation_split={fraction} of {self.samples} samples leaves nothing on one side")
        return self._part(slice(0, border), self.seed), self._part(slice(border, None), None)

    def _part(self, chosen: slice, seed: int | None) -> ArrayData:
        part = self._cut(chosen)
        return ArrayData(part.x, part.y, part.sample_weight, self.ports, self.batch_size, seed)

    def _take(self, chosen: Any) -> Batch:
        batch = self._cut(chosen)
        return batch._replace(x=cast(batch.x, self.ports))

    def _cut(self, chosen: Any) -> Batch:
        return Batch(
            [x[chosen] for x in self.x],
            None if self.y is None else [y[chosen] for y in self.y],
            None if self.sample_weight is None else [w if w is None else w[chosen] for w in self.sample_weight],
        )
