"""The zoo: the networks of the literature, as functions that return a model, with Keras' arguments.

``fc.applications.VGG16(weights=None)`` builds one. As in Keras, what belongs to a network is in a module of its name:
``fc.applications.vgg16.preprocess_input(images)`` scales images as its weights want them, and
``fc.applications.vgg16.decode_predictions(model.predict(...))`` names the classes. :func:`networks` lists all networks.
Modules are loaded when they are first touched.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import did_you_mean
from .imagenet import NETWORKS, Network, class_names, decode_predictions, network_of, preprocessing_of

if TYPE_CHECKING:
    from . import (
        alexnet,
        densenet,
        enet,
        googlenet,
        imagenet,
        inception_v3,
        lenet,
        mobilenet,
        mobilenet_v2,
        nin,
        resnet,
        squeezenet,
        vgg,
        xception,
        zfnet,
    )
    from .alexnet import AlexNet
    from .densenet import DenseNet121, DenseNet169, DenseNet201
    from .enet import ENet
    from .googlenet import GoogLeNet
    from .inception_v3 import InceptionV3
    from .lenet import LeNet5
    from .mobilenet import MobileNet
    from .mobilenet_v2 import MobileNetV2
    from .nin import NiN
    from .resnet import ResNet18, ResNet34, ResNet50, ResNet101, ResNet152
    from .squeezenet import SqueezeNet
    from .vgg import VGG16, VGG19
    from .xception import Xception
    from .zfnet import ZFNet

    resnet50: ModuleType
    vgg16: ModuleType
    vgg19: ModuleType

__all__ = [
    "AlexNet",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "ENet",
    "GoogLeNet",
    "InceptionV3",
    "LeNet5",
    "MobileNet",
    "MobileNetV2",
    "NiN",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "SqueezeNet",
    "VGG16",
    "VGG19",
    "Xception",
    "ZFNet",
    "alexnet",
    "class_names",
    "decode_predictions",
    "densenet",
    "enet",
    "googlenet",
    "imagenet",
    "inception_v3",
    "lenet",
    "mobilenet",
    "mobilenet_v2",
    "networks",
    "nin",
    "preprocessing_of",
    "resnet",
    "resnet50",
    "squeezenet",
    "vgg",
    "vgg16",
    "vgg19",
    "xception",
    "zfnet",
]

_FUNCTIONS = {network.name: network for network in NETWORKS}
_FILES = {network.module for network in NETWORKS}


def networks() -> dict[str, Callable[..., Any]]:
    """Return every network: its name in lower case without underscores (``"mobilenetv2"``) -> the function."""
    return {network.key: network.function for network in NETWORKS}


class _KerasModule(ModuleType):
    """A module of Keras' name for one network of a family: the function, ``preprocess_input``, ``decode_predictions``.

    The code is in the file of the family (``vgg16`` in ``vgg.py``), which is loaded when the function is touched.
    """

    def __init__(self, name: str, network: Network) -> None:
        super().__init__(f"{__name__}.{name}", f"{network.name} of `{network.module}.py` and what belongs to it.")
        self.preprocess_input = preprocessing_of(network.name)
        self.decode_predictions = decode_predictions
        self.__all__ = [network.name, "decode_predictions", "preprocess_input"]

    def __getattr__(self, name: str) -> Any:
        if name == self.__all__[0]:
            return _FUNCTIONS[name].function
        hint = "" if name.startswith("_") else did_you_mean(name, self.__all__)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}{hint}", name=name, obj=None)

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *self.__all__])


for _name in ("resnet50", "vgg16", "vgg19"):
    # In sys.modules too, so that `from fastconv.applications.vgg16 import VGG16` works as in Keras.
    globals()[_name] = sys.modules[f"{__name__}.{_name}"] = _KerasModule(_name, network_of(_name))


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return _FUNCTIONS[name].function
    if name in _FILES:
        return importlib.import_module(f".{name}", __name__)
    hint = (
        "" if name.startswith("_") else did_you_mean(name, reversed(__all__))
    )  # of ResNet50 and resnet50, the function
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}", name=name, obj=None)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
