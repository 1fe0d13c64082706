"""Dropout with a counter-based generator: the mask is a pure function of (seed, counter, element index).

So it is never stored (backward draws it again), and does not depend on how the work is split over threads.
N. Srivastava et al., "Dropout" (JMLR 2014); J. Tompson et al. (CVPR 2015) for the spatial form; J. Salmon et al.,
"Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011) for Philox4x32-10.

The rule, to the bit. Element ``e`` (flat C-order index; for the spatial form ``n * C + c``) looks at word ``e % 4``
of ``philox4x32(words, key)`` with

    words = (low 32 bits of e // 4, high 32 bits of e // 4, low 32 bits of counter, high 32 bits of counter)
    key   = (low 32 bits of seed, high 32 bits of seed)

and is kept where ``word >= round(rate * 2**32)`` (as 64-bit integers; half rounds to even). A kept element is
multiplied by ``1 / (1 - rate)``, computed in float64 and rounded once to the array's dtype; a dropped one is +0.
"""

import numpy as np

from fastconv.reference.geometry import Array

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox4x32(words: tuple[Array, Array, Array, Array], key: tuple[int, int]) -> tuple[Array, Array, Array, Array]:
    """Ten rounds of Philox4x32: four 32-bit counter words (uint64 arrays) and a key to four random 32-bit words."""
    w0, w1, w2, w3 = words
    k0, k1 = key
    for _ in range(10):
        p0, p1 = _MULTIPLIERS[0] * w0, _MULTIPLIERS[1] * w2
        w0, w1, w2, w3 = (p1 >> _HALF) ^ w1 ^ np.uint64(k0), p1 & _LOW, (p0 >> _HALF) ^ w3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return w0, w1, w2, w3


def _keep(count: int, rate: float, seed: int, counter: int) -> Array:
    """Which of elements 0 ... count - 1 are kept: bool (count,)."""
    block = np.arange(-(-count // 4), dtype=np.uint64)
    words = (
        block & _LOW,
        block >> _HALF,
        np.full_like(block, counter & 0xFFFFFFFF),
        np.full_like(block, counter >> 32),
    )
    random = np.stack(philox4x32(words, (seed & 0xFFFFFFFF, seed >> 32)), axis=-1).reshape(-1)[:count]
    return random >= np.uint64(round(rate * 2**32))


def dropout(x: Array, rate: float, seed: int, counter: int) -> Array:
    """Set each element of ``x`` to 0 with probability ``rate``, scale the others by ``1 / (1 - rate)``.

    ``seed`` and ``counter`` are ints in [0, 2**64); the same pair gives the same mask.
    """
    keep = _keep(x.size, rate, seed, counter).reshape(x.shape)
    return np.where(keep, x * x.dtype.type(1 / (1 - rate)), x.dtype.type(0))


def dropout_backward(dy: Array, rate: float, seed: int, counter: int) -> Array:
    """Gradient of :func:`dropout`: the same mask and scale, applied to ``dy``."""
    return dropout(dy, rate, seed, counter)


def spatial_dropout2d(x: Array, rate: float, seed: int, counter: int) -> Array:
    """Like :func:`dropout`, but whole planes of ``x`` (N, H, W, C) are dropped: one draw for each (n, c)."""
    n, _, _, c = x.shape
    keep = _keep(n * c, rate, seed, counter).reshape(n, 1, 1, c)
    return np.where(keep, x * x.dtype.type(1 / (1 - rate)), x.dtype.type(0))


def spatial_dropout2d_backward(dy: Array, rate: float, seed: int, counter: int) -> Array:
    """Gradient of :func:`spatial_dropout2d`: the same mask and scale, applied to ``dy``."""
    return spatial_dropout2d(dy, rate, seed, counter)
