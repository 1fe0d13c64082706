"""Measure the two ceilings of this machine and where layers stand below them: `fastconv bench roofline`.

S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model" (CACM 2009). The arithmetic
intensity of a layer is the arithmetic of the direct algorithm over the bytes of its inputs and outputs, each once: an
algorithm that needs less arithmetic may pass the FMA peak.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastconv.bench.machine import cache_bandwidth, memory_bandwidth
from fastconv.bench.rows import Measurement


@dataclass(frozen=True)
class Ceilings:
    """What no layer passes: FLOP/s, and bytes a second from memory and from the second-level caches."""

    peak: float
    memory: float
    cache: float

    def attainable(self, intensity: float) -> float:
        """FLOP/s at so many operations a byte, from memory."""
        return min(self.peak, intensity * self.memory)


def measure_ceilings(peak: float) -> Ceilings:
    """The FMA peak is given; the bandwidths are measured."""
    return Ceilings(peak, memory_bandwidth(), cache_bandwidth())


def intensity(row: Measurement) -> float:
    """Operations a byte."""
    return row.amount / row.nbytes
