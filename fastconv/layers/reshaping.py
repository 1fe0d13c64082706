"""Layers that move values without changing them: Flatten, Reshape, padding, cropping, up-sampling; and Rescaling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from .. import ops
from ..checks import integer
from ..ops.geometry import PaddingLike, PairLike, pair, sides
from .arguments import check_data_format, image_channels, real
from .base import Layer, LayerOptions
from .node import Shape


class _View(Layer):
    """Base of Flatten and Reshape: the same values under another shape, without a copy."""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        raise NotImplementedError

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        return self.infer(x), x.shape

    def infer(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        return x.reshape(x.shape[0], *self.compute_output_shape(x.shape)[1:])

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return dy.reshape(cache)


class Flatten(_View):
    """``(N, H, W, C) -> (N, H * W * C)``; any number of axes.

    Args:
        data_format: None or ``"channels_last"``.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        check_data_format(data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = [size for size in input_shape[1:] if size is not None]
        return (input_shape[0], math.prod(sizes) if len(sizes) == len(input_shape) - 1 else None)


class Reshape(_View):
    """The same values in another shape.

    Args:
        target_shape: without the batch; one size may be -1.

    Raises:
        ValueError: a shape of another number of values, or several -1. TypeError: sizes that are not integers.
    """

    config_fields = ("target_shape",)

    def __init__(self, target_shape: Sequence[int], **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        if not isinstance(target_shape, list | tuple):
            raise TypeError(f"target_shape is a tuple without the batch, such as (7, 7, 64), got {target_shape!r}")
        self.target_shape = tuple(
            size if size == -1 else integer(size, f"target_shape[{i}]") for i, size in enumerate(target_shape)
        )
        if self.target_shape.count(-1) > 1:
            raise ValueError(f"only one size may be -1, got target_shape {self.target_shape}")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        known = math.prod(size for size in self.target_shape if size != -1)
        if None in input_shape[1:]:
            return (input_shape[0], *(None if size == -1 else size for size in self.target_shape))
        total = math.prod(size for size in input_shape[1:] if size is not None)
        if total % known if -1 in self.target_shape else total != known:
            source = tuple(input_shape[1:])
            raise ValueError(f"cannot reshape {source} ({total} values) to {self.target_shape} ({known} values)")
        return (input_shape[0], *(total // known if size == -1 else size for size in self.target_shape))


class ZeroPadding2D(Layer):
    """Add rows and columns of zeros: ``(N, H, W, C) -> (N, H + top + bottom, W + left + right, C)``.

    Args:
        padding: int, (h, w) or ((top, bottom), (left, right)), all >= 0.
        data_format: None or ``"channels_last"``.

    Raises:
        TypeError, ValueError: not integers, or below 0.
    """

    config_fields = ("padding",)

    def __init__(
        self, padding: PaddingLike = (1, 1), data_format: str | None = None, **kwargs: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**kwargs)
        check_data_format(data_format)
        self.padding = sides(padding, "padding")

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        return ops.zero_padding2d(x, self.padding), None

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return ops.zero_padding2d_backward(dy, self.padding)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        image_channels(input_shape)
        n, h, w, c = input_shape
        vertical, horizontal = sum(self.padding[0]), sum(self.padding[1])
        return n, None if h is None else h + vertical, None if w is None else w + horizontal, c


class Cropping2D(Layer):
    """Remove rows and columns: ``(N, H, W, C) -> (N, H - top - bottom, W - left - right, C)``.

    Args:
        cropping: int, (h, w) or ((top, bottom), (left, right)), all >= 0.
        data_format: None or ``"channels_last"``.

    Raises:
        TypeError, ValueError: not integers, below 0, or nothing would be left.
    """

    config_fields = ("cropping",)

    def __init__(
        self, cropping: PaddingLike = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**kwargs)
        check_data_format(data_format)
        self.cropping = sides(cropping, "cropping")

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        return ops.cropping2d(x, self.cropping), x.shape

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return ops.cropping2d_backward(dy, self.cropping, cache)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        image_channels(input_shape)
        left = []
        for size, (before, after), axis in zip(input_shape[1:3], self.cropping, ("height", "width"), strict=True):
            if size is not None and size - before - after < 1:
                raise ValueError(f"nothing is left: {axis} {size} - cropping {before} - {after}")
            left.append(None if size is None else size - before - after)
        return input_shape[0], *left, input_shape[3]


class UpSampling2D(Layer):
    """Enlarge an image: ``(N, H, W, C) -> (N, size * H, size * W, C)``.

    Args:
        size: factor, int or (height, width).
        data_format: None or ``"channels_last"``.
        interpolation: ``"nearest"`` or ``"bilinear"`` (half-pixel centres, edges clamped).

    Raises:
        TypeError, ValueError: a factor below 1, another interpolation.
    """

    config_fields = ("size", "interpolation")

    def __init__(
        self,
        size: PairLike = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        check_data_format(data_format)
        self.size = pair(size, "size")
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"interpolation must be 'nearest' or 'bilinear', got {interpolation!r}")
        self.interpolation = interpolation

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        return ops.upsampling2d(x, self.size, self.interpolation), None

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return ops.upsampling2d_backward(dy, self.size, self.interpolation)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        image_channels(input_shape)
        n, h, w, c = input_shape
        return n, None if h is None else h * self.size[0], None if w is None else w * self.size[1], c


class Rescaling(Layer):
    """``x * scale + offset``: pixels to [0, 1] by ``Rescaling(1 / 255)``. Arrays of integers are converted.

    Args:
        scale, offset: numbers, or one per channel.

    Raises:
        TypeError, ValueError: not numbers, or NaN.
    """

    config_fields = ("scale", "offset")

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.scale = _numbers(scale, "scale")
        self.offset = _numbers(offset, "offset")
        self._factor = np.asarray(self.scale, self.dtype)
        self._shift = np.asarray(self.offset, self.dtype)

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        return self.infer(x), None

    def infer(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        y = np.multiply(x, self._factor, dtype=self.dtype)
        y += self._shift
        return y

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return dy * self._factor

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = input_shape[-1]
        for values in (self._factor, self._shift):
            if values.ndim and channels != values.size:
                raise ValueError(f"{values.size} values for {channels} channels of input shape {tuple(input_shape)}")
        return input_shape

    def compute_output_dtypes(self, input_dtypes: Sequence[str], outputs: int) -> list[str]:
        return [self.dtype] * outputs


def _numbers(value: Any, name: str) -> float | tuple[float, ...]:
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(real(v, f"{name}[{i}]") for i, v in enumerate(value))
    return real(value, name)
