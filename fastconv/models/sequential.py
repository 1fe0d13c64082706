"""Sequential: layers one after another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..graph.architecture import deserialize_layer, serialize_layer
from ..graph.graph import Graph, free_name
from ..layers.base import Layer
from ..layers.input import Input, InputLayer
from ..layers.node import Shape, Tensor
from .model import Model


class Sequential(Model):
    """A stack of layers, each fed by the one before::

        model = Sequential()
        model.add(layers.Conv2D(32, 3, activation="relu", input_shape=(28, 28, 1)))
        model.add(layers.MaxPooling2D(2))

    With ``input_shape=`` in the first layer, or an ``Input`` before it, each :meth:`add` builds its layer and finds a
    wrong shape. Otherwise the model is built by :meth:`build` or the first call on data.

    Args:
        layers: to start with.
        trainable: False freezes all layers.
        name: of the model.

    Raises:
        TypeError: something that is not a layer. ValueError: a layer that does not fit, or a name twice.
    """

    default_name = "sequential"

    def __init__(
        self, layers: Iterable[Layer | Tensor] | None = None, trainable: bool = True, name: str | None = None
    ) -> None:
        Layer.__init__(self, name=name)
        self._stack: list[Layer] = []
        self._names: dict[Layer, str] = {}
        self._refresh([])
        for layer in layers or ():
            self.add(layer)
        if not trainable:
            self.trainable = False

    def add(self, layer: Layer | Tensor) -> None:
        """Put a layer (or, first, an ``Input``) on top of the stack.

        Raises:
            TypeError: not a layer. ValueError: a shape that does not fit, several outputs or inputs, a name twice.
        """
        if isinstance(layer, Tensor) and isinstance(layer.node.layer, InputLayer):
            layer = layer.node.layer
        if not isinstance(layer, Layer):
            raise TypeError(f"a Sequential is made of layers, got {type(layer).__name__}")
        if isinstance(layer, InputLayer):
            self._start(layer.output)
            return
        name = self._free_name(layer)
        layer.assign_name(name)
        tensors = self._tensors or _declared_input(layer) if not self._stack else self._tensors
        if tensors:
            tensors = [*tensors, _call(layer, tensors[-1])]
        self._stack.append(layer)
        self._names[layer] = name
        self._refresh(tensors)

    def pop(self) -> Layer:
        """Remove the top layer and return it.

        Raises:
            IndexError: there is none.
        """
        if not self._stack:
            raise IndexError(f"{self.label} has no layers")
        layer = self._stack.pop()
        del self._names[layer]
        if self._tensors:
            layer._remove_node(self._tensors[-1].node)
        self._refresh(self._tensors[:-1])
        return layer

    def build(self, input_shape: Shape | None = None) -> None:
        """Build the layers for inputs of this shape, batch included: ``(None, 28, 28, 1)``."""
        if self._tensors or input_shape is None:
            return
        self._start(Input(tuple(input_shape)[1:], dtype=self._stack[0].dtype if self._stack else None))

    def _start(self, tensor: Tensor) -> None:
        if self._tensors:
            raise ValueError(f"{self.label} already has an input, of shape {self._tensors[0].shape}")
        tensors = [tensor]
        for layer in self._stack:
            tensors.append(_call(layer, tensors[-1]))
        self._refresh(tensors)

    def _refresh(self, tensors: list[Tensor]) -> None:
        """Take over the input and each layer's output; with at least one layer they are a graph."""
        self._tensors = tensors
        self._graph = None
        self._plans = {}
        self.built = len(tensors) > 1
        if self.built:
            self._set_graph(Graph(tensors[:1], tensors[-1:], self._names))

    def _free_name(self, layer: Layer) -> str:
        taken = set(self._names.values())
        if layer.named and layer.name not in taken:
            return layer.name
        if layer in self._names:
            raise ValueError(f"{layer.label} is in {self.label} already; share layers with Model(inputs, outputs)")
        if layer.named and not layer.auto_named:
            raise ValueError(f'{self.label} already has a layer "{layer.name}"')
        return free_name(layer, taken)

    @property
    def layers(self) -> list[Layer]:
        """The layers in order, without the input."""
        return list(self._stack)

    def sublayers(self) -> dict[str, Layer]:
        return {self._names[layer]: layer for layer in self._stack}

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self._graph is None:
            self.build(input_shape)
        return super().compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the layers in JSON's terms; weights are not included."""
        first = [serialize_layer(self.inputs[0].node.layer)] if self.built else []
        return {**self._head(), "layers": first + [serialize_layer(x, name) for name, x in self.sublayers().items()]}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """Build a model with new weights from what :meth:`get_config` returned; see :meth:`Model.from_config`."""
        layers = [deserialize_layer(description, custom_objects) for description in config["layers"]]
        model = cls(layers, name=config.get("name"))
        model._trainable = bool(config.get("trainable", True))
        return model


def _declared_input(layer: Layer) -> list[Tensor]:
    """The input that a first layer asks for: its ``input_shape=``, or that of a model in first place."""
    shape = layer.declared_input_shape
    if shape is None and isinstance(layer, Model) and layer.built:
        shape = layer.input_shape[1:]
    return [] if shape is None else [Input(shape, dtype=layer.dtype)]


def _call(layer: Layer, tensor: Tensor) -> Tensor:
    result = layer(tensor)
    if isinstance(result, list):
        raise ValueError(f"{layer.label} has {len(result)} outputs; a Sequential takes layers with one")
    return result
