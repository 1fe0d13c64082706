"""A model's inputs and outputs, as data is fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.batches import Ports
from .objective import joint_loss
from .trainable import Trainable


def ports_for(model: Trainable, x: Any) -> Ports:
    """Return the model's ports; a Sequential that does not know its input shape takes it from ``x``."""
    step = model._training_step
    if step is not None and step.graph is model._graph:
        return step.ports
    if model._graph is None:
        model.build((None, *np.shape(x)[1:]))
    return ports_of(model)


def ports_of(model: Trainable) -> Ports:
    """Describe a built model's inputs and outputs."""
    names = model.graph.names
    return Ports(
        [t.node.layer.name for t in model.inputs],
        [t.shape for t in model.inputs],
        [t.dtype for t in model.inputs],
        _distinct([names.get(t.node.layer, t.node.layer.name) for t in model.outputs]),
        joint_loss((model.compile_arguments or {}).get("loss")) is not None,
    )


def _distinct(names: Sequence[str]) -> list[str]:
    """Number names that occur several times: an output layer may be shared, or have several outputs."""
    counts: dict[str, int] = {}
    result = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(name if counts[name] == 1 else f"{name}_{counts[name] - 1}")
    return result
