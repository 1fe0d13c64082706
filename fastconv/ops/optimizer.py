"""One optimizer step over all parameters of a model, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fastconv import _kernels
from fastconv.ops import _checks

_STATES = {"sgd": (0, 1), "rmsprop": (1, 2), "adam": (2,), "adamw": (2,), "adagrad": (1,)}


def optimizer_step(
    kind: str,
    values: Sequence[np.ndarray],
    grads: Sequence[np.ndarray],
    states: Sequence[Sequence[np.ndarray]],
    hyper: Mapping[str, float],
) -> None:
    """Update ``values`` and ``states`` in place, one step; the formulas are those of Keras 3, and are spelled out at
    :func:`fastconv.reference.optimizer_step`.

    Args:
        kind: ``"sgd"``, ``"rmsprop"``, ``"adam"``, ``"adamw"`` or ``"adagrad"``.
        values: parameters: writable, contiguous, float32 or float64.
        grads: their gradients: same shapes and dtypes; not changed.
        states: per parameter its arrays, writable and contiguous: sgd ``[v]`` or ``[]``; rmsprop ``[s]`` or
            ``[s, b]``; adam and adamw ``[m, v]``; adagrad ``[a]``.
        hyper: ``learning_rate``, ``weight_decay`` (0 for none), ``scale`` (a factor for all gradients, 1 for none) and
            what the kind needs of ``momentum``, ``nesterov`` (0 or 1), ``rho``, ``epsilon``, ``beta_1``, ``beta_2``,
            ``step`` (1 in the first step).

    Raises:
        ValueError: an unknown kind; lists, shapes or numbers of states that do not fit; an array that is updated but
            not contiguous or not writable. TypeError: dtypes other than float32 and float64, or mixed in a parameter.
    """
    if kind not in _STATES:
        raise ValueError(f"unknown optimizer kind {kind!r}; known: {', '.join(_STATES)}")
    if not len(values) == len(grads) == len(states):
        raise ValueError(f"{len(values)} values, {len(grads)} gradients and {len(states)} lists of states do not match")
    groups: dict[np.dtype, tuple[list[np.ndarray], list[np.ndarray], list[Sequence[np.ndarray]]]] = {}
    group, dtype = None, None
    for value, grad, state in zip(values, grads, states, strict=True):
        _check_parameter(kind, value, state)
        grad = _checks.array(grad, "grad", None, value)
        if grad.shape != value.shape:
            _checks.expect_shape(grad, value.shape, "grad", "the shape of its parameter")
        if group is None or value.dtype is not dtype:
            dtype = value.dtype
            group = groups.setdefault(dtype, ([], [], []))
        group[0].append(value)
        group[1].append(grad)
        group[2].append(state)
    for group in groups.values():
        _kernels.optimizer_step(_kernels.OPTIMIZER_KINDS[kind], *group, hyper)


def _check_parameter(kind: str, value: np.ndarray, state: Sequence[np.ndarray]) -> None:
    if len(state) not in _STATES[kind]:
        raise ValueError(f"{kind} keeps {' or '.join(map(str, _STATES[kind]))} arrays a parameter, got {len(state)}")
    shape = value.shape
    for array in (value, *state):
        plain = _checks.array(array, "value", None, value) is array
        if not plain or not array.flags.writeable:
            raise ValueError(
                "values and states are updated in place: they must be contiguous, native and writable arrays"
            )
        if array.shape != shape:
            _checks.expect_shape(array, shape, "state", "the shape of its parameter")
