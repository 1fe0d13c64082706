"""Pictures: files, resizing and crops, against Pillow and by hand."""

import errno
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

import fastconv as fc
from fastconv import layers, preprocessing

RNG_SHAPE = (13, 9, 3)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, RNG_SHAPE, dtype=np.uint8)


def written(tmp_path, picture, name="picture.png", **options):
    path = tmp_path / name
    picture.save(path, **options)
    return path


# ---- reading ----


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "ppm", "webp"])
def test_lossless_formats(tmp_path, pixels, ending):
    if ending == "webp" and not features.check("webp"):
        pytest.skip("needs a Pillow with WebP")
    options = {"lossless": True} if ending == "webp" else {}
    path = written(tmp_path, Image.fromarray(pixels), f"picture.{ending}", **options)
    for name in (path, str(path)):
        got = preprocessing.load_image(name)
        assert got.dtype == np.uint8
        assert got.flags.c_contiguous
        assert got.flags.writeable
        np.testing.assert_array_equal(got, pixels)


def test_jpeg_and_gif(tmp_path):
    smooth = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)[..., np.newaxis] + np.zeros(3, np.uint8)
    path = written(tmp_path, Image.fromarray(smooth), "picture.jpg", quality=95)
    np.testing.assert_allclose(preprocessing.load_image(path).astype(int), smooth, atol=4)
    frames = [Image.fromarray(np.full((4, 5), value, np.uint8)) for value in (10, 200)]
    path = written(tmp_path, frames[0], "picture.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(preprocessing.load_image(path), np.full((4, 5, 3), 10, np.uint8))


def test_color_modes(tmp_path, pixels):
    path = written(tmp_path, Image.fromarray(pixels))
    grey = preprocessing.load_image(path, color_mode="grayscale")
    assert grey.shape == (13, 9, 1)
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[..., 0], luma, atol=1)
    rgba = preprocessing.load_image(path, color_mode="rgba")
    np.testing.assert_array_equal(rgba[..., :3], pixels)
    assert (rgba[..., 3] == 255).all()


def test_kinds_of_pixels(tmp_path, pixels):
    grey = pixels[..., 0]
    for picture in (Image.fromarray(grey), Image.merge("LA", [Image.fromarray(grey)] * 2)):
        got = preprocessing.load_image(written(tmp_path, picture))
        np.testing.assert_array_equal(got, np.repeat(grey[..., np.newaxis], 3, axis=2))
    # Transparency is dropped, as in Keras; the colour below stays.
    transparent = np.dstack([pixels, np.zeros((13, 9), np.uint8)])
    np.testing.assert_array_equal(preprocessing.load_image(written(tmp_path, Image.fromarray(transparent))), pixels)
    palette = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    palette.putpalette([value for i in range(6) for value in (i, 2 * i, 255 - i)])
    assert palette.mode == "P"
    got = preprocessing.load_image(written(tmp_path, palette))
    np.testing.assert_array_equal(got[1, 2], (5, 10, 250))
    black_and_white = Image.fromarray(grey > 128)
    assert black_and_white.mode == "1"
    got = preprocessing.load_image(written(tmp_path, black_and_white), color_mode="grayscale")
    np.testing.assert_array_equal(got[..., 0], np.where(grey > 128, 255, 0))


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_16_bit_grey_keeps_its_range(tmp_path, ending):
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    path = written(tmp_path, Image.fromarray(values), f"picture.{ending}")
    got = preprocessing.load_image(path, color_mode="grayscale")[..., 0]
    np.testing.assert_array_equal(got, [[0, 0, 1, 1, 128, 254, 255, 255]])


