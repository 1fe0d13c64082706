"""Where a model's data comes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..checks import integer
from .base import Layer
from .node import Node, Shape, Tensor


class InputLayer(Layer):
    """The first entry of a model: a shape and a dtype, no computation.

    Args:
        shape: of one sample, without the batch, e.g. ``(28, 28, 1)``; None for sizes that may vary.
        dtype: ``"float32"`` or ``"float64"``; by default ``fastconv.floatx()``.
        name: of the input.

    Raises:
        TypeError: a shape that is not a tuple of integers. ValueError: a size below 1.
    """

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        dtype: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype, **kwargs)
        shape = self.declared_input_shape if shape is None else shape
        self.shape: Shape = (None, *sample_shape(shape))
        self.built = True
        self._add_node(Node(self, (), (self.shape,), (self.dtype,)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": list(self.shape[1:])}


def Input(shape: Sequence[int | None], dtype: str | None = None, name: str | None = None) -> Tensor:  # noqa: N802
    """Return the tensor a model starts from; see :class:`InputLayer` for the arguments.

    >>> x = Input(shape=(28, 28, 1))
    >>> x.shape
    (None, 28, 28, 1)
    """
    return InputLayer(shape, dtype=dtype, name=name).output


def sample_shape(shape: Any) -> tuple[int | None, ...]:
    """Check the shape of one sample (no batch): integers of at least 1, or None."""
    if not isinstance(shape, list | tuple):
        raise TypeError(f"an input shape is a tuple without the batch, such as (28, 28, 1), got {shape!r}")
    return tuple(None if size is None else integer(size, f"input shape[{i}]") for i, size in enumerate(shape))
