"""Pictures of extreme proportions, and large ones: what is cut out of them, and the memory that this takes."""

import json
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from fastconv import cli, preprocessing
from fastconv.preprocessing import crops, image

INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")


def smooth(height, width, channels=3):
    """Waves of a few pixels' length."""
    i, j, c = np.indices((height, width, channels))
    return np.rint(127 + 60 * np.sin(i / 3 + c) + 60 * np.cos(j / 5 - c)).astype(np.uint8)


# ---- the part alone is the part of the whole ----


@pytest.mark.parametrize("shape", [(300, 451), (451, 300), (60, 400), (91, 33), (1, 40), (700, 9)])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_part_computed_alone(shape, interpolation):
    """To the last bit, as Pillow takes its place in float32; "nearest" and "box" may take a pixel's neighbour."""
    picture = crops._ShortSide(smooth(*shape), 64, interpolation)
    for top, left in [(0, 0), (picture.shape[0] - 50, picture.shape[1] - 60), (4, 2)]:
        want = picture.part(top, left, 50, 60).astype(int)
        got = picture.part_alone(top, left, 50, 60).astype(int)
        assert got.shape == (50, 60, 3)
        difference = np.abs(got - want)
        if interpolation in ("nearest", "box"):
            assert np.mean(difference > 1) < 0.05
        else:
            assert difference.max() <= 1


def test_noise_computed_alone():
    """The usual interpolation differs by one of 255 at most, in a few pixels of a hundred."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 3000, 3), dtype=np.uint8)
    picture = crops._ShortSide(noise, 256, "bilinear")
    want = picture.part(16, 1100, 224, 224).astype(int)
    difference = np.abs(picture.part_alone(16, 1100, 224, 224) - want)
    assert difference.max() <= 1
    assert np.mean(difference) < 0.05


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("upright", [False, True])
def test_one_row_of_5000_pixels(dtype, upright):
    row = np.random.default_rng(1).integers(0, 256, (1, 5000, 2)).astype(dtype)
    crop = preprocessing.resize_and_crop(np.ascontiguousarray(row.transpose(1, 0, 2)) if upright else row)
    assert crop.dtype == dtype
    assert crop.shape == (224, 224, 2)
    left = round((256 * 5000 - 224) / 2)
    at = (left + np.arange(224) + 0.5) / 256 - 0.5
    want = np.stack([np.interp(at, np.arange(5000), row[0, :, c]) for c in range(2)], axis=-1)
    got = crop.transpose(1, 0, 2) if upright else crop
    np.testing.assert_allclose(got, np.broadcast_to(want, got.shape), atol=1 if dtype == np.uint8 else 0.01)


def test_the_144_crops_of_a_long_picture():
    """Only squares of it are computed; left and right ones as those of its ends."""
    row = smooth(2, 4000)
    got = preprocessing.multi_crop(row, scales=(256,))
    assert got.shape == (36, 224, 224, 3)
    ends = preprocessing.multi_crop(np.concatenate([row[:, :30], row[:, -30:]], axis=1), scales=(256,))
    for square in (slice(0, 6), slice(12, 18)):
        assert np.abs(got[square].astype(int) - ends[square]).max() <= 1


def test_pictures_of_usual_proportions_are_resized_as_a_whole(monkeypatch):
    monkeypatch.setattr(crops._ShortSide, "part_alone", None)
    for shape in [(300, 451, 3), (100, 1500, 3), (4000, 70, 3)]:
        assert preprocessing.resize_and_crop(np.zeros(shape, np.uint8)).shape == (224, 224, 3)
    assert preprocessing.multi_crop(np.zeros((40, 160, 3), np.uint8), scales=(2000,), size=1).shape == (36, 1, 1, 3)


def test_crops_that_do_not_fit_show_the_resized_shape():
    with pytest.raises(ValueError, match=r"300 x 300 does not fit into a picture of shape \(256, 22784000000, 3\)"):
        preprocessing.resize_and_crop(np.broadcast_to(np.uint8(0), (1, 89_000_000, 3)), 256, 300)


# ---- tiles ----


@pytest.mark.parametrize("tile", [1, 7, 40, 10_000])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK", "I;16"])
def test_tiles_make_no_difference(tmp_path, monkeypatch, mode, tile):
    rng = np.random.default_rng(2)
    ending = "tiff" if mode == "CMYK" else "png"
    path = tmp_path / f"picture.{ending}"
    if mode == "I;16":
        Image.fromarray(rng.integers(0, 65536, (11, 23), dtype=np.uint16)).save(path)
    else:
        Image.fromarray(rng.integers(0, 256, (11, 23, 3), dtype=np.uint8)).convert(mode).save(path)
    want = [preprocessing.load_image(path, color_mode=name) for name in ("rgb", "rgba", "grayscale")]
    monkeypatch.setattr(image, "_TILE", tile)
    for name, whole in zip(("rgb", "rgba", "grayscale"), want, strict=True):
        np.testing.assert_array_equal(preprocessing.load_image(path, color_mode=name), whole)


def test_resizing_by_channels_makes_no_difference(monkeypatch):
    pixels = smooth(50, 70)
    whole = preprocessing.resize(pixels, (31, 90))
    monkeypatch.setattr(image, "_TILE", 100)
    np.testing.assert_array_equal(preprocessing.resize(pixels, (31, 90)), whole)


# ---- memory ----


def png(path, width, height, bits=8, colour=0):
    """Write a black picture of any size, a hundred bytes to half a megabyte."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size, block = height * (1 + width * bits // 8 * (3 if colour else 1)), bytes(1 << 20)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(block[: size - i]) for i in range(0, size, len(block))) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


