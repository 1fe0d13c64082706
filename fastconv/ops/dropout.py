"""Dropout whose mask is a pure function of (seed, counter, element index).

It is never stored: backward draws it again. Neither the thread count nor the instruction set changes it; the exact rule
is in :mod:`fastconv.reference.dropout`. N. Srivastava et al., "Dropout" (JMLR 2014); J. Tompson et al. (CVPR 2015) for
the spatial form; J. Salmon et al. (SC 2011) for the generator, Philox4x32-10.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv.checks import any_integer
from fastconv.ops import _checks


def dropout(x: Any, rate: float, seed: int, counter: int) -> np.ndarray:
    """Set each element of ``x`` to 0 with probability ``rate``, multiply the others by ``1 / (1 - rate)``.

    ``seed`` and ``counter`` are ints in [0, 2**64); the same pair gives the same mask.

    Raises:
        ValueError: ``rate`` outside [0, 1), ``seed`` or ``counter`` outside their range. TypeError: they are no
            integers, or ``x`` is neither float32 nor float64.
    """
    return _drop(x, "x", rate, seed, counter)


def dropout_backward(dy: Any, rate: float, seed: int, counter: int) -> np.ndarray:
    """Gradient of :func:`dropout`: the same mask and scale, applied to ``dy``."""
    return _drop(dy, "dy", rate, seed, counter)


def spatial_dropout2d(x: Any, rate: float, seed: int, counter: int) -> np.ndarray:
    """Like :func:`dropout`, but whole planes of ``x`` (N, H, W, C) are dropped: one draw for each (n, c)."""
    return _drop_planes(x, "x", rate, seed, counter)


def spatial_dropout2d_backward(dy: Any, rate: float, seed: int, counter: int) -> np.ndarray:
    """Gradient of :func:`spatial_dropout2d`: the same mask and scale, applied to ``dy``."""
    return _drop_planes(dy, "dy", rate, seed, counter)


def _drop(x: Any, name: str, rate: Any, seed: Any, counter: Any) -> np.ndarray:
    x = _checks.array(x, name)
    y = _kernels.empty(x.shape, x.dtype)
    _kernels.dropout(*_parameters(rate, seed, counter), x, y)
    return y


def _drop_planes(x: Any, name: str, rate: Any, seed: Any, counter: Any) -> np.ndarray:
    x = _checks.image(x, name)
    y = _kernels.empty(x.shape, x.dtype)
    _kernels.spatial_dropout(*_parameters(rate, seed, counter), x, y)
    return y


def _parameters(rate: Any, seed: Any, counter: Any) -> tuple[int, int, int, float]:
    """seed, counter, the threshold that a draw of 32 bits must reach to be kept, and the scale of what is kept."""
    rate = _checks.real(rate, "rate") if not isinstance(rate, float) else rate
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be in [0, 1), got {rate}")
    return _word(seed, "seed"), _word(counter, "counter"), round(rate * 2**32), 1 / (1 - rate)


def _word(value: Any, name: str) -> int:
    number = any_integer(value, name)
    if not 0 <= number < 2**64:
        raise ValueError(f"{name} must be in [0, 2**64), got {number}")
    return number
