"""The ONNX graph while it is written: nodes, constants, names, and the layout that each tensor has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from ..layers.node import Shape
from ..layers.parameter import Parameter

#: (N, H, W, C) -> (N, C, H, W), and back.
TO_CHANNELS_FIRST, TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]

_ELEMENT_TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int32": TensorProto.INT32}


def element_type(dtype: str) -> int:
    """ONNX's number for a dtype by its NumPy name."""
    return _ELEMENT_TYPES[dtype]


class Value:
    """A tensor of the model, and the names under which the ONNX graph has it.

    Attributes:
        last: its name with fastconv's axes, (N, H, W, C) or any other number of them, or None.
        first: its name as (N, C, H, W), or None; only tensors of four axes have it.
    """

    __slots__ = ("first", "last")

    def __init__(self, last: str | None = None, first: str | None = None) -> None:
        self.last = last
        self.first = first


class GraphWriter:
    """Nodes in order and the constants they read."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[tuple[np.ndarray, str]] = []
        self._known: dict[tuple[int, str], list[tuple[np.ndarray, str]]] = {}
        self._taken: set[str] = set()

    def unique(self, name: str) -> str:
        """``name``, or ``name_1``, ``name_2``, ... if it is taken."""
        found, number = name, 0
        while found in self._taken:
            number += 1
            found = f"{name}_{number}"
        self._taken.add(found)
        return found

    def emit(self, op: str, inputs: Sequence[str], scope: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node ``scope/op``; return the names of its outputs."""
        name = self.unique(f"{scope}/{op}")
        results = [name, *(self.unique(f"{name}:{i}") for i in range(1, outputs))]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(op, list(inputs), results, name=name, **attributes))
        return results

    def constant(self, array: np.ndarray, owner: Any, name: str) -> str:
        """Add a constant, or find the one that the same owner (a layer called twice) has added before."""
        key = id(owner), name.rpartition("/")[2]
        for known, label in self._known.setdefault(key, []):
            if known.dtype == array.dtype and np.array_equal(known, array):
                return label
        label = self.unique(name)
        self._known[key].append((array, label))
        self.constants.append((array, label))
        return label

    def fill(self, graph: GraphProto) -> None:
        """Write nodes and constants to ``graph``; one constant at a time, because networks are large."""
        graph.node.extend(self.nodes)
        for array, label in self.constants:
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), label))

    def channels_first(self, value: Value) -> str:
        """The name of ``value`` as (N, C, H, W); it is transposed once."""
        if value.first is None:
            value.first = self._transpose(value.last, "nchw", TO_CHANNELS_FIRST)
        return value.first

    def channels_last(self, value: Value) -> str:
        """The name of ``value`` with fastconv's axes; it is transposed once."""
        if value.last is None:
            value.last = self._transpose(value.first, "nhwc", TO_CHANNELS_LAST)
        return value.last

    def hand_through(self, name: str, new: str) -> None:
        """Let an output ``new`` of the graph be a copy of ``name``."""
        self.nodes.append(helper.make_node("Identity", [name], [new], name=self.unique(f"{new}/Identity")))

    def rename(self, old: str, new: str) -> None:
        """Give what a node computes another name, wherever it is read."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == old:
                        names[i] = new

    def _transpose(self, name: str | None, scope: str, permutation: Sequence[int]) -> str:
        assert name is not None, "a value has at least one layout"
        return self.emit("Transpose", [name], f"{name}/{scope}", perm=list(permutation))[0]


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer, which a translator turns into nodes.

    Attributes:
        writer: where the nodes go.
        layer: what is called.
        name: its path in the model.
        inputs: the values that it reads.
        input_shapes, output_shapes: fastconv's shapes; None for sizes that may vary.
        input_dtypes, output_dtypes: names of dtypes.
        training: whether the call is fixed to training mode.
    """

    writer: GraphWriter
    layer: Any
    name: str
    inputs: Sequence[Value]
    input_shapes: Sequence[Shape]
    output_shapes: Sequence[Shape]
    input_dtypes: Sequence[str]
    output_dtypes: Sequence[str]
    training: bool = False

    @property
    def rank(self) -> int:
        """Number of axes of the first input."""
        return len(self.input_shapes[0])

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width of the first input, an image."""
        _, height, width, _ = self.input_shapes[0]
        return height, width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the first input."""
        return np.dtype(self.input_dtypes[0])

    def emit(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        return self.writer.emit(op, inputs, self.name, **attributes)[0]

    def constant(self, array: Any, name: str, dtype: Any = None) -> str:
        """Add a constant under the layer's name; return its name."""
        return self.writer.constant(np.asarray(array, dtype), self.layer, f"{self.name}/{name}")

    def integers(self, values: Sequence[int], name: str) -> str:
        """Add a constant vector of int64: sizes, axes."""
        return self.constant(list(values), name, np.int64)

    def weight(self, parameter: Parameter, name: str, *axes: int) -> str:
        """Add a parameter, its axes permuted, as a constant."""
        value = parameter.value
        return self.constant(value.transpose(axes) if axes else value, name)

    def first(self, i: int = 0) -> str:
        """Input ``i`` as (N, C, H, W)."""
        return self.writer.channels_first(self.inputs[i])

    def last(self, i: int = 0) -> str:
        """Input ``i`` with fastconv's axes."""
        return self.writer.channels_last(self.inputs[i])

    def plane(self, x: str) -> str:
        """A vector (H, W) of int64, read from ``x`` (N, C, H, W) when the graph runs."""
        return self.part(self.emit("Shape", x), 2, 4)

    def part(self, vector: str, start: int, stop: int) -> str:
        """``vector[start:stop]``."""
        return self.emit(
            "Slice", vector, self.integers([start], f"start_{start}"), self.integers([stop], f"stop_{stop}")
        )

    @property
    def any_layout(self) -> tuple[list[str], bool]:
        """All inputs in one layout, the one that saves transposing, and whether that is (N, C, H, W)."""
        first = self.rank == 4 and any(value.first is not None for value in self.inputs)
        read = self.first if first else self.last
        return [read(i) for i in range(len(self.inputs))], first


def in_layout(name: str, first: bool) -> list[Value]:
    """The one result of a translator, as (N, C, H, W) or with fastconv's axes."""
    return [Value(first=name) if first else Value(last=name)]
