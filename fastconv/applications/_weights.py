"""Weights trained on ImageNet that Keras publishes: `$FASTCONV_DATA/weights`, then the cache, then a download.

Names, URLs and MD5 hashes are those of ``keras.applications``. Keras publishes no hash for MobileNet and MobileNetV2.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..errors import DatasetError, did_you_mean

_BASE = "https://storage.googleapis.com/tensorflow/keras-applications"
_MAX_BYTES = 600 << 20  # of a file; the largest, VGG19's, has 575 million
_KERNELS = "_weights_tf_dim_ordering_tf_kernels"

# Folder on the server, MD5 with and without the classifier.
_HASHED = {
    "vgg16": ("vgg16", "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
    "vgg19": ("vgg19", "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
    "resnet50": ("resnet", "2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": ("resnet", "f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": ("resnet", "100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "inception_v3": ("inception_v3", "9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63"),
    "xception": ("xception", "0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97"),
    "densenet121": ("densenet", "9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
    "densenet169": ("densenet", "d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
    "densenet201": ("densenet", "1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"),
}  # fmt: skip
_MOBILENET_WIDTHS = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}
_MOBILENET_SIZES = (128, 160, 192, 224)
_MOBILENET_V2_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
_MOBILENET_V2_SIZES = (96, 128, 160, 192, 224)


class PublishedFile(NamedTuple):
    """A weight file as Keras publishes it."""

    name: str
    url: str
    md5: str | None


def published_file(name: str, include_top: bool) -> PublishedFile:
    """Return name, URL and hash of a published file.

    Args:
        name: ``"vgg16"``, ...; ``"mobilenet_1.0_224"`` and ``"mobilenet_v2_1.0_224"`` with alpha and image size, see
            :func:`mobilenet_name`.
        include_top: with or without the classifier.

    Raises:
        ValueError: a name that Keras does not publish.
    """
    if name in _HASHED:
        folder, *hashes = _HASHED[name]
        file = f"{name}{_KERNELS}{'' if include_top else '_notop'}.h5"
        return PublishedFile(file, f"{_BASE}/{folder}/{file}", hashes[0 if include_top else 1])
    tail = "" if include_top else "_no_top"
    for alpha, text in _MOBILENET_WIDTHS.items():
        for size in _MOBILENET_SIZES:
            if name == f"mobilenet_{alpha}_{size}":
                file = f"mobilenet_{text}_{size}_tf{tail}.h5"
                return PublishedFile(file, f"{_BASE}/mobilenet/{file}", None)
    for alpha in _MOBILENET_V2_WIDTHS:
        for size in _MOBILENET_V2_SIZES:
            if name == f"mobilenet_v2_{alpha}_{size}":
                file = f"mobilenet_v2{_KERNELS}_{alpha}_{size}{tail}.h5"
                return PublishedFile(file, f"{_BASE}/mobilenet_v2/{file}", None)
    raise ValueError(f"Keras publishes no weights named {name!r}{did_you_mean(name, _HASHED)}")


def mobilenet_name(family: str, alpha: float, height: int | None, width: int | None) -> str:
    """Return the name under which a MobileNet's weights are published: 224 x 224 for sizes that Keras did not train.

    Args:
        family: ``"mobilenet"`` or ``"mobilenet_v2"``.
        alpha: width of the network.
        height, width: of its images; None where any will do.

    Raises:
        ValueError: no weights are published for this alpha.
    """
    widths = tuple(_MOBILENET_WIDTHS) if family == "mobilenet" else _MOBILENET_V2_WIDTHS
    sizes = _MOBILENET_SIZES if family == "mobilenet" else _MOBILENET_V2_SIZES
    if alpha not in widths:
        raise ValueError(f"weights='imagenet' exist for alpha {', '.join(map(str, widths))}, not for {alpha}")
    size = height if height == width and height in sizes else 224
    return f"{family}_{float(alpha)}_{size}"


def published(name: str, include_top: bool) -> Callable[[], Path]:
    """Return a function that returns the path of Keras' weights for a network, and downloads them if it must.

    It looks in ``$FASTCONV_DATA/weights/<file name>``, which is taken as it is, then in the cache.

    Args:
        name, include_top: as for :func:`published_file`.

    Raises:
        ValueError: a name that Keras does not publish. The function raises a DatasetError without file and network.
    """
    file = published_file(name, include_top)
    return lambda: _fetch(file)


def _fetch(file: PublishedFile) -> Path:
    root = os.environ.get("FASTCONV_DATA")
    if root:
        local = Path(root).expanduser() / "weights" / file.name
        if local.is_file():
            return local
    import pooch  # slow to import, and needed only for files that are not at hand

    from ..datasets._download import download
    from ..datasets._files import why_not

    cache = Path(pooch.os_cache("fastconv")) / "weights"
    md5 = None if file.md5 is None else f"md5:{file.md5}"
    try:
        return download(file.url, md5, file.name, cache, _MAX_BYTES)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{file.name} is not on this machine and could not be downloaded from {file.url} "
            f"({why_not(error, 'MD5')}). "
            f"Put the file at {_wanted_place(file.name)} and try again; weights=None starts from random weights."
        ) from error


def _wanted_place(name: str) -> str:
    root = os.environ.get("FASTCONV_DATA")
    if root:
        return f"{Path(root).expanduser() / 'weights' / name} (FASTCONV_DATA is {root})"
    return f"$FASTCONV_DATA/weights/{name} (set FASTCONV_DATA to a folder of yours)"
