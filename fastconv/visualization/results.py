"""How training went: curves, predictions, which class is taken for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ._drawing import draw_image, image_grid, stretch

_RIGHT, _WRONG = "#1a7f37", "#cf222e"
_ANNOTATED_CLASSES = 20  # a larger confusion matrix has no room for numbers


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
    figure, axes = image_grid(len(chosen), title, tile=1.5)
    for ax, i in zip(axes, chosen, strict=True):
        draw_image(ax, stretch(images[i]))
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


def _is_scores(y: np.ndarray) -> bool:
    return y.ndim == 2 and y.shape[1] > 1


def _labels(y: Any) -> np.ndarray:
    """Labels (N,) from labels (N,) or (N, 1), one-hot rows or scores (N, classes)."""
    y = np.asarray(y)
    return y.argmax(axis=1) if _is_scores(y) else y.reshape(-1).astype(np.int64)


def _name(label: int, class_names: Sequence[str] | None) -> str:
    return str(label) if class_names is None else class_names[label]
