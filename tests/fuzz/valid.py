"""Ops with a valid geometry against their twins in ``fastconv.reference``: every op with its gradients."""

from __future__ import annotations

from .comparing import Case, Comparison
from .valid_convolution import CONVOLUTIONS
from .valid_elements import ELEMENTS
from .valid_images import IMAGES

#: name -> (share of the cases, the case).
CASES: dict[str, tuple[float, Case]] = {**CONVOLUTIONS, **IMAGES, **ELEMENTS}


def run(seed: int) -> None:
    """One case."""
    comparison = Comparison(seed)
    names = list(CASES)
    shares = [CASES[name][0] for name in names]
    name = comparison.rng.choice(names, p=[share / sum(shares) for share in shares])
    CASES[str(name)][1](comparison)
