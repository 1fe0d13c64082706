"""Shape arithmetic of convolution and pooling, and the errors that show it.

Sizes may be ``None`` (unknown until data arrives); an output size that depends on one is ``None`` too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.checks import INT_MAX, integer

Pair = tuple[int, int]
Padding = tuple[tuple[int, int], tuple[int, int]]
PaddingLike = str | int | Sequence[Any]
PairLike = int | Sequence[int]
Size = int | None

_AXES = ("height", "width")


def pair(value: Any, name: str, minimum: int = 1) -> Pair:
    """Return ``value`` (an int, or two of them: height, width) as a tuple of two ints."""
    if type(value) is tuple and len(value) == 2:
        a, b = value
        if type(a) is int and type(b) is int and minimum <= a <= INT_MAX and minimum <= b <= INT_MAX:
            return value  # the common case, and the fast one
    if isinstance(value, list | tuple | np.ndarray):
        if len(value) != 2:
            raise ValueError(f"{name} must be one integer or two (height, width), got {value!r}")
        return integer(value[0], f"{name}[0]", minimum), integer(value[1], f"{name}[1]", minimum)
    number = integer(value, name, minimum)
    return number, number


def sides(value: Any, name: str) -> Padding:
    """Return ``value`` (int, (h, w) or ((top, bottom), (left, right))) as ((top, bottom), (left, right)), all >= 0."""
    if isinstance(value, list | tuple) and len(value) == 2 and any(isinstance(v, list | tuple) for v in value):
        return pair(value[0], f"{name}[0]", 0), pair(value[1], f"{name}[1]", 0)
    h, w = pair(value, name, 0)
    return (h, h), (w, w)


def shape4(shape: Any, name: str) -> tuple[int, int, int, int]:
    """Return ``shape`` as four ints (N, H, W, C); N may be 0, the others are at least 1."""
    if not isinstance(shape, list | tuple) or len(shape) != 4:
        raise ValueError(f"{name} must be four sizes (N, H, W, C), got {shape!r}")
    n, h, w, c = (integer(s, f"{name}[{i}]", 0 if i == 0 else 1) for i, s in enumerate(shape))
    return n, h, w, c


def _same(size: int, extent: int, stride: int) -> Pair:
    """TensorFlow's rule: output ceil(size / stride), the odd pixel of padding at the bottom / right."""
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def resolve_padding(padding: PaddingLike, size: Sequence[Size], kernel: Pair, strides: Pair, dilation: Pair) -> Padding:
    """Return ((top, bottom), (left, right)) for any spelling of ``padding``; with an unknown size "same" gives 0s."""
    if isinstance(padding, str):
        if padding == "valid":
            return (0, 0), (0, 0)
        if padding == "same":
            (top, bottom), (left, right) = (
                (0, 0) if s is None else _same(s, (k - 1) * d + 1, st)
                for s, k, st, d in zip(size, kernel, strides, dilation, strict=True)
            )
            return (top, bottom), (left, right)
        raise ValueError(
            f"padding must be 'valid', 'same', an integer, (h, w) or ((top, bottom), (left, right)), got {padding!r}"
        )
    return sides(padding, "padding")


def conv_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int, axis: str) -> int:
    """Output size floor((size + before + after - dilated kernel) / stride) + 1; ValueError if the kernel is larger."""
    extent = (kernel - 1) * dilation + 1
    padded = size + before + after
    if extent > padded:
        dilated = f" (dilated: {extent})" if dilation > 1 else ""
        raise ValueError(
            f"kernel {kernel}{dilated} is larger than the padded input {padded} "
            f"({axis} {size} + padding {before} + {after})"
        )
    return (padded - extent) // stride + 1


def conv2d_output_shape(
    input_shape: Sequence[Size],
    kernel_size: PairLike,
    filters: int,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    dilation_rate: PairLike = 1,
    groups: int = 1,
) -> tuple[Size, Size, Size, int]:
    """Shape (N, OH, OW, filters) of a convolution of an input (N, H, W, C); sizes may be None."""
    return conv2d_output(input_shape, kernel_size, filters, strides, padding, dilation_rate, groups)[0]


def conv2d_output(
    input_shape: Sequence[Size],
    kernel_size: PairLike,
    filters: int,
    strides: PairLike,
    padding: PaddingLike,
    dilation_rate: PairLike,
    groups: int,
) -> tuple[tuple[Size, Size, Size, int], Padding]:
    """The same shape, and the padding in numbers."""
    kernel, stride = pair(kernel_size, "kernel_size"), pair(strides, "strides")
    dilation = pair(dilation_rate, "dilation_rate")
    filters, groups = integer(filters, "filters"), integer(groups, "groups")
    _, height, width, channels = _four(input_shape)
    if channels is not None and channels % groups:
        raise ValueError(f"{channels} input channels are not divisible by groups = {groups}")
    if filters % groups:
        raise ValueError(f"{filters} filters are not divisible by groups = {groups}")
    pads = resolve_padding(padding, (height, width), kernel, stride, dilation)
    out = [
        None if s is None else conv_size(s, kernel[i], stride[i], *pads[i], dilation[i], _AXES[i])
        for i, s in enumerate((height, width))
    ]
    return (input_shape[0], out[0], out[1], filters), pads


