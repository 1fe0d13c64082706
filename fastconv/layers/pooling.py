"""Pooling over windows, over whole planes, and its inverse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from .. import ops
from ..ops.geometry import PaddingLike, PairLike, pair, pool2d_geometry, pool2d_output_shape
from .arguments import check_data_format, check_padding, image_channels
from .base import Layer, LayerOptions
from .node import Shape


class _Pool2D(Layer):
    """The arguments and the shape arithmetic that both pooling layers share."""

    def __init__(
        self,
        pool_size: PairLike,
        strides: PairLike | None,
        padding: PaddingLike,
        data_format: str | None,
        ceil_mode: bool,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        check_data_format(data_format)
        self.pool_size = pair(pool_size, "pool_size")
        self.strides = self.pool_size if strides is None else pair(strides, "strides")
        self.padding = check_padding(padding)
        self.ceil_mode = bool(ceil_mode)
        pool2d_geometry((None, None), self.pool_size, self.strides, self.padding)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        return pool2d_output_shape(input_shape, self.pool_size, self.strides, self.padding, self.ceil_mode)


class MaxPool2D(_Pool2D):
    """Maximum over windows: ``(N, H, W, C) -> (N, OH, OW, C)``. Also called ``MaxPooling2D``.

    Ties go to the first maximum in row-major order; padding counts as -inf; NaN propagates.

    Args:
        pool_size: int or (height, width).
        strides: int or (height, width); by default the pool size.
        padding: ``"valid"``, ``"same"``, int, (h, w) or ((top, bottom), (left, right)), at most half the pool.
        data_format: None or ``"channels_last"``.
        ceil_mode: round the output size up, as Caffe does; a window that starts in the far padding is dropped.
        return_argmax: also return where each maximum was, a second output (flat index ``h * W + w``, int32), for
            :class:`MaxUnpool2D`.

    Raises:
        TypeError, ValueError: an argument of the wrong type or out of range; a pool larger than the padded input.
    """

    default_name = "max_pooling2d"
    config_fields = ("pool_size", "strides", "padding", "ceil_mode", "return_argmax")

    def __init__(
        self,
        pool_size: PairLike = (2, 2),
        strides: PairLike | None = None,
        padding: PaddingLike = "valid",
        data_format: str | None = None,
        name: str | None = None,
        *,
        ceil_mode: bool = False,
        return_argmax: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, ceil_mode, name=name, **kwargs)
        self.return_argmax = bool(return_argmax)

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[Any, Any]:
        y, argmax = ops.max_pool2d(x, self.pool_size, self.strides, self.padding, self.ceil_mode)
        return ((y, argmax) if self.return_argmax else y), (argmax, x.shape)

    def infer(self, x: np.ndarray, training: bool = False) -> Any:
        y, argmax = ops.max_pool2d(
            x, self.pool_size, self.strides, self.padding, self.ceil_mode, return_argmax=self.return_argmax
        )
        return (y, argmax) if self.return_argmax else y

    def backward(self, dy: Any, cache: Any) -> np.ndarray | None:
        argmax, input_shape = cache
        dy = dy[0] if self.return_argmax else dy
        if dy is None:
            return None
        geometry = (self.pool_size, self.strides, self.padding, self.ceil_mode)
        return ops.max_pool2d_backward(dy, argmax, input_shape, *geometry)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        shape = super().compute_output_shape(input_shape)
        return [shape, shape] if self.return_argmax else shape

    def compute_output_dtypes(self, input_dtypes: Sequence[str], outputs: int) -> list[str]:
        return [input_dtypes[0], "int32"][:outputs]


class AvgPool2D(_Pool2D):
    """Mean over windows: ``(N, H, W, C) -> (N, OH, OW, C)``. Also called ``AveragePooling2D``.

    Args:
        pool_size, strides, padding, data_format, ceil_mode: as in :class:`MaxPool2D`.
        count_include_pad: divide by the window clipped to input plus padding, padding counting as zeros (PyTorch's
            default), not by the number of input pixels in it (Keras' rule).

    Raises:
        TypeError, ValueError: as :class:`MaxPool2D`.
    """

    default_name = "average_pooling2d"
    config_fields = ("pool_size", "strides", "padding", "ceil_mode", "count_include_pad")

    def __init__(
        self,
        pool_size: PairLike = (2, 2),
        strides: PairLike | None = None,
        padding: PaddingLike = "valid",
        data_format: str | None = None,
        name: str | None = None,
        *,
        ceil_mode: bool = False,
        count_include_pad: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, ceil_mode, name=name, **kwargs)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        y = ops.avg_pool2d(x, self.pool_size, self.strides, self.padding, self.ceil_mode, self.count_include_pad)
        return y, x.shape

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        geometry = (self.pool_size, self.strides, self.padding, self.ceil_mode, self.count_include_pad)
        return ops.avg_pool2d_backward(dy, cache, *geometry)


class _GlobalPool2D(Layer):
    """What both global pools share: the shapes and ``keepdims``."""

    config_fields = ("keepdims",)

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        check_data_format(data_format)
        self.keepdims = bool(keepdims)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        channels = image_channels(input_shape)
        return (input_shape[0], 1, 1, channels) if self.keepdims else (input_shape[0], channels)

    def _shaped(self, y: np.ndarray) -> np.ndarray:
        return y[:, None, None, :] if self.keepdims else y

    def _flat(self, dy: np.ndarray) -> np.ndarray:
        return dy[:, 0, 0, :] if self.keepdims else dy


class GlobalMaxPool2D(_GlobalPool2D):
    """Maximum of each channel: ``(N, H, W, C) -> (N, C)``. Also called ``GlobalMaxPooling2D``.

    Args:
        data_format: None or ``"channels_last"``.
        keepdims: return ``(N, 1, 1, C)``.
    """

    default_name = "global_max_pooling2d"

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        y, argmax = ops.global_max_pool2d(x)
        return self._shaped(y), (argmax, x.shape)

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return ops.global_max_pool2d_backward(self._flat(dy), *cache)


class GlobalAvgPool2D(_GlobalPool2D):
    """Mean of each channel: ``(N, H, W, C) -> (N, C)``. Also called ``GlobalAveragePooling2D``.

    Args:
        data_format: None or ``"channels_last"``.
        keepdims: return ``(N, 1, 1, C)``.
    """

    default_name = "global_average_pooling2d"

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        return self._shaped(ops.global_avg_pool2d(x)), x.shape

    def backward(self, dy: np.ndarray, cache: Any) -> np.ndarray:
        return ops.global_avg_pool2d_backward(self._flat(dy), cache)


class MaxUnpool2D(Layer):
    """Put each value back where max pooling took it from, zeros elsewhere.

    Called with ``[x, argmax]``, the argmax being the second output of ``MaxPool2D(return_argmax=True)``::

        y, argmax = MaxPool2D(2, return_argmax=True)(x)
        ...
        z = MaxUnpool2D(2)([y, argmax])

    ``(N, OH, OW, C) -> (N, H, W, C)`` with H = (OH - 1) * stride + pool, as PyTorch, or ``output_size``: necessary
    where the pool's input was of another size, because the indices count its pixels.

    Args:
        pool_size, strides: those of the pool.
        output_size: (height, width) of the output.

    Raises:
        ValueError: x and argmax of different shapes. IndexError: an index outside the output.
    """

    default_name = "max_unpooling2d"
    config_fields = ("pool_size", "strides", "output_size")

    def __init__(
        self,
        pool_size: PairLike = (2, 2),
        strides: PairLike | None = None,
        output_size: PairLike | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = pair(pool_size, "pool_size")
        self.strides = self.pool_size if strides is None else pair(strides, "strides")
        self.output_size = None if output_size is None else pair(output_size, "output_size")

    def forward(self, x: np.ndarray, argmax: np.ndarray, training: bool = False) -> tuple[np.ndarray, Any]:
        return ops.max_unpool2d(x, argmax, self._output_shape(x.shape)), argmax

    def backward(self, dy: np.ndarray, cache: Any) -> tuple[np.ndarray, None]:
        return ops.max_unpool2d_backward(dy, cache), None

    def compute_output_shape(self, input_shape: Any) -> Shape:
        if not isinstance(input_shape, list) or len(input_shape) != 2:
            raise ValueError("is called with a list [x, argmax]")
        if input_shape[0] != input_shape[1]:
            raise ValueError(f"x has shape {input_shape[0]}, argmax {input_shape[1]}: they must be the same")
        image_channels(input_shape[0])
        return self._output_shape(input_shape[0])

    def _output_shape(self, shape: Shape) -> Any:
        n, oh, ow, channels = shape
        if self.output_size is not None:
            return (n, *self.output_size, channels)
        sizes = (
            None if size is None else (size - 1) * stride + pool
            for size, stride, pool in zip((oh, ow), self.strides, self.pool_size, strict=True)
        )
        return (n, *sizes, channels)
