"""How a layer's weights start: Keras' initializers by Keras' names.

An initializer is a callable ``(shape, dtype) -> array``. One with an integer ``seed`` returns the same values at
every call; one without draws from the generator that ``fastconv.utils.set_random_seed`` seeds.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import random as _random
from .config import floatx
from .errors import suggest_names
from .registry import Configurable, by_name, resolve, serialize

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "compute_fans",
    "get",
    "serialize",
]
suggest_names(__name__)

# The standard deviation of a standard normal distribution cut off at two standard deviations.
_TRUNCATED_STDDEV = 0.87962566103423978
_ALIGNMENT = 64  # bytes, as in layers/parameter.py


class Initializer(Configurable):
    """Base class: override ``__call__`` and, with arguments of your own, ``get_config``."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        """Return a new C-contiguous array of ``shape`` and ``dtype`` (default: ``fastconv.floatx()``)."""
        raise NotImplementedError


class Zeros(Initializer):
    """All zeros."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        return np.zeros(shape, dtype or floatx())


class Ones(Initializer):
    """All ones."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        return np.ones(shape, dtype or floatx())


class Constant(Initializer):
    """One value everywhere (default 0), or an array that broadcasts to the shape."""

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        return np.array(np.broadcast_to(self.value, shape), dtype or floatx())

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value.tolist() if isinstance(self.value, np.ndarray) else self.value}


class _Random(Initializer):
    """Base of the random ones: keeps the seed and hands out a generator."""

    def __init__(self, seed: int | None = None) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
            raise TypeError(f"seed must be an integer or None, got {seed!r}")
        self.seed = None if seed is None else int(seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}

    def _generator(self) -> np.random.Generator:
        return _random.generator() if self.seed is None else np.random.default_rng(self.seed)


class RandomNormal(_Random):
    """Normal distribution; ``mean`` 0 and ``stddev`` 0.05 by default."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean, self.stddev = mean, _positive(stddev, "stddev", zero_allowed=True)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        return _scale(_normal(self._generator(), shape, dtype), self.stddev, self.mean)

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config()}


class TruncatedNormal(RandomNormal):
    """Normal distribution whose values beyond two ``stddev`` from the mean are drawn again."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        return _scale(_truncated_normal(self._generator(), shape, dtype), self.stddev, self.mean)


class RandomUniform(_Random):
    """Uniform distribution on ``[minval, maxval)``, by default [-0.05, 0.05)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        if not minval <= maxval:
            raise ValueError(f"minval must not exceed maxval, got {minval} and {maxval}")
        self.minval, self.maxval = minval, maxval

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        return _scale(_uniform(self._generator(), shape, dtype), self.maxval - self.minval, self.minval)

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, **super().get_config()}


class VarianceScaling(_Random):
    """Random weights whose variance is ``scale / n``: activations keep their scale from layer to layer.

    Args:
        scale: positive factor.
        mode: ``n`` is the number of inputs of a unit (``"fan_in"``), of outputs (``"fan_out"``) or their mean
            (``"fan_avg"``); see :func:`compute_fans`.
        distribution: ``"truncated_normal"`` (alias ``"normal"``), ``"untruncated_normal"`` or ``"uniform"``.
        seed: integer, or None for the process-wide generator.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"mode must be 'fan_in', 'fan_out' or 'fan_avg', got {mode!r}")
        distribution = "truncated_normal" if distribution == "normal" else distribution
        if distribution not in ("truncated_normal", "untruncated_normal", "uniform"):
            raise ValueError(
                f"distribution must be 'truncated_normal', 'untruncated_normal' or 'uniform', got {distribution!r}"
            )
        self.scale, self.mode, self.distribution = _positive(scale, "scale"), mode, distribution

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        fan_in, fan_out = compute_fans(shape)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = self.scale / max(1.0, fans[self.mode])
        rng = self._generator()
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return _scale(_uniform(rng, shape, dtype), 2 * limit, -limit)
        if self.distribution == "untruncated_normal":
            return _scale(_normal(rng, shape, dtype), math.sqrt(variance))
        return _scale(_truncated_normal(rng, shape, dtype), math.sqrt(variance) / _TRUNCATED_STDDEV)

    def get_config(self) -> dict[str, Any]:
        return {"scale": self.scale, "mode": self.mode, "distribution": self.distribution, **super().get_config()}


class _Preset(VarianceScaling):
    """A VarianceScaling with a name of its own; only the seed is left to choose."""

    _arguments: tuple[float, str, str]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self._arguments, seed=seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class GlorotUniform(_Preset):
    """Uniform within ``sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio, 2010): the default of most layers."""

    _arguments = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Preset):
    """Truncated normal with standard deviation ``sqrt(2 / (fan_in + fan_out))`` (Glorot and Bengio, 2010)."""

    _arguments = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Preset):
    """Uniform within ``sqrt(6 / fan_in)``, for ReLU networks (He et al., 2015, arXiv:1502.01852)."""

    _arguments = (2.0, "fan_in", "uniform")


class HeNormal(_Preset):
    """Truncated normal with standard deviation ``sqrt(2 / fan_in)`` (He et al., 2015, arXiv:1502.01852)."""

    _arguments = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Preset):
    """Uniform within ``sqrt(3 / fan_in)`` (LeCun et al., Efficient BackProp, 1998)."""

    _arguments = (1.0, "fan_in", "uniform")


class LecunNormal(_Preset):
    """Truncated normal with standard deviation ``sqrt(1 / fan_in)`` (LeCun et al., Efficient BackProp, 1998)."""

    _arguments = (1.0, "fan_in", "truncated_normal")


class Orthogonal(_Random):
    """``gain`` times a random matrix with orthonormal columns (rows, if it is wide) (Saxe et al., arXiv:1312.6120).

    A shape of more than two axes is the matrix ``(product of all axes but the last, last axis)``.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(f"an orthogonal matrix needs at least two axes, got shape {tuple(shape)}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        noise = self._generator().standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(noise)
        # QR leaves the columns' signs to LAPACK; fixing them makes q uniform over the orthogonal matrices.
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        matrix = q.T if rows < columns else q
        return np.ascontiguousarray(self.gain * matrix.reshape(shape), dtype or floatx())

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, **super().get_config()}


