"""The two records a symbolic call leaves behind: what went in (Node) and what comes out (Tensor).

Who keeps whom: a tensor its node and its layer, a node the tensors that went in, a layer the node of its one call, a
model all of them. The other ways are weak references. In a circle the weights would stay in memory after the last use
of a model, until Python's collector of circles happens to run.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

Shape = tuple[int | None, ...]


class Tensor:
    """An array that does not exist yet: an :func:`Input`, or an output of a layer called on one.

    Attributes:
        shape: with None for the batch and for sizes unknown until data arrives.
        dtype: ``"float32"``, ``"float64"``; ``"int32"`` for an argmax.
        node: the call that makes it.
        index: its position among that call's outputs.
    """

    __slots__ = ("__weakref__", "_layer", "dtype", "index", "node", "shape")

    def __init__(self, shape: Shape, dtype: str, node: Node, index: int) -> None:
        self.shape = shape
        self.dtype = dtype
        self.node = node
        self.index = index
        self._layer = node.layer  # kept alive for the node

    def __reduce__(self) -> tuple[Any, ...]:
        """A deep copy is the tensor that the copied node knows."""
        return _output_of, (self.node, self.index)

    def __repr__(self) -> str:
        return f"<Tensor shape={self.shape} dtype={self.dtype} from {self.node.layer.label}>"


class Node:
    """One call of a layer on tensors. A shared layer has several nodes.

    Args:
        layer: the :class:`Layer` that was called. It learns of the node from whoever makes it.
        inputs: tensors, in the order of ``layer.forward``'s arguments.
        shapes, dtypes: of the outputs.
        training: fixed for this call, or None for what the model is doing.
    """

    __slots__ = ("__weakref__", "_layer", "_made", "dtypes", "inputs", "shapes", "training")

    def __init__(
        self,
        layer: Any,
        inputs: Sequence[Tensor],
        shapes: Sequence[Shape],
        dtypes: Sequence[str],
        training: bool | None = None,
    ) -> None:
        self._layer = weakref.ref(layer)
        self.training = training
        self.inputs = tuple(inputs)
        self.shapes, self.dtypes = tuple(shapes), tuple(dtypes)
        self._made: dict[int, weakref.ref[Tensor]] = {}

    @property
    def layer(self) -> Any:
        """The :class:`Layer` that was called; alive as long as it, a tensor of the call, or a model with it is held."""
        layer = self._layer()
        if layer is None:
            raise ReferenceError("the layer of this call is gone: hold on to it, to its output or to a model")
        return layer

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Tensors, in the order of ``layer.forward``'s results: always the same ones, while anybody holds them."""
        return tuple(map(self._output, range(len(self.shapes))))

    def _output(self, index: int) -> Tensor:
        known = self._made.get(index)
        tensor = None if known is None else known()
        if tensor is None:
            tensor = Tensor(self.shapes[index], self.dtypes[index], self, index)
            self._made[index] = weakref.ref(tensor)
        return tensor

    def __reduce__(self) -> tuple[Any, ...]:
        """A deep copy is a call of the copied layer, which knows of it if this one's does."""
        arguments = (self.layer, self.inputs, self.shapes, self.dtypes, self.training)
        return _copy_of, (arguments, self in self.layer._nodes)


def _output_of(node: Node, index: int) -> Tensor:
    return node.outputs[index]


def _copy_of(arguments: tuple[Any, ...], known: bool) -> Node:
    node = Node(*arguments)
    if known:
        node.layer._add_node(node)
    return node
