"""Layers with several inputs: sum, product, concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from .. import ops
from ..checks import integer
from .base import Layer, LayerOptions
from .node import Shape


class _Elementwise(Layer):
    """Base of Add and Multiply: inputs of one shape, or with sizes of 1 that are repeated."""

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = _several(input_shape)
        if len({len(shape) for shape in shapes}) > 1:
            raise ValueError(f"inputs differ in their number of axes: {_listed(shapes)}")
        return (None, *(_common(sizes, shapes) for sizes in list(zip(*shapes, strict=True))[1:]))


class Add(_Elementwise):
    """Sum of two or more inputs: ``Add()([a, b])``. A size of 1 is repeated.

    Raises:
        ValueError: fewer than two inputs, or shapes that do not fit, which are shown.
    """

    def forward(self, *inputs: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        y = inputs[0]
        for x in inputs[1:]:
            y = ops.add(y, x) if x.shape == y.shape else y + x
        return y, [x.shape for x in inputs]

    def backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, ...]:
        return tuple(_unbroadcast(dy, shape) for shape in cache)


class Multiply(_Elementwise):
    """Product of two or more inputs: ``Multiply()([a, b])``. A size of 1 is repeated: ``(N, 1, 1, C)`` gates channels.

    Raises:
        ValueError: fewer than two inputs, or shapes that do not fit, which are shown.
    """

    def forward(self, *inputs: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        return _product(inputs), inputs

    def backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, ...]:
        return tuple(_unbroadcast(_product((dy, *cache[:i], *cache[i + 1 :])), x.shape) for i, x in enumerate(cache))


class Concatenate(Layer):
    """Inputs side by side along one axis: ``Concatenate()([a, b])`` joins channels.

    Args:
        axis: by default the last, the channels; not the batch.

    Raises:
        TypeError, ValueError: a bad axis, fewer than two inputs, or shapes that do not fit, which are shown.
    """

    config_fields = ("axis",)

    def __init__(self, axis: int = -1, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.axis = integer(axis, "axis", -32)
        if self.axis == 0:
            raise ValueError("axis must not be 0, the batch")

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = _several(input_shape)
        ranks = {len(shape) for shape in shapes}
        rank = len(shapes[0])
        axis = self.axis + rank if self.axis < 0 else self.axis
        if len(ranks) > 1 or not 0 < axis < rank:
            raise ValueError(f"cannot concatenate along axis {self.axis}: {_listed(shapes)}")
        out: list[int | None] = [None]
        for i, sizes in enumerate(zip(*shapes, strict=True)):
            known = [size for size in sizes if size is not None]
            if i == axis:
                out.append(sum(known) if len(known) == len(sizes) else None)
            elif i:
                if len(set(known)) > 1:
                    raise ValueError(f"shapes must agree except along axis {self.axis}: {_listed(shapes)}")
                out.append(known[0] if known else None)
        return tuple(out)

    def forward(
        self, *inputs: np.ndarray, training: bool = False, chain: tuple[int, bool] | None = None
    ) -> tuple[np.ndarray, Any]:
        """``chain``: room and append of :func:`fastconv.ops.concatenate_growing`, where a graph has such a chain."""
        sizes = [x.shape[self.axis] for x in inputs]
        return ops.concatenate_growing(inputs, *chain) if chain else ops.concatenate(inputs, self.axis), sizes

    def backward(self, dy: np.ndarray, cache: Any, chain: tuple[int, bool] | None = None) -> tuple[np.ndarray, ...]:
        if not chain:
            return ops.concatenate_backward(dy, cache, self.axis)
        first = cache[0]  # long, and soon added to another gradient: not copied
        return dy[..., :first], *ops.concatenate_backward(dy[..., first:], cache[1:])


def _several(input_shape: Any) -> Sequence[Shape]:
    if not isinstance(input_shape, list) or len(input_shape) < 2:
        raise ValueError("is called with a list of at least two inputs")
    return input_shape


def _listed(shapes: Sequence[Shape]) -> str:
    return ", ".join(str(tuple(shape)) for shape in shapes)


def _common(sizes: Sequence[int | None], shapes: Sequence[Shape]) -> int | None:
    """The size that all inputs have along an axis, where 1 goes with any."""
    larger = {size for size in sizes if size not in (1, None)}
    if len(larger) > 1:
        raise ValueError(f"shapes do not fit: {_listed(shapes)}")
    if larger:
        return larger.pop()
    return None if None in sizes else 1


def _product(arrays: Sequence[np.ndarray]) -> np.ndarray:
    result = arrays[0] * arrays[1]
    for x in arrays[2:]:
        result = result * x
    return result


def _unbroadcast(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over the axes along which an input of ``shape`` was repeated."""
    if gradient.shape == shape:
        return gradient
    axes = tuple(i for i, (have, want) in enumerate(zip(gradient.shape, shape, strict=True)) if have != want)
    return gradient.sum(axis=axes, keepdims=True)
