"""Weights from elsewhere: Keras' HDF5 files, PyTorch's checkpoints, safetensors; and export to ONNX.

``load_weights(model, path)`` looks at the file and calls the right reader. PyTorch files are read without PyTorch, and
no pickle is executed. Every reader checks everything first and then sets the weights, so a file that does not fit
leaves the model as it was.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ..errors import did_you_mean

if TYPE_CHECKING:
    from .files import load_weights
    from .keras_h5 import load_keras_weights
    from .onnx_export import export_onnx, to_onnx
    from .torch_file import read_torch_file
    from .torch_weights import load_torch_weights

# name -> module, loaded when touched: h5py and onnx are optional.
_HOME = {
    "export_onnx": "onnx_export",
    "load_keras_weights": "keras_h5",
    "load_torch_weights": "torch_weights",
    "load_weights": "files",
    "read_torch_file": "torch_file",
    "to_onnx": "onnx_export",
}
_MODULES = ("pretrained",)

__all__ = [
    "export_onnx",
    "load_keras_weights",
    "load_torch_weights",
    "load_weights",
    "pretrained",
    "read_torch_file",
    "to_onnx",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    hint = "" if name.startswith("_") else did_you_mean(name, __all__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}", name=name, obj=None)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
