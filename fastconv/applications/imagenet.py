"""What surrounds a network trained on ImageNet: how its input is scaled, and what its 1000 outputs are called.

Networks learn on images that somebody scaled, and compute nonsense on images scaled otherwise. :data:`NETWORKS` is the
table of who wants what; every family has it as ``preprocess_input``, as in Keras (``fc.applications.vgg16``, ...).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import integer
from ..errors import channels_first_hint, did_you_mean

__all__ = [
    "NETWORKS",
    "Network",
    "class_names",
    "decode_predictions",
    "network_of",
    "preprocess_caffe",
    "preprocess_input",
    "preprocess_tf",
    "preprocess_torch",
    "preprocess_unit",
    "preprocessing_of",
]

CLASSES = 1000
_NAMES = Path(__file__).parent / "data" / "imagenet" / "classes.txt"

_CAFFE_MEAN = (103.939, 116.779, 123.68)  # of ImageNet's training images: blue, green, red
_TORCH_MEAN = (0.485, 0.456, 0.406)  # red, green, blue, of values from 0 to 1
_TORCH_STD = (0.229, 0.224, 0.225)


@cache
def class_names() -> tuple[tuple[str, str], ...]:
    """Return the classes of ImageNet (ILSVRC 2012) in the order of a network's 1000 outputs.

    Each is (WordNet id, name): ``class_names()[285]`` is ``("n02124075", "Egyptian_cat")``. Names are those of Keras;
    "crane" and "maillot" occur twice, ids do not.
    """
    wordnet_ids, names = zip(*(line.split() for line in _NAMES.read_text("utf-8").splitlines()), strict=True)
    return tuple(zip(wordnet_ids, names, strict=True))


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """Name the most probable classes of ImageNet, as in Keras.

    Args:
        preds: predictions (N, 1000), as ``model.predict`` returns them.
        top: how many classes a sample, from 1 to 1000.

    Returns:
        For each sample a list of ``top`` tuples (WordNet id, name, score), the highest score first. Of equal scores the
        class with the lower index comes first; NaN counts as the highest, so that it cannot be missed.

    Raises:
        ValueError: another shape than (N, 1000), or ``top`` out of range. TypeError: not real numbers.
    """
    scores = np.asarray(preds)
    if scores.dtype.kind not in "fiu":
        raise TypeError(f"predictions must be real numbers, got an array of {scores.dtype}")
    if scores.ndim != 2 or scores.shape[1] != CLASSES:
        hint = "; one sample is predictions[np.newaxis]" if scores.shape == (CLASSES,) else ""
        raise ValueError(
            f"decode_predictions names the {CLASSES} classes of ImageNet: it needs predictions of shape "
            f"(N, {CLASSES}), got {scores.shape}{hint}"
        )
    if integer(top, "top") > CLASSES:
        raise ValueError(f"top is {top}, but there are {CLASSES} classes")
    names = class_names()
    decoded = []
    for row in scores:
        # Ascending and stable on the reversed row, then read backwards: the lower index wins a tie, NaN comes first.
        order = CLASSES - 1 - np.argsort(row[::-1], kind="stable")[::-1][:top]
        decoded.append([(*names[i], float(row[i])) for i in order])
    return decoded


def preprocess_tf(x: Any) -> np.ndarray:
    """Scale pixels from 0 ... 255 to -1 ... 1, as Inception, Xception, MobileNet and MobileNetV2 want them in Keras.

    Args:
        x: images (..., H, W, C) with pixels from 0 to 255, integers or floats.

    Returns:
        A new float32 array of the same shape. (Keras changes float arrays in place; here ``x`` stays as it is.)

    Raises:
        TypeError: not real numbers. ValueError: fewer than three axes.
    """
    y = _images(x).astype(np.float32)
    y /= 127.5
    y -= 1
    return y


def preprocess_caffe(x: Any) -> np.ndarray:
    """Reorder RGB to BGR and subtract ImageNet's mean, as VGG and ResNet want it in Keras, and Caffe's networks do.

    Args:
        x: RGB images (..., H, W, 3) with pixels from 0 to 255, integers or floats.

    Returns:
        A new float32 array of the same shape: blue - 103.939, green - 116.779, red - 123.68; not scaled. (Keras changes
        float arrays in place; here ``x`` stays as it is.)

    Raises:
        TypeError: not real numbers. ValueError: another number of channels than 3.
    """
    y = np.array(_images(x, rgb=True)[..., ::-1], dtype=np.float32, order="C")
    y -= np.array(_CAFFE_MEAN, np.float32)
    return y


def preprocess_torch(x: Any) -> np.ndarray:
    """Scale pixels to 0 ... 1 and normalise each channel: for DenseNet in Keras, and for all networks of torchvision.

    Args:
        x: RGB images (..., H, W, 3) with pixels from 0 to 255, integers or floats.

    Returns:
        A new float32 array of the same shape: (x / 255 - mean) / std with mean 0.485, 0.456, 0.406 and standard
        deviation 0.229, 0.224, 0.225. (Keras changes float arrays in place; here ``x`` stays as it is.)

    Raises:
        TypeError: not real numbers. ValueError: another number of channels than 3.
    """
    y = _images(x, rgb=True).astype(np.float32)
    y /= 255
    y -= np.array(_TORCH_MEAN, np.float32)
    y /= np.array(_TORCH_STD, np.float32)
    return y


def preprocess_unit(x: Any) -> np.ndarray:
    """Scale pixels from 0 ... 255 to 0 ... 1, for networks that nobody published weights of.

    Args:
        x: images (..., H, W, C) with pixels from 0 to 255, integers or floats.

    Returns:
        A new float32 array of the same shape.

    Raises:
        TypeError: not real numbers. ValueError: fewer than three axes.
    """
    y = _images(x).astype(np.float32)
    y /= 255
    return y


_MODES: dict[str, Callable[[Any], np.ndarray]] = {
    "caffe": preprocess_caffe,
    "tf": preprocess_tf,
    "torch": preprocess_torch,
    "unit": preprocess_unit,
}


def preprocess_input(x: Any, mode: str = "caffe") -> np.ndarray:
    """Scale images as networks of one tradition want them; as Keras' ``imagenet_utils.preprocess_input``.

    Args:
        x: images (..., H, W, C) with pixels from 0 to 255.
        mode: "caffe" (BGR minus the mean), "tf" (-1 ... 1), "torch" (0 ... 1, then normalised by channel) or
            "unit" (0 ... 1).

    Returns:
        A new float32 array of the same shape.

    Raises:
        ValueError: another mode or number of channels. TypeError: not real numbers.
    """
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(_MODES)}, got {mode!r}{did_you_mean(mode, _MODES)}")
    return _MODES[mode](x)


def _images(x: Any, rgb: bool = False) -> np.ndarray:
    """``x`` as an array of real numbers (..., H, W, C)."""
    images = np.asarray(x)
    if images.dtype.kind not in "fiu":
        raise TypeError(f"images must be real numbers, got an array of {images.dtype}")
    if images.ndim < 3 or (rgb and images.shape[-1] != 3):
        wanted = "(..., height, width, 3), RGB" if rgb else "(..., height, width, channels)"
        raise ValueError(f"images must have shape {wanted}, got {images.shape}{channels_first_hint(images.shape, 3)}")
    return images


@dataclass(frozen=True)
class Network:
    """One line of the table of networks.

    Attributes:
        name: of the function in ``fastconv.applications``.
        module: the file of its family there.
        mode: how images are scaled for the weights that Keras publishes, or those of the authors.
        input_shape: (height, width, channels) of the paper or of Keras.
        torch_mode: how images are scaled for weights that were trained in PyTorch.
    """

    name: str
    module: str
    mode: str
    input_shape: tuple[int, int, int] = (224, 224, 3)
    torch_mode: str = "torch"

    @property
    def key(self) -> str:
        """The name in lower case, without ``_``, ``-``, ``.`` and spaces."""
        return _key(self.name)

    @property
    def function(self) -> Callable[..., Any]:
        """The function that builds the network; its module is imported at the first use."""
        built: Callable[..., Any] = getattr(importlib.import_module(f"..{self.module}", __name__), self.name)
        return built


#: Every network. ResNet18 and 34 have no weights in Keras, so that theirs come from PyTorch. InceptionV3 and Xception
#: were ported to PyTorch with their scaling. AlexNet to SqueezeNet were published as Caffe models.
NETWORKS = (
    Network("LeNet5", "lenet", "unit", (28, 28, 1), "unit"),
    Network("AlexNet", "alexnet", "caffe", (227, 227, 3)),
    Network("ZFNet", "zfnet", "caffe"),
    Network("VGG16", "vgg", "caffe"),
    Network("VGG19", "vgg", "caffe"),
    Network("GoogLeNet", "googlenet", "caffe"),
    Network("SqueezeNet", "squeezenet", "caffe", (227, 227, 3)),
    Network("ResNet18", "resnet", "torch"),
    Network("ResNet34", "resnet", "torch"),
    Network("ResNet50", "resnet", "caffe"),
    Network("ResNet101", "resnet", "caffe"),
    Network("ResNet152", "resnet", "caffe"),
    Network("InceptionV3", "inception_v3", "tf", (299, 299, 3), "tf"),
    Network("Xception", "xception", "tf", (299, 299, 3), "tf"),
    Network("DenseNet121", "densenet", "torch"),
    Network("DenseNet169", "densenet", "torch"),
    Network("DenseNet201", "densenet", "torch"),
    Network("MobileNet", "mobilenet", "tf"),
    Network("MobileNetV2", "mobilenet_v2", "tf"),
    Network("NiN", "nin", "unit", (32, 32, 3), "unit"),
    Network("ENet", "enet", "unit", (512, 512, 3), "unit"),
)


def _key(name: str) -> str:
    return "".join(character for character in name.lower() if character not in "_-. ")


def network_of(name: str) -> Network:
    """Return the line of :data:`NETWORKS` for a name: ``"MobileNetV2"``, ``"mobilenet_v2"``, ``"mobilenetv2"``, ...

    Raises:
        ValueError: no such network; the message lists them. TypeError: not a string.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a network must be a string, got {name!r}")
    for network in NETWORKS:
        if network.key == _key(name):
            return network
    hint = did_you_mean(_key(name), [network.key for network in NETWORKS])
    raise ValueError(f"there is no network {name!r}{hint}: known are {', '.join(n.name for n in NETWORKS)}")


def preprocessing_of(name: str, weights_from: str | None = None) -> Callable[[Any], np.ndarray]:
    """Return the function that scales images (..., H, W, C) for a network: ``preprocessing_of("vgg16")(images)``.

    Args:
        name: of the network, in any spelling that :func:`network_of` knows.
        weights_from: None for the weights that Keras or the authors publish, ``"torch"`` for weights that were trained
            in PyTorch, as torchvision's: the same network may want another scaling then (MobileNetV2 does).

    Raises:
        ValueError: an unknown network or origin.
    """
    network = network_of(name)
    if weights_from not in (None, "torch"):
        raise ValueError(f"weights_from must be None or 'torch', got {weights_from!r}")
    return _MODES[network.mode if weights_from is None else network.torch_mode]
