"""Zero padding, cropping and up-sampling of NHWC images, and their adjoints."""

from collections.abc import Sequence

import numpy as np

from fastconv.reference.geometry import Array, IntOrPair, PaddingLike, explicit_padding, pad, pair


def zero_padding2d(x: Array, padding: PaddingLike) -> Array:
    """Surround ``x`` (N, H, W, C) with zeros. ``padding``: int, (h, w) or ((top, bottom), (left, right))."""
    return pad(x, explicit_padding(padding))


def zero_padding2d_backward(dy: Array, padding: PaddingLike) -> Array:
    """Gradient of :func:`zero_padding2d`: crop the padding off ``dy``."""
    return cropping2d(dy, padding)


def cropping2d(x: Array, cropping: PaddingLike) -> Array:
    """Cut rows and columns off ``x`` (N, H, W, C). ``cropping``: int, (h, w) or ((top, bottom), (left, right))."""
    (top, bottom), (left, right) = explicit_padding(cropping)
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right].copy()


def cropping2d_backward(dy: Array, cropping: PaddingLike, input_shape: Sequence[int]) -> Array:
    """Gradient of :func:`cropping2d`: ``dy`` surrounded by zeros, back to ``input_shape``."""
    (top, _), (left, _) = explicit_padding(cropping)
    dx = np.zeros(tuple(input_shape), dy.dtype)
    dx[:, top : top + dy.shape[1], left : left + dy.shape[2]] = dy
    return dx


def _bilinear_taps(size: int, factor: int, dtype: np.dtype) -> tuple[Array, Array, Array]:
    """For every output pixel of one axis: the two input pixels it lies between and the weight of the second.

    Output pixel p has its centre at ``(p + 0.5) / factor - 0.5`` of the input; beyond the edge the edge is repeated.
    """
    centre = np.maximum((np.arange(size * factor) + 0.5) / factor - 0.5, 0)
    low = centre.astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    return low, high, (centre - low).astype(dtype)


def upsampling2d(x: Array, size: IntOrPair, interpolation: str = "nearest") -> Array:
    """Enlarge ``x`` (N, H, W, C) ``size`` = (h, w) times: (N, H*h, W*w, C).

    ``interpolation``: ``"nearest"`` repeats pixels; ``"bilinear"`` has half-pixel centres and clamped edges, as
    Keras' UpSampling2D.

    Raises:
        ValueError: another ``interpolation``.
    """
    factors = pair(size)
    if interpolation == "nearest":
        return x.repeat(factors[0], axis=1).repeat(factors[1], axis=2)
    if interpolation != "bilinear":
        raise ValueError(f"interpolation must be 'nearest' or 'bilinear', got {interpolation!r}")
    for axis, factor in zip((1, 2), factors, strict=True):
        low, high, weight = _bilinear_taps(x.shape[axis], factor, x.dtype)
        weight = weight.reshape(-1, 1) if axis == 2 else weight.reshape(-1, 1, 1)
        x = x.take(low, axis) * (1 - weight) + x.take(high, axis) * weight
    return x


def upsampling2d_backward(dy: Array, size: IntOrPair, interpolation: str = "nearest") -> Array:
    """Adjoint of :func:`upsampling2d`: every input pixel receives the sum of ``dy`` times its weight there.

    Raises:
        ValueError: another ``interpolation``.
    """
    fh, fw = pair(size)
    n, oh, ow, c = dy.shape
    h, w = oh // fh, ow // fw
    if interpolation == "nearest":
        return dy.reshape(n, h, fh, w, fw, c).sum(axis=(2, 4))
    if interpolation != "bilinear":
        raise ValueError(f"interpolation must be 'nearest' or 'bilinear', got {interpolation!r}")
    low, high, weight = _bilinear_taps(w, fw, dy.dtype)
    narrow = np.zeros((n, oh, w, c), dy.dtype)
    for q in range(ow):
        narrow[:, :, low[q]] += dy[:, :, q] * (1 - weight[q])
        narrow[:, :, high[q]] += dy[:, :, q] * weight[q]
    low, high, weight = _bilinear_taps(h, fh, dy.dtype)
    dx = np.zeros((n, h, w, c), dy.dtype)
    for p in range(oh):
        dx[:, low[p]] += narrow[:, p] * (1 - weight[p])
        dx[:, high[p]] += narrow[:, p] * weight[p]
    return dx
