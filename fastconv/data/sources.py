"""What ``fit``, ``evaluate`` and ``predict`` were given, as a source of batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .arrays import ArrayData
from .batches import Data, PortsFor, check_count
from .iterables import IterableData

_BATCH_SIZE = 32


def make_data(
    x: Any, y: Any, sample_weight: Any, batch_size: int | None, steps: int | None, ports_for: PortsFor
) -> Data:
    """Return batches of arrays in memory, or of an iterable, which must bring targets and weights along.

    Raises:
        TypeError: ``x`` is neither. ValueError: arguments that an iterable excludes.
    """
    if is_array_like(x):
        return ArrayData(x, y, sample_weight, ports_for(x), _BATCH_SIZE if batch_size is None else batch_size)
    if x is None or not (hasattr(x, "__iter__") or hasattr(x, "__getitem__")):
        raise TypeError(f"x must be arrays or an iterable of batches, got {type(x).__name__}")
    given = {"y": y, "sample_weight": sample_weight, "batch_size": batch_size}
    excess = [name for name, value in given.items() if value is not None]
    if excess:
        raise ValueError(f"x is an iterable of batches, which hold it already: leave out {', '.join(excess)}")
    return IterableData(x, ports_for, steps)


def with_validation(
    data: Data, given: Any, split: float, batch_size: int | None, steps: int | None, ports_for: PortsFor
) -> tuple[Data, Data | None]:
    """Return the data to train on and the data to validate on.

    Args:
        data: what ``fit`` was given.
        given: ``validation_data``, or None.
        split: ``validation_split``: the fraction of ``data`` to cut off; 0 for none.
        batch_size, steps: for the validation data.
        ports_for: see :class:`IterableData`.
    """
    if split:
        if given is not None:
            raise ValueError("give either validation_data or validation_split")
        if not isinstance(data, ArrayData):
            raise ValueError("validation_split needs arrays; give validation_data")
        rest, part = data.split(split)
        part.batch_size = part.batch_size if batch_size is None else check_count(batch_size, "validation_batch_size")
        return rest, part
    if given is None:
        return data, None
    if not isinstance(given, (tuple, list)):
        return data, make_data(given, None, None, None, steps, ports_for)
    if len(given) not in (2, 3):
        raise ValueError(f"validation_data is (x, y) or (x, y, sample_weight), got {len(given)} items")
    if batch_size is None:
        batch_size = data.batch_size if isinstance(data, ArrayData) else _BATCH_SIZE
    x, y, sample_weight = (*given, None)[:3]
    return data, make_data(x, y, sample_weight, batch_size, steps, ports_for)


def is_array_like(x: Any) -> bool:
    """Whether ``x`` is data in memory (an array, or a list or dict of them) and not an iterable of batches."""
    return hasattr(x, "__array__") or isinstance(x, (list, tuple, Mapping))
