"""Loads the C core so that OpenMP threads that wait do not burn a busy machine's time."""

from __future__ import annotations

import importlib
import os

#: How often libgomp looks for more work before a waiting thread sleeps. Its own default spins for some 10 ms, so on a
#: machine with other work a small kernel takes a scheduler's time slice or more. This is about 0.15 ms. Measured on two
#: cores of a Zen 4, a training step of LeNet-5 (batch 64) and MobileNet on one picture, in ms: 10000: 1.77 and 10.1 on
#: a quiet machine; 3000: 1.84 and 10.3; 1000: 1.90 and 11.0; 0: 2.8 and 15. Beside one busy program, before
#: csrc/neighbours.c finds it out in some 40 ms: 10000: 13.8 and 45; 3000: 6.4 and 26; 1000: 4.4 and 20.
SPIN_COUNT = "3000"


def load_kernels() -> None:
    """Import ``fastconv._kernels``, with a bounded spin count for the OpenMP that comes with it.

    libgomp reads the environment once, when it is loaded; what the user has set there is left alone, and the
    environment is as it was when other libraries (each brings an OpenMP of its own) are loaded later.
    """
    chosen = any(name in os.environ for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"))
    if not chosen:
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    try:
        importlib.import_module("fastconv._kernels")
    finally:
        if not chosen:
            del os.environ["GOMP_SPINCOUNT"]
