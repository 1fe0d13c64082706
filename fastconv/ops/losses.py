"""Softmax and cross-entropy in one: stable, because the logarithm of a tiny probability is never taken."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv.checks import as_array
from fastconv.ops import _checks


def softmax_cross_entropy(
    logits: Any, targets: Any, label_smoothing: float = 0.0, sample_weight: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """``-sum(t * log(softmax(logits)))`` of every sample: losses (...,) and probabilities (..., classes).

    Args:
        logits: (..., classes), float32 or float64.
        targets: integer labels (...,), or rows (..., classes) of any numeric dtype that has as many axes as logits
            and is converted to theirs. A target of 0 contributes exactly 0.
        label_smoothing: in [0, 1]: targets become ``t * (1 - label_smoothing) + label_smoothing / classes``.
            C. Szegedy et al. (CVPR 2016), section 7.
        sample_weight: (...,), multiplies each loss; None for 1.

    Raises:
        ValueError: a label outside [0, classes), or shapes that do not fit. TypeError: labels that are no integers, or
            dtypes other than one of float32 and float64.
    """
    logits = _rows(logits, "logits")
    labels, rows = _targets(targets, logits)
    smoothing = _smoothing(label_smoothing)
    weight = None if sample_weight is None else _per_sample(sample_weight, logits, "sample_weight")
    losses = _kernels.empty(logits.shape[:-1], logits.dtype)
    probabilities = _kernels.empty(logits.shape, logits.dtype)
    try:
        _kernels.cross_entropy(logits, labels, rows, smoothing, weight, losses, probabilities)
    except IndexError:
        raise _bad_label(labels, logits.shape[-1]) from None
    return losses, probabilities


def softmax_cross_entropy_backward(
    probabilities: Any, targets: Any, scale: Any, label_smoothing: float = 0.0
) -> np.ndarray:
    """``dlogits = scale * (probabilities * sum(t) - t)``: (..., classes).

    ``scale``, (...,) or one number, holds the upstream gradient: weights, averaging. The other arguments and errors are
    those of :func:`softmax_cross_entropy`.
    """
    probabilities = _rows(probabilities, "probabilities")
    labels, rows = _targets(targets, probabilities)
    smoothing = _smoothing(label_smoothing)
    if np.ndim(scale) == 0:
        scales, factor = None, float(scale)
    else:
        scales, factor = _per_sample(scale, probabilities, "scale"), 1.0
    dlogits = _kernels.empty(probabilities.shape, probabilities.dtype)
    try:
        _kernels.cross_entropy_backward(probabilities, labels, rows, smoothing, scales, factor, dlogits)
    except IndexError:
        raise _bad_label(labels, probabilities.shape[-1]) from None
    return dlogits


def _rows(value: Any, name: str) -> np.ndarray:
    value = _checks.array(value, name)
    if value.ndim < 1 or value.shape[-1] == 0:
        raise ValueError(f"{name} has shape {value.shape}: expected (..., classes) with at least 1 class")
    return value


def _targets(targets: Any, logits: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(labels as int64, None), or (None, rows in logits' dtype)."""
    targets = as_array(targets, "targets")
    if targets.ndim == logits.ndim:
        if targets.dtype.kind not in "fiub":
            raise TypeError(f"targets must be numbers, got {targets.dtype}")
        _checks.expect_shape(targets, logits.shape, "targets", "one row of targets a sample")
        return None, _checks.converted(targets, logits.dtype)
    if targets.dtype.kind not in "iu":
        raise TypeError(f"targets of shape {targets.shape} are labels: they must be integers, got {targets.dtype}")
    _checks.expect_shape(targets, logits.shape[:-1], "targets", f"one label a sample of logits {logits.shape}")
    return _checks.converted(targets, np.dtype(np.int64)), None


def _bad_label(labels: Any, classes: int) -> ValueError:
    bad = labels[(labels < 0) | (labels >= classes)][0]
    return ValueError(f"label {bad} is outside [0, {classes}) for {classes} classes")


def _smoothing(value: Any) -> float:
    number = _checks.real(value, "label_smoothing")
    if not 0 <= number <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], got {number}")
    return number


def _per_sample(value: Any, logits: np.ndarray, name: str) -> np.ndarray:
    value = _checks.array(value, name, None, logits)
    _checks.expect_shape(value, logits.shape[:-1], name, "one value a sample")
    return value
