"""A layer as a scalar function that can be run again and again, and a float64 clone of it to run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import config as _config
from .. import random as _random
from ..layers.base import Layer
from ..layers.parameter import Change, Parameter
from ..registry import custom_object_scope


@dataclass
class Target:
    """A tensor to differentiate for: ``values`` can be written, ``gradient`` is what backward says."""

    name: str
    values: np.ndarray
    gradient: np.ndarray
    problem: str
    changed: Callable[[], None]


class Problem:
    """The scalar function ``sum(dy * y)`` of a layer, and its gradients by backward."""

    def __init__(self, layer: Layer, xs: list[np.ndarray], training: bool, rng: np.random.Generator) -> None:
        self.layer, self.xs, self.training = layer, xs, training
        self._states = [(s, s.copy()) for _, x in layer.named_layers() if (s := x.random_state) is not None]
        # Moving statistics change in every training run; the function shall not.
        self._statistics = [(p, p.numpy()) for p in layer.parameters if not p.trainable]
        self.start = self.outputs()
        if any(y.dtype.kind == "f" and y.dtype != np.float64 for y in self.start):
            raise ValueError(f"{layer.label}: forward gives {self.start[0].dtype} for float64 inputs and weights")
        if not all(np.isfinite(y).all() for y in self.start):
            raise ValueError(f"{layer.label}: the output of forward is not finite for the inputs of the check")
        if not all(np.array_equal(a, b) for a, b in zip(self.start, self.outputs(), strict=True)):
            raise ValueError(
                f"{layer.label}: forward gives another output when run again; a random layer keeps its state in "
                "add_random_state()"
            )
        # An integer output, such as an argmax, has no gradient.
        self.dys = [rng.standard_normal(y.shape) if y.dtype.kind == "f" else None for y in self.start]

    def outputs(self) -> list[np.ndarray]:
        """Run forward with the same random draws every time."""
        self._reset()
        y = self.layer.forward(*self.xs, training=self.training)[0]
        # Copies: the output of a reshaping layer is a view of the input, which the check changes in place.
        return [a.copy() for a in y] if isinstance(y, (list, tuple)) else [y.copy()]

    def difference(self, plus: list[np.ndarray], minus: list[np.ndarray]) -> float:
        """Return the function's difference; subtracting first keeps outputs that did not change out of the sum."""
        terms = zip(self.dys, plus, minus, strict=True)
        return math.fsum(float(np.vdot(dy, a - b)) for dy, a, b in terms if dy is not None)

    def targets(self) -> Iterator[Target]:
        """Run forward and backward once and yield what there is to check."""
        self._reset()
        for parameter in self.layer.parameters:
            parameter.zero_grad()
        for array in [*self.xs, *(dy for dy in self.dys if dy is not None)]:
            array.flags.writeable = False  # backward must not write to them
        y, cache = self.layer.forward(*self.xs, training=self.training)
        dy = type(y)(self.dys) if isinstance(y, (list, tuple)) else self.dys[0]
        dxs = self.layer.backward(dy, cache)
        for array in self.xs:
            array.flags.writeable = True
        several = len(self.xs) > 1
        for i, (x, dx) in enumerate(zip(self.xs, dxs if several else [dxs], strict=True)):
            if x.dtype.kind != "f":
                continue
            gradient, problem = _as_gradient(dx, x.shape, "backward returned")
            yield Target(f"input {i}" if several else "input", x, gradient, problem, lambda: None)
        found = [(path, p, p.grad) for path, p in self.layer.named_parameters() if p.trainable]
        for path, parameter, grad in found:
            gradient, problem = _as_gradient(grad, parameter.shape, "backward stored")
            yield Target(path, parameter._storage, gradient, problem, _bump(parameter))

    def _reset(self) -> None:
        for state, value in self._states:
            state[...] = value
        for parameter, value in self._statistics:
            parameter.assign(value)


def _bump(parameter: Parameter) -> Callable[[], None]:
    def changed() -> None:
        with Change(parameter):
            pass  # the values are written already

    return changed


def _as_gradient(gradient: Any, shape: tuple[int, ...], verb: str) -> tuple[np.ndarray, str]:
    """Return a float64 array of the right shape to compare with, and what is wrong with ``gradient`` itself."""
    if gradient is None:
        return np.zeros(shape), f"{verb} no gradient"
    array = np.asarray(gradient)
    if array.shape != shape:
        return np.zeros(shape), f"{verb} a gradient of shape {array.shape}, expected {shape}"
    if array.dtype != np.float64:
        return array.astype(np.float64), f"{verb} a gradient of dtype {array.dtype}, expected float64"
    return array.copy(), ""


def clone_in_float64(layer: Layer, shapes: Sequence[tuple[int | None, ...]], seed: int) -> Any:
    """Return a float64 copy, built, with the same weights if the layer has any."""
    description = _as_float64(layer.get_config())
    classes = {type(x).__name__: type(x) for _, x in layer.named_layers()}
    with _float64(), _random.seeded(seed), custom_object_scope(classes):
        try:
            clone = type(layer).from_config(description)
        except TypeError as error:
            raise ValueError(
                f"{layer.label} cannot be cloned from its get_config: {error}; get_config must return the "
                "constructor's arguments"
            ) from error
        if not clone.built:
            clone._build_for(list(shapes))
    if layer.built:
        own, new = layer.get_weights(), clone.parameters
        if [w.shape for w in own] != [p.shape for p in new]:
            raise ValueError(f"{layer.label} has weights for another input shape than the check's")
        clone.set_weights(own)
    return clone


def _as_float64(value: Any) -> Any:
    """Replace the dtype in a (nested) configuration."""
    if isinstance(value, dict):
        return {
            key: "float64" if key == "dtype" and item == "float32" else _as_float64(item) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_as_float64(item) for item in value]
    return value


@contextmanager
def _float64() -> Iterator[None]:
    before = _config.floatx()
    _config.set_floatx("float64")
    try:
        yield
    finally:
        _config.set_floatx(before)
