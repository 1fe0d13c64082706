"""What stands around the trunk of a network: the input, the classifier or what takes its place, trained weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import layers
from ..checks import integer
from ..layers.arguments import activation_spec
from ..layers.input import Input
from ..layers.node import Tensor
from ..models import Model
from ._weights import published

Size = int | None
InputShape = Sequence[Size] | None
Shape = tuple[Size, Size, int]  # (H, W, C)


@dataclass(frozen=True)
class Frame:
    """The arguments that all networks share. A network builds its trunk between :meth:`begin` and :meth:`finish`."""

    include_top: bool
    weights: Any
    input_tensor: Tensor | None
    input_shape: InputShape
    pooling: str | None
    classes: int
    activation: Any
    name: str

    @property
    def wants_imagenet(self) -> bool:
        """Whether weights that Keras publishes are asked for."""
        return isinstance(self.weights, str) and self.weights == "imagenet"

    def begin(self, default: Shape, minimum: int, flattens: bool = False) -> Tensor:
        """Return the tensor that the trunk begins with.

        Args:
            default: (height, width, channels) where the user gave no shape.
            minimum: smallest height and width.
            flattens: whether the classifier has a weight for every pixel, so that None is no size.

        Raises:
            TypeError, ValueError: not three numbers, a size below the minimum, or an unknown one that must be known.
        """
        if self.input_tensor is not None:
            given = self.input_tensor.shape[1:]
            if self.input_shape is not None and tuple(self.input_shape) != given:
                raise ValueError(f"input_shape is {tuple(self.input_shape)}, but input_tensor has {given}")
            return self.input_tensor
        if self.input_shape is None:
            return Input(default)
        shape = tuple(self.input_shape)
        if len(shape) != 3:
            raise ValueError(f"input_shape must be (height, width, channels), got {shape}")
        for size, name in zip(shape[:2], ("height", "width"), strict=True):
            if size is None and flattens and self.include_top:
                raise ValueError(
                    f"input_shape {shape}: with include_top=True this network needs a known {name}: its dense layers "
                    "have a weight for every pixel"
                )
            if size is not None and integer(size, f"{name} of input_shape") < minimum:
                raise ValueError(f"input_shape {shape}: {name} must be at least {minimum}")
        integer(shape[2], "channels of input_shape")
        return Input(shape)

    def end(self, x: Tensor, top: Callable[[Tensor], Any], named_pooling: bool = False) -> Any:
        """Return the output: the classifier's, or feature maps, their mean (``"avg"``) or maximum (``"max"``).

        Args:
            x: what the trunk ends in, (N, H, W, C).
            top: adds the classifier.
            named_pooling: whether Keras names the pooling of this network's feature vector.

        Raises:
            ValueError: another pooling.
        """
        if self.include_top:
            return top(x)
        if self.pooling is None:
            return x
        if self.pooling not in ("avg", "max"):
            raise ValueError(f"pooling must be None, 'avg' or 'max', got {self.pooling!r}")
        pool = layers.GlobalAvgPool2D if self.pooling == "avg" else layers.GlobalMaxPool2D
        return pool(name=f"{self.pooling}_pool" if named_pooling else None)(x)

    def finish(self, inputs: Tensor, outputs: Any, published_name: str | None = None) -> Model:
        """Build the model and load its weights.

        Args:
            inputs: what :meth:`begin` returned.
            outputs: what :meth:`end` returned.
            published_name: of the weights that Keras publishes for this network, if it does.

        Raises:
            ValueError: no ImageNet weights are published. DatasetError: they cannot be had. CheckpointError: a file
                that does not fit.
        """
        model = Model(inputs, outputs, name=self.name)
        weights = self.weights
        if self.wants_imagenet:
            if published_name is None:
                raise ValueError(f"no ImageNet weights are published for {self.name}: give a path, or weights=None")
            weights = published(published_name, self.include_top)()
        if weights is not None:
            load(model, weights)
        return model


@dataclass(frozen=True)
class KerasFrame(Frame):
    """The frame of ``keras.applications``: images of any size without a top, and arguments that exclude each other.

    Raises:
        TypeError: classes that are no integer. ValueError: ``"imagenet"`` with another number of classes than 1000, or
            trained weights under another activation than softmax or none.
    """

    def __post_init__(self) -> None:
        integer(self.classes, "classes")
        if not self.include_top or self.weights is None:
            return
        if self.wants_imagenet and self.classes != 1000:
            raise ValueError(f"weights='imagenet' with include_top=True has 1000 classes, got classes={self.classes}")
        if activation_spec(self.activation) not in (None, "softmax"):
            raise ValueError(f"trained weights need classifier_activation 'softmax' or None, got {self.activation!r}")

    def begin(self, default: Shape, minimum: int, flattens: bool = False) -> Tensor:
        """As :meth:`Frame.begin`; without a top and without a shape, a tensor for images of any size."""
        return super().begin(default if self.include_top else (None, None, default[2]), minimum, flattens)

    def top(self, x: Tensor) -> Tensor:
        """Most networks' classifier: the mean over the image and a dense layer."""
        x = layers.GlobalAvgPool2D(name="avg_pool")(x)
        return layers.Dense(self.classes, activation=self.activation, name="predictions")(x)


def load(model: Model, weights: Any) -> None:
    """Load a weight file into a model; a CheckpointError if it does not fit."""
    from ..interop import load_weights

    load_weights(model, weights)
