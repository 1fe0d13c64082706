"""The two records a symbolic call leaves behind: what went in (Node) and what comes out (Tensor)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Layer

Shape = tuple[int | None, ...]


class Tensor:
    """An array that does not exist yet: an :func:`Input`, or an output of a layer called on one.

    Attributes:
        shape: with None for the batch and for sizes unknown until data arrives.
        dtype: ``"float32"``, ``"float64"``; ``"int32"`` for an argmax.
        node: the call that makes it.
        index: its position among that call's outputs.
    """

    __slots__ = ("dtype", "index", "node", "shape")

    def __init__(self, shape: Shape, dtype: str, node: Node, index: int) -> None:
        self.shape = shape
        self.dtype = dtype
        self.node = node
        self.index = index

    def __repr__(self) -> str:
        return f"<Tensor shape={self.shape} dtype={self.dtype} from {self.node.layer.label}>"


class Node:
    """One call of a layer on tensors. A shared layer has several nodes.

    Attributes:
        layer: what was called.
        inputs, outputs: tensors, in the order of ``layer.forward``'s arguments and results.
        training: fixed for this call, or None for what the model is doing.
    """

    __slots__ = ("inputs", "layer", "outputs", "training")

    def __init__(
        self,
        layer: Layer,
        inputs: Sequence[Tensor],
        shapes: Sequence[Shape],
        dtypes: Sequence[str],
        training: bool | None = None,
    ) -> None:
        self.layer = layer
        self.training = training
        self.inputs = tuple(inputs)
        self.outputs = tuple(Tensor(s, d, self, i) for i, (s, d) in enumerate(zip(shapes, dtypes, strict=True)))
