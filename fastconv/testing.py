"""Is a backward pass right? :func:`gradcheck` compares it with differences of the forward pass.

    >>> report = fastconv.testing.gradcheck(layers.Conv2D(4, 3), (7, 6, 3))
    >>> report.passed
    True
    >>> print(report)                # a line per input and parameter: worst element, expected, got

To grade: ``assert gradcheck(layer, shape), ...`` or ``gradcheck(layer, shape).raise_if_failed()``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import config as _config
from . import random as _random
from .layers.base import Layer
from .layers.parameter import Parameter
from .registry import custom_object_scope

__all__ = ["GradcheckReport", "TensorReport", "gradcheck"]

_STEPS = (1e-4, 1e-5, 1e-6)  # tried in turn where a kink is near
_EXTENDED = 4000  # how many elements are looked at, to name one, when only the random directions disagree


@dataclass
class TensorReport:
    """What the check found for one input or parameter.

    Attributes:
        name: ``"input"``, ``"input 1"``, ... or the parameter's path, e.g. ``"conv2d/kernel"``.
        shape: of the tensor.
        checked: number of elements compared.
        skipped: number of elements left out because a kink (of a ReLU, a max, ...) was too near.
        worst: index of the element that differs most, as a multiple of the tolerance; None if none was compared.
        expected: its numerical derivative.
        got: what backward returned for it.
        error: ``|got - expected|`` there.
        problem: why the check failed, or "".
    """

    name: str
    shape: tuple[int, ...]
    checked: int = 0
    skipped: int = 0
    worst: tuple[int, ...] | None = None
    expected: float = math.nan
    got: float = math.nan
    error: float = 0.0
    problem: str = ""
    _excess: float = field(default=-1.0, repr=False)

    @property
    def passed(self) -> bool:
        """Whether backward's gradient agrees."""
        return not self.problem

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        text = f"{'ok    ' if self.passed else 'WRONG '} {self.name} ({shape}): {self.checked} elements"
        if self.skipped:
            text += f", {self.skipped} skipped at kinks"
        if self.worst is not None:
            index = ", ".join(map(str, self.worst))
            text += f"; worst [{index}]: expected {self.expected:.9g}, got {self.got:.9g} (off by {self.error:.2g})"
        return f"{text}; {self.problem}" if self.problem else text


