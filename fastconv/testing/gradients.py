"""gradcheck: numerical derivatives, and how they are compared with backward's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..layers.base import Layer
from .problem import Problem, Target, clone_in_float64
from .report import GradcheckReport, TensorReport

_STEPS = (1e-4, 1e-5, 1e-6)  # tried in turn where a kink is near
_EXTENDED = 4000  # how many elements are looked at, to name one, when only the random directions disagree


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
        inputs: an array, or a list, to use in place of standard normal inputs of ``input_shape``. Integer arrays,
            such as an argmax, are passed on but not differentiated for.

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
        xs = [np.array(x) for x in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
        xs = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in xs]
    clone = clone_in_float64(layer_or_model, [(None, *x.shape[1:]) for x in xs], seed)
    for parameter in clone.trainable_weights:
        parameter.assign(parameter.value + 0.1 * rng.standard_normal(parameter.shape))
    problem = Problem(clone, xs, training, rng)
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


def _check(
    problem: Problem, target: Target, elements: int, rtol: float, atol: float, rng: np.random.Generator
) -> TensorReport:
    report = TensorReport(target.name, target.values.shape, problem=target.problem)
    report.nonzero = int(np.count_nonzero(target.gradient))
    size = target.values.size
    order = rng.permutation(size)
    sample = order[:elements]
    for index in sample:
        _compare(problem, target, report, int(index), rtol, atol)
    directions = [_direction_agrees(problem, target, rtol, atol, rng) for _ in range(2)] if size else []
    if False in directions and not report.excess > 1:
        for index in order[elements : elements + _EXTENDED]:
            _compare(problem, target, report, int(index), rtol, atol)
        if not report.excess > 1 and not report.problem:
            report.problem = "the derivative along a random direction differs, in an element that was not compared"
    if report.excess > 1 and not report.problem:
        report.problem = "backward disagrees with the numerical derivative"
    if target.problem and report.checked and not report.excess > 1 and target.problem.endswith("no gradient"):
        report.problem = ""  # nothing depends on it, so no gradient is right
    if report.skipped > report.checked and not report.problem:
        report.problem = "more elements are at kinks than could be compared: try other inputs or another seed"
    return report


def _compare(problem: Problem, target: Target, report: TensorReport, index: int, rtol: float, atol: float) -> None:
    direction = np.zeros(target.values.size)
    direction[index] = 1.0
    got = float(target.gradient.reshape(-1)[index])
    expected = _derivative(problem, target, direction.reshape(target.values.shape), rtol, atol)
    if expected is None:
        report.skipped += 1
        return
    report.checked += 1
    report.nonzero += expected != 0 and got == 0
    error = abs(got - expected)
    excess = error / (atol + rtol * max(abs(got), abs(expected)))
    if not excess <= report.excess:  # a NaN counts as the worst
        report.excess = math.inf if math.isnan(excess) else excess
        report.worst = tuple(int(i) for i in np.unravel_index(index, target.values.shape))
        report.expected, report.got, report.error = expected, got, error


def _direction_agrees(
    problem: Problem, target: Target, rtol: float, atol: float, rng: np.random.Generator
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


def _derivative(problem: Problem, target: Target, direction: np.ndarray, rtol: float, atol: float) -> float | None:
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
