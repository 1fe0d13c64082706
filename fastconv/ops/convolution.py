"""Convolution and its two backward passes, im2col and col2im, and the choice of algorithm.

What frameworks call convolution is cross-correlation: the kernel is not flipped. Activations are NHWC, kernels HWIO.
The guide to all of this arithmetic: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from fastconv import _kernels
from fastconv.checks import integer
from fastconv.errors import channels_first_hint
from fastconv.ops import _checks, geometry
from fastconv.ops.activation import LINEAR, Activation, resolve
from fastconv.ops.algorithms import PASSES, built_in, encoded, from_user, registered, user_function
from fastconv.ops.geometry import Padding, PaddingLike, Pair, PairLike


class Plan(NamedTuple):
    """A checked geometry: what the binding wants, and the shape that comes out."""

    geometry: tuple[int, ...]  # (N, H, W, C, KH, KW, K, G, SH, SW, DH, DW, PT, PB, PL, PR)
    input_shape: tuple[int, ...]
    output_shape: tuple[int, int, int, int]
    strides: Pair
    padding: Padding
    dilation_rate: Pair
    groups: int


@lru_cache(maxsize=4096)
def _plan(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], strides: Pair, padding: Any, dilation: Pair, groups: int
) -> Plan:
    n, h, w, c = shape
    kh, kw, per_group, filters = kernel_shape
    mismatch = (
        f"kernel of shape {kernel_shape} expects {per_group} channels a group x {groups} groups = "
        f"{per_group * groups} input channels, but the input of shape {shape} has {c}"
    )
    if per_group * groups != c and (hint := channels_first_hint(shape, per_group * groups)):
        raise ValueError(mismatch + hint)
    (_, oh, ow, _), pads = geometry.conv2d_output(shape, (kh, kw), filters, strides, padding, dilation, groups)
    if per_group * groups != c:
        raise ValueError(mismatch)
    numbers = (n, h, w, c, kh, kw, filters, groups, *strides, *dilation, *pads[0], *pads[1])
    assert oh is not None
    assert ow is not None
    return Plan(numbers, shape, (n, oh, ow, filters), strides, pads, dilation, groups)


def plan(
    shape: tuple[int, ...],
    kernel_shape: tuple[int, ...],
    strides: PairLike,
    padding: PaddingLike,
    dilation_rate: PairLike,
    groups: int,
) -> Plan:
    """Check a convolution's arguments against the shapes of input and kernel."""
    if type(groups) is not int or groups < 1:
        groups = integer(groups, "groups")
    if type(padding) is not str:
        padding = geometry.sides(padding, "padding")
    strides, dilation = geometry.pair(strides, "strides"), geometry.pair(dilation_rate, "dilation_rate")
    return _plan(shape, kernel_shape, strides, padding, dilation, groups)


def _keywords(p: Plan) -> dict[str, Any]:
    """The geometry as a registered function gets it."""
    return {"strides": p.strides, "padding": p.padding, "dilation_rate": p.dilation_rate, "groups": p.groups}


def conv2d_choice(
    input_shape: Sequence[int],
    kernel_shape: Sequence[int],
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    dilation_rate: PairLike = 1,
    groups: int = 1,
    which: str = "forward",
    dtype: Any = np.float32,
) -> str:
    """Name the algorithm that ``"auto"`` runs for images and kernels of these shapes.

    It depends on shapes, dtype, instruction set, pass and :func:`fastconv.set_conv2d_accuracy`, never on the number of
    threads.

    Args:
        input_shape: (N, H, W, C). kernel_shape: (KH, KW, C/groups, K).
        which: ``"forward"``, ``"backward_data"``, ``"backward_weights"`` or ``"inference"``: forward with a kernel that
            :func:`prepare_conv2d` has transformed.
        strides, padding, dilation_rate, groups: as in :func:`conv2d`. dtype: float32 or float64.
    """
    if which != "inference" and which not in PASSES:
        raise ValueError(f"which must be one of {', '.join(PASSES)}, inference, got {which!r}")
    shape = geometry.shape4(input_shape, "input_shape")
    p = plan(shape, geometry.shape4(kernel_shape, "kernel_shape"), strides, padding, dilation_rate, groups)
    number = PASSES["forward" if which == "inference" else which]
    return _kernels.conv2d_choice(p.geometry, number, np.dtype(dtype) == np.float64, which == "inference")


class PreparedKernel(NamedTuple):
    """A kernel, and what an algorithm made of it in advance; :func:`conv2d` takes it in the kernel's place."""

    kernel: np.ndarray
    algorithm: str
    strides: tuple[int, ...]
    values: np.ndarray


