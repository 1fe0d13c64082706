"""Which reader a weight file needs: its first bytes say so; the suffix only helps to explain."""

from __future__ import annotations

import os
import zipfile

from ..atomic import check_regular
from ..errors import CheckpointError, shortened
from ..graph.layer import GraphLayer
from .hdf5 import SIGNATURE
from .keras_h5 import load_keras_weights
from .own_weights import load_own_weights
from .safetensors_file import ZIP, begins_as_safetensors, is_own
from .torch_weights import load_torch_weights

_PICKLE = b"\x80"
_KERAS_ARCHIVE = (
    "is a .keras archive, a whole model of Keras: save its weights alone, model.save_weights('x.weights.h5')"
)


def load_weights(model: GraphLayer, path: str | os.PathLike[str]) -> None:
    """Set a model's weights from a file of Keras, PyTorch or fastconv.

    =========================  ==========================================================================
    ``.h5``, ``.hdf5``,        Keras: :func:`load_keras_weights`
    ``.weights.h5``
    ``.pth``, ``.pt``          PyTorch, without PyTorch: :func:`load_torch_weights`
    ``.safetensors``           fastconv's own (``model.save_weights``, ``model.save``), or PyTorch's weights
    =========================  ==========================================================================

    The content decides, whatever the file is called. Keras' ``.keras`` archives are not read.

    Args:
        model: built.
        path: of the file.

    Raises:
        CheckpointError: an unknown, damaged or hostile file, or one that does not fit; what is missing, extra or
            misshaped is named. The model is unchanged.
        ImportError: an ``.h5`` file without h5py. RuntimeError: the model is not built. OSError: the file cannot be
            read.
    """
    model.graph  # raises if the model is not built  # noqa: B018
    name = os.fspath(path)
    check_regular(name)  # opening a pipe would wait for somebody to write to it
    with open(name, "rb") as file:
        head = file.read(64)
    if head.startswith(SIGNATURE):
        load_keras_weights(model, path)
    elif begins_as_safetensors(head):
        if is_own(path):
            load_own_weights(model, path)
        else:
            load_torch_weights(model, path)
    elif head.startswith(ZIP):
        if _is_keras_archive(name):
            raise CheckpointError(f"{name} {_KERAS_ARCHIVE}")
        load_torch_weights(model, path)
    elif head.startswith(_PICKLE) or name.lower().endswith((".pth", ".pt")):
        load_torch_weights(model, path)
    else:
        raise CheckpointError(_unknown(name, head))


def _is_keras_archive(name: str) -> bool:
    try:
        with zipfile.ZipFile(name) as archive:
            return {"config.json", "model.weights.h5"} <= {*archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, LookupError, OverflowError):
        return False  # damaged: the reader of PyTorch's archives says how


def _unknown(name: str, head: bytes) -> str:
    if not head:
        return f"{name} is empty"
    if head.startswith(b"version https://git-lfs"):
        return f"{name} is a pointer of Git LFS, not the file itself: git lfs pull"
    suffix = os.path.splitext(name)[1].lower()
    kind = {".h5": "an HDF5", ".hdf5": "an HDF5", ".safetensors": "a safetensors"}.get(suffix)
    if suffix == ".keras":
        return f"{name} {_KERAS_ARCHIVE}"
    known = "Keras' .h5, PyTorch's .pth and .safetensors files are read"
    reason = f"is not {kind} file" if kind else "is no weight file that is known"
    return f"{name} {reason} ({known}); it begins with {shortened(head[:24])}"
