"""What training needs of a model. It is written down here, so that nothing in this folder needs to know the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from ..callbacks import History
from ..graph.execution import Tape
from ..graph.graph import Graph
from ..layers.base import Layer
from ..layers.node import Tensor
from ..layers.parameter import Parameter
from ..optimizers import Optimizer


class Trainable(Protocol):
    """A layer that runs a graph, as :class:`fastconv.graph.GraphLayer` is, and the state of its training.

    Attributes:
        optimizer: set by ``compile``.
        stop_training: a callback sets it to end ``fit``.
        epoch: the number of epochs completed, what ``initial_epoch`` continues from after ``load_model``.
        history: of the last ``fit``.
        shuffle_seed: what the order of each epoch follows from, with the epoch's number.
        compile_arguments: loss, loss_weights and metrics as given to ``compile``, or None.
    """

    optimizer: Optimizer | None
    stop_training: bool
    epoch: int
    history: History | None
    shuffle_seed: int | None
    compile_arguments: dict[str, Any] | None
    _training_step: Any  # see step.step_of
    _graph: Graph | None

    @property
    def label(self) -> str:
        """How messages call it."""
        ...

    @property
    def graph(self) -> Graph:
        """What it runs; RuntimeError if it is not built."""
        ...

    @property
    def inputs(self) -> list[Tensor]:
        """The input tensors."""
        ...

    @property
    def outputs(self) -> list[Tensor]:
        """The output tensors."""
        ...

    @property
    def final_activations(self) -> tuple[str | None, ...]:
        """The activations that ``linear_outputs`` leave out."""
        ...

    @property
    def parameters(self) -> list[Parameter]:
        """All weights and state."""
        ...

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Yield (path, parameter)."""
        ...

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield (path, layer)."""
        ...

    def build(self, input_shape: Any) -> None:
        """Build the layers for inputs of this shape."""
        ...

    def infer(self, *inputs: Any, training: bool = False, linear_outputs: Iterable[int] = ...) -> Any:
        """Return the output, a list with several."""
        ...

    def trace(self, *inputs: Any, training: bool = False) -> Iterator[tuple[str, Layer, Any]]:
        """Yield (name, layer, output) for every call."""
        ...

    def forward(
        self, *inputs: Any, training: bool = False, linear_outputs: Iterable[int] = ..., need_dx: bool = True
    ) -> tuple[Any, Tape]:
        """Return the output and the caches for :meth:`backward`."""
        ...

    def backward(
        self, dy: Any, cache: Tape, need_dx: bool = True, linear_outputs: Iterable[int] = ..., retain_caches: bool = ...
    ) -> Any:
        """Hand gradients to the parameters and return dx."""
        ...
