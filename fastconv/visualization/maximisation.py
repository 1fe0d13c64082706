"""What a channel looks for: images that excite it, found by gradient ascent from noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..checks import integer
from ..graph.flat import find_output, flat_graph
from ..graph.gradients import input_gradients
from ..graph.graph import Graph
from ..graph.layer import GraphLayer
from ..layers.base import Layer
from ._drawing import draw_image, image_grid, stretch

Range = tuple[Any, Any]


def maximise_activation(
    model: GraphLayer,
    layer: Layer | str,
    channel: int,
    steps: int = 128,
    step_size: float = 0.02,
    jitter: int | None = None,
    decay: float = 0.01,
    smooth: float = 0.1,
    value_range: Range = (0.0, 1.0),
    input_shape: Any = None,
    seed: int = 0,
) -> np.ndarray:
    """Return an image that makes the mean of one channel of a layer large (for a dense layer: one unit).

    Gradient ascent from noise, in steps of equal length. The image is moved by a few pixels before each step, so that
    no pattern depends on its place; it is drawn towards the middle of the range and smoothed a little, so that no
    pixel stands out without need. Erhan et al., "Visualizing Higher-Layer Features of a Deep Network" (2009); jitter
    as in Mordvintsev et al., "Inceptionism" (2015); smoothing as in Yosinski et al. (2015),
    https://arxiv.org/abs/1506.06579. The layer's own activation is left out, so that a rectifier that noise does not
    excite has a gradient too. Weights and their gradients stay as they are.

    Args:
        model: a built model with one input, an image.
        layer: a layer or its name, ``"inner/conv2d"`` in a nested model.
        channel: of its output, on the last axis.
        steps: of the ascent.
        step_size: root mean square of a step's change, as a part of the range.
        jitter: the image is moved by at most so many pixels each way; by default by a fiftieth of its shorter side.
        decay: part of the distance to the middle of the range that is lost in each step, 0 to 1.
        smooth: part of each pixel that is replaced by the mean of its four neighbours in each step, 0 to 1.
        value_range: lowest and highest value of a pixel as the model takes it (after preprocessing), numbers or one
            each per channel.
        input_shape: (H, W, C), where the model takes images of any size.
        seed: of the noise and the jitter; the same seed gives the same image.

    Returns:
        ``(H, W, C)``, within the range, of the model's dtype.

    Raises:
        ValueError, TypeError: a model without an image as its one input, of unknown size; a layer or channel that does
            not exist; arguments out of range.
    """
    _check(steps, step_size, decay, smooth)
    part, shape = _part_up_to(model, layer, input_shape)
    channels = part.output_shape[-1]
    if integer(channel, "channel", 0) >= channels:
        raise ValueError(f"channel {channel}: the layer has {channels} channels, 0 to {channels - 1}")
    low, high = (np.broadcast_to(np.asarray(bound, np.float64), shape[-1:]) for bound in value_range)
    if not (low < high).all():
        raise ValueError(f"value_range must be two values, the lower first, got {value_range!r}")
    reach = round(min(shape[:2]) / 50) if jitter is None else integer(jitter, "jitter", 0)
    rng = np.random.default_rng(seed)
    # The ascent works on images from -1 to 1; the model gets them on its own scale.
    middle, half = (low + high) / 2, (high - low) / 2
    image = rng.normal(0.0, 0.1, shape)
    for _ in range(steps):
        move = tuple(rng.integers(-reach, reach + 1, 2))
        moved = np.roll(image, move, (0, 1))
        gradient = _ascent(part, (middle + half * moved)[np.newaxis].astype(part.dtype), channel)[0] * half
        length = float(np.sqrt(np.mean(gradient**2)))
        if length > 0:
            moved = moved + 2 * step_size / length * gradient
        moved = _smoothed(moved * (1 - decay), smooth)
        image = np.roll(np.clip(moved, -1, 1), (-move[0], -move[1]), (0, 1))
    return np.clip(middle + half * image, low, high).astype(part.dtype)


def plot_maximised(
    model: GraphLayer,
    layer: Layer | str,
    channels: Sequence[int] | int = 16,
    images: np.ndarray | None = None,
    **options: Any,
) -> Figure:
    """Draw, for channels of a layer, images that excite them; each is stretched to its own range (but
    for the 1 % of its values at the ends).

    Args:
        model, layer: as for :func:`maximise_activation`.
        channels: which, or how many: the first so many.
        images: from :func:`maximise_activation`, ``(channels, H, W, C)``, where they are known already.
        options: further arguments of :func:`maximise_activation`.

    Raises:
        ValueError, TypeError: as :func:`maximise_activation`.
    """
    count = _part_up_to(model, layer, options.get("input_shape"))[0].output_shape[-1]
    chosen = list(range(min(channels, count))) if isinstance(channels, int) else list(channels)
    if images is None:
        images = np.stack([maximise_activation(model, layer, channel, **options) for channel in chosen])
    if len(images) != len(chosen):
        raise ValueError(f"got {len(images)} images for {len(chosen)} channels")
    name = layer if isinstance(layer, str) else layer.name
    figure, axes = image_grid(len(chosen), f"what excites channels of {name}", tile=1.6)
    for ax, channel, image in zip(axes, chosen, images, strict=True):
        shown = image if image.shape[-1] in (1, 3) else image.mean(axis=-1)
        draw_image(ax, stretch(np.clip(shown, *np.percentile(shown, (0.5, 99.5)))))
        ax.set_title(str(channel), fontsize=8)
    return figure


def _check(steps: int, step_size: float, decay: float, smooth: float) -> None:
    integer(steps, "steps")
    if not step_size > 0:
        raise ValueError(f"step_size must be above 0, got {step_size}")
    for value, name in ((decay, "decay"), (smooth, "smooth")):
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be from 0 to below 1, got {value}")


def _part_up_to(model: GraphLayer, layer: Layer | str, input_shape: Any) -> tuple[GraphLayer, tuple[int, ...]]:
    """The model up to a layer, and the shape of an image."""
    graph = flat_graph(model, input_shape)
    if len(graph.inputs) != 1 or len(graph.inputs[0].shape) != 4:
        raise ValueError(f"needs a model with one input (N, H, W, C), got {[t.shape for t in graph.inputs]}")
    shape = graph.inputs[0].shape[1:]
    if None in shape:
        raise ValueError(f"{model.label} has inputs of unknown size {(None, *shape)}: give input_shape")
    target = find_output(graph, layer, model)
    if target in graph.inputs or target.shape[-1] is None:
        raise ValueError(f"{target.node.layer.label} has output shape {target.shape}: it has no channels to maximise")
    part = GraphLayer.of(Graph(graph.inputs, [target], graph.names))
    return part, tuple(size for size in shape if size is not None)


def _ascent(part: GraphLayer, x: np.ndarray, channel: int) -> np.ndarray:
    """The gradient of the channel's mean, before the layer's activation, for the image."""

    def gradient_of_mean(y: np.ndarray) -> np.ndarray:
        dy = np.zeros_like(y)
        dy[..., channel] = 1 / max(y[..., channel].size, 1)
        return dy

    linear = () if part.final_activation is None else (0,)
    return np.asarray(input_gradients(part, x, gradient_of_mean, linear), np.float64)


def _smoothed(image: np.ndarray, part: float) -> np.ndarray:
    if not part:
        return image
    neighbours = sum(np.roll(image, move, axis) for axis in (0, 1) for move in (-1, 1)) / 4
    return (1 - part) * image + part * neighbours
