"""Reading, resizing and writing pictures, by Pillow."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..errors import did_you_mean
from ..ops.geometry import pair

#: Formats that Pillow decodes in this process; it would hand others, as PostScript, to a program.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_COLOR_MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
_INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
#: What Pillow raises for files that are damaged or lie about themselves.
_DAMAGED = (
    *(OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, OverflowError, struct.error),
    AssertionError,  # a palette that is gone
)

_LONGEST = 1 << 24  # pixels of a side: Pillow keeps a pointer for every row, so that a column takes 12 bytes a pixel
_TILE = 1 << 20  # pixels that are converted at a time
_Box = tuple[float, float, float, float]  # left, top, right, bottom
_PathLike = str | os.PathLike[str]


def load_image(
    path: _PathLike, size: Any = None, color_mode: str = "rgb", interpolation: str = "bilinear"
) -> np.ndarray:
    """Read a picture from a file.

    A camera's note of how it was held (EXIF orientation) is obeyed. Of an animation the first frame is read. Any kind
    of pixel is converted: grey and palettes to colours, 16-bit grey to 8 bits (65535 becomes 255), colours to grey by
    ITU-R 601. Transparency is dropped without "rgba", as in Keras: the colour below it stays.

    Args:
        path: a BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file.
        size: (height, width), or one integer for a square; None keeps the picture's own. The proportions may change:
            :func:`resize_and_crop` keeps them.
        color_mode: "rgb", "grayscale" or "rgba", for 3, 1 or 4 channels.
        interpolation: as in :func:`resize`.

    Returns:
        uint8 array (height, width, channels).

    Raises:
        FileNotFoundError, or another OSError: the file cannot be read.
        ValueError: it is not a picture of these formats, is damaged, has pixels of no known range (32-bit, float), or
            more of them than ``PIL.Image.MAX_IMAGE_PIXELS`` (89 million; a small file can claim to be that large, to
            fill the memory), or a side above 16 million; or a bad argument.
    """
    if color_mode not in _COLOR_MODES:
        hint = did_you_mean(color_mode, _COLOR_MODES)
        raise ValueError(f"color_mode must be one of {', '.join(_COLOR_MODES)}, got {color_mode!r}{hint}")
    resample = _resampling(interpolation)
    target = None if size is None else pair(size, "size")
    with open(path, "rb") as file:  # its errors are those of the file system, and pass as they are
        try:
            picture: Image.Image = Image.open(file, formats=_FORMATS)
            _refuse_bombs(picture.size)
            ImageOps.exif_transpose(picture, in_place=True)
            picture = _eight_bits(picture)
            if target is None:
                return _array(picture, _COLOR_MODES[color_mode])
            picture = picture.convert(_COLOR_MODES[color_mode])
        except Image.UnidentifiedImageError as error:
            raise ValueError(f"{path} is not a picture: {', '.join(_FORMATS)} files are") from error
        except (*_DAMAGED, Image.DecompressionBombError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's, not the picture's
            raise ValueError(f"{path} cannot be read as a picture: {error}") from error
    return _array(picture.resize(target[::-1], resample), picture.mode)


def _refuse_bombs(size: tuple[int, int]) -> None:
    limit = Image.MAX_IMAGE_PIXELS  # Pillow itself refuses twice as many, and warns from here on
    width, height = size
    if limit is not None and width * height > limit:
        raise ValueError(
            f"{height} x {width} = {height * width} pixels are more than PIL.Image.MAX_IMAGE_PIXELS = {limit}"
        )
    if max(size) > _LONGEST:
        raise ValueError(f"{height} x {width} pixels: a side may have at most {_LONGEST}")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """``picture``, if its pixels are of 16 bits as one of 8 bits."""
    if picture.mode == "F":
        raise ValueError("its pixels are floats, and nothing says which of them is white")
    if picture.mode != "I" and not picture.mode.startswith("I;16"):
        return picture
    if picture.mode == "I":
        low, high = picture.getextrema()
        if low < 0 or high > 65535:  # type: ignore[operator]  # pairs of pairs are those of colours
            raise ValueError(f"its 32-bit pixels go from {low} to {high}, beyond the 16 bits 0 to 65535")
    grey = np.empty(picture.size[::-1], np.uint8)
    for left, top, right, bottom in _tiles(picture.size):
        values = np.asarray(picture.crop((left, top, right, bottom))).astype(np.uint32)
        grey[top:bottom, left:right] = (values + 128) // 257  # 257 = 65535 / 255, rounded to nearest
    return Image.fromarray(grey)


def _array(picture: Image.Image, mode: str) -> np.ndarray:
    """The pixels in an 8-bit mode, always with an axis of channels.

    Tile by tile: of 89 million pixels, a converted copy and the bytes between Pillow and NumPy would take a gigabyte.
    """
    width, height = picture.size
    pixels = np.empty((height, width, Image.getmodebands(mode)), np.uint8)
    for left, top, right, bottom in _tiles(picture.size):
        tile = np.asarray(picture.crop((left, top, right, bottom)).convert(mode))
        pixels[top:bottom, left:right] = tile.reshape(bottom - top, right - left, -1)
    return pixels


def _tiles(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (left, top, right, bottom) of parts of at most ``_TILE`` pixels, whole rows if these are no longer."""
    width, height = size
    columns = min(width, _TILE)
    rows = _TILE // columns
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield left, top, min(left + columns, width), min(top + rows, height)


def _resampling(interpolation: str) -> Image.Resampling:
    if interpolation not in _INTERPOLATIONS:
        hint = did_you_mean(interpolation, _INTERPOLATIONS)
        raise ValueError(f"interpolation must be one of {', '.join(_INTERPOLATIONS)}, got {interpolation!r}{hint}")
    return _INTERPOLATIONS[interpolation]


def checked_image(image: Any, name: str = "image") -> np.ndarray:
    """Return ``image`` as an array.

    Raises:
        TypeError: neither uint8 nor float32 or float64. ValueError: not (height, width, channels), or empty.
    """
    array = np.asarray(image)
    if array.dtype not in (np.uint8, np.float32, np.float64):
        raise TypeError(f"{name} must be an array of uint8, float32 or float64, got {array.dtype}")
    if array.ndim != 3 or 0 in array.shape:
        hint = f"; {name}[..., np.newaxis] adds the channel of a grey picture" if array.ndim == 2 else ""
        raise ValueError(f"{name} must have shape (height, width, channels), got {array.shape}{hint}")
    return array


def resize(image: Any, size: Any, interpolation: str = "bilinear") -> np.ndarray:
    """Resize a picture to a given height and width.

    Where it gets smaller, every pixel is a weighted mean of all the pixels below it (antialiased), as in Pillow and in
    torchvision for pictures; TensorFlow and OpenCV look at four pixels only.

    Args:
        image: (height, width, channels), uint8 or float. The channels do not mix: alpha is one like the others.
        size: (height, width), or one integer for a square.
        interpolation: "nearest", "box", "bilinear", "hamming", "bicubic" or "lanczos".

    Returns:
        A new array (new height, new width, channels) of the same dtype; of floats computed in float32.

    Raises:
        TypeError, ValueError: another dtype or shape, a size below 1, an unknown interpolation.
    """
    return resized(checked_image(image), pair(size, "size"), interpolation)


def resized(array: np.ndarray, size: tuple[int, int], interpolation: str, box: _Box | None = None) -> np.ndarray:
    """``array`` or a part of it, ``box``, in a new (height, width); pixels around the part count as in the whole."""
    resample = _resampling(interpolation)
    dtype = array.dtype
    if dtype != np.uint8:
        array = array.astype(np.float32)
    if dtype == np.uint8 and array.shape[2] == 3 and array.size <= 3 * _TILE:  # faster, but takes 4 bytes a pixel more
        return np.array(Image.fromarray(np.ascontiguousarray(array)).resize(size[::-1], resample, box))
    channels = (
        np.asarray(Image.fromarray(np.ascontiguousarray(array[..., c])).resize(size[::-1], resample, box))
        for c in range(array.shape[2])
    )
    return np.stack(list(channels), axis=-1).astype(dtype, copy=False)


def array_to_image(array: Any, scale: bool = True) -> Image.Image:
    """Make a Pillow image of an array, to show or to save.

    Args:
        array: (height, width, 1, 3 or 4 channels) or (height, width). uint8 is taken as it is.
        scale: of floats: True stretches them, the smallest is black and the largest white (a constant picture is
            black), as in Keras; False takes them as values from 0 to 255 and rounds.

    Raises:
        TypeError: neither uint8 nor float. ValueError: another shape; NaN or Inf; with ``scale=False`` a value out of
            range.
    """
    pixels = np.asarray(array)
    pixels = checked_image(pixels[..., np.newaxis] if pixels.ndim == 2 else pixels, "array")
    if pixels.shape[2] not in (1, 3, 4):
        raise ValueError(f"array must have 1, 3 or 4 channels (grey, RGB, RGBA), got shape {pixels.shape}")
    if pixels.dtype != np.uint8:
        pixels = _as_bytes(pixels.astype(np.float64), scale)
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))


def _as_bytes(values: np.ndarray, scale: bool) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError("array has NaN or Inf, which are no colours")
    low, high = values.min(), values.max()
    if scale:
        values = (values - low) / (high - low or 1.0) * 255
    elif low < -0.5 or high > 255.5:
        raise ValueError(f"with scale=False pixels go from 0 to 255, but these go from {low:.6g} to {high:.6g}")
    return np.rint(values).clip(0, 255).astype(np.uint8)


def save_image(path: _PathLike, array: Any, scale: bool = True) -> None:
    """Write a picture to a file; the format follows from the name: ``.png``, ``.jpg``, ...

    Args:
        path: an existing file is replaced.
        array, scale: as in :func:`array_to_image`.

    Raises:
        TypeError, ValueError: no such picture, an unknown ending, or a transparent picture for a format that has no
            transparency. OSError: the file cannot be written.
    """
    picture = array_to_image(array, scale)
    ending = Path(path).suffix.lower()
    if ending not in Image.registered_extensions():
        raise ValueError(f"{path}: no picture format is known for the ending {ending!r}; .png and .jpg are two")
    if picture.mode == "RGBA" and Image.registered_extensions()[ending] == "JPEG":
        raise ValueError(f"{path}: JPEG has no transparency; save array[..., :3] or a .png")
    picture.save(path)