def test_pixels_of_no_known_range(tmp_path):
    path = written(tmp_path, Image.fromarray(np.array([[0.5]], np.float32)), "picture.tiff")
    with pytest.raises(ValueError, match=r"picture\.tiff cannot be read as a picture: its pixels are floats"):
        preprocessing.load_image(path)
    path = written(tmp_path, Image.fromarray(np.array([[-3, 70_000]], np.int32)), "picture.tiff")
    with pytest.raises(ValueError, match="go from -3 to 70000, beyond the 16 bits"):
        preprocessing.load_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_the_camera(tmp_path, pixels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = written(tmp_path, Image.fromarray(pixels), exif=exif)
    mirrored, turned = pixels[:, ::-1], pixels.transpose(1, 0, 2)
    upright = {
        1: pixels,
        2: mirrored,
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: turned,
        6: turned[:, ::-1],
        7: turned[::-1, ::-1],
        8: turned[::-1],
    }
    np.testing.assert_array_equal(preprocessing.load_image(path), upright[orientation])


def test_size(tmp_path, pixels):
    picture = Image.fromarray(pixels)
    path = written(tmp_path, picture)
    got = preprocessing.load_image(path, size=(5, 7))
    np.testing.assert_array_equal(got, np.asarray(picture.resize((7, 5), Image.Resampling.BILINEAR)))
    assert preprocessing.load_image(path, size=20, color_mode="grayscale").shape == (20, 20, 1)
    got = preprocessing.load_image(path, size=4, interpolation="nearest")
    np.testing.assert_array_equal(got, np.asarray(picture.resize((4, 4), Image.Resampling.NEAREST)))


def test_bad_arguments_of_load_image(tmp_path, pixels):
    path = written(tmp_path, Image.fromarray(pixels))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        preprocessing.load_image(tmp_path / "nowhere.png")
    with pytest.raises(IsADirectoryError):
        preprocessing.load_image(tmp_path)
    with pytest.raises(ValueError, match="grayscale, rgb, rgba, got 'grey'"):
        preprocessing.load_image(path, color_mode="grey")
    with pytest.raises(ValueError, match=r"got 'bilinaer' \(did you mean 'bilinear'\?\)"):
        preprocessing.load_image(path, interpolation="bilinaer")
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        preprocessing.load_image(path, size=0)
    with pytest.raises(ValueError, match=r"two \(height, width\)"):
        preprocessing.load_image(path, size=(4, 4, 3))


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_picture(tmp_path, content):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"picture\.png is not a picture: BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP files are"
    ):
        preprocessing.load_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of its TIFF reader, about what is damaged
