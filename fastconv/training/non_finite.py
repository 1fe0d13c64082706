"""Where a loss that is NaN or infinite comes from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from ..data.batches import Batch
from .step import State, stateful_layers
from .trainable import Trainable


def warn_non_finite(model: Trainable, batch: Batch, loss: float) -> None:
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
