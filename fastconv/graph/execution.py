"""Running a graph: a flat list of steps, forwards and backwards, that holds on to nothing it does not need."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..layers.base import Layer
from ..layers.node import Node, Tensor
from ..layers.parameter import Parameter
from ..layers.protocol import accepts_need_dx, output_and_cache
from .fusion import Call, calls
from .graph import Graph

Array = np.ndarray


class Step(NamedTuple):
    """One call of a layer. Tensors are numbered slots; ``source`` and ``target`` are -1 where there are several."""

    layer: Layer
    source: int
    target: int
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    dead: tuple[int, ...]  # slots that nobody reads after this step
    infer: Callable[..., Any]
    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[..., Any]
    forward_takes_need_dx: bool
    backward_takes_need_dx: bool
    parameters: tuple[Parameter, ...]

    def any_source(self, flags: Sequence[bool]) -> bool:
        """Whether a flag is set for any input."""
        return flags[self.source] if self.source >= 0 else any(flags[i] for i in self.sources)


class Tape:
    """What one forward pass leaves for the backward pass: a cache per step, shapes, and which steps kept one."""

    __slots__ = ("caches", "kept", "shapes")

    def __init__(self, steps: int, kept: list[bool], slots: int) -> None:
        self.caches: list[Any] = [None] * steps
        self.kept = kept
        self.shapes: list[tuple[int, ...] | None] = [None] * slots


class Plan:
    """The steps of a graph, ready to run.

    Args:
        graph: what to run.
        linear_outputs: positions of outputs whose layer leaves out its final activation (``forward_linear``).
        fused: False runs every layer on its own (see :mod:`fastconv.graph.fusion`), with the same results.
    """

    def __init__(self, graph: Graph, linear_outputs: Iterable[int] = (), fused: bool = True) -> None:
        self.slots: dict[Tensor, int] = {}
        for tensor in (*graph.inputs, *(t for node in graph.nodes for t in node.outputs)):
            self.slots.setdefault(tensor, len(self.slots))
        self.input_slots = [self.slots[t] for t in graph.inputs]
        self.output_slots = [self.slots[t] for t in graph.outputs]
        linear = {graph.outputs[i].node for i in linear_outputs}
        order = calls(graph, linear, fused)
        last_use = self._last_uses(order)
        given = set(graph.inputs)
        self.steps = [self._step(call, position, last_use, given, linear) for position, call in enumerate(order)]
        self._inference = [(s.layer, s.source, s.target, s.sources, s.targets, s.dead, s.infer) for s in self.steps]
        self._parameters = tuple(p for step in self.steps for p in step.parameters)
        self._flags: dict[bool, tuple[list[bool], list[bool], list[bool]]] = {}

    def _step(
        self, call: Call, position: int, last_use: dict[int, int], given: Collection[Tensor], linear: Collection[Node]
    ) -> Step:
        node, outputs, infer, forward, backward = call
        layer = node.layer
        sources = tuple(self.slots[t] for t in node.inputs)
        targets = tuple(-1 if t in given else self.slots[t] for t in outputs)
        candidates = dict.fromkeys((*sources, *(t for t in targets if t >= 0)))
        if node in linear:
            forward, backward = layer.forward_linear, layer.backward_linear  # type: ignore[attr-defined]
            infer = _output_of(forward)
        if not type(layer).__module__.startswith("fastconv."):
            infer, forward, backward = _guarded(infer), _guarded(forward), _guarded(backward)
        if node.training is not None:
            infer, forward = _with_training(infer, node.training), _with_training(forward, node.training)
        return Step(
            layer=layer,
            source=sources[0] if len(sources) == 1 else -1,
            target=targets[0] if len(targets) == 1 else -1,
            sources=sources,
            targets=targets,
            dead=tuple(slot for slot in candidates if last_use.get(slot, position) <= position),
            infer=infer,
            forward=forward,
            backward=backward,
            forward_takes_need_dx=accepts_need_dx(forward),
            backward_takes_need_dx=accepts_need_dx(backward),
            parameters=tuple(layer.parameters),
        )

    def _last_uses(self, order: Sequence[Call]) -> dict[int, int]:
        last: dict[int, int] = {}
        for position, call in enumerate(order):
            last.update((self.slots[t], position) for t in call.node.inputs)
        last.update((slot, len(order)) for slot in self.output_slots)
        return last

    def infer(self, inputs: Sequence[Array], training: bool) -> list[Array]:
        """Return the outputs; an activation lives until its last reader has run."""
        values = self._values(inputs)
        layer: Layer | None = None
        try:
            for layer, source, target, sources, targets, dead, infer in self._inference:  # noqa: B007 (for _note)
                if source >= 0:
                    y = infer(values[source], training=training)
                else:
                    y = infer(*[values[i] for i in sources], training=training)
                if target >= 0:
                    values[target] = y
                else:
                    _store(values, targets, y)
                for i in dead:
                    values[i] = None
        except Exception as error:
            _note(error, layer)
            raise
        return [values[i] for i in self.output_slots]

    def forward(self, inputs: Sequence[Array], training: bool, need_dx: bool) -> tuple[list[Array], Tape]:
        """Return the outputs and the tape for :meth:`backward`.

        Steps before the first trainable weight keep no cache unless ``need_dx``.
        """
        values = self._values(inputs)
        active, wanted = self._active(need_dx)
        tape = Tape(len(self.steps), active.copy(), len(values))
        shapes = tape.shapes
        for i, x in zip(self.input_slots, inputs, strict=True):
            shapes[i] = x.shape
        step: Step | None = None
        try:
            for position, step in enumerate(self.steps):
                arguments = [values[i] for i in step.sources]
                if not active[position]:
                    y = step.infer(*arguments, training=training)
                elif step.forward_takes_need_dx:
                    need = step.any_source(wanted)
                    result = step.forward(*arguments, training=training, need_dx=need)
                    y, tape.caches[position] = output_and_cache(step.layer, result)
                else:
                    result = step.forward(*arguments, training=training)
                    y, tape.caches[position] = output_and_cache(step.layer, result)
                if step.target >= 0:
                    values[step.target] = y
                    shapes[step.target] = y.shape
                else:
                    _store(values, step.targets, y)
                    _store(shapes, step.targets, [part.shape for part in y])
                for i in step.dead:
                    values[i] = None
        except Exception as error:
            _note(error, step and step.layer)
            raise
        return [values[i] for i in self.output_slots], tape

    def backward(
        self, gradients: Sequence[Array | None], tape: Tape, need_dx: bool, retain_caches: bool
    ) -> list[Array | None]:
        """Hand weight gradients to the parameters; return the gradient for each input (None where none flows)."""
        flow = _Flow(tape.shapes)
        for slot, dy in zip(self.output_slots, gradients, strict=True):
            if dy is not None:
                flow.add(slot, dy)
        active, wanted = self._active(need_dx)
        step: Step | None = None
        try:
            for position in range(len(self.steps) - 1, -1, -1):
                if not active[position]:
                    continue
                step = self.steps[position]
                dys = [flow.take(i) for i in step.targets]
                cache = tape.caches[position]
                if not retain_caches:
                    tape.caches[position] = None
                if all(dy is None for dy in dys):
                    continue
                if not tape.kept[position]:
                    raise RuntimeError("the forward pass kept no cache here, or an earlier backward pass used it up")
                if not retain_caches:
                    tape.kept[position] = False
                arguments = (dys[0] if step.target >= 0 else tuple(dys), cache)
                if step.backward_takes_need_dx:
                    dx = step.backward(*arguments, need_dx=step.any_source(wanted))
                else:
                    dx = step.backward(*arguments)
                if dx is None and step.any_source(wanted) and all(dy is not None for dy in dys):
                    raise TypeError(
                        f"{step.layer.label}: backward returned None, but layers below it learn from the gradient for "
                        "its input: return dx"
                    )
                if dx is None:
                    continue
                for i, part in zip(step.sources, (dx,) if step.source >= 0 else dx, strict=True):
                    if part is not None and wanted[i]:
                        flow.add(i, part)
        except Exception as error:
            _note(error, step and step.layer, " (backward)")
            raise
        return [flow.take(i) for i in self.input_slots]

    def trace(self, inputs: Sequence[Array], training: bool) -> Iterable[tuple[Layer, Any]]:
        """Yield (layer, output) step by step."""
        values = self._values(inputs)
        for step in self.steps:
            y = step.infer(*[values[i] for i in step.sources], training=training)
            _store(values, step.targets, (y,) if step.target >= 0 else y)
            for i in step.dead:
                values[i] = None
            yield step.layer, y

    def _values(self, inputs: Sequence[Array]) -> list[Any]:
        values: list[Any] = [None] * len(self.slots)
        for slot, x in zip(self.input_slots, inputs, strict=True):
            values[slot] = x
        return values

    def _active(self, need_dx: bool) -> tuple[list[bool], list[bool]]:
        """Which steps take part in the backward pass, and for which slots a gradient is wanted."""
        trainable = [p.trainable for p in self._parameters]
        known = self._flags.get(need_dx)
        if known is not None and known[0] == trainable:
            return known[1], known[2]
        wanted = [False] * len(self.slots)
        for i in self.input_slots:
            wanted[i] = need_dx
        active = []
        for step in self.steps:
            needed = step.any_source(wanted) or any(p.trainable for p in step.parameters)
            active.append(needed)
            if needed:
                for i in step.targets:
                    if i >= 0:
                        wanted[i] = True
        self._flags[need_dx] = trainable, active, wanted
        return active, wanted


class _Flow:
    """Gradients on their way back. An array from a layer is never written to: sums go to arrays of our own."""

    __slots__ = ("gradients", "owned", "shapes")

    def __init__(self, shapes: Sequence[tuple[int, ...] | None]) -> None:
        self.gradients: list[Array | None] = [None] * len(shapes)
        self.owned = [False] * len(shapes)
        self.shapes = shapes

    def add(self, slot: int, gradient: Array) -> None:
        if gradient.shape != self.shapes[slot]:
            raise ValueError(f"gradient of shape {gradient.shape} for an array of shape {self.shapes[slot]}")
        present = self.gradients[slot]
        if present is None:
            self.gradients[slot] = gradient
        elif self.owned[slot]:
            np.add(present, gradient, out=present)
        else:
            self.gradients[slot] = ops.add(present, gradient)
            self.owned[slot] = True

    def take(self, slot: int) -> Array | None:
        if slot < 0:
            return None
        gradient, self.gradients[slot] = self.gradients[slot], None
        return gradient


def _output_of(forward: Callable[..., tuple[Any, Any]]) -> Callable[..., Any]:
    """``forward`` without its cache."""

    def infer(*inputs: Any, training: bool = False) -> Any:
        y, _ = forward(*inputs, training=training)
        return y

    return infer


def _store(values: list[Any], targets: Sequence[int], outputs: Sequence[Any]) -> None:
    """Put outputs into their slots, except those that the model takes as inputs (-1)."""
    for i, y in zip(targets, outputs, strict=True):
        if i >= 0:
            values[i] = y


def _with_training(function: Callable[..., Any], training: bool) -> Callable[..., Any]:
    """``function`` with ``training`` fixed, whatever it is called with."""

    @functools.wraps(function)
    def fixed(*inputs: Array, **options: Any) -> Any:
        return function(*inputs, **{**options, "training": training})

    return fixed


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A user's method with its arrays made read-only: writing into them would change what other layers keep."""

    @functools.wraps(function)
    def guarded(*arrays: Any, **options: Any) -> Any:
        return function(*[_read_only(a) for a in arrays], **options)

    return guarded


def _read_only(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    view = value.view()
    view.flags.writeable = False
    return view


def _note(error: Exception, layer: Layer | None, where: str = "") -> None:
    """Say in which layer an error of an op arose; the error itself stays what it is."""
    if layer is not None:
        error.add_note(f"in {layer.label}{where}")