@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "tiff", "webp", "ppm"])
def test_damaged_files_are_value_errors(tmp_path, ending):
    """Cut anywhere, and with bytes overwritten anywhere: an array or a ValueError, never another exception."""
    if ending == "webp" and not features.check("webp"):
        pytest.skip("needs a Pillow with WebP")
    rng = np.random.default_rng(3)
    buffer = io.BytesIO()
    picture = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    picture.save(buffer, {"jpg": "jpeg"}.get(ending, ending), exif=Image.Exif())
    whole = np.frombuffer(buffer.getvalue(), np.uint8)
    path = tmp_path / f"picture.{ending}"
    refused = 0
    for i in range(120):
        content = whole.copy()
        if i % 2:
            content = content[: len(whole) * i // 121]
        else:
            head = min(len(whole), 64) if i % 4 else len(whole)
            content[rng.integers(0, head, 3)] = rng.integers(0, 256, 3)
        path.write_bytes(content.tobytes())
        try:
            assert preprocessing.load_image(path).dtype == np.uint8
        except ValueError:
            refused += 1
    assert refused >= 30


def png_of_zeros(height, width):
    """A PNG file of the given size whose data is (almost) empty."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(10_000, 10_000), (30_000, 40_000)], ids=["Pillow warns", "Pillow raises"])
def test_decompression_bombs_are_refused(tmp_path, size):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of_zeros(*size))
    with pytest.raises(
        ValueError, match=r"bomb\.png cannot be read as a picture: .*(MAX_IMAGE_PIXELS|decompression bomb)"
    ):
        preprocessing.load_image(path)


def test_errors_of_the_disk_stay_what_they_are(tmp_path, pixels, monkeypatch):
    path = written(tmp_path, Image.fromarray(pixels))

    def broken_disk(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Image, "open", broken_disk)
    with pytest.raises(OSError, match="Input/output error") as caught:
        preprocessing.load_image(path)
    assert caught.value.errno == errno.EIO


# ---- resizing ----


@pytest.mark.parametrize("interpolation", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(4, 11), (30, 5)])
def test_resize_is_pillow(pixels, interpolation, size):
    picture = Image.fromarray(pixels).resize(size[::-1], Image.Resampling[interpolation.upper()])
    got = preprocessing.resize(pixels, size, interpolation=interpolation)
    np.testing.assert_array_equal(got, np.asarray(picture))
    for channel in range(3):
        one = preprocessing.resize(pixels[..., channel : channel + 1], size, interpolation)
        np.testing.assert_array_equal(one[..., 0], got[..., channel])
    stack = preprocessing.resize(np.concatenate([pixels, pixels[..., :2]], axis=2), size, interpolation)
    np.testing.assert_array_equal(stack[..., 3:], got[..., :2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resize_of_floats(dtype):
    x = np.random.default_rng(1).standard_normal((8, 6, 2)).astype(dtype)
    got = preprocessing.resize(x, (4, 3), "box")
    assert got.dtype == dtype
    np.testing.assert_allclose(got, x.reshape(4, 2, 3, 2, 2).mean(axis=(1, 3)), atol=1e-6)


def test_resize_antialiases():
    stripes = np.zeros((8, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = preprocessing.resize(stripes, (2, 8)).astype(int)
    assert np.abs(small[:, 1:-1] - 128).max() <= 2, "four pixels alone would see black or white"


@pytest.mark.parametrize(
    "view", [lambda x: x[::-1, ::2], np.asfortranarray, lambda x: np.broadcast_to(x[:1], x.shape)], ids=str
)
def test_any_memory_layout(pixels, view):
    x = view(pixels)
    x.flags.writeable = False
    copy = np.array(x, order="C")
    np.testing.assert_array_equal(preprocessing.resize(x, 4), preprocessing.resize(copy, 4))
    np.testing.assert_array_equal(preprocessing.ten_crop(x, 2), preprocessing.ten_crop(copy, 2))
    np.testing.assert_array_equal(np.asarray(preprocessing.array_to_image(x)), copy)


# ---- crops ----


def numbered(height, width):
    """Pixel (i, j) is (i, j, 7)."""
    i, j = np.indices((height, width))
    return np.stack([i, j, np.full_like(i, 7)], axis=-1).astype(np.float32)


@pytest.mark.parametrize(
    ("height", "width", "size", "top", "left"),
    [
        (7, 5, 3, 2, 1),  # even differences
        (7, 8, (4, 4), 2, 2),  # 1.5 -> 2
        (5, 9, (4, 4), 0, 2),  # 0.5 -> 0, 2.5 -> 2: halves go to the even number
        (6, 4, (3, 4), 2, 0),
        (4, 4, 4, 0, 0),
    ],
)
def test_center_crop_rounds_as_torchvision(height, width, size, top, left):
    got = preprocessing.center_crop(numbered(height, width), size)
    assert got.shape[:2] == ((size, size) if isinstance(size, int) else size)
    assert tuple(got[0, 0]) == (top, left, 7)
    np.testing.assert_array_equal(got, numbered(height, width)[top:, left:][: got.shape[0], : got.shape[1]])


@pytest.mark.parametrize(
    ("height", "width", "resized"),
    [
        (300, 451, (256, 384)),
        (451, 300, (384, 256)),
        (333, 500, (256, 384)),
        (500, 334, (383, 256)),
        (99, 99, (256, 256)),
    ],
)
def test_resize_and_crop(height, width, resized):
    """The long side is cut to whole pixels: 256 * 451 / 300 = 384.85 -> 384, 256 * 500 / 334 = 383.2 -> 383."""
    image = np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)
    whole = np.asarray(Image.fromarray(image).resize(resized[::-1], Image.Resampling.BILINEAR))
    top, left = round((resized[0] - 224) / 2), round((resized[1] - 224) / 2)
    got = preprocessing.resize_and_crop(image)
    np.testing.assert_array_equal(got, whole[top : top + 224, left : left + 224])
    small = preprocessing.resize_and_crop(image, resize=40, crop=(31, 36))
    assert small.shape == (31, 36, 3)


def test_ten_crop():
    crops = preprocessing.ten_crop(numbered(9, 12), (4, 5))
    assert crops.shape == (10, 4, 5, 3)
    corners = [tuple(crop[0, 0, :2]) for crop in crops[:5]]
    assert corners == [(0, 0), (0, 7), (5, 0), (5, 7), (2, 4)]  # 2.5 -> 2, 3.5 -> 4
    np.testing.assert_array_equal(crops[5:], crops[:5, :, ::-1])
    np.testing.assert_array_equal(crops[3], numbered(9, 12)[5:, 7:])


@pytest.mark.parametrize("upright", [False, True])
def test_multi_crop_is_the_144_crops_of_googlenet(upright):
    scales, size = (32, 36, 40, 44), 28
    image = np.random.default_rng(4).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    if upright:
        image = np.ascontiguousarray(image.transpose(1, 0, 2))
    crops = preprocessing.multi_crop(image, scales=scales, size=size)
    assert crops.shape == (144, 28, 28, 3)
    assert crops.dtype == np.uint8
    np.testing.assert_array_equal(crops[72:], crops[:72, :, ::-1])
    for i, short in enumerate(scales):
        long = short * 3 // 2
        height, width = (long, short) if upright else (short, long)
        whole = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        for j, start in enumerate((0, round((long - short) / 2), long - short)):
            square = whole[start : start + short] if upright else whole[:, start : start + short]
            six = crops[(i * 3 + j) * 6 : (i * 3 + j + 1) * 6]
            end, middle = short - size, (short - size) // 2
            for crop, (top, left) in zip(six, [(0, 0), (0, end), (end, 0), (end, end), (middle, middle)], strict=False):
                np.testing.assert_array_equal(crop, square[top : top + size, left : left + size])
            resized = Image.fromarray(np.ascontiguousarray(square)).resize((size, size), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(six[5], np.asarray(resized))


def test_multi_crop_defaults_are_those_of_the_paper():
    crops = preprocessing.multi_crop(np.zeros((50, 70, 3), np.uint8))
    assert crops.shape == (144, 224, 224, 3)
    assert preprocessing.multi_crop(np.zeros((50, 70, 1), np.uint8), scales=[30], size=30).shape == (36, 30, 30, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: preprocessing.center_crop(x, 14), ValueError, r"14 x 14 does not fit into .* \(13, 9, 3\)"),
        (lambda x: preprocessing.center_crop(x, (4, 10)), ValueError, "4 x 10 does not fit"),
        (lambda x: preprocessing.ten_crop(x, 10), ValueError, "10 x 10 does not fit"),
        (lambda x: preprocessing.ten_crop(x, 0), ValueError, "size must be at least 1, got 0"),
        (lambda x: preprocessing.resize_and_crop(x, 20, 21), ValueError, r"21 x 21 does not fit .* \(28, 20, 3\)"),
        (lambda x: preprocessing.resize_and_crop(x, 2.5), TypeError, r"resize must be an integer, got 2\.5"),
        (lambda x: preprocessing.multi_crop(x, (30, 20), 24), ValueError, r"at least the size 24, got \(30, 20\)"),
        (lambda x: preprocessing.multi_crop(x, ()), ValueError, r"got \(\)"),
        (lambda x: preprocessing.resize(x[np.newaxis], 4), ValueError, r"got \(1, 13, 9, 3\)"),
        (lambda x: preprocessing.resize(x[..., 0], 4), ValueError, r"got \(13, 9\); image\[\.\.\., np\.newaxis\]"),
        (lambda x: preprocessing.resize(x[:0], 4), ValueError, r"got \(0, 9, 3\)"),
        (lambda x: preprocessing.resize(x.astype(np.int64), 4), TypeError, "got int64"),
        (lambda x: preprocessing.resize(x, (4, -1)), ValueError, r"size\[1\] must be at least 1, got -1"),
        (lambda x: preprocessing.resize(x, True), TypeError, "got the bool True"),
        (lambda x: preprocessing.resize(x, 4, "cubic"), ValueError, r"got 'cubic' \(did you mean 'bicubic'\?\)"),
    ],
)
def test_bad_arguments(pixels, call, error, message):
    with pytest.raises(error, match=message):
        call(pixels)


# ---- predictions over crops ----


def small_model():
    fc.utils.set_random_seed(5)
    head = [layers.Conv2D(4, 3, activation="relu"), layers.GlobalAvgPool2D(), layers.Dense(6, activation="softmax")]
    return fc.Sequential([layers.Input((8, 8, 3)), *head])


def test_predict_crops_is_the_mean_of_the_predictions(pixels):
    model = small_model()
    crops = preprocessing.ten_crop(pixels, 8)
    scale = fc.applications.preprocessing_of("mobilenet_v2")
    want = np.mean([model.predict(scale(crop)[np.newaxis], verbose=0)[0] for crop in crops], axis=0)
    assert np.ptp(want) > 0.01
    for batch_size in (1, 3, 10, 32):
        got = preprocessing.predict_crops(model, crops, batch_size, preprocess=scale)
        assert got.shape == (1, 6)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got[0], want, rtol=1e-5)
    two = preprocessing.predict_crops(model, np.stack([crops, crops[:, ::-1]]), 4, preprocess=scale)
    np.testing.assert_allclose(two[0], want, rtol=1e-5)
    np.testing.assert_allclose(
        two[1], preprocessing.predict_crops(model, crops[:, ::-1], preprocess=scale)[0], rtol=1e-5
    )
    assert np.abs(two[0] - two[1]).max() > 1e-5
    unscaled = preprocessing.predict_crops(model, crops.astype(np.float32) / 255)
    np.testing.assert_allclose(unscaled[0], model.predict(crops / np.float32(255), verbose=0).mean(axis=0), rtol=1e-5)


def test_predict_crops_refuses(pixels):
    model = small_model()
    with pytest.raises(ValueError, match=r"got \(13, 9, 3\)"):
        preprocessing.predict_crops(model, pixels)
    with pytest.raises(ValueError, match=r"got \(0, 8, 8, 3\)"):
        preprocessing.predict_crops(model, np.zeros((0, 8, 8, 3), np.float32))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        preprocessing.predict_crops(model, np.zeros((2, 8, 8, 3), np.float32), 0)
    image = fc.Input((8, 8, 3))
    twins = fc.Model(image, [layers.Flatten()(image), layers.GlobalAvgPool2D()(image)])
    with pytest.raises(TypeError, match="one output, this one returns a list"):
        preprocessing.predict_crops(twins, np.zeros((2, 8, 8, 3), np.float32))


# ---- writing ----


def test_save_and_load(tmp_path, pixels):
    for array in (pixels, pixels[..., :1], pixels[..., 0]):
        preprocessing.save_image(tmp_path / "picture.png", array)
        got = preprocessing.load_image(tmp_path / "picture.png", color_mode="rgb" if array is pixels else "grayscale")
        np.testing.assert_array_equal(got, array if array.ndim == 3 else array[..., np.newaxis])
    rgba = np.dstack([pixels, pixels[..., 0]])
    preprocessing.save_image(str(tmp_path / "picture.png"), rgba)
    np.testing.assert_array_equal(preprocessing.load_image(tmp_path / "picture.png", color_mode="rgba"), rgba)


def test_floats_become_pictures():
    x = np.array([[-1.0, 0.0, 1.0]], np.float32)
    np.testing.assert_array_equal(np.asarray(preprocessing.array_to_image(x)), [[0, 128, 255]])  # 127.5 -> even
    np.testing.assert_array_equal(np.asarray(preprocessing.array_to_image(np.full((1, 2), 9.0))), [[0, 0]])
    got = preprocessing.array_to_image(np.array([[0.4, 254.6, 255.0]]), scale=False)
    np.testing.assert_array_equal(np.asarray(got), [[0, 255, 255]])


@pytest.mark.parametrize(
    ("array", "options", "error", "message"),
    [
        (np.zeros((2, 2, 2), np.uint8), {}, ValueError, r"1, 3 or 4 channels .* got shape \(2, 2, 2\)"),
        (np.zeros((1, 2, 2, 3), np.uint8), {}, ValueError, r"got \(1, 2, 2, 3\)"),
        (np.array([[np.nan]]), {}, ValueError, "NaN or Inf"),
        (np.array([[-1.0, 256.0]]), {"scale": False}, ValueError, "these go from -1 to 256"),
        (np.zeros((2, 2), np.int32), {}, TypeError, "got int32"),
    ],
)
def test_what_is_no_picture_to_draw(array, options, error, message):
    with pytest.raises(error, match=message):
        preprocessing.array_to_image(array, **options)


def test_names_of_files_that_are_refused(tmp_path, pixels):
    with pytest.raises(ValueError, match=r"no picture format is known for the ending '\.pgn'"):
        preprocessing.save_image(tmp_path / "picture.pgn", pixels)
    with pytest.raises(ValueError, match="JPEG has no transparency"):
        preprocessing.save_image(tmp_path / "picture.jpg", np.dstack([pixels, pixels[..., 0]]))
    with pytest.raises(FileNotFoundError):
        preprocessing.save_image(tmp_path / "nowhere" / "picture.png", pixels)
    assert list(tmp_path.iterdir()) == []
