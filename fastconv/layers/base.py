"""The base class of every layer: the protocol, its parameters, and what calling a layer does.

A layer of your own defines ``build`` (weights), ``forward`` and ``backward``; see CONTRIBUTING and :class:`Layer`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import numpy as np

from .. import config, initializers, random, regularizers
from ..registry import serialize, snake_case
from .node import Node, Shape, Tensor
from .parameter import Parameter

FLOAT_TYPES = ("float32", "float64")
_PROBE_SIZES = (32, 48)  # stand in for an unknown height or width when a shape comes from a trial run


class LayerOptions(TypedDict, total=False):
    """Keyword arguments that every layer takes; see :class:`Layer`."""

    name: str | None
    trainable: bool
    dtype: str | None
    input_shape: Sequence[int | None] | None
    input_dim: int | None


class Layer:
    """What every layer is, and the class to derive your own from::

        class Scale(fastconv.layers.Layer):
            def build(self, input_shape):                  # once; batch is None, other sizes may be None
                self.gamma = self.add_weight("gamma", (input_shape[-1],), initializer="ones")
            def forward(self, x, training=False):          # -> output, what backward will need
                return x * self.gamma.value, (x,)
            def backward(self, dy, cache):                 # -> dx; parameter gradients go to add_grad
                (x,) = cache
                self.gamma.add_grad((dy * x).sum(axis=(0, 1, 2)))
                return dy * self.gamma.value

    The cache travels with the call, never inside the layer, so a layer may be called several times in a model and
    from several threads. ``dy`` and caches are read-only. With several inputs ``forward`` and ``build`` follow the
    list that the layer is called with: ``forward(self, a, b, training=False)``, a list of shapes, and ``backward``
    returns a tuple. A ``backward`` with an argument ``need_dx`` is told when nobody needs dx and may return None.

    Args:
        name: unique within a model; by default from the type and the position in the model (``conv2d_1``).
        trainable: False freezes the weights (and runs batch normalisation in inference mode).
        dtype: of the weights, ``"float32"`` or ``"float64"``; by default ``fastconv.floatx()``.
        input_shape: without the batch, for the first layer of a Sequential. ``input_dim=n`` means ``(n,)``.

    Raises:
        TypeError: a name that is not a string. ValueError: another dtype.
    """

    default_name: str | None = None  # of unnamed layers; None: the class name in snake case
    config_fields: ClassVar[tuple[str, ...]] = ()  # constructor arguments kept as attributes, for get_config

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _build_once(cls.__dict__["build"])  # type: ignore[assignment,method-assign]

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: str | None = None,
        input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
    ) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        if name is not None and ("/" in name or not name):
            raise ValueError(f"name must not be empty nor contain '/', got {name!r}")
        self._name = name
        self.auto_named = name is None
        self._trainable = bool(trainable)
        self.dtype = str(np.dtype(dtype)) if dtype is not None else config.floatx()
        if self.dtype not in FLOAT_TYPES:
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        self.declared_input_shape = (input_dim,) if input_dim is not None else input_shape
        self.built = False
        self.random_state: np.ndarray | None = None
        self._trainable_parameters: list[Parameter] = []
        self._state_parameters: list[Parameter] = []
        self._nodes: list[Node] = []

    # ---- what a layer defines ----

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of this shape (a list of shapes with several inputs). Runs once."""

    def forward(self, *inputs: Any, **options: Any) -> tuple[Any, Any]:
        """Compute the output and what :meth:`backward` will need: ``(y, cache)``.

        Define it as ``forward(self, x, training=False)``. ``training`` decides behaviour (dropout, batch statistics),
        never what is cached. A layer with several outputs returns them as a tuple.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, x, training=False)")

    def backward(self, dy: Any, cache: Any) -> Any:
        """Return dx, the gradient of the loss for the input, and hand weight gradients to ``Parameter.add_grad``."""
        raise NotImplementedError(f"{type(self).__name__} does not define backward(self, dy, cache)")

    def infer(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output alone; override it as ``infer(self, x, training=False)`` where a cache costs something."""
        return self.forward(*inputs, **options)[0]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output's shape (a list of them with several outputs) for an input's.

        By default found by a run over one sample of zeros, or two samples of different sizes if a size is unknown.
        """
        single = not isinstance(input_shape, list)
        shapes = [input_shape] if single else input_shape
        probes = [self._probe(shapes, size) for size in _PROBE_SIZES]
        merged = [
            (None, *(a if a == b else None for a, b in zip(first[1:], second[1:], strict=True)))
            for first, second in zip(*probes, strict=True)
        ]
        return merged[0] if len(merged) == 1 else merged

    def compute_output_dtypes(self, input_dtypes: Sequence[str], outputs: int) -> list[str]:
        """Return the dtype of each output; by default the first input's."""
        return [input_dtypes[0]] * outputs

    def multiply_adds(self, input_shape: Any, output_shape: Any) -> int:
        """Return the multiply-adds of one sample, for :meth:`Model.summary`; shapes are fully known."""
        return 0

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, in JSON's terms: those of every layer and those in ``config_fields``.

        Raises:
            NotImplementedError: the constructor has arguments that neither ``config_fields`` nor an override covers.
        """
        config = {"name": self._name, "trainable": self._trainable, "dtype": self.dtype}
        config.update((field, _plain(getattr(self, field))) for field in self.config_fields)
        if type(self).get_config is Layer.get_config:
            missing = _own_arguments(type(self)) - {*config, *LayerOptions.__annotations__, "data_format"}
            if missing:
                raise NotImplementedError(
                    f"{type(self).__name__} takes {', '.join(sorted(missing))}: list them in the class attribute "
                    "config_fields, or override get_config"
                )
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Build a layer, without weights, from what :meth:`get_config` returned."""
        return cls(**config)

    # ---- names ----

    @property
    def type_name(self) -> str:
        """Keras' name for the type, e.g. ``"max_pooling2d"``: what unnamed layers are called after."""
        return self.default_name or snake_case(type(self).__name__)

    @property
    def name(self) -> str:
        """The layer's name; until a model gives an unnamed layer one, the name of its type."""
        return self._name or self.type_name

    @property
    def named(self) -> bool:
        """Whether the user or a model has given the layer a name."""
        return self._name is not None

    @property
    def label(self) -> str:
        """How messages call the layer: ``Conv2D "conv3"``."""
        return f'{type(self).__name__} "{self._name}"' if self._name else type(self).__name__

    def assign_name(self, name: str) -> None:
        """Give an unnamed layer the name a model chose for it."""
        if self._name is None:
            self._name = name

    # ---- parameters ----

    def add_weight(
        self,
        name: str,
        shape: Sequence[int],
        initializer: Any = "glorot_uniform",
        trainable: bool = True,
        regularizer: Any = None,
        dtype: str | None = None,
    ) -> Parameter:
        """Create a :class:`Parameter` of this layer.

        Args:
            name: unique within the layer.
            shape: all sizes known.
            initializer, regularizer: by Keras' names, or objects.
            trainable: False for state that the optimizer leaves alone, e.g. a moving mean.
            dtype: by default the layer's.
        """
        if any(size is None for size in shape):
            raise ValueError(f'weight "{name}" cannot have shape {tuple(shape)}: a size is unknown')
        if any(name == p.name for p in self._trainable_parameters + self._state_parameters):
            raise ValueError(f'there is already a weight "{name}"')
        value = np.asarray(initializers.get(initializer)(tuple(shape), dtype or self.dtype))
        if value.shape != tuple(shape):
            raise ValueError(f'the initializer of "{name}" gave shape {value.shape} in place of {tuple(shape)}')
        value = value.astype(dtype or self.dtype, copy=False)
        parameter = Parameter(name, value, trainable and self._trainable, regularizers.get(regularizer))
        (self._trainable_parameters if trainable else self._state_parameters).append(parameter)
        return parameter

    def add_random_state(self, seed: int | None = None) -> np.ndarray:
        """Give the layer a counter-based random state ``[seed, counter]`` (uint64) that full checkpoints keep."""
        self.random_state = np.array([random.next_seed() if seed is None else seed, 0], np.uint64)
        return self.random_state

    def sublayers(self) -> dict[str, Layer]:
        """Return the layers this one holds as attributes or in lists, by name (``"conv"``, ``"blocks_0"``)."""
        found: dict[str, Layer] = {}
        for attribute, value in vars(self).items():
            if isinstance(value, Layer):
                found[attribute] = value
            elif isinstance(value, list | tuple):
                found.update({f"{attribute}_{i}": v for i, v in enumerate(value) if isinstance(v, Layer)})
        return found

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield ``(path, layer)`` for this layer (path: ``prefix``) and all below it, e.g. ``"block/conv2d_1"``."""
        yield prefix, self
        for name, layer in self.sublayers().items():
            yield from layer.named_layers(f"{prefix}/{name}" if prefix else name)

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Yield ``(path, parameter)`` in the order of :attr:`parameters`, e.g. ``"conv2d/kernel"``, each one once."""
        seen: set[int] = set()
        for path, layer in self.named_layers(prefix):
            for parameter in layer._trainable_parameters + layer._state_parameters:
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield (f"{path}/{parameter.name}" if path else parameter.name), parameter

    @property
    def parameters(self) -> list[Parameter]:
        """All parameters, of this layer and those below, in Keras' order: in a layer, the trainable first."""
        return [parameter for _, parameter in self.named_parameters()]

    @property
    def weights(self) -> list[Parameter]:
        """Keras' name for :attr:`parameters`."""
        return self.parameters

    @property
    def trainable_weights(self) -> list[Parameter]:
        """The parameters that training changes."""
        return [p for p in self.parameters if p.trainable]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        """The parameters that the optimizer leaves alone: frozen ones and state."""
        return [p for p in self.parameters if not p.trainable]

    @property
    def trainable(self) -> bool:
        """Whether the weights are trained; setting it also sets every layer below."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for parameter in self._trainable_parameters:
            parameter.trainable = self._trainable
        for layer in self.sublayers().values():
            layer.trainable = self._trainable

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of all parameters' values, in the order of :attr:`parameters`."""
        return [p.numpy() for p in self.parameters]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all parameters from arrays in the order of :meth:`get_weights`.

        Raises:
            ValueError: another number of arrays or another shape; then nothing has changed.
        """
        parameters = list(self.named_parameters())
        if len(weights) != len(parameters):
            raise ValueError(f"{self.label} has {len(parameters)} weights, got {len(weights)} arrays")
        for (path, parameter), array in zip(parameters, weights, strict=True):
            if np.shape(array) != parameter.shape:
                raise ValueError(f'{self.label}: "{path}" has shape {parameter.shape}, got {np.shape(array)}')
        for (_, parameter), array in zip(parameters, weights, strict=True):
            parameter.assign(array)

    def count_params(self) -> int:
        """Return the number of weights.

        Raises:
            ValueError: the layer is not built, so there are none yet.
        """
        if not self.built:
            raise ValueError(f"{self.label} is not built: call it on an Input or on data, or call build(input_shape)")
        return sum(p.size for p in self.parameters)

    # ---- calls ----

    def __call__(self, inputs: Any, training: bool = False) -> Any:
        """Apply the layer.

        Args:
            inputs: a tensor (or a list of them): records a node of a model and returns its output tensor;
                an array (or a list): returns the output array.
            training: whether dropout drops and batch normalisation uses the batch (arrays only).

        Raises:
            ValueError: a shape that the layer does not take. TypeError: neither tensors nor arrays, or a dtype
                other than the layer's.
        """
        several = isinstance(inputs, list | tuple)
        arguments = list(inputs) if several else [inputs]
        if arguments and all(isinstance(x, Tensor) for x in arguments):
            return self._record(arguments)
        for x in arguments:
            if not isinstance(x, np.ndarray):
                raise TypeError(f"{self.label} takes NumPy arrays or Input tensors, got {type(x).__name__}")
        if not self.built:
            self._build_for([(None, *x.shape[1:]) for x in arguments])
        return self.infer(*arguments, training=training)

    @property
    def output(self) -> Any:
        """The output tensor (a list if there are several) of the layer's one call.

        Raises:
            ValueError: the layer was not called on a tensor, or several times.
        """
        return _one(self._only_node().outputs)

    @property
    def input(self) -> Any:
        """The input tensor (a list if there are several) of the layer's one call."""
        return _one(self._only_node().inputs)

    def _only_node(self) -> Node:
        if len(self._nodes) != 1:
            raise ValueError(f"{self.label} was called on a tensor {len(self._nodes)} times, not once")
        return self._nodes[0]

    def _record(self, inputs: list[Tensor]) -> Any:
        """Infer the output's shape, and its dtype, and leave a node behind."""
        shapes = [x.shape for x in inputs]
        dtypes = [x.dtype for x in inputs]
        if not self.built:
            self._build_for(shapes)
        output_shape = self._labelled(self.compute_output_shape, _one(shapes))
        if self._trainable_parameters and dtypes[0] != self.dtype:
            raise TypeError(f"{self.label} is {self.dtype}, its input {dtypes[0]}: give both the same dtype=")
        output_shapes = output_shape if isinstance(output_shape, list) else [output_shape]
        node = Node(self, inputs, output_shapes, self.compute_output_dtypes(dtypes, len(output_shapes)))
        self._nodes.append(node)
        return _one(node.outputs)

    def _build_for(self, shapes: Sequence[Shape]) -> None:
        self._labelled(self.build, _one(shapes))
        self.built = True

    def _labelled(self, function: Callable[[Any], Any], shape: Any) -> Any:
        """Call ``function(shape)``; its errors name the layer."""
        try:
            return function(shape)
        except (ValueError, TypeError, OverflowError) as error:
            if type(error) not in (ValueError, TypeError, OverflowError):
                raise
            raise type(error)(f"{self.label}: {error}") from error

    def _probe(self, shapes: Sequence[Shape], size: int) -> list[tuple[int, ...]]:
        arrays = [np.zeros((1, *(size if s is None else s for s in shape[1:])), self.dtype) for shape in shapes]
        outputs = self.infer(*arrays)
        return [y.shape for y in outputs] if isinstance(outputs, list | tuple) else [outputs.shape]

    if not TYPE_CHECKING:  # a type checker shall still find misspelt attributes

        def __getattr__(self, attribute: str) -> Any:
            """Explain a missing attribute of a layer that is not built yet; found attributes never come here."""
            hint = ""
            if not attribute.startswith("_") and not self.__dict__.get("built", True):
                hint = " yet: it is not built; call it on an Input or on data, or call build(input_shape)"
            raise AttributeError(f"{type(self).__name__} has no attribute {attribute!r}{hint}")

    def __repr__(self) -> str:
        return f"<{self.label}>"


def accepts_need_dx(method: Callable[..., Any]) -> bool:
    """Whether a layer's ``forward`` or ``backward`` has an argument ``need_dx``."""
    return "need_dx" in inspect.signature(method).parameters


def _plain(value: Any) -> Any:
    """``value`` in JSON's terms."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.item() if isinstance(value, np.generic) else serialize(value)


def _own_arguments(cls: type) -> set[str]:
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    return {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _one(items: Sequence[Any]) -> Any:
    return items[0] if len(items) == 1 else list(items)


def _build_once(build: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """Wrap a subclass's ``build``: a second call does nothing, a failed one leaves no weights behind."""

    @functools.wraps(build)
    def wrapper(self: Layer, input_shape: Any) -> None:
        if self.built:
            return
        try:
            build(self, input_shape)
        except BaseException:
            self._trainable_parameters.clear()
            self._state_parameters.clear()
            raise
        self.built = True

    return wrapper
