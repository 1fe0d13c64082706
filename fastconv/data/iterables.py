"""Batches from an iterable, a generator, or a sequence of batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sized
from typing import Any, Protocol

from .batches import Batch, PortsFor, check_count, make_batch


class BatchSequence(Protocol):
    """An indexable source of batches, such as Keras' PyDataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


class IterableData:
    """Batches from an iterable of ``(x, y)`` or ``(x, y, sample_weight)`` (also ``x`` alone, for ``predict``).

    Without ``steps`` every epoch iterates over it once, from its start. With ``steps`` one iteration goes on from
    epoch to epoch; when it ends, an iterable starts again, while a generator is used up: a warning, and training ends.

    Args:
        source: an iterable or a generator, which may be endless if ``steps`` is given; or a sequence with
            ``__len__`` and ``__getitem__``.
        ports_for: gives the model's inputs and outputs; called with a batch's x, because a model may learn its input
            shape from it.
        steps: batches an epoch.
    """

    def __init__(self, source: Iterable[Any] | BatchSequence, ports_for: PortsFor, steps: int | None = None) -> None:
        self.source, self.ports_for = source, ports_for
        self._given_steps = None if steps is None else check_count(steps, "steps")
        self._iterator: Iterator[Any] | None = None
        self.exhausted = False

    @property
    def steps(self) -> int | None:
        """Batches an epoch, if known."""
        if self._given_steps is not None:
            return self._given_steps
        return len(self.source) if isinstance(self.source, Sized) else None

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Iterate over the batches of an epoch."""
        if self._given_steps is None or self._iterator is None:
            self._iterator = self._start()
        done = 0
        while self._given_steps is None or done < self._given_steps:
            try:
                item = next(self._iterator)
            except StopIteration:
                if not self._restart(done):
                    return
                continue
            yield self._batch(item)
            done += 1

    def _start(self) -> Iterator[Any]:
        if isinstance(self.source, Iterable):
            return iter(self.source)
        return (self.source[i] for i in range(len(self.source)))

    def _restart(self, done: int) -> bool:
        """Begin a re-iterable source again if an epoch needs more; return whether there is more."""
        self.exhausted = self._iterator is self.source
        if self._given_steps is None:
            return False
        if not self.exhausted:
            self._iterator = self._start()
            first = next(self._iterator, None)
            if first is not None:
                self._iterator = _chain(first, self._iterator)
                return True
        warnings.warn(
            f"the data ended after {done} of {self._given_steps} batches: give a generator that yields enough, "
            "or a smaller number of steps",
            stacklevel=4,
        )
        self.exhausted = True
        return False

    def _batch(self, item: Any) -> Batch:
        # PyTorch's DataLoader yields lists; a list of several arrays may also be several inputs.
        x = item[0] if isinstance(item, (tuple, list)) and item else item
        ports = self.ports_for(x)
        if isinstance(item, list) and len(ports.input_names) == 1:
            item = tuple(item)
        if not isinstance(item, tuple):
            item = (item,)
        if not 1 <= len(item) <= 3:
            raise ValueError(f"a batch is a tuple (x, y) or (x, y, sample_weight), got {len(item)} items")
        x, y, sample_weight = (*item, None, None)[:3]
        return make_batch(x, y, sample_weight, ports)


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest
