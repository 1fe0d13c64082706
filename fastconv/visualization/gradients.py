"""Why the model says so: the gradient of a class score for the image (saliency), and class activation (Grad-CAM)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from ..graph.execution import Plan
from ..graph.flat import find_output, flat_graph
from ..graph.gradients import PROBABILITIES, input_gradients, no_weight_gradients, one_hot_scores
from ..graph.graph import Graph
from ..layers.base import Layer
from ..layers.node import Tensor
from ._drawing import draw_image, image_grid, stretch

if TYPE_CHECKING:
    from ..graph.layer import GraphLayer


def saliency(model: GraphLayer, x: np.ndarray, class_index: int | Sequence[int] | None = None) -> np.ndarray:
    """Return the gradient of a class score for the input: how much each value of each pixel moves the score.

    The score is the value before a final softmax or sigmoid. Simonyan, Vedaldi and Zisserman, "Deep Inside
    Convolutional Networks" (2014), https://arxiv.org/abs/1312.6034, section 3. The model runs in inference mode;
    gradients of its weights are neither computed nor changed.

    Args:
        model: a built model with one input and one output ``(N, classes)``.
        x: a batch ``(N, H, W, C)``, or one sample ``(H, W, C)``, as the model takes it.
        class_index: one class for all samples, or one each; by default each sample's highest score.

    Returns:
        An array of the shape of ``x``.

    Raises:
        ValueError: another model or shape, a class that does not exist. TypeError: another dtype than the model's.
    """
    single, batch = _batch(model, x)
    dx = input_gradients(model, batch, class_index)
    return dx[0] if single else dx


def grad_cam(
    model: GraphLayer,
    x: np.ndarray,
    class_index: int | Sequence[int] | None = None,
    layer: Layer | str | None = None,
) -> np.ndarray:
    """Return where the evidence for a class lies: a map ``relu(sum over k of a_k * A_k)`` of the feature maps A of a
    layer, each weighed by the mean a_k of the class score's gradient for it.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization" (2017),
    https://arxiv.org/abs/1610.02391, equations 1 and 2. The score is the value before a final softmax or sigmoid; the
    model runs in inference mode; gradients of its weights are neither computed nor changed.

    Args:
        model: a built model with one input and one output ``(N, classes)``.
        x: a batch ``(N, H, W, C)``, or one sample ``(H, W, C)``, as the model takes it.
        class_index: one class for all samples, or one each; by default each sample's highest score.
        layer: a layer with output ``(N, h, w, channels)``, or its name, ``"inner/conv2d"`` in a nested model; by
            default the last such output, if it has more than one pixel.

    Returns:
        ``(N, h, w)``, or ``(h, w)`` for one sample: not negative, not scaled, at the layer's resolution.

    Raises:
        ValueError: another model or shape, a class or layer that does not exist, or whose output is no feature map.
        TypeError: another dtype than the model's.
    """
    single, batch = _batch(model, x)
    graph = flat_graph(model, batch.shape[1:])
    maps = _feature_maps(graph, model, layer)
    below = Plan(Graph(graph.inputs, [maps], graph.names))
    # Layers beside the feature maps, such as a shortcut around them, read the image again.
    above = _scores_plan(Graph([maps, *graph.inputs], graph.outputs, graph.names), graph)
    (features,) = below.infer([batch], training=False)
    with no_weight_gradients(model):
        (scores,), tape = above.forward([features, batch], training=False, need_dx=True)
        gradient = above.backward([one_hot_scores(scores, class_index)], tape, need_dx=True, retain_caches=False)[0]
    if gradient is None:
        raise ValueError(f"the output of {model.label} does not depend on {maps.node.layer.label}")
    weights = np.asarray(gradient).mean(axis=(1, 2), keepdims=True)
    cam = np.maximum((weights * features).sum(axis=-1), 0)
    return cam[0] if single else cam


def plot_saliency(model: GraphLayer, x: np.ndarray, class_index: int | Sequence[int] | None = None) -> Figure:
    """Draw images beside their :func:`saliency`: of each pixel the largest absolute gradient of its channels.

    Args:
        model, x, class_index: as for :func:`saliency`.

    Raises:
        ValueError, TypeError: as :func:`saliency`; an input that is not an image.
    """
    batch = _images(x)
    strength = np.abs(saliency(model, batch, class_index)).max(axis=-1)
    figure, axes = image_grid(2 * len(batch), "saliency: |gradient of the class score for the pixel|", 2, tile=2.6)
    for i, (image, values) in enumerate(zip(batch, strength, strict=True)):
        draw_image(axes[2 * i], stretch(image))
        # A few pixels far above all others would leave the rest black.
        limit = float(np.percentile(values, 99.5)) or 1.0
        axes[2 * i + 1].imshow(values, cmap="inferno", vmin=0, vmax=limit, interpolation="nearest")
    return figure


def plot_grad_cam(
    model: GraphLayer,
    x: np.ndarray,
    class_index: int | Sequence[int] | None = None,
    layer: Layer | str | None = None,
    alpha: float = 0.5,
) -> Figure:
    """Draw images beside the same under their :func:`grad_cam` map, which is enlarged bilinearly: red is evidence.

    Args:
        model, x, class_index, layer: as for :func:`grad_cam`.
        alpha: opacity of the map, 0 to 1.

    Raises:
        ValueError, TypeError: as :func:`grad_cam`; an input that is not an image, alpha outside 0 to 1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1, got {alpha}")
    batch = _images(x)
    cams = grad_cam(model, batch, class_index, layer)
    figure, axes = image_grid(2 * len(batch), "Grad-CAM: where the evidence for the class lies", 2, tile=2.6)
    height, width = batch.shape[1:3]
    for i, (image, cam) in enumerate(zip(batch, cams, strict=True)):
        for ax in axes[2 * i : 2 * i + 2]:
            draw_image(ax, stretch(image))
        edges = (-0.5, width - 0.5, height - 0.5, -0.5)
        limit = float(cam.max()) or 1.0
        axes[2 * i + 1].imshow(
            cam, cmap="turbo", vmin=0, vmax=limit, alpha=alpha, extent=edges, interpolation="bilinear"
        )
    return figure


