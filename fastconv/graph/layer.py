"""A graph of layers that is itself a layer: it runs forwards and backwards, and knows shapes, names and costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..layers.base import Layer
from ..layers.node import Shape, Tensor
from . import architecture, costs
from .execution import Plan, Tape
from .graph import Graph

NO_OUTPUTS: frozenset[int] = frozenset()


class GraphLayer(Layer):
    """The layers between ``inputs`` and ``outputs`` as one layer. :class:`fastconv.Model` adds training and files.

    Args:
        inputs, outputs: a tensor or a list of them. An input may also be the output of another model's layer.
        name: of the model.
        trainable: False freezes all layers.

    Raises:
        TypeError: not tensors. ValueError: outputs that need an Input not listed, two layers with the same name.
    """

    _graph: Graph | None = None

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name)
        self._set_graph(Graph(_tensors(inputs, "inputs"), _tensors(outputs, "outputs")))
        if not trainable:
            self.trainable = False

    @staticmethod
    def of(graph: Graph) -> GraphLayer:
        """Return a layer that runs a graph, under the names that the graph gives its layers."""
        layer = GraphLayer.__new__(GraphLayer)
        Layer.__init__(layer)
        layer._set_graph(graph)
        return layer

    def _set_graph(self, graph: Graph) -> None:
        self._graph = graph
        self._plans: dict[frozenset[int], Plan] = {}
        self.dtype = graph.inputs[0].dtype
        self.built = True

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes plans of its own: in those of the original may stand functions of the original's layers."""
        return {**super().__getstate__(), "_plans": {}}

    # ---- what is in it ----

    @property
    def graph(self) -> Graph:
        """The nodes, layers and names of the model.

        Raises:
            RuntimeError: a Sequential that does not know its input shape yet.
        """
        if self._graph is None:
            raise RuntimeError(
                f"{self.label} is not built: give the first layer input_shape=, call build((None, ...)), or call it"
            )
        return self._graph

    def inline(self) -> Graph:
        return self.graph

    @property
    def layers(self) -> list[Layer]:
        """The layers, each once, in Keras' order."""
        return list(self.graph.layers)

    def sublayers(self) -> dict[str, Layer]:
        return {name: layer for layer, name in self.graph.names.items()}

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by name or by position in :attr:`layers`.

        Raises:
            ValueError: no such layer (the message lists the names), or not exactly one of the arguments.
        """
        if (name is None) == (index is None):
            raise ValueError("give either name or index")
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(f"no layer {index}: {self.label} has {len(layers)} layers")
            return layers[index]
        found = self.sublayers().get(str(name))
        if found is None:
            raise ValueError(f'no layer "{name}" in {self.label}; there are: {", ".join(self.sublayers())}')
        return found

    @property
    def inputs(self) -> list[Tensor]:
        """The input tensors."""
        return list(self.graph.inputs)

    @property
    def outputs(self) -> list[Tensor]:
        """The output tensors."""
        return list(self.graph.outputs)

    @property
    def input(self) -> Any:
        """The input tensor, a list if there are several."""
        return self.inputs[0] if len(self.inputs) == 1 else self.inputs

    @property
    def output(self) -> Any:
        """The output tensor, a list if there are several."""
        return self.outputs[0] if len(self.outputs) == 1 else self.outputs

    @property
    def input_shape(self) -> Any:
        """Shape of the input (batch None), a list if there are several."""
        shapes = [t.shape for t in self.inputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self) -> Any:
        """Shape of the output (batch None), a list if there are several."""
        shapes = [t.shape for t in self.outputs]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def final_activations(self) -> tuple[str | None, ...]:
        """For each output the name of the activation its layer ends in, if nothing else reads that value, else None.

        Such outputs may be listed in ``linear_outputs``, and then come without it: logits in place of a softmax.
        """
        graph = self.graph
        return tuple(
            getattr(t.node.layer, "final_activation", None) if graph.uses[t] == 1 and t.node in graph.nodes else None
            for t in graph.outputs
        )

    @property
    def final_activation(self) -> str | None:
        """The one entry of :attr:`final_activations`; None with several outputs."""
        return self.final_activations[0] if len(self.graph.outputs) == 1 else None

    # ---- running ----

    def infer(self, *inputs: Any, training: bool = False, linear_outputs: Iterable[int] = NO_OUTPUTS) -> Any:
        """Return the output (a list with several). Thread-safe: nothing is stored in the model.

        Args:
            inputs, training, linear_outputs: as for :meth:`forward`.
        """
        outputs = self._plan(linear_outputs).infer(self._checked(inputs), training)
        return outputs[0] if len(outputs) == 1 else outputs

    def forward(
        self,
        *inputs: Any,
        training: bool = False,
        linear_outputs: Iterable[int] = NO_OUTPUTS,
        need_dx: bool = True,
    ) -> tuple[Any, Tape]:
        """Return the output (a list with several) and the caches for :meth:`backward`.

        Args:
            inputs: an array, several arrays, or a list of them.
            training: whether dropout drops and batch normalisation uses the batch.
            linear_outputs: outputs to return without their final activation, see :attr:`final_activations`.
            need_dx: False promises that backward will not be asked for dx; then layers before the first trainable
                weight keep no cache.

        Raises:
            ValueError, TypeError: an array of another shape or dtype than the model's input.
        """
        outputs, tape = self._plan(linear_outputs).forward(self._checked(inputs), training, need_dx)
        return (outputs[0] if len(outputs) == 1 else outputs), tape

    def backward(
        self,
        dy: Any,
        cache: Tape,
        need_dx: bool = True,
        linear_outputs: Iterable[int] = NO_OUTPUTS,
        retain_caches: bool = False,
    ) -> Any:
        """Hand weight gradients to the parameters and return dx (a list with several inputs).

        Args:
            dy: gradient for the output, or a list with one per output; None where there is none.
            cache: from :meth:`forward`. It is used up, so that memory is free as early as can be.
            need_dx: whether dx is wanted; None is returned otherwise.
            linear_outputs: as given to forward.
            retain_caches: keep the cache for another backward pass.

        Raises:
            ValueError: dy of another shape than the output. RuntimeError: a cache that was used up.
        """
        gradients = list(dy) if isinstance(dy, list | tuple) else [dy]
        graph = self.graph
        if len(gradients) != len(graph.outputs):
            raise ValueError(f"{self.label} has {len(graph.outputs)} outputs, got {len(gradients)} gradients")
        plan = self._plan(linear_outputs)
        dxs = plan.backward(gradients, cache, need_dx, retain_caches)
        if not need_dx:
            return None
        filled = [
            np.zeros(cache.shapes[slot] or (), self.dtype) if dx is None else dx
            for slot, dx in zip(plan.input_slots, dxs, strict=True)
        ]
        return filled[0] if len(filled) == 1 else filled

    def forward_linear(self, *inputs: Any, training: bool = False) -> tuple[Any, Tape]:
        """:meth:`forward` without the final activation of the one output."""
        return self.forward(*inputs, training=training, linear_outputs=(0,))

    def backward_linear(self, dz: Any, cache: Tape, need_dx: bool = True) -> Any:
        """:meth:`backward` for what :meth:`forward_linear` returned."""
        return self.backward(dz, cache, need_dx=need_dx, linear_outputs=(0,))

    def trace(self, *inputs: Any, training: bool = False) -> Iterator[tuple[str, Layer, Any]]:
        """Yield (name, layer, output) for every call in order: feature maps, or where the first NaN arises."""
        names = self.graph.names
        plan = Plan(self.graph, fused=False)  # every layer's own output
        for layer, y in plan.trace(self._checked(inputs), training):
            yield names[layer], layer, y

    def compute_output_shape(self, input_shape: Any) -> Any:
        shapes = self.tensor_shapes(input_shape if isinstance(input_shape, list) else [input_shape])
        results = [shapes[t] for t in self.graph.outputs]
        return results[0] if len(results) == 1 else results

    def tensor_shapes(self, input_shapes: Sequence[Shape]) -> dict[Tensor, Shape]:
        """Return the shape of every tensor of the model for inputs of these shapes (batch included)."""
        graph = self.graph
        self._check_count(len(input_shapes))
        for tensor, shape in zip(graph.inputs, input_shapes, strict=True):
            _check_shape(self.label, shape, tensor)
        return graph.tensor_shapes(input_shapes)

    def multiply_adds(self, input_shape: Any, output_shape: Any) -> int:
        return (
            costs.graph_costs(self.graph, input_shape if isinstance(input_shape, list) else [input_shape]).multiply_adds
            or 0
        )

    def compute_output_dtypes(self, input_dtypes: Sequence[str], outputs: int) -> list[str]:
        return [t.dtype for t in self.graph.outputs]

    def _plan(self, linear_outputs: Iterable[int] = NO_OUTPUTS) -> Plan:
        key = frozenset(linear_outputs)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = Plan(self.graph, key)
        return plan

    def _checked(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        arrays = list(inputs[0]) if len(inputs) == 1 and isinstance(inputs[0], list | tuple) else list(inputs)
        if self._graph is None:
            self.build((None, *np.shape(arrays[0])[1:]))
        tensors = self.graph.inputs
        self._check_count(len(arrays))
        for i, (x, tensor) in enumerate(zip(arrays, tensors, strict=True)):
            if not isinstance(x, np.ndarray):
                raise TypeError(f"{self.label} takes NumPy arrays, got {type(x).__name__}")
            if x.shape[1:] != tensor.shape[1:]:
                _check_shape(self.label, x.shape, tensor)
            if x.dtype != tensor.dtype:
                arrays[i] = x = np.asarray(x, x.dtype.newbyteorder("="))
            if x.dtype != tensor.dtype:
                raise TypeError(f"{self.label} takes {tensor.dtype}, got {x.dtype}: x.astype(np.{tensor.dtype})")
        return arrays

    def _check_count(self, count: int) -> None:
        if count != len(self.graph.inputs):
            raise ValueError(f"{self.label} has {len(self.graph.inputs)} inputs, got {count}")

    # ---- descriptions ----

    def get_config(self) -> dict[str, Any]:
        """Return layers and connections in JSON's terms; weights are not included."""
        return {**self._head(), **architecture.graph_config(self.graph)}

    def _head(self) -> dict[str, Any]:
        """What every description of a model begins with."""
        return {"name": self.name if self.named else None, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """Build a model with new weights from what :meth:`get_config` returned.

        Args:
            config: the description.
            custom_objects: class name -> class, for layers of your own.

        Raises:
            ValueError: an unknown class, or a description that does not fit together.
        """
        inputs, outputs = architecture.graph_from_config(config, custom_objects)
        model = cls(inputs, outputs, name=config.get("name"))
        model._trainable = bool(config.get("trainable", True))
        return model


def _tensors(value: Any, what: str) -> list[Tensor]:
    tensors = list(value) if isinstance(value, list | tuple) else [value]
    if not tensors:
        raise ValueError(f"a model needs {what}, got an empty list")
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{what} must be tensors (an Input, or what a layer called on one returns), got {type(tensor).__name__}"
            )
    return tensors


def _check_shape(label: str, shape: Sequence[int | None], tensor: Tensor) -> None:
    """Raise ValueError, showing both, unless ``shape`` fits the input ``tensor``."""
    fits = len(shape) == len(tensor.shape) and all(
        expected is None or size is None or size == expected
        for size, expected in zip(shape[1:], tensor.shape[1:], strict=True)
    )
    if not fits:
        raise ValueError(f"{label} expects an input of shape {tensor.shape}, got {tuple(shape)}")
