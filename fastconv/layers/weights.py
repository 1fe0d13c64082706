"""What a layer has to do with weights: creating them, listing them by path, freezing, reading and setting them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import config, initializers, random, regularizers
from ..checks import as_array
from .parameter import ALIGNMENT, Parameter

FLOAT_TYPES = ("float32", "float64")
_TRIAL_VALUES = 2**26  # 256 MB in float32, an image of 8192 x 8192 pixels
_UNKNOWN_SIZE = 48  # no less than what stands in for an unknown size in a trial run

_room: ContextVar[_Room | None] = ContextVar("room", default=None)


@contextlib.contextmanager
def to_be_loaded(file_size: int) -> Iterator[None]:
    """Within, a model is built only to be filled from a file, which may be hostile: 1 KB describes a model of any size.

    fastconv's own layers do not draw their weights but begin with zeros. Layers of a user's own run their initializers
    as ever, as they may look at the values. All weights together may not be larger than the file, give or take a
    little, nor may a run over zeros take a huge sample (see :func:`check_trial_run`).

    Args:
        file_size: in bytes.
    """
    token = _room.set(_Room(file_size))
    try:
        yield
    finally:
        _room.reset(token)


class _Room:
    """How much memory the weights of a model that is being loaded may take."""

    SPARE = 2**20  # bytes; within these, names and shapes are compared later, and the message says which one is wrong

    def __init__(self, file_size: int) -> None:
        self.file_size = file_size
        self.left = file_size + self.SPARE

    def take(self, name: str, shape: Sequence[int], dtype: str) -> None:
        """Raise ValueError if a weight is more than what is left."""
        self.left -= math.prod(map(int, shape)) * np.dtype(dtype).itemsize
        if self.left < 0:
            raise ValueError(
                f'with the weight "{name}" of shape {tuple(shape)} the model has more weights than the file, '
                f"which has {self.file_size:,} bytes"
            )


def check_trial_run(label: str, shapes: Sequence[Sequence[int | None]]) -> None:
    """Raise ValueError if, for a file, a layer would have to run over a huge sample to find its output's shape.

    Args:
        label: of the layer.
        shapes: of its inputs, the batch first.
    """
    size = sum(math.prod(size or _UNKNOWN_SIZE for size in shape[1:]) for shape in shapes)
    if _room.get() is not None and size > _TRIAL_VALUES:
        listed = ", ".join(str(tuple(shape)) for shape in shapes)
        raise ValueError(
            f"{label} would have to run over {size:,} zeros (input shape {listed}) to find its output's shape: "
            "define compute_output_shape in its class"
        )


class WeightOwner:
    """The half of :class:`Layer` that owns parameters, and layers that own some.

    Attributes:
        dtype: of the weights.
        built: whether there are any yet.
        random_state: see :meth:`add_random_state`; None for layers without randomness.
    """

    def __init__(self, trainable: bool = True, dtype: str | None = None) -> None:
        self._trainable = bool(trainable)
        self.dtype = str(np.dtype(dtype)) if dtype is not None else config.floatx()
        if self.dtype not in FLOAT_TYPES:
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        self.built = False
        self.random_state: np.ndarray | None = None
        self._trainable_parameters: list[Parameter] = []
        self._state_parameters: list[Parameter] = []

    if TYPE_CHECKING:  # what Layer adds

        @property
        def label(self) -> str: ...
        def sublayers(self) -> dict[str, Any]: ...
        def named_layers(self, prefix: str = "") -> Iterator[tuple[str, Any]]: ...

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
        start = initializers.get(initializer)
        room = _room.get()
        if room is not None:
            room.take(name, shape, dtype or self.dtype)
            if type(self).__module__.startswith(f"{__package__}."):
                start = _Undrawn()
        value = np.asarray(start(tuple(shape), dtype or self.dtype))
        if value.shape != tuple(shape):
            raise ValueError(f'the initializer of "{name}" gave shape {value.shape} in place of {tuple(shape)}')
        value = value.astype(dtype or self.dtype, copy=False)
        # Our initializers return new arrays, which need no copy: a large layer's weights are allocated once.
        fresh = type(start).__module__ in (initializers.__name__, __name__)
        parameter = Parameter(name, value, trainable and self._trainable, regularizers.get(regularizer), adopt=fresh)
        (self._trainable_parameters if trainable else self._state_parameters).append(parameter)
        return parameter

    def add_random_state(self, seed: int | None = None) -> np.ndarray:
        """Give the layer a counter-based random state ``[seed, counter]`` (uint64) that full checkpoints keep."""
        self.random_state = np.array([random.next_seed() if seed is None else seed, 0], np.uint64)
        return self.random_state

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
    def _learns(self) -> bool:
        """Whether any weight of this layer's own wants a gradient."""
        return any(p.trainable for p in self._trainable_parameters)

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
            if as_array(array, path).shape != parameter.shape:
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


class _Undrawn(initializers.Initializer):
    """Zeros at the start of a cache line, so that a parameter keeps them; memory that is not written costs nothing."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        buffer = np.zeros(size + ALIGNMENT, np.uint8)
        start = -buffer.ctypes.data % ALIGNMENT
        return buffer[start : start + size].view(kind).reshape(tuple(shape))
