"""Crops of a picture, and predictions that are the mean over many of them.

A network with a fixed input sees a part of the picture. The papers before 2016 report accuracies over several parts:
ten for AlexNet (Krizhevsky et al., 2012, section 4.1), 144 for GoogLeNet (Szegedy et al., 2015, section 7).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..checks import integer
from ..ops.geometry import pair
from .image import checked_image, resize, resized

_WHOLE = 1 << 22  # pixels of a resized picture that are always computed, whatever is cut out of it
_REACH = 3  # pixels on either side that the widest interpolation, "lanczos", looks at


def center_crop(image: Any, size: Any) -> np.ndarray:
    """Cut the middle out of a picture.

    Args:
        image: (height, width, channels), uint8 or float.
        size: (height, width) of the crop, or one integer for a square.

    Returns:
        A new array (*size, channels). The crop begins at round((height - crop height) / 2), halves to the even number
        (Python's and torchvision's rounding): of 7 rows, the 4 from row 2.

    Raises:
        TypeError, ValueError: another shape or dtype; a crop larger than the picture.
    """
    array = checked_image(image)
    height, width = _crop_size(array.shape, size)
    return _cut(array, _middle(array.shape[0], height), _middle(array.shape[1], width), height, width)


def resize_and_crop(image: Any, resize: int = 256, crop: Any = 224, interpolation: str = "bilinear") -> np.ndarray:
    """Resize a picture until its short side is ``resize``, then cut out the middle: the usual test on ImageNet.

    The long side becomes floor(resize * long / short), and the crop begins as in :func:`center_crop`: what
    torchvision's ``Resize(256)`` and ``CenterCrop(224)`` do with a picture. Where the resized picture would have more
    than 4 million pixels and four times the crop's, only the crop is computed: a value may differ by 1 of 255 then
    (by more where "nearest" and "box" take the next pixel, and at hard edges with "bicubic" and "lanczos").

    Args:
        image: (height, width, channels), uint8 or float.
        resize: the short side; 0.875 of it is the usual crop.
        crop: (height, width), or one integer for a square.
        interpolation: as in :func:`fastconv.preprocessing.resize`.

    Returns:
        A new array (*crop, channels) of the same dtype.

    Raises:
        TypeError, ValueError: another shape or dtype; a crop larger than the resized picture.
    """
    picture = _ShortSide(checked_image(image), integer(resize, "resize"), interpolation)
    height, width = _crop_size(picture.shape, crop)
    return picture.part(_middle(picture.shape[0], height), _middle(picture.shape[1], width), height, width)


def ten_crop(image: Any, size: Any) -> np.ndarray:
    """Cut out the four corners and the middle, and mirror each: the ten crops of AlexNet.

    Args:
        image: (height, width, channels), uint8 or float.
        size: (height, width) of the crops, or one integer for squares.

    Returns:
        New array (10, *size, channels): top left, top right, bottom left, bottom right, middle; crop ``5 + i`` is crop
        ``i`` mirrored, left to right. (torchvision mirrors the picture first, which swaps left and right corners.)

    Raises:
        TypeError, ValueError: another shape or dtype; a crop larger than the picture.
    """
    array = checked_image(image)
    return _with_mirrors(_five(array, *_crop_size(array.shape, size)))


def multi_crop(
    image: Any, scales: Sequence[int] = (256, 288, 320, 352), size: int = 224, interpolation: str = "bilinear"
) -> np.ndarray:
    """Cut a picture as GoogLeNet's authors did for their test: 144 crops (Szegedy et al., 2015, section 7).

    The picture is resized to 4 short sides; of each the left, middle and right square is taken (top, middle and bottom
    of an upright picture); of each square the four corners, the middle and the whole square, resized; and of each its
    mirror image: 4 x 3 x 6 x 2. Of a square picture the three squares are the same.

    Args:
        image: (height, width, channels), uint8 or float.
        scales: the short sides, each at least ``size``.
        size: height and width of the crops.
        interpolation: as in :func:`fastconv.preprocessing.resize`.

    Returns:
        New array (36 * len(scales), size, size, channels): in the first half, scale by scale and square by square, top
        left, top right, bottom left, bottom right, middle, whole; in the second half the same mirrored, left to right.
        The 144 crops of 224 x 224 take 22 MB as uint8.

    Raises:
        TypeError, ValueError: another shape or dtype; no scale, or one below ``size``.
    """
    array = checked_image(image)
    side = integer(size, "size")
    short_sides = [integer(scale, f"scales[{i}]") for i, scale in enumerate(scales)]
    if not short_sides or min(short_sides) < side:
        raise ValueError(f"scales must be short sides of at least the size {side}, got {tuple(short_sides)}")
    crops: list[np.ndarray] = []
    for short in short_sides:
        for square in _squares(_ShortSide(array, short, interpolation)):
            crops += [*_five(square, side, side), resize(square, side, interpolation)]
    return _with_mirrors(crops)


def predict_crops(
    model: Any, crops: Any, batch_size: int = 32, preprocess: Callable[[np.ndarray], Any] | None = None
) -> np.ndarray:
    """Return the mean of a model's predictions over the crops of a picture.

    Args:
        model: with one output; anything that has ``predict(x, batch_size=..., verbose=...)``.
        crops: (crops, height, width, channels) of one picture, or (pictures, crops, height, width, channels).
        batch_size: crops that are scaled and predicted at a time.
        preprocess: scales a batch of crops, e.g. ``fc.applications.vgg16.preprocess_input``; None passes them as they
            are.

    Returns:
        Array (1 or pictures, ...) of the model's dtype, ready for ``decode_predictions``.

    Raises:
        ValueError: another number of axes, or no crops. TypeError: a model with several outputs.
    """
    array = np.asarray(crops)
    if array.ndim not in (4, 5) or 0 in array.shape:
        raise ValueError(
            "crops must have shape (crops, height, width, channels) or (pictures, crops, height, width, channels), "
            f"got {array.shape}"
        )
    pictures = array if array.ndim == 5 else array[np.newaxis]
    step = integer(batch_size, "batch_size")
    means = []
    for picture in pictures:
        parts = [_predicted(model, picture[i : i + step], preprocess) for i in range(0, len(picture), step)]
        predictions = np.concatenate(parts)
        means.append(predictions.mean(axis=0, dtype=np.float64).astype(predictions.dtype))
    return np.stack(means)


def _predicted(model: Any, batch: np.ndarray, preprocess: Callable[[np.ndarray], Any] | None) -> np.ndarray:
    predictions = model.predict(batch if preprocess is None else preprocess(batch), batch_size=len(batch), verbose=0)
    if not isinstance(predictions, np.ndarray):
        raise TypeError(f"predict_crops needs a model with one output, this one returns a {type(predictions).__name__}")
    return predictions


def _crop_size(shape: tuple[int, ...], size: Any) -> tuple[int, int]:
    """Height and width of a crop of a picture of this shape."""
    height, width = pair(size, "size")
    if height > shape[0] or width > shape[1]:
        raise ValueError(f"a crop of {height} x {width} does not fit into a picture of shape {shape}")
    return height, width


def _middle(length: int, crop: int) -> int:
    """Where a crop in the middle begins; round() takes halves to the even number."""
    return round((length - crop) / 2)


def _cut(array: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    return array[top : top + height, left : left + width].copy()


def _five(array: np.ndarray, height: int, width: int) -> list[np.ndarray]:
    """Top left, top right, bottom left, bottom right, middle."""
    bottom, right = array.shape[0] - height, array.shape[1] - width
    corners = [_cut(array, top, left, height, width) for top in (0, bottom) for left in (0, right)]
    return [*corners, center_crop(array, (height, width))]


def _with_mirrors(crops: list[np.ndarray]) -> np.ndarray:
    stacked = np.stack(crops)
    return np.concatenate([stacked, stacked[:, :, ::-1]])


class _ShortSide:
    """A picture resized to a given short side, the long one rounded down; ``shape`` is what it would be as an array.

    It is not computed as a whole where that is much more than is cut out: 1 x 5,000 pixels with a short side of 256
    would be 256 x 1,280,000.
    """

    def __init__(self, array: np.ndarray, short: int, interpolation: str) -> None:
        height, width, channels = array.shape
        self.array = array
        self.interpolation = interpolation
        self.whole: np.ndarray | None = None
        if height <= width:
            self.shape = (short, short * width // height, channels)
        else:
            self.shape = (short * height // width, short, channels)

    def part(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Rows from ``top`` and columns from ``left``, as a new array."""
        if self.shape[0] * self.shape[1] > max(_WHOLE, 4 * height * width):
            return self.part_alone(top, left, height, width)
        if self.whole is None:
            self.whole = resize(self.array, self.shape[:2], self.interpolation)
        return _cut(self.whole, top, left, height, width)

    def part_alone(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Likewise, of the pixels that it depends on.

        Pillow takes the place of the part among these in float32, so that the last bit of a value may differ.
        """
        first_row, last_row, y, y_end = _source(self.array.shape[0], self.shape[0], top, height)
        first_column, last_column, x, x_end = _source(self.array.shape[1], self.shape[1], left, width)
        pixels = self.array[first_row:last_row, first_column:last_column]
        return resized(pixels, (height, width), self.interpolation, (x, y, x_end, y_end))


def _source(length: int, new_length: int, start: int, size: int) -> tuple[int, int, float, float]:
    """Return first and last pixel that a part of a resized axis depends on, and where among them it starts and ends."""
    begin, end = start * length / new_length, (start + size) * length / new_length
    margin = math.ceil(_REACH * max(length / new_length, 1)) + 1
    first, last = max(0, math.floor(begin) - margin), min(length, math.ceil(end) + margin)
    return first, last, begin - first, end - first


def _squares(picture: _ShortSide) -> Iterator[np.ndarray]:
    """Left, middle and right square of a picture; top, middle and bottom of an upright one."""
    height, width = picture.shape[:2]
    side = min(height, width)
    for start in (0, _middle(max(height, width), side), max(height, width) - side):
        yield picture.part(0, start, side, side) if height <= width else picture.part(start, 0, side, side)
