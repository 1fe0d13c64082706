"""Convolution (cross-correlation, as in every framework) of NHWC images with HWIO kernels, and its gradients.

    y[n, p, q, k] = bias[k] + sum over i, j, c of  x[n, p*SH + i*DH - PT, q*SW + j*DW - PL, c] * kernel[i, j, c, k]

where pixels outside the image are 0. ``im2col`` writes every window of the image as one row of a matrix, so that
the sum becomes a matrix product; ``col2im`` is its adjoint (transpose) and adds every row back to where it came
from. The gradients are the same two products, transposed:

    y = im2col(x) @ W        dW = im2col(x).T @ dy        dx = col2im(dy @ W.T)

After K. Chellapilla, S. Puri, P. Simard, "High Performance Convolutional Neural Networks for Document Processing"
(2006); course notes cs231n, "Convolutional Networks".
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastconv.reference.activation import Activation, activate
from fastconv.reference.geometry import (
    Array,
    IntOrPair,
    PaddingLike,
    covered,
    output_size,
    pad,
    pair,
    resolve_padding,
    tap_slices,
)


def im2col(
    x: Array,
    kernel_size: IntOrPair,
    strides: IntOrPair = 1,
    padding: PaddingLike = "valid",
    dilation_rate: IntOrPair = 1,
) -> Array:
    """Write every window of ``x`` (N, H, W, C) as a row: (N*OH*OW, KH*KW*C), columns ordered kh, kw, c."""
    (kh, kw), (sh, sw), (dh, dw) = pair(kernel_size), pair(strides), pair(dilation_rate)
    window = covered((kh, kw), (dh, dw))
    padded = pad(x, resolve_padding(padding, x.shape[1:3], window, (sh, sw)))
    every = sliding_window_view(padded, window, axis=(1, 2))  # (N, *, *, C, window), stride and dilation 1
    windows = every[:, ::sh, ::sw, :, ::dh, ::dw]  # (N, OH, OW, C, KH, KW)
    n, oh, ow, c = windows.shape[:4]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * oh * ow, kh * kw * c)


def col2im(
    cols: Array,
    input_shape: Sequence[int],
    kernel_size: IntOrPair,
    strides: IntOrPair = 1,
    padding: PaddingLike = "valid",
    dilation_rate: IntOrPair = 1,
) -> Array:
    """Adjoint of :func:`im2col`: add every row of ``cols`` back to its window; returns ``input_shape``.

    A pixel in several windows receives a sum, a pixel in none 0.
    """
    n, h, w, c = input_shape
    (kh, kw), stride, dilation = pair(kernel_size), pair(strides), pair(dilation_rate)
    window = covered((kh, kw), dilation)
    (top, bottom), (left, right) = resolve_padding(padding, (h, w), window, stride)
    oh, ow = output_size((h, w), window, stride, ((top, bottom), (left, right)))
    taps = cols.reshape(n, oh, ow, kh, kw, c)
    padded = np.zeros((n, top + h + bottom, left + w + right, c), cols.dtype)
    for i, j in product(range(kh), range(kw)):
        rows, columns = tap_slices((i, j), dilation, stride, (oh, ow))
        padded[:, rows, columns] += taps[:, :, :, i, j]
    return padded[:, top : top + h, left : left + w].copy()


def _split_groups(matrix: Array, taps: int, groups: int) -> Array:
    """(M, taps*C), columns ordered tap, group, c -> (groups, M, taps*C/groups)."""
    m, channels = matrix.shape[0], matrix.shape[1] // (taps * groups)
    split = matrix.reshape(m, taps, groups, channels).transpose(2, 0, 1, 3)
    return split.reshape(groups, m, taps * channels)


def _join_groups(split: Array, taps: int) -> Array:
    """Inverse of :func:`_split_groups`."""
    groups, m, columns = split.shape
    joined = split.reshape(groups, m, taps, columns // taps).transpose(1, 2, 0, 3)
    return joined.reshape(m, groups * columns)


def _kernel_matrices(kernel: Array, groups: int) -> Array:
    """(KH, KW, C/groups, K) -> (groups, KH*KW*C/groups, K/groups): group g owns filters g*K/groups, ..."""
    filters = kernel.shape[-1]
    rows = kernel.size // filters
    return kernel.reshape(rows, groups, filters // groups).transpose(1, 0, 2)


def conv2d(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    strides: IntOrPair = 1,
    padding: PaddingLike = "valid",
    dilation_rate: IntOrPair = 1,
    groups: int = 1,
    activation: Activation = None,
    algorithm: str = "auto",
    method: str = "im2col",
) -> Array:
    """Convolve ``x`` (N, H, W, C) with ``kernel`` (KH, KW, C/groups, K): (N, OH, OW, K).

    Channels and filters fall into ``groups`` equal parts; part g of the filters sees part g of the channels.
    ``activation`` is applied last (see :func:`~fastconv.reference.activate`). ``method`` is ``"im2col"`` or
    ``"loops"``, the definition above word for word, for tiny images. ``algorithm`` is there for the signature of
    ``ops.conv2d`` and changes nothing.

    Raises:
        ValueError: ``method`` is unknown.
    """
    stride, dilation = pair(strides), pair(dilation_rate)
    kh, kw = kernel.shape[:2]
    window = covered((kh, kw), dilation)
    pads = resolve_padding(padding, x.shape[1:3], window, stride)
    oh, ow = output_size(x.shape[1:3], window, stride, pads)
    if method == "loops":
        y = _conv2d_loops(pad(x, pads), kernel, (oh, ow), stride, dilation, groups)
    elif method == "im2col":
        cols = im2col(x, (kh, kw), stride, pads, dilation)
        split = _split_groups(cols, kh * kw, groups) @ _kernel_matrices(kernel, groups)
        y = _join_groups(split, 1).reshape(x.shape[0], oh, ow, kernel.shape[-1])
    else:
        raise ValueError(f"method must be 'loops' or 'im2col', got {method!r}")
    if bias is not None:
        y = y + bias
    return activate(y, activation)


def _conv2d_loops(padded: Array, kernel: Array, outputs: tuple[int, int], stride: tuple[int, int],
                  dilation: tuple[int, int], groups: int) -> Array:  # fmt: skip
    """The definition: one multiplication and one addition at a time."""
    kh, kw, channels, filters = kernel.shape
    y = np.zeros((padded.shape[0], *outputs, filters), padded.dtype)
    for n, p, q, k in np.ndindex(*y.shape):
        first_channel = k // (filters // groups) * channels
        for i, j, c in product(range(kh), range(kw), range(channels)):
            row, column = p * stride[0] + i * dilation[0], q * stride[1] + j * dilation[1]
            y[n, p, q, k] += padded[n, row, column, first_channel + c] * kernel[i, j, c, k]
    return y


def conv2d_backward_data(
    dy: Array,
    kernel: Array,
    input_shape: Sequence[int],
    strides: IntOrPair = 1,
    padding: PaddingLike = "valid",
    dilation_rate: IntOrPair = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> Array:
    """Gradient with respect to the input: ``dx`` of ``input_shape`` from ``dy`` (N, OH, OW, K)."""
    kh, kw, _, filters = kernel.shape
    rows = dy.size // filters
    dy_split = _split_groups(dy.reshape(rows, filters), 1, groups)
    split = dy_split @ _kernel_matrices(kernel, groups).transpose(0, 2, 1)
    return col2im(_join_groups(split, kh * kw), input_shape, (kh, kw), strides, padding, dilation_rate)


def conv2d_backward_weights(
    x: Array,
    dy: Array,
    kernel_size: IntOrPair,
    strides: IntOrPair = 1,
    padding: PaddingLike = "valid",
    dilation_rate: IntOrPair = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> tuple[Array, Array]:
    """Gradients with respect to kernel and bias: ``dkernel`` (KH, KW, C/groups, K) and ``dbias`` (K,)."""
    kh, kw = pair(kernel_size)
    filters = dy.shape[-1]
    cols = im2col(x, (kh, kw), strides, padding, dilation_rate)
    dy_rows = dy.reshape(cols.shape[0], filters)
    split = _split_groups(cols, kh * kw, groups).transpose(0, 2, 1) @ _split_groups(dy_rows, 1, groups)
    dkernel = split.transpose(1, 0, 2).reshape(kh, kw, x.shape[-1] // groups, filters)
    return dkernel, dy_rows.sum(axis=0)
