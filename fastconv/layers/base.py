"""The base class of every layer: the protocol, its parameters, and what calling a layer does.

A layer of your own defines ``build`` (weights), ``forward`` and ``backward``; see CONTRIBUTING and :class:`Layer`.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import numpy as np

from ..errors import did_you_mean
from ..registry import serialize, snake_case
from .node import Node, Shape, Tensor
from .protocol import build_once, output_and_cache
from .weights import WeightOwner, check_trial_run

_PROBE_SIZES = (32, 48)  # stand in for an unknown height or width when a shape comes from a trial run


class LayerOptions(TypedDict, total=False):
    """Keyword arguments that every layer takes; see :class:`Layer`."""

    name: str | None
    trainable: bool
    dtype: str | None
    input_shape: Sequence[int | None] | None
    input_dim: int | None


class Layer(WeightOwner):
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
            cls.build = build_once(cls.__dict__["build"])  # type: ignore[assignment,method-assign]

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: str | None = None,
        input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            known = {*_own_arguments(type(self)), *LayerOptions.__annotations__}
            hint = did_you_mean(next(iter(unknown)), known)
            raise TypeError(f"{type(self).__name__} has no argument {next(iter(unknown))!r}{hint}")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        if name is not None and ("/" in name or not name):
            raise ValueError(f"name must not be empty nor contain '/', got {name!r}")
        super().__init__(trainable, dtype)
        self._name = name
        self.auto_named = name is None
        self.declared_input_shape = (input_dim,) if input_dim is not None else input_shape
        self._calls: list[weakref.ref[Node]] = []
        self._only_call: Node | None = None

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
        return output_and_cache(self, self.forward(*inputs, **options))[0]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output's shape (a list of them with several outputs) for an input's.

        By default found by a run over one sample of zeros, or two samples of different sizes if a size is unknown.
        """
        single = not isinstance(input_shape, list)
        shapes = [input_shape] if single else input_shape
        unknown = any(None in shape[1:] for shape in shapes)
        first = self._probe(shapes, _PROBE_SIZES[0])
        second = self._probe(shapes, _PROBE_SIZES[1]) if unknown else first
        merged = [
            (None, *(a if a == b else None for a, b in zip(one[1:], other[1:], strict=True)))
            for one, other in zip(first, second, strict=True)
        ]
        return merged[0] if len(merged) == 1 else merged

    def compute_output_dtypes(self, input_dtypes: Sequence[str], outputs: int) -> list[str]:
        """Return the dtype of each output; by default the first input's."""
        return [input_dtypes[0]] * outputs

    def inline(self) -> Any:
        """Return the :class:`fastconv.graph.Graph` of calls that a call of this layer stands for; None: it is one."""
        return None

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

    # ---- layers made of layers ----

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

    # ---- calls ----

    def __call__(self, inputs: Any, training: bool | None = None) -> Any:
        """Apply the layer.

        Args:
            inputs: a tensor (or a list of them): records a node of a model and returns its output tensor;
                an array (or a list): returns the output array.
            training: whether dropout drops and batch normalisation uses the batch. Called on arrays: no, by default.
                Called on tensors: True or False fixes it for this call, whatever the model is doing.

        Raises:
            ValueError: a shape that the layer does not take. TypeError: neither tensors nor arrays, or a dtype
                other than the layer's.
        """
        arguments = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        if not arguments:
            raise ValueError(f"{self.label} was called with an empty list")
        if all(isinstance(x, Tensor) for x in arguments):
            return self._record(arguments, training)
        for x in arguments:
            if not isinstance(x, np.ndarray):
                raise TypeError(f"{self.label} takes NumPy arrays or Input tensors, got {type(x).__name__}")
        if len(arguments) > 1:
            self._check_mixture([x.dtype.name for x in arguments] if len({x.dtype for x in arguments}) > 1 else ())
        if not self.built:
            self._build_for([(None, *x.shape[1:]) for x in arguments])
        return self.infer(*arguments, training=bool(training))

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
        if self._only_call is None:
            raise ValueError(f"{self.label} was called on a tensor {len(self._calls)} times, not once")
        return self._only_call

    @property
    def _nodes(self) -> list[Node]:
        """The calls on tensors that anybody still holds."""
        return [node for call in self._calls if (node := call()) is not None]

    def _add_node(self, node: Node) -> None:
        """Take note of a call. Of several none is held: one may lead to the other, and so the layer to itself."""
        self._calls.append(weakref.ref(node))
        self._only_call = node if len(self._calls) == 1 else None

    def _remove_node(self, node: Node) -> None:
        """Forget a call."""
        self._calls = [call for call in self._calls if call() is not node]
        self._only_call = self._calls[0]() if len(self._calls) == 1 else None

    def __getstate__(self) -> dict[str, Any]:
        """A copy starts without calls: those of the original are not its own, and copied ones are added to it."""
        return {**self.__dict__, "_calls": [], "_only_call": None}

    def _record(self, inputs: list[Tensor], training: bool | None) -> Any:
        """Infer the output's shape, and its dtype, and leave a node behind."""
        shapes = [x.shape for x in inputs]
        dtypes = [x.dtype for x in inputs]
        self._check_mixture(dtypes)
        if not self.built:
            self._build_for(shapes)
        output_shape = self._labelled(self.compute_output_shape, _one(shapes))
        if self._trainable_parameters and dtypes[0] != self.dtype:
            raise TypeError(f"{self.label} is {self.dtype}, its input {dtypes[0]}: give both the same dtype=")
        output_shapes = output_shape if isinstance(output_shape, list) else [output_shape]
        node = Node(self, inputs, output_shapes, self.compute_output_dtypes(dtypes, len(output_shapes)), training)
        self._add_node(node)
        return _one(node.outputs)

    def _check_mixture(self, dtypes: Sequence[str]) -> None:
        if "float32" in dtypes and "float64" in dtypes:
            raise TypeError(f"{self.label} does not mix float32 and float64, got inputs of {', '.join(dtypes)}")

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
        check_trial_run(self.label, shapes)
        arrays = [np.zeros((1, *(size if s is None else s for s in shape[1:])), self.dtype) for shape in shapes]
        outputs = self.infer(*arrays)
        return [y.shape for y in outputs] if isinstance(outputs, list | tuple) else [outputs.shape]

    if not TYPE_CHECKING:  # a type checker shall still find misspelt attributes

        def __getattr__(self, attribute: str) -> Any:
            """Explain a missing attribute of a layer that is not built yet; found attributes never come here."""
            hint = ""
            if "_calls" not in self.__dict__:
                hint = ": its __init__ must call super().__init__() before anything else"
            elif not attribute.startswith("_") and not self.__dict__.get("built", True):
                hint = " yet: it is not built; call it on an Input or on data, or call build(input_shape)"
            raise AttributeError(f"{type(self).__name__} has no attribute {attribute!r}{hint}")

    def __repr__(self) -> str:
        return f"<{self.label}>"


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
