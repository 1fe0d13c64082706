"""The convolutions of known networks, read from `fastconv.applications`, and the sets of them that benchmarks walk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import fastconv as fc
from fastconv import applications
from fastconv.applications.imagenet import network_of
from fastconv.bench.layers import ConvLayer, UsageError, merged
from fastconv.errors import did_you_mean
from fastconv.graph.flat import flat_graph
from fastconv.layers import Conv2D, DepthwiseConv2D, SeparableConv2D, ZeroPadding2D
from fastconv.layers.node import Tensor
from fastconv.ops.geometry import resolve_padding


class Source(NamedTuple):
    """A function of `fastconv.applications`, the batch to measure at, and arguments."""

    function: str
    batch: int = 8
    arguments: Mapping[str, Any] = MappingProxyType({})


_CONVOLUTIONAL_TOP = {"include_top": True}  # a classifier that is a convolution belongs to the list

SOURCES = {
    "lenet": Source("LeNet5", 64),
    "alexnet": Source("AlexNet"),
    "zfnet": Source("ZFNet"),
    "vgg16": Source("VGG16", 2),
    "googlenet": Source("GoogLeNet"),
    "resnet18": Source("ResNet18"),
    "resnet50": Source("ResNet50"),
    "inception_v3": Source("InceptionV3", 4),
    "xception": Source("Xception", 4),
    "squeezenet": Source("SqueezeNet", 8, _CONVOLUTIONAL_TOP),
    "squeezenet1.1": Source("SqueezeNet", 8, {**_CONVOLUTIONAL_TOP, "version": "1.1"}),
    "mobilenet": Source("MobileNet", 8, _CONVOLUTIONAL_TOP),
    "densenet121": Source("DenseNet121"),
}
_LENET_NAMES = {"c1": "conv1", "c3": "conv2"}  # as the other networks number their layers

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


def conv_layers(model: fc.Model, net: str = "", batch: int = 1) -> Iterator[ConvLayer]:
    """The convolutions of a model, in the order of its graph; a separable one is two.

    Zeros that a layer of their own puts around the image count as padding of the convolution that follows.

    Args:
        model: for images of a known size.
        net: what to call it.
        batch: images.

    Raises:
        ValueError: a dilated convolution, which :class:`ConvLayer` does not know.
    """
    graph = flat_graph(model)
    for node in graph.nodes:
        layer, name = node.layer, graph.names[node.layer].removesuffix("_conv")
        if not isinstance(layer, Conv2D | DepthwiseConv2D | SeparableConv2D):
            continue
        if layer.dilation_rate != (1, 1):
            raise ValueError(f"{name} has dilation {layer.dilation_rate}")
        (h, w, c), padding = _padded_input(node.inputs[0], layer)
        geometry = (layer.kernel_size, layer.strides, padding)
        if isinstance(layer, Conv2D):
            yield ConvLayer(net, name, batch, (h, w), c, layer.filters, *geometry, layer.groups)
            continue
        own = f"{name}_depthwise" if isinstance(layer, SeparableConv2D) else name
        depthwise = ConvLayer(net, own, batch, (h, w), c, c * layer.depth_multiplier, *geometry, c)
        yield depthwise
        if isinstance(layer, SeparableConv2D):
            _, oh, ow, channels = depthwise.output_shape
            yield ConvLayer(net, f"{name}_pointwise", batch, (oh, ow), channels, layer.filters, (1, 1))


def _padded_input(x: Tensor, layer: Any) -> tuple[Any, Any]:
    """Return (H, W, C) before all padding, and ((top, bottom), (left, right))."""
    padding = resolve_padding(layer.padding, x.shape[1:3], layer.kernel_size, layer.strides, (1, 1))
    if isinstance(x.node.layer, ZeroPadding2D):
        around = x.node.layer.padding
        x = x.node.inputs[0]
        vertical, horizontal = ((a + c, b + d) for (a, b), (c, d) in zip(around, padding, strict=True))
        padding = vertical, horizontal
    return x.shape[1:], padding


@cache
def convolutions(net: str) -> tuple[ConvLayer, ...]:
    """Every convolution of a network of :data:`SOURCES`."""
    source = SOURCES[net]
    arguments = {"include_top": False, "input_shape": network_of(source.function).input_shape, **source.arguments}
    found = conv_layers(getattr(applications, source.function)(**arguments), net, source.batch)
    return tuple(dataclasses.replace(layer, name=_LENET_NAMES.get(layer.name, layer.name)) for layer in found)


def layer_set(name: str) -> tuple[ConvLayer, ...]:
    """What `--net` accepts: the 18 typical layers, MobileNet's depthwise ones, or a network's, with their count."""
    if name == "depthwise":
        return tuple(layer for layer in layer_set("mobilenet") if layer.groups > 1)
    if name != "typical":
        return merged(convolutions(name))
    return tuple(
        entry if isinstance(entry, ConvLayer) else next(x for x in convolutions(entry[0]) if x.name == entry[1])
        for entry in _TYPICAL
    )


def find(net: str = "typical", layer: str | None = None) -> tuple[ConvLayer, ...]:
    """The layers of a set, or those whose name is `layer` (or contains it).

    Raises:
        UsageError: no such set or layer; a close name is suggested.
    """
    known = ("typical", "depthwise", *SOURCES)
    if net not in known:
        raise UsageError(f"unknown network {net!r}{did_you_mean(net, known)}; there are {', '.join(known)}")
    if layer is None:
        return layer_set(net)
    everything = convolutions(net) if net in SOURCES else layer_set(net)
    names = {name: one for one in everything for name in (one.name, one.title)}
    if layer in names:
        return (names[layer],)
    close = tuple(one for one in everything if layer in one.title)
    if not close:
        some = ", ".join(one.name for one in everything[:8]) + (", ..." if len(everything) > 8 else "")
        raise UsageError(f"{net} has no layer {layer!r}{did_you_mean(layer, names)}; it has {some}")
    return merged(close)