@dataclass
class GradcheckReport:
    """The result of :func:`gradcheck`: true if all gradients agree; prints as a table.

    Attributes:
        label: what was checked.
        tensors: a :class:`TensorReport` per input and trainable parameter.
    """

    label: str
    tensors: list[TensorReport]

    @property
    def passed(self) -> bool:
        """Whether every gradient agrees."""
        return all(tensor.passed for tensor in self.tensors)

    def __bool__(self) -> bool:
        return self.passed

    def __getitem__(self, name: str) -> TensorReport:
        """Return the report of one input or parameter by name."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(f"no {name!r}; there are: {', '.join(tensor.name for tensor in self.tensors)}")

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        return "\n".join([f"gradcheck of {self.label}: {verdict}", *(f"  {tensor}" for tensor in self.tensors)])

    def raise_if_failed(self) -> None:
        """Raise AssertionError with the table unless everything agrees."""
        if not self.passed:
            raise AssertionError(str(self))


def gradcheck(
    layer_or_model: Layer,
    input_shape: Any = None,
    *,
    batch_size: int = 2,
    training: bool = True,
    elements: int = 100,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    seed: int = 0,
    inputs: Any = None,
) -> GradcheckReport:
    """Compare a layer's or model's ``backward`` with numerical derivatives of its ``forward``.

    Works on a float64 clone made through ``get_config``, so the layer itself does not change; trainable parameters get
    a little noise, so that none sits at a special value such as 0. The loss is ``sum(dy * y)`` with a random ``dy``.
    For each input and trainable parameter a seeded sample of elements is moved by +-h and +-h/2; central differences
    are extrapolated to an error of order h**4. Where these disagree with each other a kink is within reach: smaller
    steps are tried, and if none helps, the element is skipped and counted. Then every tensor as a whole is moved along
    two random directions, which a wrong element outside the sample does not survive.

    Args:
        layer_or_model: built or not.
        input_shape: of one sample, as in ``Input``: ``(7, 6, 3)``; a list of them with several inputs. A built model
            knows its own.
        batch_size: number of samples.
        training: as for ``forward``. Random layers, such as dropout, draw the same mask in every run.
        elements: how many elements of each tensor to compare; all if it has no more.
        rtol, atol: an element passes if ``|got - expected| <= atol + rtol * max(|got|, |expected|)``.
        seed: of inputs, ``dy``, noise and sample.
        inputs: an array, or a list, to use in place of standard normal inputs of ``input_shape``.

    Returns:
        A report; ``report.passed``, or the report as a bool, is the verdict.

    Raises:
        ValueError: a forward pass that is not deterministic or gives NaN, or a layer that cannot be cloned.
        NotImplementedError: a layer whose ``get_config`` is missing.
    """
    rng = np.random.default_rng(seed)
    if inputs is None:
        xs = [rng.standard_normal((batch_size, *shape)) for shape in _sample_shapes(layer_or_model, input_shape)]
    else:
        xs = [np.array(x, np.float64) for x in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
    clone = _clone(layer_or_model, [(None, *x.shape[1:]) for x in xs], seed)
    for parameter in clone.trainable_weights:
        parameter.assign(parameter.value + 0.1 * rng.standard_normal(parameter.shape))
    problem = _Problem(clone, xs, training, rng)
    tensors = []
    for target in problem.targets():
        tensors.append(_check(problem, target, elements, rtol, atol, rng))
    return GradcheckReport(layer_or_model.label, tensors)


def _sample_shapes(layer: Layer, input_shape: Any) -> list[tuple[int, ...]]:
    """Return the shape of one sample of each input."""
    if input_shape is None:
        input_shape = getattr(layer, "input_shape", None)
        if input_shape is None:
            raise ValueError(f"{layer.label} does not know its input shape: pass input_shape, e.g. (7, 6, 3)")
    shapes = [tuple(s) for s in input_shape] if isinstance(input_shape, list) else [tuple(input_shape)]
    shapes = [shape[1:] if shape and shape[0] is None else shape for shape in shapes]
    for shape in shapes:
        if any(isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1 for size in shape):
            raise ValueError(f"input_shape must hold positive integers, the sizes of one sample, got {shape}")
    return shapes


@dataclass
class _Target:
    """A tensor to differentiate for: ``values`` can be written, ``gradient`` is what backward says."""

    name: str
    values: np.ndarray
    gradient: np.ndarray
    problem: str
    changed: Callable[[], None]


class _Problem:
    """The scalar function ``sum(dy * y)`` of a layer, and its gradients by backward."""

    def __init__(self, layer: Layer, xs: list[np.ndarray], training: bool, rng: np.random.Generator) -> None:
        self.layer, self.xs, self.training = layer, xs, training
        self._states = [(s, s.copy()) for _, x in layer.named_layers() if (s := x.random_state) is not None]
        # Moving statistics change in every training run; the function shall not.
        self._statistics = [(p, p.numpy()) for p in layer.parameters if not p.trainable]
        self.start = self.outputs()
        if any(y.dtype != np.float64 for y in self.start):
            raise ValueError(f"{layer.label}: forward gives {self.start[0].dtype} for float64 inputs and weights")
        if not all(np.isfinite(y).all() for y in self.start):
            raise ValueError(f"{layer.label}: the output of forward is not finite for the inputs of the check")
        if not all(np.array_equal(a, b) for a, b in zip(self.start, self.outputs(), strict=True)):
            raise ValueError(
                f"{layer.label}: forward gives another output when run again; a random layer keeps its state in "
                "add_random_state()"
            )
        self.dys = [rng.standard_normal(y.shape) for y in self.start]

    def outputs(self) -> list[np.ndarray]:
        """Run forward with the same random draws every time."""
        self._reset()
        y = self.layer.forward(*self.xs, training=self.training)[0]
        return list(y) if isinstance(y, (list, tuple)) else [y]

    def difference(self, plus: list[np.ndarray], minus: list[np.ndarray]) -> float:
        """Return the function's difference; subtracting first keeps outputs that did not change out of the sum."""
        return math.fsum(float(np.vdot(dy, a - b)) for dy, a, b in zip(self.dys, plus, minus, strict=True))

    def targets(self) -> Iterator[_Target]:
        """Run forward and backward once and yield what there is to check."""
        self._reset()
        for parameter in self.layer.parameters:
            parameter.zero_grad()
        for array in [*self.xs, *self.dys]:
            array.flags.writeable = False  # backward must not write to them
        y, cache = self.layer.forward(*self.xs, training=self.training)
        dy = type(y)(self.dys) if isinstance(y, (list, tuple)) else self.dys[0]
        dxs = self.layer.backward(dy, cache)
        for array in self.xs:
            array.flags.writeable = True
        several = len(self.xs) > 1
        for i, (x, dx) in enumerate(zip(self.xs, dxs if several else [dxs], strict=True)):
            gradient, problem = _as_gradient(dx, x.shape, "backward returned")
            yield _Target(f"input {i}" if several else "input", x, gradient, problem, lambda: None)
        found = [(path, p, p.grad) for path, p in self.layer.named_parameters() if p.trainable]
        for path, parameter, grad in found:
            gradient, problem = _as_gradient(grad, parameter.shape, "backward stored")
            yield _Target(path, parameter._storage, gradient, problem, _bump(parameter))

    def _reset(self) -> None:
        for state, value in self._states:
            state[...] = value
        for parameter, value in self._statistics:
            parameter.assign(value)


