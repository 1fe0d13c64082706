"""What a network has learned and answers: its filters, its feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..graph.layer import GraphLayer
from ._drawing import draw_image, image_grid, no_ticks, stretch


def plot_filters(kernel: Any, max_filters: int = 64, max_channels: int = 16) -> Figure:
    """Draw the filters of a convolution.

    Filters over one channel share a scale around zero: blue is negative, white zero, red positive. Filters over
    three channels are drawn as colours, each stretched to its own range. Of deeper layers each row is a filter, each
    column one of its input channels.

    Args:
        kernel: an array `(KH, KW, C, K)`, or a built layer that has a `kernel`.
        max_filters: the first so many filters are drawn.
        max_channels: of filters over more than three channels, the first so many channels are drawn.

    Raises:
        ValueError: the kernel does not have four dimensions.
    """
    weights = np.asarray(getattr(getattr(kernel, "kernel", kernel), "value", kernel))
    if weights.ndim != 4:
        raise ValueError(f"plot_filters needs a kernel (KH, KW, C, K), got shape {weights.shape}")
    kh, kw, channels, filters = weights.shape
    shown = min(filters, max_filters)
    title = f"{filters} filters of {kh} x {kw} x {channels}" + (f", the first {shown}" if shown < filters else "")
    weights = weights[..., :shown]
    if channels not in (1, 3):
        return _channel_mosaic(weights[:, :, :max_channels], title)
    figure, axes = image_grid(shown, title)
    limit = float(np.abs(weights).max()) or 1.0
    for k, ax in enumerate(axes):
        ax.set_title(str(k), fontsize=8)
        if channels == 3:
            draw_image(ax, stretch(weights[..., k]))
        else:
            image = ax.imshow(weights[:, :, 0, k], cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    if channels == 1:
        figure.colorbar(image, ax=axes, shrink=0.8, label="weight")
    return figure


def _channel_mosaic(weights: np.ndarray, title: str) -> Figure:
    """One picture of many filters over many channels: a row a filter, a column a channel, a gap between them."""
    kh, kw, channels, filters = weights.shape
    mosaic = np.full((filters * (kh + 1) - 1, channels * (kw + 1) - 1), np.nan)
    for k in range(filters):
        for c in range(channels):
            top, left = k * (kh + 1), c * (kw + 1)
            mosaic[top : top + kh, left : left + kw] = weights[:, :, c, k]
    limit = float(np.abs(weights).max()) or 1.0
    tile = min(0.4, 14 / filters)  # inches; at most 14 of them for all filters
    figure = Figure(figsize=(2.4 + tile * channels, 1.4 + tile * filters * kh / kw), layout="constrained")
    ax = figure.subplots()
    ax.set_facecolor("0.6")
    image = ax.imshow(mosaic, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    figure.colorbar(image, ax=ax, shrink=0.5, aspect=30, label="weight")
    ax.set_title(title, fontsize=11)
    ax.set_xlabel("input channel")
    ax.set_ylabel("filter")
    for axis, count, length in ((ax.xaxis, channels, kw), (ax.yaxis, filters, kh)):
        every = range(0, count, math.ceil(count / 16))
        axis.set_ticks([i * (length + 1) + (length - 1) / 2 for i in every], [str(i) for i in every], fontsize=8)
    return figure


def plot_feature_maps(
    model: GraphLayer, image: np.ndarray, layers: Sequence[str] | None = None, max_maps: int = 16
) -> Figure:
    """Draw what the layers of a model answer to one image: bright where a filter found its pattern.

    Args:
        model: a built model whose input is an image.
        image: one sample `(H, W, C)`, or a batch of one, scaled as in training.
        layers: names of layers with outputs `(N, H, W, C)`; by default every convolution and pooling layer.
        max_maps: the first so many channels of each layer are drawn.

    Raises:
        ValueError: more than one image, an unknown layer, or a layer whose output is not a picture.
    """
    image = np.asarray(image)
    batch = image if image.ndim == 4 else image[np.newaxis]
    if batch.ndim != 4 or len(batch) != 1:
        raise ValueError(f"plot_feature_maps draws one image (H, W, C) or (1, H, W, C), got shape {image.shape}")
    outputs = _layer_outputs(model, batch, layers)
    columns = max(min(maps.shape[-1], max_maps) for maps in outputs.values())
    columns = min(columns, 8)
    rows = [math.ceil(min(maps.shape[-1], max_maps) / columns) for maps in outputs.values()]
    heights = [2.0, *(1.0 * r + 0.35 for r in rows)]
    figure = Figure(figsize=(1.15 * columns + 0.4, 1.15 * sum(heights)), layout="constrained")
    parts = figure.subfigures(1 + len(outputs), 1, squeeze=False, height_ratios=heights)[:, 0]
    top = parts[0].subplots()
    draw_image(top, stretch(batch[0]))
    top.set_title("input", fontsize=10)
    for part, r, (name, maps) in zip(parts[1:], rows, outputs.items(), strict=True):
        shown = min(maps.shape[-1], max_maps)
        kept = f", the first {shown}" if shown < maps.shape[-1] else ""
        part.suptitle(f"{name}: {maps.shape[1]} x {maps.shape[2]} x {maps.shape[3]}{kept}", fontsize=10)
        axes = part.subplots(r, columns, squeeze=False).ravel()
        for ax in axes[shown:]:
            ax.set_axis_off()
        for c, ax in enumerate(axes[:shown]):
            ax.imshow(maps[0, :, :, c], cmap="viridis", interpolation="nearest")
            no_ticks(ax)
    return figure


def _layer_outputs(model: GraphLayer, batch: np.ndarray, layers: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Name -> output (1, H, W, C) of the wanted layers, from one pass through the model."""
    from ..layers import AvgPool2D, Conv2D, DepthwiseConv2D, MaxPool2D, SeparableConv2D

    if layers is None:
        kinds = (AvgPool2D, Conv2D, DepthwiseConv2D, MaxPool2D, SeparableConv2D)
        layers = [layer.name for layer in model.layers if isinstance(layer, kinds)]
    if not layers:
        raise ValueError("the model has no convolution or pooling layer; name the layers to draw")
    tensors = [model.get_layer(name).output for name in layers]
    for name, tensor in zip(layers, tensors, strict=True):
        if len(tensor.shape) != 4:
            raise ValueError(f'layer "{name}" has output shape {tensor.shape}, not the (N, H, W, C) of a picture')
    arrays = GraphLayer(model.inputs, tensors).infer(batch.astype(model.dtype, copy=False))
    return dict(zip(layers, arrays if isinstance(arrays, list) else [arrays], strict=True))
