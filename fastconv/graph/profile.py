"""Time, speed and memory of every layer of a graph, forward and backward, measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import config
from ..checks import integer
from .costs import size_text
from .execution import Observer, Plan
from .flat import flat_graph
from .fusion import calls
from .graph import Graph
from .layer import GraphLayer
from .steps import Step


@dataclass(frozen=True)
class Row:
    """One call of a layer; or, with the name ``"total"``, the sum of all.

    Attributes:
        name: of the layer, ``"inner/conv2d"`` in a nested model; a rectifier that runs in the same step as the batch
            normalisation before it is named with it, ``"bn + relu"``.
        kind: the layer's class.
        output_shape: of the batch.
        forward, backward: seconds, the medians of the runs.
        multiply_adds: of the forward pass over the batch.
        backward_multiply_adds: of the gradients that were computed: once for the input, once for the weights.
        output_bytes, parameter_bytes: of the layer's output for the batch, and of its weights (which count in the
            first call of a shared layer).
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    forward: float
    backward: float
    multiply_adds: int
    backward_multiply_adds: int
    output_bytes: int
    parameter_bytes: int

    @property
    def forward_rate(self) -> float | None:
        """FLOP a second, two per multiply-add; None for a layer without any."""
        return _rate(self.multiply_adds, self.forward)

    @property
    def backward_rate(self) -> float | None:
        """FLOP a second of the backward pass; None for a layer without multiply-adds or gradient."""
        return _rate(self.backward_multiply_adds, self.backward)


@dataclass(frozen=True)
class Profile:
    """A table of measurements: print it, or read :attr:`rows`.

    Attributes:
        model: name of the model.
        input_shapes: of the batch that was run.
        rows: a :class:`Row` for every call of a layer, in order.
        repeats: runs that the medians are of.
        training: whether it ran as in training.
        threads, isa: how many threads and which instruction set the kernels could use.
    """

    model: str
    input_shapes: tuple[tuple[int, ...], ...]
    rows: tuple[Row, ...]
    repeats: int
    training: bool
    threads: int
    isa: str

    @property
    def total(self) -> Row:
        """The sum of the rows."""
        sums: dict[str, Any] = {
            field: sum(getattr(row, field) for row in self.rows)
            for field in (
                *("forward", "backward", "multiply_adds", "backward_multiply_adds"),
                *("output_bytes", "parameter_bytes"),
            )
        }
        return Row(name="total", kind="", output_shape=(), **sums)

    @property
    def title(self) -> str:
        """What was measured, and how."""
        shapes = ", ".join(" x ".join(map(str, shape)) for shape in self.input_shapes)
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        runs = f"median of {self.repeats} runs" if self.repeats > 1 else "one run"
        mode = "training" if self.training else "inference"
        return f'"{self.model}", {mode}, input {shapes}, {runs}, {threads}, {self.isa}'

    def __str__(self) -> str:
        header = ["Layer (type)", "Output shape", "Forward ms", "GFLOP/s", "Backward ms", "GFLOP/s", "Output"]
        header.append("Parameters")
        rows = [_cells(row) for row in self.rows]
        total = _cells(self.total)
        widths = [max(len(cells[i]) for cells in (header, *rows, total)) for i in range(len(header))]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        body = [_aligned(cells, widths) for cells in rows]
        return "\n".join(
            [f"Profile of {self.title}", _aligned(header, widths), rule, *body, rule, _aligned(total, widths)]
        )


def profile(model: GraphLayer, x: Any, repeats: int = 5, training: bool = False) -> Profile:
    """Measure every layer of a model; see :meth:`Model.profile`, which calls this."""
    integer(repeats, "repeats")
    inputs = model._checked([x] if not isinstance(x, list | tuple) else x)
    if not all(len(array) for array in inputs):
        raise ValueError(f"there are no samples in arrays of shape {', '.join(str(a.shape) for a in inputs)}")
    graph = flat_graph(model, [array.shape[1:] for array in inputs])
    plan = Plan(graph)
    run = _Run(plan, inputs, training)
    with _unchanged(model):
        # Training and inference apart: inference keeps transformed weights from run to run, training drops them. The
        # first run of each, which finds no memory ready, does not count.
        inference = [run.infer() for _ in range(repeats + 1)][1:] if not training else []
        times = [run.train() for _ in range(repeats + 1)][1:]
    forward = _medians([seconds for seconds, _ in times] if training else inference)
    backward = _medians([seconds for _, seconds in times])
    return Profile(
        model=model.name,
        input_shapes=tuple(array.shape for array in inputs),
        rows=tuple(_rows(graph, run, forward, backward)),
        repeats=repeats,
        training=training,
        threads=config.get_num_threads(),
        isa=config.isa(),
    )


