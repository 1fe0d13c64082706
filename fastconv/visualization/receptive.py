"""Which part of the image an output pixel sees: the theoretical receptive field of a layer.

Computed from the geometry of the layers, from the output back to the input, pixel for pixel: the windows of Dumoulin
and Visin, "A guide to convolution arithmetic for deep learning" (2016), https://arxiv.org/abs/1603.07285.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .. import layers
from ..graph.flat import find_output, flat_graph
from ..graph.graph import Graph
from ..layers.base import Layer
from ..layers.node import Node, Shape, Tensor
from ..ops.geometry import conv2d_transpose_geometry, conv2d_transpose_plan, resolve_padding
from ._drawing import stretch

if TYPE_CHECKING:
    from ..graph.layer import GraphLayer

Span = tuple[int, int]  # first and last pixel along an axis
Number = int | float

_AXES = ("height", "width")
_POINTWISE = (
    layers.Activation, layers.Add, layers.BatchNormalization, layers.Concatenate, layers.Dense, layers.Dropout,
    layers.ELU, layers.LeakyReLU, layers.LocalResponseNormalization, layers.Multiply, layers.PReLU, layers.ReLU,
    layers.Rescaling, layers.Softmax, layers.SpatialDropout2D,
)  # fmt: skip
_GLOBAL = (layers.Flatten, layers.GlobalAvgPool2D, layers.GlobalMaxPool2D, layers.Reshape)


class ReceptiveField(NamedTuple):
    """The input pixels that output pixel (i, j) of a layer depends on; each entry is (vertical, horizontal).

    Rows ``offset[0] + i * stride[0]`` to that plus ``size[0] - 1``, columns likewise; what lies outside the image is
    padding. After layers that enlarge the image the fields of neighbours may differ: then ``size`` is the largest and
    ``stride`` the mean, which may be below 1. Where a global pool or a dense layer lets all pixels see the whole image,
    ``size`` is the image's and ``stride`` 0.

    Attributes:
        size: pixels from the first to the last one seen (dilation leaves holes between them).
        stride: input pixels between the fields of neighbours.
        offset: of the field of output pixel 0; negative with padding.
    """

    size: tuple[int, int]
    stride: tuple[Number, Number]
    offset: tuple[int, int]


def receptive_field(model: GraphLayer, layer: Layer | str, input_shape: Any = None) -> ReceptiveField:
    """Return size, stride and offset of the receptive field of a layer, in pixels of the model's input.

    Args:
        model: a built model with one input, an image.
        layer: a layer or its name, ``"inner/conv2d"`` in a nested model, whose output is ``(N, H, W, C)``.
        input_shape: (H, W, C) where the model does not know its input's size, because ``"same"`` padding of strided
            layers depends on it.

    Raises:
        ValueError: no such layer, an output without height and width, a size that is needed and unknown, several
            inputs. TypeError: a layer of your own without ``kernel_size`` or ``pool_size``, of unknown geometry.
    """
    graph, target = _located(model, layer, input_shape)
    size, stride, offset = zip(*(_along(graph, target, axis) for axis in (0, 1)), strict=True)
    return ReceptiveField(size, stride, offset)  # type: ignore[arg-type]


def plot_receptive_field(
    model: GraphLayer,
    layer: Layer | str,
    image: np.ndarray | None = None,
    position: tuple[int, int] | None = None,
    input_shape: Any = None,
) -> Figure:
    """Draw what one output pixel of a layer sees, and, thinner, what its neighbours see.

    Args:
        model, layer, input_shape: as for :func:`receptive_field`.
        image: ``(H, W, C)`` or ``(1, H, W, C)`` to draw upon; by default an empty canvas of the input's size.
        position: (row, column) of the output pixel; by default the middle.

    Raises:
        ValueError, TypeError: as :func:`receptive_field`; an image of another size; a position outside the output;
            no image and no known size.
    """
    picture = None if image is None else np.asarray(image)
    if picture is not None and picture.ndim == 4 and len(picture) == 1:
        picture = picture[0]
    if picture is not None and picture.ndim != 3:
        raise ValueError(f"image must be (H, W, C) or (1, H, W, C), got shape {picture.shape}")
    if picture is not None and input_shape is None:
        input_shape = picture.shape
    graph, target = _located(model, layer, input_shape)
    height, width = graph.inputs[0].shape[1:3]
    rows, columns = target.shape[1:3]
    if height is None or width is None or rows is None or columns is None:
        raise ValueError(f"{model.label} has inputs of unknown size {graph.inputs[0].shape}: give image or input_shape")
    row, column = (rows // 2, columns // 2) if position is None else position
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(f"position {(row, column)} is outside the output of {rows} x {columns} pixels")
    field = receptive_field(model, layer, input_shape)
    figure = Figure(figsize=(6.4, max(2.5, min(9.0, 6 * height / width)) + 0.7), layout="constrained")
    ax = figure.subplots()
    if picture is None:
        ax.imshow(np.ones((height, width)), cmap="gray", vmin=0, vmax=1)
    else:
        ax.imshow(stretch(picture), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for i in range(max(row - 1, 0), min(row + 2, rows)):
        for j in range(max(column - 1, 0), min(column + 2, columns)):
            if (i, j) != (row, column):
                _frame(ax, graph, target, (i, j), edgecolor="#d98c00", linewidth=0.9, linestyle=(0, (3, 2)))
    (top, bottom), (left, right) = _frame(
        ax, graph, target, (row, column), edgecolor="#b3261e", facecolor="#b3261e33", linewidth=2.2
    )
    ax.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor="0.3", linewidth=1))
    # The padding that it sees is shown, but the image stays at least half as large as the picture.
    ax.set_xlim(max(min(left, 0), -width / 2) - 1, min(max(right, width - 1), 1.5 * width) + 1)
    ax.set_ylim(min(max(bottom, height - 1), 1.5 * height) + 1, max(min(top, 0), -height / 2) - 1)
    name = layer if isinstance(layer, str) else layer.name
    ax.set_title(
        f"{name}: an output pixel sees {_by(field.size)} pixels, its neighbour {_by(field.stride)} further\n"
        f"drawn: pixel {row}, {column} of {rows} x {columns}, which sees {bottom - top + 1} x {right - left + 1}; "
        f"the image has {height} x {width}",
        fontsize=9,
    )
    return figure


def _frame(ax: Any, graph: Graph, target: Tensor, pixel: tuple[int, int], **style: Any) -> tuple[Span, Span]:
    """Draw the field of one output pixel; return its rows and columns."""
    (top, bottom), (left, right) = (_seen(graph, target, axis, (pixel[axis], pixel[axis])) for axis in (0, 1))
    style.setdefault("facecolor", "none")
    ax.add_patch(Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, **style))
    return (top, bottom), (left, right)


def _by(pair: tuple[Number, Number]) -> str:
    return " x ".join(str(Fraction(value).limit_denominator(1000)) for value in pair)


def _located(model: GraphLayer, layer: Layer | str, input_shape: Any) -> tuple[Graph, Tensor]:
    """The flat graph and the tensor in question, once it is known to be an image."""
    if len(model.graph.inputs) != 1 or len(model.graph.inputs[0].shape) != 4:
        shapes = ", ".join(str(tensor.shape) for tensor in model.graph.inputs)
        raise ValueError(f"receptive fields need a model with one input (N, H, W, C), got {shapes}")
    graph = flat_graph(model, input_shape)
    target = find_output(graph, layer, model)
    if len(target.shape) != 4:
        raise ValueError(
            f"{target.node.layer.label} has output shape {target.shape}, without height and width: "
            "each of its values sees the whole image"
        )
    return graph, target


def _along(graph: Graph, target: Tensor, axis: int) -> tuple[int, Number, int]:
    """(size, stride, offset) along one axis."""
    used = _used(graph, target)
    if any(_is_global(node, axis) for node in used):
        size = graph.inputs[0].shape[axis + 1]
        _seen(graph, target, axis, (0, 0))  # refuses an unknown size, and a target that the image does not reach
        return size or 0, 0, 0
    # The fields repeat after so many output pixels as all layers before together enlarge the image.
    period = math.prod(_enlargement(node.layer)[axis] for node in used)
    spans = [_seen(graph, target, axis, (i, i)) for i in range(period + 1)]
    stride = Fraction(spans[period][0] - spans[0][0], period)
    size = max(last - first + 1 for first, last in spans)
    return size, int(stride) if stride.denominator == 1 else float(stride), spans[0][0]


def _used(graph: Graph, target: Tensor) -> list[Node]:
    """The calls that a tensor depends on."""
    wanted, used = {target}, []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            used.append(node)
            wanted.update(node.inputs)
    return used


def _is_global(node: Node, axis: int) -> bool:
    """Whether a call reads all of an image's height or width for every pixel."""
    if not any(len(tensor.shape) == 4 for tensor in node.inputs):
        return False
    joins = isinstance(node.layer, layers.Concatenate) and node.layer.axis in (axis + 1, axis - 3)
    return joins or isinstance(node.layer, _GLOBAL)


