"""A layer's weights: storage, gradient, and whether they are trained."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import as_array

ALIGNMENT = 64  # bytes: one cache line, and the widest vector of any instruction set


class Parameter:
    """An array that a layer owns and an optimizer changes.

    Args:
        name: within its layer, e.g. ``"kernel"``.
        value: initial values; copied into 64-byte aligned storage of the parameter's own, unless ``adopt``.
        trainable: False for state such as a moving mean.
        regularizer: penalty on the value (see ``fastconv.regularizers``), or None.
        adopt: keep the array of ``value`` itself, if it begins at a cache line; nobody else may hold it.

    Attributes:
        shape, dtype: of the value; the dtype is ``float32`` or ``float64``.
        trainable: whether gradients are collected; a layer's ``trainable`` switches it.
        version: grows before and after every change, so that packed or transformed weights can be cached by it; odd
            while values are being written. Read it *before* the values, and keep nothing under an odd one.
        grad: gradient of the current step, or None before the first :meth:`add_grad`.
    """

    __slots__ = (
        "_owns_grad",
        "_storage",
        "_view",
        "dtype",
        "grad",
        "name",
        "regularizer",
        "shape",
        "trainable",
        "version",
    )

    def __init__(
        self, name: str, value: np.ndarray, trainable: bool = True, regularizer: Any = None, adopt: bool = False
    ) -> None:
        self.name = name
        self.trainable = trainable
        self.regularizer = regularizer
        self.version = 0
        self.grad: np.ndarray | None = None
        self._owns_grad = False
        if adopt and value.flags.carray and value.ctypes.data % ALIGNMENT == 0:
            self._storage = value
        else:
            self._storage = _aligned_empty(value.shape, value.dtype)
            self._storage[...] = value
        self.shape: tuple[int, ...] = self._storage.shape
        self.dtype: np.dtype = self._storage.dtype
        self._view = self._storage.view()
        self._view.flags.writeable = False

    @property
    def value(self) -> np.ndarray:
        """A read-only view of the values; :meth:`assign` changes them."""
        return self._view

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._storage.size

    def numpy(self) -> np.ndarray:
        """Return a copy of the value."""
        return self._storage.copy()

    def assign(self, value: Any) -> None:
        """Copy ``value`` into the parameter.

        Raises:
            ValueError: another shape. TypeError: values that do not convert to the parameter's dtype.
        """
        array = as_array(value, f'values of "{self.name}"')
        if array.shape != self.shape:
            raise ValueError(f'parameter "{self.name}" has shape {self.shape}, got values of shape {array.shape}')
        if array.dtype.kind not in "fiu":
            raise TypeError(f'parameter "{self.name}" is {self.dtype}, got values of dtype {array.dtype}')
        with Change(self):
            self._storage[...] = array

    def blend(self, value: np.ndarray, momentum: float) -> None:
        """Move towards ``value`` in place: ``momentum * self + (1 - momentum) * value``."""
        self._begin_change()  # as Change does, in less time than the arithmetic takes
        try:
            self._storage *= momentum
            self._storage += (1 - momentum) * value
        finally:
            self._end_change()

    def add_grad(self, gradient: np.ndarray) -> None:
        """Add to the step's gradient; a parameter that is not trainable ignores it.

        The first gradient of a step is kept without a copy, so its array must not be changed afterwards; it is
        never written to.

        Raises:
            ValueError: another shape than the parameter's. TypeError: another dtype, or no array.
        """
        if not self.trainable:
            return
        if not isinstance(gradient, np.ndarray):
            raise TypeError(f'gradient of "{self.name}" must be an array, got {type(gradient).__name__}')
        if gradient.shape != self.shape:
            raise ValueError(f'gradient of "{self.name}" has shape {gradient.shape}, the parameter {self.shape}')
        if gradient.dtype is not self.dtype and gradient.dtype != self.dtype:
            raise TypeError(f'gradient of "{self.name}" is {gradient.dtype}, the parameter {self.dtype}')
        if self.grad is None:
            self.grad = gradient
            self._owns_grad = False
        elif self._owns_grad:
            self.grad += gradient
        else:
            self.grad = self.grad + gradient
            self._owns_grad = True

    def set_grad(self, gradient: np.ndarray) -> None:
        """Replace the step's gradient; see :meth:`add_grad`."""
        self.zero_grad()
        self.add_grad(gradient)

    def zero_grad(self) -> None:
        """Forget the step's gradient."""
        self.grad = None
        self._owns_grad = False

    # CPython changes threads at calls and loops, so not in the middle of one of these statements.

    def _begin_change(self) -> None:
        self.version = (self.version + 1) | 1  # the next odd number

    def _end_change(self) -> None:
        self.version = (self.version | 1) + 1  # the next even number

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies (``copy.deepcopy``) get storage of their own, which their ``value`` is a view of; no gradient."""
        return Parameter, (self.name, self._storage, self.trainable, self.regularizer)

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.shape}, dtype={self.dtype}, trainable={self.trainable})"


class Change:
    """``with Change(parameter, ...):`` surrounds, and alone may surround, what writes values of these parameters.

    Other threads may read meanwhile: a kernel runs without the interpreter's lock. What they make of values half
    written must not pass for that of the old version, nor of the new one; so there is a version for each of the three
    states, also if an error or Ctrl-C ends the change early. Two threads that change a parameter at once do no harm:
    whoever ends last leaves a version that nobody has seen.
    """

    __slots__ = ("_parameters",)

    def __init__(self, *parameters: Parameter) -> None:
        self._parameters = parameters

    def __enter__(self) -> None:
        for parameter in self._parameters:
            parameter._begin_change()

    def __exit__(self, *error: object) -> None:
        for parameter in self._parameters:
            parameter._end_change()


def _aligned_empty(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    buffer = np.empty(size + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)