def _batch(model: GraphLayer, x: Any) -> tuple[bool, np.ndarray]:
    """Whether ``x`` is one sample, and ``x`` as a batch that the model takes."""
    graph = model.graph
    if len(graph.inputs) != 1 or len(graph.outputs) != 1 or len(graph.outputs[0].shape) != 2:
        raise ValueError(
            f"class scores need a model with one input and one output (N, classes); {model.label} has "
            f"{len(graph.inputs)} inputs and outputs {', '.join(str(t.shape) for t in graph.outputs)}"
        )
    array = np.asarray(x)
    single = array.ndim == len(graph.inputs[0].shape) - 1
    (batch,) = model._checked([array[np.newaxis] if single else array])
    if not len(batch):
        raise ValueError(f"there are no samples in an array of shape {array.shape}")
    return single, batch


def _images(x: Any) -> np.ndarray:
    array = np.asarray(x)
    batch = array[np.newaxis] if array.ndim == 3 else array
    if batch.ndim != 4 or batch.shape[-1] not in (1, 3):
        raise ValueError(f"needs images (N, H, W, C) or one (H, W, C) with 1 or 3 channels, got shape {array.shape}")
    return batch


def _scores_plan(graph: Graph, whole: Graph) -> Plan:
    """The plan of a graph without the softmax or sigmoid that its one output ends in."""
    node = whole.outputs[0].node
    strip = node in graph.nodes and getattr(node.layer, "final_activation", None) in PROBABILITIES
    return Plan(graph, (0,) if strip else ())


def _feature_maps(graph: Graph, model: GraphLayer, layer: Layer | str | None) -> Tensor:
    if layer is not None:
        maps = find_output(graph, layer, model)
        if len(maps.shape) != 4 or maps in graph.inputs:
            raise ValueError(f"{maps.node.layer.label} has output shape {maps.shape}: it is no layer with feature maps")
        return maps
    for node in reversed(graph.nodes):
        maps = node.outputs[0]
        if len(maps.shape) == 4 and maps.shape[1:3] != (1, 1):
            return maps
    raise ValueError(f"{model.label} has no layer with feature maps (N, h, w, channels)")