def compute_fans(shape: Sequence[int]) -> tuple[int, int]:
    """Return (inputs, outputs) of one unit with weights of this shape, by Keras' rule.

    ``(inputs, outputs)`` for a matrix; for a kernel ``(..., inputs, outputs)`` both times the receptive field.
    """
    if len(shape) < 2:
        fan = int(shape[0]) if len(shape) else 1
        return fan, fan
    receptive_field = math.prod(shape[:-2])
    return int(shape[-2] * receptive_field), int(shape[-1] * receptive_field)


def _positive(value: float, name: str, zero_allowed: bool = False) -> float:
    if not (value > 0 or (zero_allowed and value == 0)) or math.isinf(value):
        raise ValueError(f"{name} must be a {'non-negative' if zero_allowed else 'positive'} number, got {value}")
    return value


def _uniform(rng: np.random.Generator, shape: Sequence[int], dtype: Any) -> np.ndarray:
    values = _aligned_empty(shape, dtype)
    return rng.random(dtype=values.dtype.type, out=values)


def _normal(rng: np.random.Generator, shape: Sequence[int], dtype: Any) -> np.ndarray:
    values = _aligned_empty(shape, dtype)
    return rng.standard_normal(dtype=values.dtype.type, out=values)


def _aligned_empty(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """An array at the start of a cache line, so that a parameter can keep it without a copy."""
    dtype = np.dtype(dtype or floatx())
    size = math.prod(shape) * dtype.itemsize
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(tuple(shape))


def _truncated_normal(rng: np.random.Generator, shape: Sequence[int], dtype: Any) -> np.ndarray:
    values = _normal(rng, shape, dtype).reshape(-1)
    outside = np.flatnonzero((values > 2) | (values < -2))  # two masks of bytes: np.abs would be a second array
    while outside.size:
        values[outside] = redrawn = _normal(rng, (outside.size,), values.dtype)
        outside = outside[np.abs(redrawn) > 2]
    return values.reshape(tuple(shape))


def _scale(values: np.ndarray, factor: float, offset: float = 0.0) -> np.ndarray:
    """Scale and shift in place: a large layer's weights are allocated once."""
    values *= factor
    if offset:
        values += offset
    return values


_CLASSES = (
    Zeros,
    Ones,
    Constant,
    RandomNormal,
    TruncatedNormal,
    RandomUniform,
    VarianceScaling,
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
    Orthogonal,
)
_TABLE = by_name(*_CLASSES)
_TABLE.update(normal=RandomNormal, uniform=RandomUniform, zero=Zeros, one=Ones)


def get(identifier: Any) -> Callable[..., np.ndarray]:
    """Return an initializer.

    Args:
        identifier: Keras' name (``"he_normal"``, ``"HeNormal"``), a description from :func:`serialize`, or any
            callable ``(shape, dtype) -> array``; None means zeros.

    Raises:
        ValueError: an unknown name. TypeError: neither a name nor a callable.
    """
    initializer = resolve("zeros" if identifier is None else identifier, _TABLE, "initializer")
    if not callable(initializer):
        raise TypeError(f"an initializer is a name or a callable (shape, dtype) -> array, got {identifier!r}")
    return initializer