PREDICT = """
import json, resource, sys
import fastconv as fc
from fastconv import cli, layers
from fastconv.applications import mobilenet_v2

def build(weights=None):
    head = [layers.AvgPool2D(56), layers.Flatten(), layers.Dense(1000, activation="softmax")]
    return fc.Sequential([layers.Input((224, 224, 3)), *head])

mobilenet_v2.MobileNetV2 = build
limit = 3 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
used = []
for path in sys.argv[1:]:
    code = cli.main(["predict", path, "--model", "mobilenet_v2", "--top", "1"])
    used.append((code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
print(json.dumps(used))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux")
@pytest.mark.parametrize(
    ("width", "height", "options", "code", "bound"),
    [
        (5000, 1, {}, 0, 100 << 20),
        (1, 20_000, {}, 0, 100 << 20),
        (16_000_000, 1, {}, 0, 200 << 20),
        (89_000_000, 1, {}, 1, 100 << 20),
        (1, 89_000_000, {}, 1, 100 << 20),
        (5000, 4000, {"bits": 16}, 0, 3 * 3 * 20_000_000),
        (5000, 4000, {"colour": 2}, 0, 3 * 3 * 20_000_000),
    ],
    ids=str,
)
def test_predict_takes_little_memory(tmp_path, width, height, options, code, bound):
    """Beyond what a first, small picture took; 3.2 GB for 5,000 x 1 when the whole picture was resized."""
    paths = [png(tmp_path / "small.png", 30, 20), png(tmp_path / "large.png", width, height, **options)]
    result = subprocess.run([sys.executable, "-c", PREDICT, *paths], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (first, before), (second, after) = json.loads(result.stdout.splitlines()[-1])
    assert (first, second) == (0, code)
    assert len(result.stdout.splitlines()) == 3 - code
    assert len(result.stderr.splitlines()) == code
    assert after - before < bound


@pytest.mark.parametrize(
    ("error", "said"),
    [(MemoryError(), "MemoryError"), (MemoryError("no room for 5 GB"), "no room"), (OverflowError("too wide"), "wide")],
)
def test_predict_says_in_one_line_what_is_too_large(tmp_path, monkeypatch, capsys, error, said):
    def too_large(path):
        raise error

    monkeypatch.setattr(preprocessing, "load_image", too_large)
    assert cli.main(["predict", str(png(tmp_path / "picture.png", 3, 2)), "--model", "squeezenet"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastconv predict: ")
    assert said in line


def test_sides_that_are_too_long(tmp_path):
    path = png(tmp_path / "line.png", 17_000_000, 1)
    with pytest.raises(ValueError, match="1 x 17000000 pixels: a side may have at most 16777216"):
        preprocessing.load_image(path)
