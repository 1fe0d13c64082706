"""Geometry of the layers that tests and benchmarks share: convolutions of known networks, pools, batch norms.

The networks themselves stand in `fastconv/bench/networks.py`; here are the lists that the benchmarks walk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastconv.errors import did_you_mean

Pads = tuple[tuple[int, int], tuple[int, int]]


class UsageError(ValueError):
    """What a user asked of the benchmark does not exist here: a network, a layer, a peer, an instruction set."""


@dataclass(frozen=True)
class ConvLayer:
    """One convolution of a network: x (batch, H, W, channels), kernel (KH, KW, channels / groups, filters)."""

    net: str
    name: str
    batch: int
    size: tuple[int, int]  # (H, W)
    channels: int
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Pads = ((0, 0), (0, 0))  # ((top, bottom), (left, right))
    groups: int = 1
    count: int = 1  # layers of the network that have this geometry

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, C)"""
        return (self.batch, *self.size, self.channels)

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """(KH, KW, C / groups, K)"""
        return (*self.kernel, self.channels // self.groups, self.filters)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """(N, OH, OW, K)"""
        oh, ow = (
            (size + sum(pads) - kernel) // stride + 1
            for size, pads, kernel, stride in zip(self.size, self.padding, self.kernel, self.strides, strict=True)
        )
        return (self.batch, oh, ow, self.filters)

    @property
    def arguments(self) -> dict[str, Any]:
        """The geometry as `ops.conv2d` takes it."""
        return {"strides": self.strides, "padding": self.padding, "groups": self.groups}

    @property
    def weights(self) -> int:
        """Numbers in the kernel (no bias)."""
        kh, kw, c, k = self.kernel_shape
        return kh * kw * c * k

    @property
    def flop(self) -> int:
        """Additions and multiplications of one pass: 2 N OH OW K KH KW C / groups."""
        n, oh, ow, _ = self.output_shape
        return 2 * n * oh * ow * self.weights

    @property
    def reads_images(self) -> bool:
        """The first layer of its network: training needs no gradient of its input."""
        return self.channels in (1, 3)

    @property
    def symmetric(self) -> bool:
        """Both sides padded alike, as PyTorch wants it."""
        return all(before == after for before, after in self.padding)

    @property
    def title(self) -> str:
        """Network and layer."""
        return f"{self.net} {self.name}"

    def __str__(self) -> str:
        """The geometry in short: `8 x 27 x 27 x 96 -> 256, 5x5`."""
        text = " x ".join(map(str, self.input_shape)) + f" -> {self.filters}, {self.kernel[0]}x{self.kernel[1]}"
        text += f" / {self.strides[0]}" if self.strides != (1, 1) else ""
        if self.groups > 1:
            text += " depthwise" if self.groups == self.channels else f", {self.groups} groups"
        return text

    def with_batch(self, batch: int | None) -> ConvLayer:
        """The same layer at another batch; None leaves it."""
        return self if batch is None else dataclasses.replace(self, batch=batch)


@dataclass(frozen=True)
class PoolLayer:
    """A max pool: x (N, H, W, C), the same padding on all sides."""

    title: str
    input_shape: tuple[int, int, int, int]
    pool: int
    stride: int
    padding: int = 0


@dataclass(frozen=True)
class BatchNormLayer:
    """A batch normalisation: x (N, H, W, C)."""

    title: str
    input_shape: tuple[int, int, int, int]


#: Max pools of networks that train at these batches.
MAX_POOLS = (
    PoolLayer("lenet pool1", (64, 28, 28, 6), 2, 2),
    PoolLayer("alexnet pool1", (8, 55, 55, 96), 3, 2),
    PoolLayer("vgg16 block1_pool", (2, 224, 224, 64), 2, 2),
    PoolLayer("vgg16 block3_pool", (2, 56, 56, 256), 2, 2),
    PoolLayer("resnet50 pool1", (8, 112, 112, 64), 3, 2, 1),
    PoolLayer("googlenet inception_3a_pool", (8, 28, 28, 192), 3, 1, 1),
)

#: Batch normalisations of networks that train at these batches.
BATCH_NORMS = (
    BatchNormLayer("mobilenet conv1_bn", (8, 112, 112, 32)),
    BatchNormLayer("resnet50 conv1_bn", (8, 112, 112, 64)),
    BatchNormLayer("resnet50 conv2_block1_3_bn", (8, 56, 56, 256)),
    BatchNormLayer("resnet50 conv3_block1_2_bn", (8, 28, 28, 128)),
    BatchNormLayer("resnet50 conv4_block1_3_bn", (8, 14, 14, 1024)),
    BatchNormLayer("resnet50 conv5_block1_3_bn", (8, 7, 7, 2048)),
)

# One of every kind: first layers, large and small pictures, few and many channels, 1 x 1 to 11 x 11.
_TYPICAL = (
    ("lenet", "conv1"),
    ("lenet", "conv2"),
    ("alexnet", "conv1"),
    ("alexnet", "conv2"),
    ("alexnet", "conv3"),
    ("vgg16", "block1_conv2"),
    ("vgg16", "block2_conv2"),
    ("vgg16", "block3_conv2"),
    ("vgg16", "block4_conv2"),
    ("vgg16", "block5_conv1"),
    ("resnet50", "conv1"),
    ("resnet50", "conv2_block1_3"),
    ("resnet50", "conv3_block1_2"),
    ("resnet50", "conv5_block1_3"),
    # ResNet with the stride in the 3 x 3 layer, as PyTorch's authors place it
    ConvLayer("resnet50", "v1.5 conv3_block1_2", 8, (56, 56), 128, 128, (3, 3), (2, 2), ((1, 1), (1, 1))),
    ("squeezenet", "fire3_squeeze1x1"),
    ("squeezenet", "fire2_expand3x3"),
    ConvLayer("cifar", "32 filters", 32, (32, 32), 32, 32, (3, 3), (1, 1), ((1, 1), (1, 1))),
)


@cache
def networks() -> dict[str, tuple[ConvLayer, ...]]:
    """Every convolution of every network, in the order of the network."""
    from fastconv.bench.networks import NETWORKS

    return {name: trace() for name, trace in NETWORKS.items()}


@cache
def layer_sets() -> dict[str, tuple[ConvLayer, ...]]:
    """What `--net` accepts: the 18 typical layers, MobileNet's depthwise ones, every network by its name."""
    sets = {name: merged(layers) for name, layers in networks().items()}
    by_title = {layer.title: layer for layers in networks().values() for layer in layers}
    typical = tuple(entry if isinstance(entry, ConvLayer) else by_title[" ".join(entry)] for entry in _TYPICAL)
    depthwise = tuple(layer for layer in sets["mobilenet"] if layer.groups > 1)
    return {"typical": typical, "depthwise": depthwise, **sets}


def merged(layers: Iterable[ConvLayer]) -> tuple[ConvLayer, ...]:
    """One layer of every geometry, with their count; the first one's name."""
    found: dict[ConvLayer, list[ConvLayer]] = {}
    for layer in layers:
        found.setdefault(dataclasses.replace(layer, name=""), []).append(layer)
    return tuple(dataclasses.replace(alike[0], count=len(alike)) for alike in found.values())


def find(net: str = "typical", layer: str | None = None) -> tuple[ConvLayer, ...]:
    """The layers of a set, or those whose name is `layer` (or contains it).

    Raises:
        UsageError: no such set or layer; a close name is suggested.
    """
    sets = layer_sets()
    if net not in sets:
        raise UsageError(f"unknown network {net!r}{did_you_mean(net, sets)}; there are {', '.join(sets)}")
    if layer is None:
        return sets[net]
    everything: Sequence[ConvLayer] = networks().get(net, sets[net])
    names = {name: one for one in everything for name in (one.name, one.title)}
    if layer in names:
        return (names[layer],)
    close = tuple(one for one in everything if layer in one.title)
    if not close:
        some = ", ".join(one.name for one in everything[:8]) + (", ..." if len(everything) > 8 else "")
        raise UsageError(f"{net} has no layer {layer!r}{did_you_mean(layer, names)}; it has {some}")
    return merged(close)


def is_3x3(layer: ConvLayer) -> bool:
    """3 x 3, stride 1, one group: what Winograd's algorithm was made for."""
    return layer.kernel == (3, 3) and layer.strides == (1, 1) and layer.groups == 1