def conv2d_transpose_output_shape(
    input_shape: Sequence[Size],
    kernel_size: PairLike,
    filters: int,
    strides: PairLike = 1,
    padding: PaddingLike = "valid",
    output_padding: PairLike | None = None,
    dilation_rate: PairLike = 1,
) -> tuple[Size, Size, Size, int]:
    """Shape (N, OH, OW, filters) of a transposed convolution; Keras' rule for names, PyTorch's for numbers."""
    _, height, width, _ = _four(input_shape)
    spec = conv2d_transpose_geometry(kernel_size, strides, padding, output_padding, dilation_rate)
    out = [None if s is None else _transpose_size(s, i, spec)[0] for i, s in enumerate((height, width))]
    return input_shape[0], out[0], out[1], integer(filters, "filters")


def conv2d_transpose_geometry(
    kernel_size: PairLike,
    strides: PairLike,
    padding: PaddingLike,
    output_padding: PairLike | None,
    dilation_rate: PairLike,
) -> tuple[Pair, Pair, PaddingLike, Pair | None, Pair]:
    """Check the arguments of a transposed convolution; return them as pairs."""
    kernel, stride = pair(kernel_size, "kernel_size"), pair(strides, "strides")
    dilation = pair(dilation_rate, "dilation_rate")
    extra = None if output_padding is None else pair(output_padding, "output_padding", 0)
    if extra is not None:
        for i in range(2):
            if extra[i] >= stride[i]:
                raise ValueError(f"output_padding {extra[i]} must be smaller than the stride {stride[i]} ({_AXES[i]})")
    resolve_padding(padding, (None, None), kernel, stride, dilation)
    return kernel, stride, padding, extra, dilation


def _transpose_size(size: int, i: int, spec: tuple[Pair, Pair, PaddingLike, Pair | None, Pair]) -> tuple[int, int, int]:
    """Output size along axis ``i`` and the padding (before, after) of the convolution that this one transposes."""
    kernels, strides, padding, output_padding, dilations = spec
    stride, extent = strides[i], (kernels[i] - 1) * dilations[i] + 1
    extra = None if output_padding is None else output_padding[i]
    if padding == "valid":
        out, before = (size - 1) * stride + (max(extent, stride) if extra is None else extent + extra), 0
    elif padding == "same" and extra is None:
        out, before = size * stride, max(extent - stride, 0) // 2
    elif padding == "same":
        odd = extent % 2
        out = (size - 1) * stride + odd + (extra or 0)
        before = max(extent - 1 - (extent + odd - 1 + (extra or 0)) // 2, 0)
    else:
        before, end = sides(padding, "padding")[i]
        out = (size - 1) * stride + extent - before - end + (extra or 0)
    after = (size - 1) * stride + extent - before - out  # below 0: rows that no input reaches
    if out < 1:
        raise ValueError(
            f"{_AXES[i]} {size} gives no output: ({size} - 1) * stride {stride} + kernel {extent} "
            f"- padding {before} - {max(after, 0)} + output_padding {extra or 0} = {out}"
        )
    return out, before, max(after, 0)


def conv2d_transpose_plan(
    input_shape: Sequence[int], spec: tuple[Pair, Pair, PaddingLike, Pair | None, Pair]
) -> tuple[Pair, Padding]:
    """Output (OH, OW) and the padding of the convolution whose backward-data pass the transposed convolution is."""
    oh, top, bottom = _transpose_size(input_shape[1], 0, spec)
    ow, left, right = _transpose_size(input_shape[2], 1, spec)
    return (oh, ow), ((top, bottom), (left, right))


def pool_size_out(size: int, pool: int, stride: int, before: int, after: int, ceil_mode: bool, axis: str) -> int:
    """Output size of pooling; ``ceil_mode`` rounds up but drops a window that starts in the far padding."""
    padded = size + before + after
    if pool > padded:
        raise ValueError(
            f"pool {pool} is larger than the padded input {padded} ({axis} {size} + padding {before} + {after})"
        )
    if not ceil_mode:
        return (padded - pool) // stride + 1
    out = -(-(padded - pool) // stride) + 1
    return out - 1 if (out - 1) * stride >= size + before else out


def pool2d_geometry(
    size: Sequence[Size], pool_size: PairLike, strides: PairLike | None, padding: PaddingLike
) -> tuple[Pair, Pair, Padding]:
    """Check pooling arguments; return pool (PH, PW), strides (default: the pool) and resolved padding."""
    pool = pair(pool_size, "pool_size")
    stride = pool if strides is None else pair(strides, "strides")
    pads = resolve_padding(padding, size, pool, stride, (1, 1))
    if not isinstance(padding, str):
        for i in range(2):
            if max(pads[i]) * 2 > pool[i]:
                raise ValueError(f"padding {max(pads[i])} is more than half the pool {pool[i]} ({_AXES[i]})")
    return pool, stride, pads


def pool2d_output_shape(
    input_shape: Sequence[Size],
    pool_size: PairLike,
    strides: PairLike | None = None,
    padding: PaddingLike = "valid",
    ceil_mode: bool = False,
) -> tuple[Size, Size, Size, Size]:
    """Shape (N, OH, OW, C) of pooling an input (N, H, W, C); sizes may be None."""
    _, height, width, channels = _four(input_shape)
    pool, stride, pads = pool2d_geometry((height, width), pool_size, strides, padding)
    out = [
        None if s is None else pool_size_out(s, pool[i], stride[i], *pads[i], ceil_mode, _AXES[i])
        for i, s in enumerate((height, width))
    ]
    return input_shape[0], out[0], out[1], channels


def _four(shape: Sequence[Size]) -> Sequence[Size]:
    if len(shape) != 4:
        raise ValueError(f"expected an input of 4 axes (N, H, W, C), got shape {tuple(shape)}")
    return shape