def prepare_conv2d(
    kernel: Any,
    input_shape: Sequence[int],
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    dilation_rate: PairLike = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> np.ndarray | PreparedKernel:
    """Transform ``kernel`` (KH, KW, C/groups, K) once for many forward calls on images like ``input_shape``.

    Winograd's filters are 36/9 times as large as 3x3 kernels, and transforming them takes a good part of a call on few
    images. Where the algorithm takes kernels as they are, the kernel itself is returned. A prepared kernel keeps the
    values it was made from: after a change of the kernel, prepare it again.
    """
    kernel = _checks.array(kernel, "kernel", 4)
    shape = geometry.shape4(input_shape, "input_shape")
    p = plan(shape, kernel.shape, strides, padding, dilation_rate, groups)
    if algorithm in registered:
        return kernel
    name = built_in(algorithm, "forward", p.geometry)
    if name is None:
        algorithm = _prepared_choice(p.geometry, kernel.dtype, _kernels.conv2d_exact())
        name = encoded[algorithm]
    values = _kernels.conv2d_prepare(p.geometry, name, kernel)
    return kernel if values is None else PreparedKernel(kernel, algorithm, p.strides, values)


@lru_cache(maxsize=4096)
def _prepared_choice(numbers: tuple[int, ...], dtype: np.dtype, exact: bool) -> str:
    return _kernels.conv2d_choice(numbers, PASSES["forward"], dtype == np.float64, True)


def im2col(
    x: Any,
    kernel_size: PairLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    dilation_rate: PairLike = 1,
) -> np.ndarray:
    """Lay out every patch of ``x`` (N, H, W, C) as a row: (N*OH*OW, KH*KW*C), columns ordered kh, kw, c.

    ``im2col(x) @ kernel.reshape(KH*KW*C, K)`` is the convolution (Chellapilla et al., 2006).

    Raises:
        ValueError: a kernel larger than the padded input, or another bad geometry; the message shows the arithmetic.
        TypeError: an array that is not float32 or float64.
    """
    x = _checks.image(x, "x")
    kh, kw = geometry.pair(kernel_size, "kernel_size")
    c = x.shape[3]
    p = plan(x.shape, (kh, kw, c, 1), strides, padding, dilation_rate, 1)
    n, oh, ow, _ = p.output_shape
    cols = _kernels.empty((n * oh * ow, kh * kw * c), x.dtype)
    _kernels.im2col(p.geometry, x, cols)
    return cols


def col2im(
    cols: Any,
    input_shape: Sequence[int],
    kernel_size: PairLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    dilation_rate: PairLike = 1,
) -> np.ndarray:
    """The adjoint of :func:`im2col`: add every column of ``cols`` to the pixel it came from; returns ``input_shape``.

    Raises:
        ValueError: ``cols`` has another shape than ``im2col`` of ``input_shape`` gives.
    """
    shape = geometry.shape4(input_shape, "input_shape")
    cols = _checks.array(cols, "cols", 2)
    kh, kw = geometry.pair(kernel_size, "kernel_size")
    p = plan(shape, (kh, kw, shape[3], 1), strides, padding, dilation_rate, 1)
    n, oh, ow, _ = p.output_shape
    _checks.expect_shape(
        cols, (n * oh * ow, kh * kw * shape[3]), "cols", f"{n} x {oh} x {ow} patches of {kh} x {kw} x {shape[3]}"
    )
    dx = _kernels.empty(shape, cols.dtype)
    _kernels.col2im(p.geometry, cols, dx)
    return dx


def conv2d(
    x: Any,
    kernel: Any,
    bias: Any = None,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    dilation_rate: PairLike = 1,
    groups: int = 1,
    activation: Activation = None,
    algorithm: str = "auto",
) -> np.ndarray:
    """Convolve ``x`` (N, H, W, C) with ``kernel`` (KH, KW, C/groups, K): y (N, OH, OW, K).

    ``y[n, oh, ow, k] = bias[k] + sum of x[n, oh*SH - top + kh*DH, ow*SW - left + kw*DW, c] * kernel[kh, kw, c, k]``
    with OH = floor((H + top + bottom - dilated KH) / SH) + 1, then the activation.

    Args:
        x: images, float32 or float64.
        kernel: filters, of the same dtype; or what :func:`prepare_conv2d` made of them, then ``algorithm`` is its.
        bias: (K,) or None.
        strides, dilation_rate: an int or (h, w).
        padding: ``"valid"`` (none), ``"same"`` (OH = ceil(H / SH), TensorFlow's rule: the odd pixel at the bottom and
            right), an int, (h, w) or ((top, bottom), (left, right)).
        groups: channels and filters fall into that many independent convolutions; ``groups=C`` is depthwise.
        activation: applied before the output is written: None, a name or (name, parameter); see ``ops.activate``.
        algorithm: one of :func:`conv2d_algorithms`.

    Raises:
        ValueError: shapes that do not fit; the message shows the arithmetic. TypeError: dtypes other than one of
            float32 and float64. OverflowError: sizes beyond 64 bits. MemoryError: no room for the output.
    """
    x = _checks.image(x, "x")
    prepared = None
    if type(kernel) is PreparedKernel:
        kernel, algorithm, prepared_strides, prepared = kernel
        if prepared_strides != geometry.pair(strides, "strides"):
            raise ValueError(f"the kernel was prepared for strides {prepared_strides}, not {strides}")
    kernel = _checks.array(kernel, "kernel", 4, x)
    p = plan(x.shape, kernel.shape, strides, padding, dilation_rate, groups)
    filters = kernel.shape[3]
    bias = _checks.vector(bias, filters, "bias", x)
    finish = LINEAR if activation is None else resolve(activation, filters, x.dtype)
    function = user_function(algorithm, "forward")
    if function is not None:
        result = function(x, kernel, **_keywords(p))
        y = np.array(from_user(algorithm, result, p.output_shape, x), order="C")
        _kernels.finish(y, bias, finish)
        return y
    name = None if algorithm == "auto" else built_in(algorithm, "forward", p.geometry)
    y = _kernels.empty(p.output_shape, x.dtype)
    _kernels.conv2d_forward(p.geometry, name, x, kernel, prepared, bias, finish, y)
    return y


def conv2d_backward_data(
    dy: Any,
    kernel: Any,
    input_shape: Sequence[int],
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    dilation_rate: PairLike = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> np.ndarray:
    """Gradient of :func:`conv2d` with respect to its input: dx of ``input_shape`` from dy (N, OH, OW, K).

    Rows and columns that no window covered get 0. Arguments and errors as in :func:`conv2d`.
    """
    shape = geometry.shape4(input_shape, "input_shape")
    dy = _checks.array(dy, "dy", 4)
    kernel = _checks.array(kernel, "kernel", 4, dy)
    p = plan(shape, kernel.shape, strides, padding, dilation_rate, groups)
    _checks.expect_shape(dy, p.output_shape, "dy", "the shape of the forward output")
    function = user_function(algorithm, "backward_data")
    if function is not None:
        return from_user(algorithm, function(dy, kernel, shape, **_keywords(p)), shape, dy)
    name = None if algorithm == "auto" else built_in(algorithm, "backward_data", p.geometry)
    dx = _kernels.empty(shape, dy.dtype)
    _kernels.conv2d_backward_data(p.geometry, name, dy, kernel, dx)
    return dx


def conv2d_backward_weights(
    x: Any,
    dy: Any,
    kernel_size: PairLike,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    dilation_rate: PairLike = 1,
    groups: int = 1,
    algorithm: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of :func:`conv2d` with respect to its parameters: dkernel (KH, KW, C/groups, K) and dbias (K,).

    Arguments and errors as in :func:`conv2d`; an empty batch gives zeros.
    """
    x = _checks.image(x, "x")
    dy = _checks.array(dy, "dy", 4, x)
    kh, kw = geometry.pair(kernel_size, "kernel_size")
    groups = integer(groups, "groups")
    if x.shape[3] % groups:
        raise ValueError(f"{x.shape[3]} input channels are not divisible by groups = {groups}")
    kernel_shape = (kh, kw, x.shape[3] // groups, dy.shape[3])
    p = plan(x.shape, kernel_shape, strides, padding, dilation_rate, groups)
    _checks.expect_shape(dy, p.output_shape, "dy", "the shape of the forward output")
    dbias = _kernels.empty((dy.shape[3],), x.dtype)
    function = user_function(algorithm, "backward_weights")
    if function is not None:
        result = function(x, dy, (kh, kw), **_keywords(p))
        _kernels.column_sums(dy, dbias)
        return from_user(algorithm, result, kernel_shape, x), dbias
    name = None if algorithm == "auto" else built_in(algorithm, "backward_weights", p.geometry)
    dkernel = _kernels.empty(kernel_shape, x.dtype)
    _kernels.conv2d_backward_weights(p.geometry, name, x, dy, dkernel, dbias)
    return dkernel, dbias