def _enlargement(layer: Layer) -> tuple[int, int]:
    if isinstance(layer, layers.UpSampling2D):
        return layer.size
    return layer.strides if isinstance(layer, layers.Conv2DTranspose | layers.MaxUnpool2D) else (1, 1)


def _seen(graph: Graph, target: Tensor, axis: int, span: Span) -> Span:
    """The input pixels that the pixels ``span`` of ``target`` depend on, along one axis; beyond the edges: padding."""
    wanted: dict[Tensor, Span] = {target: span}
    for node in reversed(graph.nodes):
        spans = [wanted[tensor] for tensor in node.outputs if tensor in wanted]
        if not spans:
            continue
        whole = min(first for first, _ in spans), max(last for _, last in spans)
        for tensor in node.inputs:
            first, last = _read(node, tensor, axis, whole)
            known = wanted.get(tensor, (first, last))
            wanted[tensor] = min(known[0], first), max(known[1], last)
    source = graph.inputs[0]
    if source not in wanted:
        raise ValueError(f"{target.node.layer.label} does not depend on the model's input")
    return wanted[source]


def _read(node: Node, tensor: Tensor, axis: int, span: Span) -> Span:
    """The pixels of ``tensor`` that a call reads for the pixels ``span`` of its output."""
    layer, shape = node.layer, tensor.shape
    if len(shape) != 4:
        return span
    if _is_global(node, axis):
        return _all(layer, shape, axis)
    if isinstance(layer, _POINTWISE):
        broadcast = shape[axis + 1] == 1 and node.outputs[0].shape[axis + 1] != 1
        return (0, 0) if broadcast else span
    for kind, rule in _RULES.items():
        if isinstance(layer, kind):
            return rule(layer, shape, axis, span)
    return _window(layer, shape, axis, span)


