"""Settings of the whole suite. They must be made before NumPy, PyTorch or fastconv is imported."""

import os

# Three thread pools (ours, PyTorch's, OpenBLAS') that spin while they wait would starve each other on a few cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("MPLBACKEND", "Agg")

import signal
from collections.abc import Iterator

import pytest

import fastconv as fc

# A shell starts programs in the background with Ctrl-C ignored, and some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def exact_accuracy() -> Iterator[None]:
    """ "auto" keeps to direct sums during a test."""
    fc.set_conv2d_accuracy("exact")
    yield
    fc.set_conv2d_accuracy("fast")
