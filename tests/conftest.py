"""Settings of the whole suite. They must be made before NumPy, PyTorch or fastconv is imported."""

import os

# Three thread pools (ours, PyTorch's, OpenBLAS') that spin while they wait would starve each other on a few cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("MPLBACKEND", "Agg")
