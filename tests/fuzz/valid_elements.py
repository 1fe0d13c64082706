"""Ops that treat every element, row or parameter for itself: activations, dropout, losses, optimizers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fastconv as fc
from fastconv import ops, reference

from . import journal
from .comparing import Array, Case, Comparison, check_close

_ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "softmax")
_HYPER = {
    "momentum": 0.9, "nesterov": 0.0, "rho": 0.9, "epsilon": 1e-3, "beta_1": 0.9, "beta_2": 0.99, "step": 3,
    "learning_rate": 0.1, "weight_decay": 0.0, "scale": 1.0,
}  # fmt: skip
_STATES = {"sgd": (0, 1), "rmsprop": (1, 2), "adam": (2,), "adamw": (2,), "adagrad": (1,)}


def _some(c: Comparison) -> Array:
    """An array of one to four axes."""
    return c.array(*(c.number(0 if i == 0 else 1, 9) for i in range(c.number(1, 3))), c.channels())


def _activation(c: Comparison) -> None:
    name, x = c.one_of(*_ACTIVATIONS), 3 * _some(c)
    parameter = (0.3,) if name in ("leaky_relu", "elu") and c.chance(0.5) else ()
    (y,) = c.same(name, x, *parameter)
    dy = c.array(*y.shape)
    c.same(f"{name}_backward", dy, y, *parameter, scale=4.0 * math.sqrt(y.shape[-1]))
    spelt = (name, *parameter) if parameter else name
    c.same("activate", x, spelt)
    c.same("activation_backward", dy, y, spelt, scale=4.0 * math.sqrt(y.shape[-1]))


def _prelu(c: Comparison) -> None:
    x = c.array(c.batch(), c.number(1, 6), c.number(1, 6), c.channels())
    alpha = c.array(*(size if c.chance(0.6) else 1 for size in x.shape[1:]))
    c.same("prelu", x, alpha)
    c.same("prelu_backward", c.array(*x.shape), x, alpha, need_weights=c.chance(0.8), scale=math.sqrt(x.size + 1))


def _dropout(c: Comparison) -> None:
    x = c.array(c.batch(), c.number(1, 9), c.number(1, 9), c.channels())
    rate = float(c.one_of(0.0, 0.5, 0.999, c.rng.random()))
    seed, counter = (int(c.rng.integers(2**64, dtype=np.uint64)) for _ in range(2))
    for name in ("dropout", "dropout_backward", "spatial_dropout2d", "spatial_dropout2d_backward"):
        c.same(name, x, rate, seed, counter)


def _cross_entropy(c: Comparison) -> None:
    leading = c.one_of((c.batch(),), (c.batch(), c.number(1, 5)))
    classes, smoothing = c.channels(), float(c.one_of(0.0, 0.1, c.rng.random()))
    logits = c.one_of(1, 10) * c.array(*leading, classes)
    targets: Any = c.rng.integers(0, classes, leading)
    if c.chance(0.4):
        targets = np.abs(c.array(*leading, classes))
    weight = c.one_of(None, np.abs(c.array(*leading)))
    scale = 30.0 * classes
    _, probabilities = c.same("softmax_cross_entropy", logits, targets, smoothing, weight, scale=scale)
    factor = c.one_of(0.25, c.array(*leading))
    c.same("softmax_cross_entropy_backward", probabilities, targets, factor, smoothing, scale=scale)


def _optimizer(c: Comparison) -> None:
    """In place, so not by ``Comparison.same``."""
    kind = c.one_of(*_STATES)
    count = c.one_of(*_STATES[kind])
    shapes = [tuple(c.number(1, 12) for _ in range(c.number(1, 4))) for _ in range(c.number(1, 4))]
    values, grads = [c.array(*shape) for shape in shapes], [c.array(*shape) for shape in shapes]
    states = [[np.abs(c.array(*shape)) for _ in range(count)] for shape in shapes]
    hyper = {
        **_HYPER,
        "nesterov": float(c.number(0, 1)),
        "step": c.number(1, 50),
        "weight_decay": c.one_of(0.0, 0.01),
        "scale": c.one_of(1.0, 0.3),
    }
    want = [value.astype(np.float64) for value in values]
    want_states = [[array.astype(np.float64) for array in state] for state in states]
    exact_grads = [grad.astype(np.float64) for grad in grads]
    with journal.doing("optimizer_step", kind=kind, shapes=shapes, dtype=c.dtype, hyper=hyper, states=count):
        fc.set_num_threads(c.number(1, 4))
        ops.optimizer_step(kind, values, grads, states, hyper)
        reference.optimizer_step(kind, want, exact_grads, want_states, hyper)
        for i, (got, expected) in enumerate(zip(values, want, strict=True)):
            check_close(got, expected, c.dtype, 10.0, f"value {i}")
            for mine, other in zip(states[i], want_states[i], strict=True):
                check_close(mine, other, c.dtype, 10.0, f"state of {i}")


ELEMENTS: dict[str, tuple[float, Case]] = {
    "activation": (1.5, _activation),
    "prelu": (0.5, _prelu),
    "dropout": (0.5, _dropout),
    "cross-entropy": (1.0, _cross_entropy),
    "optimizer": (1.0, _optimizer),
}
