"""One optimizer step over all parameters of a model, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv.ops import _checks

_STATES = {"sgd": (0, 1), "rmsprop": (1, 2), "adam": (2,), "adamw": (2,), "adagrad": (1,)}
_HYPER = {
    "sgd": (),
    "rmsprop": ("rho", "epsilon"),
    "adam": ("beta_1", "beta_2", "epsilon", "step"),
    "adamw": ("beta_1", "beta_2", "epsilon", "step"),
    "adagrad": ("epsilon",),
}
_HYPER_OF_MOMENTUM = {"sgd": ("momentum", "nesterov"), "rmsprop": ("momentum",)}  # of those that keep an array for it
_LISTS = (list, tuple)
_NUMBER = (int, float, np.integer, np.floating, np.bool_)


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
            not contiguous or not writable; a number that ``hyper`` lacks. TypeError: no lists of arrays; dtypes other
            than float32 and float64, or mixed in a parameter; no numbers in ``hyper``.
    """
    _check_lists(kind, values, grads, states)
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
    if groups:
        _check_hyper(kind, hyper, with_momentum=max(map(len, states)) > _STATES[kind][0])
    for group in groups.values():
        _kernels.optimizer_step(_kernels.OPTIMIZER_KINDS[kind], *group, hyper)


def _check_lists(kind: Any, values: Any, grads: Any, states: Any) -> None:
    if not isinstance(kind, str):
        raise TypeError(f"kind must be a string, got {type(kind).__name__}")
    if kind not in _STATES:
        raise ValueError(f"unknown optimizer kind {kind!r}; known: {', '.join(_STATES)}")
    for name, argument in (("values", values), ("grads", grads), ("states", states)):
        if not isinstance(argument, _LISTS):
            of = "lists of arrays" if name == "states" else "arrays"
            raise TypeError(f"{name} must be a list of {of}, got {type(argument).__name__}")


def _check_parameter(kind: str, value: np.ndarray, state: Sequence[np.ndarray]) -> None:
    if not isinstance(state, _LISTS):
        raise TypeError(f"states must be a list of lists of arrays, got {type(state).__name__} in it")
    if len(state) not in _STATES[kind]:
        raise ValueError(f"{kind} keeps {' or '.join(map(str, _STATES[kind]))} arrays a parameter, got {len(state)}")
    _check_updated(value, value, "value")
    for array in state:
        _check_updated(array, value, "state")


def _check_updated(array: np.ndarray, value: np.ndarray, name: str) -> None:
    if not isinstance(array, np.ndarray):
        where = "list of arrays" if name == "value" else "list of lists of arrays"
        raise TypeError(f"{name}s must be a {where}, got {type(array).__name__} in it")
    plain = _checks.array(array, name, None, value) is array
    if not plain or not array.flags.writeable:
        raise ValueError("values and states are updated in place: they must be contiguous, native and writable arrays")
    if array.shape != value.shape:
        _checks.expect_shape(array, value.shape, name, "the shape of its parameter")


def _check_hyper(kind: str, hyper: Mapping[str, float], with_momentum: bool) -> None:
    if not isinstance(hyper, Mapping):
        raise TypeError(f"hyper must be a dict of numbers, got {type(hyper).__name__}")
    needed = ("learning_rate", "weight_decay", "scale", *_HYPER[kind])
    for name in needed + _HYPER_OF_MOMENTUM[kind] if with_momentum else needed:
        if name not in hyper:
            raise ValueError(f"hyper lacks {name!r}, which {kind} needs; it has {', '.join(map(str, hyper))}")
        if not isinstance(hyper[name], _NUMBER):
            raise TypeError(f"hyper[{name!r}] must be a number, got {hyper[name]!r} ({type(hyper[name]).__name__})")
    if "step" in needed and hyper["step"] < 1:
        raise ValueError(f"hyper['step'] must be at least 1, got {hyper['step']}")