def _bump(parameter: Parameter) -> Callable[[], None]:
    def changed() -> None:
        parameter.version += 1

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


def _check(
    problem: _Problem, target: _Target, elements: int, rtol: float, atol: float, rng: np.random.Generator
) -> TensorReport:
    report = TensorReport(target.name, target.values.shape, problem=target.problem)
    size = target.values.size
    order = rng.permutation(size)
    sample = order[:elements]
    for index in sample:
        _compare(problem, target, report, int(index), rtol, atol)
    directions = [_direction_agrees(problem, target, rtol, atol, rng) for _ in range(2)] if size else []
    if False in directions and not report._excess > 1:
        for index in order[elements : elements + _EXTENDED]:
            _compare(problem, target, report, int(index), rtol, atol)
        if not report._excess > 1 and not report.problem:
            report.problem = "the derivative along a random direction differs, in an element that was not compared"
    if report._excess > 1 and not report.problem:
        report.problem = "backward disagrees with the numerical derivative"
    if target.problem and report.checked and not report._excess > 1 and target.problem.endswith("no gradient"):
        report.problem = ""  # nothing depends on it, so no gradient is right
    if size and not report.checked and not report.problem:
        report.problem = "every element is at a kink, so nothing could be compared: try other inputs or another seed"
    return report


def _compare(
    problem: _Problem, target: _Target, report: TensorReport, index: int, rtol: float, atol: float
) -> None:
    direction = np.zeros(target.values.size)
    direction[index] = 1.0
    got = float(target.gradient.reshape(-1)[index])
    expected = _derivative(problem, target, direction.reshape(target.values.shape), rtol, atol)
    if expected is None:
        report.skipped += 1
        return
    report.checked += 1
    error = abs(got - expected)
    excess = error / (atol + rtol * max(abs(got), abs(expected)))
    if not excess <= report._excess:  # a NaN counts as the worst
        report._excess = math.inf if math.isnan(excess) else excess
        report.worst = tuple(int(i) for i in np.unravel_index(index, target.values.shape))
        report.expected, report.got, report.error = expected, got, error


def _direction_agrees(
    problem: _Problem, target: _Target, rtol: float, atol: float, rng: np.random.Generator
) -> bool | None:
    """Compare along a random direction of length 1; None if kinks are in the way."""
    direction = rng.standard_normal(target.values.shape)
    direction /= np.linalg.norm(direction)
    got = float(np.vdot(target.gradient, direction))
    expected = _derivative(problem, target, direction, rtol, atol)
    if expected is None:
        return None
    # The sum may cancel, so its rounding is measured against its terms.
    scale = float(np.linalg.norm(target.gradient * direction))
    return abs(got - expected) <= atol + rtol * max(abs(got), abs(expected), scale)


def _derivative(
    problem: _Problem, target: _Target, direction: np.ndarray, rtol: float, atol: float
) -> float | None:
    """Return the derivative of the function along ``direction``, or None next to a kink.

    With f(+-h) and f(+-h/2): central differences D(h), D(h/2) of a smooth function agree up to order h**2, and the
    difference J(h) of its two one-sided slopes is proportional to h. A kink breaks the first rule if it lies off the
    centre and the second if it lies at the centre.
    """
    start = target.values.copy()
    central = problem.start
    for h in _STEPS:
        values: dict[float, list[np.ndarray]] = {}
        for step in (h, -h, h / 2, -h / 2):
            np.add(start, step * direction, out=target.values)
            target.changed()
            values[step] = problem.outputs()
        np.copyto(target.values, start)
        target.changed()
        slopes = []
        jumps = []
        for step in (h, h / 2):
            slopes.append(problem.difference(values[step], values[-step]) / (2 * step))
            right = problem.difference(values[step], central) / step
            left = problem.difference(central, values[-step]) / step
            jumps.append(right - left)
        derivative = (4 * slopes[1] - slopes[0]) / 3
        tolerance = 0.25 * (atol + rtol * abs(derivative))
        if abs(slopes[0] - slopes[1]) <= tolerance and abs(jumps[1] - jumps[0] / 2) <= tolerance:
            return derivative
    return None


def _clone(layer: Layer, shapes: Sequence[tuple[int | None, ...]], seed: int) -> Any:
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
