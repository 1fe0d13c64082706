"""Pictures of networks: filters, feature maps, training curves, predictions, confusion matrices.

Every function returns a `matplotlib.figure.Figure` and shows nothing by itself: `figure.savefig("name.png")` writes it,
a notebook draws it when it is the last value of a cell. This is the only module that imports matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from fastconv.models import Model

from .errors import suggest_names

__all__ = ["plot_confusion_matrix", "plot_feature_maps", "plot_filters", "plot_history", "plot_predictions"]
suggest_names(__name__)

_RIGHT, _WRONG = "#1a7f37", "#cf222e"
_ANNOTATED_CLASSES = 20  # a larger confusion matrix has no room for numbers


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
    figure, axes = _image_grid(shown, title)
    limit = float(np.abs(weights).max()) or 1.0
    for k, ax in enumerate(axes):
        ax.set_title(str(k), fontsize=8)
        if channels == 3:
            _draw_image(ax, _stretch(weights[..., k]))
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
    model: Model, image: np.ndarray, layers: Sequence[str] | None = None, max_maps: int = 16
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
    _draw_image(top, _stretch(batch[0]))
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
            _no_ticks(ax)
    return figure


def plot_history(history: Any) -> Figure:
    """Draw loss and metrics over the epochs, training and validation together.

    Args:
        history: what `fit` returned, or a mapping from names (`"loss"`, `"accuracy"`, `"val_loss"`, ...) to one value
            an epoch.

    Raises:
        ValueError: nothing was recorded.
    """
    values: Mapping[str, Sequence[float]] = getattr(history, "history", history)
    names = [name for name in values if not name.startswith("val_")]
    if not names:
        raise ValueError("plot_history needs at least one epoch of records; this history is empty")
    figure = Figure(figsize=(5 * len(names), 3.8), layout="constrained")
    for ax, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, label, colour in ((name, "training", "C0"), (f"val_{name}", "validation", "C1")):
            if key in values:
                epochs = range(1, len(values[key]) + 1)
                ax.plot(epochs, values[key], marker="o", markersize=4, label=label, color=colour)
        ax.set_title(name.replace("_", " "))
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
        ax.legend()
    return figure


def plot_predictions(
    images: np.ndarray,
    y_true: np.ndarray,
    y_pred: np.ndarray,
    class_names: Sequence[str] | None = None,
    max_images: int = 25,
    only_wrong: bool = False,
) -> Figure:
    """Draw images with what they are and what the model said: green right, red wrong.

    Args:
        images: `(N, H, W)` or `(N, H, W, C)` with C 1 or 3.
        y_true: labels `(N,)` or `(N, 1)`, or one-hot rows `(N, classes)`.
        y_pred: probabilities `(N, classes)` as `predict` returns them, or labels `(N,)`.
        class_names: words for the labels; by default their numbers.
        max_images: at most so many images.
        only_wrong: draw wrong predictions only, the surest mistakes first.

    Raises:
        ValueError: the three differ in length.
    """
    images, expected, got = np.asarray(images), _labels(y_true), _labels(y_pred)
    if not len(images) == len(expected) == len(got):
        raise ValueError(f"got {len(images)} images, {len(expected)} labels and {len(got)} predictions")
    probabilities = np.asarray(y_pred)
    confidence = probabilities.max(axis=1) if _is_scores(probabilities) else None
    chosen = np.arange(len(images))
    title = f"{len(images)} predictions"
    if only_wrong:
        chosen = np.flatnonzero(expected != got)
        title = f"{len(chosen)} of {len(images)} predictions are wrong"
        if confidence is not None:
            chosen = chosen[np.argsort(-confidence[chosen], kind="stable")]
    if len(chosen) > max_images:
        chosen = chosen[:max_images]
        title += f"; {'the surest' if only_wrong and confidence is not None else 'the first'} {max_images}"
    figure, axes = _image_grid(len(chosen), title, tile=1.5)
    for ax, i in zip(axes, chosen, strict=True):
        _draw_image(ax, _stretch(images[i]))
        words = f"{_name(got[i], class_names)}" + ("" if confidence is None else f" ({confidence[i]:.0%})")
        if got[i] != expected[i]:
            words += f"\ntrue: {_name(expected[i], class_names)}"
        ax.set_title(words, fontsize=9, color=_RIGHT if got[i] == expected[i] else _WRONG)
    return figure


def plot_confusion_matrix(
    y_true: np.ndarray, y_pred: np.ndarray, class_names: Sequence[str] | None = None, normalize: bool = False
) -> Figure:
    """Draw which class is taken for which: a row a true class, a column a predicted one.

    Args:
        y_true: labels `(N,)` or `(N, 1)`, or one-hot rows `(N, classes)`.
        y_pred: probabilities `(N, classes)` or labels `(N,)`.
        class_names: words for the labels; by default their numbers.
        normalize: shares of each true class instead of counts.

    Raises:
        ValueError: the two differ in length, or are empty.
    """
    expected, got = _labels(y_true), _labels(y_pred)
    if len(expected) != len(got) or len(expected) == 0:
        raise ValueError(f"got {len(expected)} labels and {len(got)} predictions; need as many of each, at least one")
    classes = max(expected.max(), got.max()) + 1
    widths = [np.shape(y)[1] for y in (y_true, y_pred) if _is_scores(np.asarray(y))]
    classes = max([classes, *widths, len(class_names or ())])
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (expected, got), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 1.8 + 0.55 * min(classes, _ANNOTATED_CLASSES)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    ax = figure.subplots()
    # The square root keeps a single mistake visible beside hundreds of right answers.
    ax.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    ax.set_title(f"{np.trace(counts) / len(expected):.2%} of {len(expected):,} are right")
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    if classes <= _ANNOTATED_CLASSES:
        names = [_name(label, class_names) for label in range(classes)]
        rotation = 45 if max(map(len, names)) > 3 else 0
        ax.set_xticks(range(classes), names, rotation=rotation, ha="right" if rotation else "center")
        ax.set_yticks(range(classes), names)
        for row, column in zip(*counts.nonzero(), strict=True):
            text = f"{shares[row, column]:.2f}" if normalize else str(counts[row, column])
            colour = "white" if shares[row, column] > 0.4 else "black"
            ax.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    return figure


def _image_grid(count: int, title: str, columns: int | None = None, tile: float = 1.1) -> tuple[Figure, list[Axes]]:
    """A figure with `count` axes without ticks, in rows of `columns` (by default nearly square)."""
    if columns is None:
        columns = max(1, math.ceil(math.sqrt(count)))
    rows = max(1, math.ceil(count / columns))
    figure = Figure(figsize=(max(3.5, tile * columns + 0.6), max(1.5, tile * 1.15 * rows + 0.5)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for ax in axes[count:]:
        ax.set_axis_off()
    for ax in axes[:count]:
        _no_ticks(ax)
    if count == 0:
        figure.text(0.5, 0.4, "nothing to draw", ha="center", color="0.5")
    return figure, axes[:count]


def _no_ticks(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])


def _draw_image(ax: Axes, image: np.ndarray) -> None:
    ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _no_ticks(ax)


def _stretch(image: np.ndarray) -> np.ndarray:
    """The image on the scale 0 to 1, as (H, W) or (H, W, 3); a constant image becomes 0."""
    image = np.asarray(image, dtype=np.float64)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[:, :, 0]
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else np.zeros_like(image)


def _is_scores(y: np.ndarray) -> bool:
    return y.ndim == 2 and y.shape[1] > 1


def _labels(y: Any) -> np.ndarray:
    """Labels (N,) from labels (N,) or (N, 1), one-hot rows or scores (N, classes)."""
    y = np.asarray(y)
    return y.argmax(axis=1) if _is_scores(y) else y.reshape(-1).astype(np.int64)


def _name(label: int, class_names: Sequence[str] | None) -> str:
    return str(label) if class_names is None else class_names[label]


def _layer_outputs(model: Model, batch: np.ndarray, layers: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Name -> output (1, H, W, C) of the wanted layers, from one pass through the model."""
    from .layers import AvgPool2D, Conv2D, DepthwiseConv2D, MaxPool2D, SeparableConv2D
    from .models import Model

    if layers is None:
        kinds = (AvgPool2D, Conv2D, DepthwiseConv2D, MaxPool2D, SeparableConv2D)
        layers = [layer.name for layer in model.layers if isinstance(layer, kinds)]
    if not layers:
        raise ValueError("the model has no convolution or pooling layer; name the layers to draw")
    tensors = [model.get_layer(name).output for name in layers]
    for name, tensor in zip(layers, tensors, strict=True):
        if len(tensor.shape) != 4:
            raise ValueError(f'layer "{name}" has output shape {tensor.shape}, not the (N, H, W, C) of a picture')
    arrays = Model(model.inputs, tensors).predict(batch, verbose=0)
    return dict(zip(layers, arrays if isinstance(arrays, list) else [arrays], strict=True))
