"""Geometry of the layers that tests and benchmarks share: convolutions, pools, batch norms.

Which convolutions there are says `fastconv/bench/networks.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

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


def merged(layers: Iterable[ConvLayer]) -> tuple[ConvLayer, ...]:
    """One layer of every geometry, with their count; the first one's name."""
    found: dict[ConvLayer, list[ConvLayer]] = {}
    for layer in layers:
        found.setdefault(dataclasses.replace(layer, name=""), []).append(layer)
    return tuple(dataclasses.replace(alike[0], count=len(alike)) for alike in found.values())


def is_3x3(layer: ConvLayer) -> bool:
    """3 x 3, stride 1, one group: what Winograd's algorithm was made for."""
    return layer.kernel == (3, 3) and layer.strides == (1, 1) and layer.groups == 1