class _Run:
    """Runs a plan with a clock at every step.

    The backward pass starts from random gradients of the outputs, and goes, as in training, down to the weights only.
    """

    def __init__(self, plan: Plan, inputs: Sequence[np.ndarray], training: bool) -> None:
        self.plan, self.inputs, self.training = plan, inputs, training
        _, _, self.needs = plan.active(need_dx=False)
        self.shapes: list[tuple[int, ...]] = [()] * len(plan.slots)
        self.sizes: list[int] = [0] * len(plan.slots)
        for slot, x in zip(plan.input_slots, inputs, strict=True):
            self.shapes[slot], self.sizes[slot] = x.shape, x.nbytes
        self.rng = np.random.default_rng(0)

    def infer(self) -> list[float]:
        """Return seconds of every step of a pass that keeps nothing."""
        seconds = [0.0] * len(self.plan.steps)
        self.plan.infer(self.inputs, False, self._forward_clock(seconds))
        return seconds

    def train(self) -> tuple[list[float], list[float]]:
        """Return seconds of every step of a forward pass with caches, and of the backward pass after it."""
        forward, backward = [0.0] * len(self.plan.steps), [0.0] * len(self.plan.steps)
        clock = self._forward_clock(forward)
        outputs, tape = self.plan.forward(self.inputs, self.training, need_dx=False, call=clock)
        gradients = [self._random_like(y) if y.dtype.kind == "f" else None for y in outputs]
        del outputs
        self.plan.backward(gradients, tape, need_dx=False, retain_caches=False, call=_clock(backward))
        return forward, backward

    def _random_like(self, y: np.ndarray) -> np.ndarray:
        return self.rng.standard_normal(y.shape).astype(y.dtype)

    def _forward_clock(self, seconds: list[float]) -> Observer:
        """A clock that also takes down the shapes and sizes of what the steps put out."""
        timed = _clock(seconds)

        def call(step: Step, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
            result = timed(step, function, *arguments, **options)
            y = result[0] if function is step.forward else result
            for slot, array in zip(step.targets, (y,) if step.target >= 0 else y, strict=True):
                if slot >= 0:
                    self.shapes[slot], self.sizes[slot] = array.shape, array.nbytes
            return result

        return call

    def multiply_adds(self, step: Step) -> int:
        """Of a step's forward pass over the batch."""
        sources = [(None, *self.shapes[i][1:]) for i in step.sources]
        targets = [(None, *self.shapes[i][1:]) for i in step.targets if i >= 0]
        one = [shapes[0] if len(shapes) == 1 else shapes for shapes in (sources, targets)]
        return step.layer.multiply_adds(*one) * len(self.inputs[0])


def _clock(seconds: list[float]) -> Observer:
    """An observer of a pass that takes down how long each step takes."""

    def call(step: Step, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        result = function(*arguments, **options)
        seconds[step.position] = time.perf_counter() - started
        return result

    return call


def _rows(graph: Graph, run: _Run, forward: Sequence[float], backward: Sequence[float]) -> Iterator[Row]:
    counted: set[int] = set()
    for i, (step, name) in enumerate(zip(run.plan.steps, _step_names(graph), strict=True)):
        slots = [slot for slot in step.targets if slot >= 0]
        work = run.multiply_adds(step)
        own = [p for p in step.parameters if id(p) not in counted]
        counted.update(map(id, own))
        gradients = run.needs[i] + any(p.trainable for p in step.parameters)
        yield Row(
            name=name,
            kind=type(step.layer).__name__,
            output_shape=run.shapes[slots[0]] if slots else (),
            forward=forward[i],
            backward=backward[i],
            multiply_adds=work,
            backward_multiply_adds=work * gradients if backward[i] else 0,
            output_bytes=sum(run.sizes[slot] for slot in slots),
            parameter_bytes=sum(p.value.nbytes for p in own),
        )


def _step_names(graph: Graph) -> Iterator[str]:
    """The names of a plan's steps: two layers that run as one step are named both."""
    for call in calls(graph, (), fused=True):
        first, last = call.node, call.outputs[0].node
        yield graph.names[first.layer] + (f" + {graph.names[last.layer]}" if last is not first else "")


@contextmanager
def _unchanged(model: GraphLayer) -> Iterator[None]:
    """Within, layers compute gradients, move averages and draw masks; afterwards all of it is as it was before."""
    parameters = model.parameters
    gradients = [(p.grad, p._owns_grad) for p in parameters]
    state = [(p, p.numpy()) for p in parameters if not p.trainable]
    counters = [(layer.random_state, layer.random_state.copy()) for layer in _random_layers(model)]
    for parameter in parameters:
        parameter.zero_grad()
    try:
        yield
    finally:
        for parameter, (gradient, owned) in zip(parameters, gradients, strict=True):
            parameter.grad, parameter._owns_grad = gradient, owned
        for parameter, value in state:
            if not np.array_equal(parameter.value, value, equal_nan=True):
                parameter.assign(value)
        for counter, before in counters:
            counter[...] = before


def _random_layers(model: GraphLayer) -> list[Any]:
    unique = {id(layer): layer for _, layer in model.named_layers() if layer.random_state is not None}
    return list(unique.values())


def _medians(runs: Sequence[Sequence[float]]) -> list[float]:
    """Of each step."""
    return [statistics.median(seconds) for seconds in zip(*runs, strict=True)]


def _rate(multiply_adds: int, seconds: float) -> float | None:
    return 2 * multiply_adds / seconds if multiply_adds and seconds > 0 else None


def _cells(row: Row) -> list[str]:
    return [
        f"{row.name} ({row.kind})" if row.kind else row.name,
        str(row.output_shape) if row.output_shape else "",
        f"{1e3 * row.forward:.3f}",
        _gflops(row.forward_rate),
        f"{1e3 * row.backward:.3f}" if row.backward else "-",
        _gflops(row.backward_rate),
        size_text(row.output_bytes),
        size_text(row.parameter_bytes),
    ]


def _gflops(rate: float | None) -> str:
    return "-" if rate is None else f"{rate / 1e9:.1f}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Words to the left, numbers to the right."""
    parts = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
    return "  ".join(parts).rstrip()