def _all(layer: Layer, shape: Shape, axis: int) -> Span:
    size = shape[axis + 1]
    if size is None:
        raise ValueError(f"{layer.label} sees the whole image, whose {_AXES[axis]} is unknown: give input_shape")
    return 0, size - 1


def _window(layer: Any, shape: Shape, axis: int, span: Span) -> Span:
    """Convolution and pooling: output pixel i reads from i * stride - padding on."""
    kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if kernel is None:
        raise TypeError(f"the receptive field of {layer.label} is not known: it has no kernel_size and no pool_size")
    strides, dilation = getattr(layer, "strides", (1, 1)), getattr(layer, "dilation_rate", (1, 1))
    padding = getattr(layer, "padding", "valid")
    sizes = list(shape[1:3])
    if padding == "same" and sizes[axis] is None:
        if strides[axis] != 1:
            raise ValueError(
                f'{layer.label}: "same" padding with stride {strides[axis]} depends on the {_AXES[axis]} of the image, '
                "which is unknown: give input_shape"
            )
        sizes[axis] = kernel[axis] * dilation[axis]  # with stride 1 any size has the same padding
    before, _ = resolve_padding(padding, sizes, kernel, strides, dilation)[axis]
    extent = (kernel[axis] - 1) * dilation[axis] + 1
    return span[0] * strides[axis] - before, span[1] * strides[axis] - before + extent - 1


def _transposed(layer: layers.Conv2DTranspose, shape: Shape, axis: int, span: Span) -> Span:
    spec = conv2d_transpose_geometry(
        layer.kernel_size, layer.strides, layer.padding, layer.output_padding, layer.dilation_rate
    )
    extent = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
    known = [1 if size is None else size for size in shape]
    before = conv2d_transpose_plan([1, *known[1:]], spec)[1][axis][0]
    return _spread(span, layer.strides[axis], extent, before)


def _unpooled(layer: layers.MaxUnpool2D, shape: Shape, axis: int, span: Span) -> Span:
    return _spread(span, layer.strides[axis], layer.pool_size[axis], 0)


def _spread(span: Span, stride: int, extent: int, before: int) -> Span:
    """Input pixel i writes to the output pixels from i * stride - before on: who writes to ``span``?

    Between kernels smaller than the stride nobody does; then the nearest stand for it.
    """
    first, last = -((extent - 1 - span[0] - before) // stride), (span[1] + before) // stride
    return min(first, last), max(first, last)


def _upsampled(layer: layers.UpSampling2D, shape: Shape, axis: int, span: Span) -> Span:
    factor = layer.size[axis]
    if layer.interpolation == "nearest":
        return span[0] // factor, span[1] // factor
    first, last = (Fraction(2 * i + 1, 2 * factor) - Fraction(1, 2) for i in span)  # half-pixel centres
    return math.floor(first), math.ceil(last)


def _padded(layer: layers.ZeroPadding2D, shape: Shape, axis: int, span: Span) -> Span:
    return span[0] - layer.padding[axis][0], span[1] - layer.padding[axis][0]


def _cropped(layer: layers.Cropping2D, shape: Shape, axis: int, span: Span) -> Span:
    return span[0] + layer.cropping[axis][0], span[1] + layer.cropping[axis][0]


_RULES: dict[type[Layer], Callable[..., Span]] = {
    layers.Conv2DTranspose: _transposed,
    layers.MaxUnpool2D: _unpooled,
    layers.UpSampling2D: _upsampled,
    layers.ZeroPadding2D: _padded,
    layers.Cropping2D: _cropped,
}
