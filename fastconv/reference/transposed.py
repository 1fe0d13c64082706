"""Transposed convolution: the adjoint of a convolution, used to go from small maps to large ones.

Every input pixel stamps ``x[n, p, q] @ kernel`` onto the output, ``strides`` apart; overlapping stamps add up:

    full[n, p*SH + i*DH, q*SW + j*DW, f] += sum over c of  x[n, p, q, c] * kernel[i, j, f, c]

``y`` is ``full`` with the padding cropped off (and zeros appended where the output is longer). The forward pass is
the backward-data pass of the convolution with the same kernel, whose input channels are this one's filters.
V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning" (2016), chapter 4.
"""

from itertools import product
from typing import Any

import numpy as np

from fastconv.reference.activation import Activation, activate
from fastconv.reference.geometry import Array, IntOrPair, PaddingLike, Pair, covered, explicit_padding, pair, tap_slices


def _output_length(size: int, window: int, stride: int, padding: Any, extra: int | None) -> Pair:
    """Output length on one axis, and how many elements are cropped before it. ``window`` is the dilated kernel.

    With a padding in words the rules are Keras 3's (``compute_conv_transpose_output_shape``), otherwise PyTorch's.
    """
    if padding == "valid":
        if extra is None:
            extra = max(window, stride) - window
        return (size - 1) * stride + window + extra, 0
    if padding == "same":
        if extra is None:
            return size * stride, max(window - stride, 0) // 2
        parity = window % 2
        reach = window + parity - 2 + extra
        return (size - 1) * stride + parity + extra, max(window - 1 - (reach + 1) // 2, 0)
    before, after = padding
    return (size - 1) * stride - before - after + window + (extra or 0), before


def _geometry(size: Pair, window: Pair, stride: Pair, padding: PaddingLike, output_padding: IntOrPair | None) -> Any:
    """((OH, crop_top), (OW, crop_left))."""
    pads: Any = (padding, padding) if isinstance(padding, str) else explicit_padding(padding)
    extra: Any = (None, None) if output_padding is None else pair(output_padding)
    return [_output_length(*axis) for axis in zip(size, window, stride, pads, extra, strict=True)]


def conv2d_transpose(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    strides: IntOrPair = 1,
    padding: PaddingLike = "valid",
    output_padding: IntOrPair | None = None,
    dilation_rate: IntOrPair = 1,
    activation: Activation = None,
) -> Array:
    """``x`` (N, H, W, C), ``kernel`` (KH, KW, filters, C), as Keras -> (N, OH, OW, filters).

    Output length: ``"valid"``: ``(H - 1) * stride + max(window, stride)``; ``"same"``: ``H * stride``; explicit
    padding: ``(H - 1) * stride - before - after + window + output_padding``, where ``window`` is the dilated kernel.
    With ``output_padding``: ``"valid"``: ``(H - 1) * stride + window + output_padding``; ``"same"``:
    ``(H - 1) * stride + window % 2 + output_padding``.
    """
    n, h, w, _ = x.shape
    kh, kw, filters, _ = kernel.shape
    stride, dilation = pair(strides), pair(dilation_rate)
    window = covered((kh, kw), dilation)
    (oh, top), (ow, left) = _geometry((h, w), window, stride, padding, output_padding)
    full = np.zeros((n, *_full_size((h, w), window, stride, (oh + top, ow + left)), filters), x.dtype)
    for i, j in product(range(kh), range(kw)):
        rows, columns = tap_slices((i, j), dilation, stride, (h, w))
        full[:, rows, columns] += x @ kernel[i, j].T
    y = full[:, top : top + oh, left : left + ow]
    return activate(y.copy() if bias is None else y + bias, activation)


def conv2d_transpose_backward(
    dy: Array,
    x: Array,
    kernel: Array,
    strides: IntOrPair = 1,
    padding: PaddingLike = "valid",
    output_padding: IntOrPair | None = None,
    dilation_rate: IntOrPair = 1,
    need_dx: bool = True,
    need_weights: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients ``dx`` (x's shape), ``dkernel`` (kernel's shape) and ``dbias`` (filters,); None what is not needed."""
    n, h, w, _ = x.shape
    kh, kw, filters, _ = kernel.shape
    stride, dilation = pair(strides), pair(dilation_rate)
    window = covered((kh, kw), dilation)
    (oh, top), (ow, left) = _geometry((h, w), window, stride, padding, output_padding)
    full = np.zeros((n, *_full_size((h, w), window, stride, (oh + top, ow + left)), filters), dy.dtype)
    full[:, top : top + oh, left : left + ow] = dy
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for i, j in product(range(kh), range(kw)):
        rows, columns = tap_slices((i, j), dilation, stride, (h, w))
        stamped = full[:, rows, columns]  # (N, H, W, filters)
        dx += stamped @ kernel[i, j]
        dkernel[i, j] = np.einsum("nhwf,nhwc->fc", stamped, x)
    weights = (dkernel, dy.sum(axis=(0, 1, 2))) if need_weights else (None, None)
    return (dx if need_dx else None, *weights)


def _full_size(size: Pair, window: Pair, stride: Pair, at_least: Pair) -> Pair:
    """Size of the canvas that holds every stamp and the output."""
    return (
        max((size[0] - 1) * stride[0] + window[0], at_least[0]),
        max((size[1] - 1) * stride[1] + window[1], at_least[1]),
    )
