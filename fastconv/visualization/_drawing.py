"""What the pictures share: grids of images without ticks."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def image_grid(count: int, title: str, columns: int | None = None, tile: float = 1.1) -> tuple[Figure, list[Axes]]:
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
        no_ticks(ax)
    if count == 0:
        figure.text(0.5, 0.4, "nothing to draw", ha="center", color="0.5")
    return figure, axes[:count]


def no_ticks(ax: Axes) -> None:
    """Take away the ticks of both axes."""
    ax.set_xticks([])
    ax.set_yticks([])


def draw_image(ax: Axes, image: np.ndarray) -> None:
    """Draw an image with values from 0 to 1, (H, W) or (H, W, 3), pixel by pixel and without ticks."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    no_ticks(ax)


def stretch(image: np.ndarray) -> np.ndarray:
    """The image on the scale 0 to 1, as (H, W) or (H, W, 3); a constant image becomes 0."""
    image = np.asarray(image, dtype=np.float64)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[:, :, 0]
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else np.zeros_like(image)
