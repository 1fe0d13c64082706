"""Running a graph: a flat list of steps, forwards and backwards, that holds on to nothing it does not need.

There is one loop each way, and a plain one for :meth:`Plan.trace`, whose reader may stop at any step. Whoever wants to
see every call passes an observer: ``call(step, function, *arguments, **options)`` is called in place of
``function(*arguments, **options)`` and returns what it returns.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..layers.base import Layer
from ..layers.node import Tensor
from ..layers.protocol import output_and_cache
from .fusion import Call, calls
from .graph import Graph
from .steps import Step, make_step

Array = np.ndarray
Observer = Callable[..., Any]


class Tape:
    """What one forward pass leaves for the backward pass: a cache per step, shapes, and which steps kept one."""

    __slots__ = ("caches", "kept", "needs", "shapes")

    def __init__(self, kept: list[bool], needs: list[bool], slots: int) -> None:
        self.caches: list[Any] = [None] * len(kept)
        self.kept = kept
        self.needs = needs  # whether a step's inputs want a gradient
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
        given = set(graph.inputs)
        dead = self._last_uses(order)
        self.steps = [make_step(i, call, self.slots, given, linear, dead[i]) for i, call in enumerate(order)]
        self._rows = [(s, s.source, s.target, s.dead, s.infer) for s in self.steps]  # looking them up takes time
        self._parameters = tuple(p for step in self.steps for p in step.parameters)
        self._flags: dict[bool, tuple[list[bool], list[bool], list[bool], list[bool]]] = {}

    def _last_uses(self, order: Sequence[Call]) -> list[list[int]]:
        """Return, for each call, the slots that nobody reads after it."""
        last: dict[int, int] = {}
        for position, call in enumerate(order):
            last.update((self.slots[t], position) for t in (*call.outputs, *call.node.inputs))
        dead: list[list[int]] = [[] for _ in order]
        for slot, position in last.items():
            if slot not in self.output_slots:
                dead[position].append(slot)
        return dead

    def infer(self, inputs: Sequence[Array], training: bool, call: Observer | None = None) -> list[Array]:
        """Return the outputs; an activation lives until its last reader has run."""
        values = self._values(inputs)
        self._run(values, training, None, call)
        return [values[i] for i in self.output_slots]

    def trace(self, inputs: Sequence[Array], training: bool) -> Iterator[tuple[Layer, Any]]:
        """Yield (layer, output) step by step."""
        values = self._values(inputs)
        for step in self.steps:
            y = step.infer(*[values[i] for i in step.sources], training=training)
            _store(values, step.targets, (y,) if step.target >= 0 else y)
            for i in step.dead:
                values[i] = None
            yield step.layer, y

    def forward(
        self, inputs: Sequence[Array], training: bool, need_dx: bool, call: Observer | None = None
    ) -> tuple[list[Array], Tape]:
        """Return the outputs and the tape for :meth:`backward`.

        Steps before the first trainable weight keep no cache unless ``need_dx``.
        """
        values = self._values(inputs)
        active, _, needs = self.active(need_dx)
        tape = Tape(active.copy(), needs, len(values))
        for i, x in zip(self.input_slots, inputs, strict=True):
            tape.shapes[i] = x.shape
        self._run(values, training, tape, call)
        return [values[i] for i in self.output_slots], tape

    def _run(self, values: list[Any], training: bool, tape: Tape | None, call: Observer | None) -> None:
        """Run the steps on what stands in their slots."""
        rows = self._rows
        if tape is not None or call is not None:
            rows = [(*row[:-1], functools.partial(self._record, row[0], tape, call)) for row in rows]
        step: Step | None = None
        try:
            for step, source, target, dead, function in rows:
                if source >= 0:
                    y = function(values[source], training=training)
                else:
                    y = function(*[values[i] for i in step.sources], training=training)
                if target >= 0:
                    values[target] = y
                else:
                    _store(values, step.targets, y)
                for i in dead:
                    values[i] = None
        except Exception as error:
            _note(error, step and step.layer)
            raise

    def _record(self, step: Step, tape: Tape | None, call: Observer | None, *arguments: Any, training: bool) -> Any:
        """Run one step as an observer or a tape wants it; its cache and its output's shape go to the tape."""
        keep = tape is not None and tape.kept[step.position]
        function: Callable[..., Any] = step.forward if keep else step.infer
        options = {"need_dx": tape.needs[step.position]} if keep and tape and step.forward_takes_need_dx else {}
        y: Any
        if call is None:
            y = function(*arguments, training=training, **options)
        else:
            y = call(step, function, *arguments, training=training, **options)
        if tape is not None:
            if keep:
                y, tape.caches[step.position] = output_and_cache(step.layer, y)
            _store(tape.shapes, step.targets, [y.shape] if step.target >= 0 else [part.shape for part in y])
        return y

    def backward(
        self,
        gradients: Sequence[Array | None],
        tape: Tape,
        need_dx: bool,
        retain_caches: bool,
        call: Observer | None = None,
    ) -> list[Array | None]:
        """Hand weight gradients to the parameters; return the gradient for each input (None where none flows)."""
        flow = _Flow(tape.shapes)
        for slot, dy in zip(self.output_slots, gradients, strict=True):
            if dy is not None:
                flow.add(slot, dy)
        active, wanted, needs = self.active(need_dx)
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
                upstream = dys[0] if step.target >= 0 else tuple(dys)
                options = {"need_dx": needs[position]} if step.backward_takes_need_dx else {}
                if call is None:
                    dx = step.backward(upstream, cache, **options)
                else:
                    dx = call(step, step.backward, upstream, cache, **options)
                if dx is None:
                    if needs[position] and all(dy is not None for dy in dys):
                        raise TypeError(
                            f"{step.layer.label}: backward returned None, but layers below it learn from the gradient "
                            "for its input: return dx"
                        )
                    continue
                for i, part in zip(step.sources, (dx,) if step.source >= 0 else dx, strict=True):
                    if part is not None and wanted[i]:
                        flow.add(i, part)
        except Exception as error:
            _note(error, step and step.layer, " (backward)")
            raise
        return [flow.take(i) for i in self.input_slots]

    def _values(self, inputs: Sequence[Array]) -> list[Any]:
        values: list[Any] = [None] * len(self.slots)
        for slot, x in zip(self.input_slots, inputs, strict=True):
            values[slot] = x
        return values

    def active(self, need_dx: bool) -> tuple[list[bool], list[bool], list[bool]]:
        """Return which steps take part in the backward pass, for which slots a gradient is wanted, and for which steps
        that is so of an input."""
        trainable = [p.trainable for p in self._parameters]
        known = self._flags.get(need_dx)
        if known is not None and known[0] == trainable:
            return known[1:]
        wanted = [False] * len(self.slots)
        for i in self.input_slots:
            wanted[i] = need_dx
        active, needs = [], []
        for step in self.steps:
            needs.append(step.any_source(wanted))
            active.append(needs[-1] or any(p.trainable for p in step.parameters))
            if active[-1]:
                for i in step.targets:
                    if i >= 0:
                        wanted[i] = True
        self._flags[need_dx] = trainable, active, wanted, needs
        return active, wanted, needs


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


def _store(values: list[Any], targets: Sequence[int], outputs: Sequence[Any]) -> None:
    """Put outputs into their slots, except those that the model takes as inputs (-1)."""
    for i, y in zip(targets, outputs, strict=True):
        if i >= 0:
            values[i] = y


def _note(error: Exception, layer: Layer | None, where: str = "") -> None:
    """Say in which layer an error of an op arose; the error itself stays what it is."""
    if layer is not None:
        error.add_note(f"in {layer.label}{where}")
