"""Dropout: noise in training that keeps a network from relying on single features."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import numpy as np

from .. import ops
from ..checks import integer
from .arguments import check_data_format, image_channels, real
from .base import Layer, LayerOptions
from .node import Shape


class Dropout(Layer):
    """In training each value is 0 with probability ``rate``, else divided by ``1 - rate`` (Srivastava et al. 2014).

    The mask follows from a seed and a counter that grows with every call: it does not depend on the number of
    threads, and two calls of a shared layer draw different ones.

    Args:
        rate: in [0, 1).
        noise_shape: not supported, must be None; see :class:`SpatialDropout2D`.
        seed: by default drawn from fastconv's generator (``fastconv.utils.set_random_seed``).

    Raises:
        TypeError, ValueError: a rate that is not a number in [0, 1), a seed that is not an integer.
    """

    config_fields: ClassVar[tuple[str, ...]] = ("rate", "noise_shape", "seed")

    def __init__(
        self, rate: float, noise_shape: None = None, seed: int | None = None, **kwargs: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**kwargs)
        if noise_shape is not None:
            raise ValueError("noise_shape is not supported; SpatialDropout2D drops whole channels")
        self.noise_shape = noise_shape
        self.rate = real(rate, "rate")
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate must lie in [0, 1), got {rate}")
        self.seed = None if seed is None else integer(seed, "seed", 0)
        self.state = self.add_random_state(self.seed)

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        if not training or self.rate == 0:
            return x, None
        seed, counter = self.state.tolist()
        self.state[1] += 1
        return self._drop(x, seed, counter), (seed, counter)

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return dy if cache is None else self._drop_backward(dy, *cache)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def _drop(self, x: np.ndarray, seed: int, counter: int) -> np.ndarray:
        return ops.dropout(x, self.rate, seed, counter)

    def _drop_backward(self, dy: np.ndarray, seed: int, counter: int) -> np.ndarray:
        return ops.dropout_backward(dy, self.rate, seed, counter)


class SpatialDropout2D(Dropout):
    """:class:`Dropout` of whole channels of ``(N, H, W, C)`` (Tompson et al. 2014).

    Args:
        rate: in [0, 1).
        data_format: None or ``"channels_last"``.
        seed: as in :class:`Dropout`.

    Raises:
        TypeError, ValueError: as :class:`Dropout`.
    """

    config_fields = ("rate", "seed")

    def __init__(
        self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Unpack[LayerOptions]
    ) -> None:
        super().__init__(rate, seed=seed, **kwargs)
        check_data_format(data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        image_channels(input_shape)
        return input_shape

    def _drop(self, x: np.ndarray, seed: int, counter: int) -> np.ndarray:
        return ops.spatial_dropout2d(x, self.rate, seed, counter)

    def _drop_backward(self, dy: np.ndarray, seed: int, counter: int) -> np.ndarray:
        return ops.spatial_dropout2d_backward(dy, self.rate, seed, counter)
