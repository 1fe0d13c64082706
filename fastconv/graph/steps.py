"""One step of a plan: a call of a layer, its tensors numbered, its methods ready to be called."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..layers.base import Layer
from ..layers.node import Node, Tensor
from ..layers.parameter import Parameter
from ..layers.protocol import accepts_need_dx
from .fusion import Call


class Step(NamedTuple):
    """One call of a layer. Tensors are numbered slots; ``source`` and ``target`` are -1 where there are several."""

    position: int
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


def make_step(
    position: int,
    call: Call,
    slots: Mapping[Tensor, int],
    given: Collection[Tensor],
    linear: Collection[Node],
    dead: Sequence[int],
) -> Step:
    """Return the step of a call.

    Args:
        position: among the plan's steps.
        call: what to run.
        slots: the number of each tensor.
        given: the graph's inputs, which no step may replace.
        linear: nodes that leave out their final activation.
        dead: slots that nobody reads afterwards.
    """
    node, outputs, infer, forward, backward = call
    layer = node.layer
    sources = tuple(slots[t] for t in node.inputs)
    targets = tuple(-1 if t in given else slots[t] for t in outputs)
    if node in linear:
        forward, backward = layer.forward_linear, layer.backward_linear
        infer = _output_of(forward)
    if not type(layer).__module__.startswith("fastconv."):
        infer, forward, backward = _guarded(infer), _guarded(forward), _guarded(backward)
    if node.training is not None:
        infer, forward = _with_training(infer, node.training), _with_training(forward, node.training)
    return Step(
        position=position,
        layer=layer,
        source=sources[0] if len(sources) == 1 else -1,
        target=targets[0] if len(targets) == 1 else -1,
        sources=sources,
        targets=targets,
        dead=tuple(dead),
        infer=infer,
        forward=forward,
        backward=backward,
        forward_takes_need_dx=accepts_need_dx(forward),
        backward_takes_need_dx=accepts_need_dx(backward),
        parameters=tuple(layer.parameters),
    )


def _output_of(forward: Callable[..., tuple[Any, Any]]) -> Callable[..., Any]:
    """``forward`` without its cache."""

    def infer(*inputs: Any, training: bool = False) -> Any:
        y, _ = forward(*inputs, training=training)
        return y

    return infer


def _with_training(function: Callable[..., Any], training: bool) -> Callable[..., Any]:
    """``function`` with ``training`` fixed, whatever it is called with."""

    @functools.wraps(function)
    def fixed(*inputs: Any, **options: Any) -> Any:
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
