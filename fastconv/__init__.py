"""fastconv: convolutional networks on CPUs, readable to the bottom.

``import fastconv as fc`` gives ``fc.Input``, ``fc.Model``, ``fc.Sequential`` and the modules ``fc.layers``,
``fc.models``, ``fc.ops``, ``fc.optimizers``, ``fc.losses``, ``fc.datasets``, ``fc.visualization`` and so on, each
loaded when it is first touched.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from fastconv._openmp import load_kernels
from fastconv._version import __version__ as __version__
from fastconv.errors import CheckpointError, DatasetError, did_you_mean

try:
    load_kernels()
except ImportError as error:  # an unbuilt checkout: say what to do, and keep the cause
    raise ImportError(f"fastconv's C core cannot be loaded ({error}); build it with `pip install -e .`") from error

from fastconv import config as _config
from fastconv.config import (
    floatx,
    get_conv2d_accuracy,
    get_num_threads,
    set_conv2d_accuracy,
    set_floatx,
    set_num_threads,
    show_config,
)

if TYPE_CHECKING:
    from fastconv import (
        applications,
        callbacks,
        data,
        datasets,
        initializers,
        interop,
        layers,
        losses,
        metrics,
        models,
        ops,
        optimizers,
        preprocessing,
        reference,
        regularizers,
        testing,
        utils,
        visualization,
    )
    from fastconv.models import Input, Model, Sequential


_MODULES = (
    "applications",
    "callbacks",
    "data",
    "datasets",
    "initializers",
    "interop",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "preprocessing",
    "reference",
    "regularizers",
    "testing",
    "utils",
    "visualization",
)
_FROM_MODELS = ("Input", "Model", "Sequential")

__all__ = [
    "CheckpointError",
    "DatasetError",
    "floatx",
    "get_conv2d_accuracy",
    "get_num_threads",
    "set_floatx",
    "set_conv2d_accuracy",
    "set_num_threads",
    "show_config",
    *_MODULES,
    *_FROM_MODELS,
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"fastconv.{name}")
    if name in _FROM_MODELS:
        return getattr(importlib.import_module("fastconv.models"), name)
    hint = "" if name.startswith("_") else did_you_mean(name, __all__)
    raise AttributeError(f"module 'fastconv' has no attribute {name!r}{hint}", name=name, obj=None)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_FROM_MODELS])


_config._start()
