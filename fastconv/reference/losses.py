"""Softmax and cross-entropy in one: stable, because the logarithm of a tiny probability is never taken."""

import numpy as np

from fastconv.reference.geometry import Array


def _target_rows(targets: Array, classes: int, ndim: int, label_smoothing: float, dtype: np.dtype) -> Array:
    """Targets as rows (..., classes): labels become one-hot, ``t * (1 - smoothing) + smoothing / classes``."""
    if targets.ndim == ndim - 1:
        targets = targets[..., None] == np.arange(classes)
    rows = targets.astype(dtype)
    if label_smoothing:
        rows = rows * dtype.type(1 - label_smoothing) + dtype.type(label_smoothing / classes)
    return rows


def softmax_cross_entropy(
    logits: Array, targets: Array, label_smoothing: float = 0.0, sample_weight: Array | None = None
) -> tuple[Array, Array]:
    """``-sum(t * log(softmax(logits)))`` of every sample: losses (...,) and probabilities (..., classes).

    ``targets`` are integer labels (...,) or rows (..., classes); a target of 0 contributes exactly 0. A loss is
    multiplied by its ``sample_weight`` (...,). C. Szegedy et al. (CVPR 2016), section 7, for label smoothing.
    """
    rows = _target_rows(targets, logits.shape[-1], logits.ndim, label_smoothing, logits.dtype)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(axis=-1, keepdims=True)
    terms = np.zeros_like(logits)
    np.multiply(rows, shifted - np.log(sums), out=terms, where=rows != 0)  # 0 * log(0) counts as 0
    loss = -terms.sum(axis=-1)
    return (loss if sample_weight is None else loss * sample_weight), exponentials / sums


def softmax_cross_entropy_backward(
    probabilities: Array, targets: Array, scale: Array | float, label_smoothing: float = 0.0
) -> Array:
    """``dlogits = scale * (probabilities * sum(t) - t)``; ``scale`` (...,) or one number holds weight and averaging."""
    dtype = probabilities.dtype
    rows = _target_rows(targets, probabilities.shape[-1], probabilities.ndim, label_smoothing, dtype)
    factor = np.asarray(scale, dtype)[..., None]
    return factor * (probabilities * rows.sum(axis=-1, keepdims=True) - rows)
