"""Real photographs through MobileNetV2 with ImageNet weights: PyTorch's predictions, and the right ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from torch_networks import MobileNetV2
from torch_oracle import nchw, torch

import fastconv as fc
from fastconv.interop import read_torch_file
from fastconv.interop.pretrained import mobilenet_v2_file

# What it shows, by ImageNet's number, and how sure the network is.
PHOTOGRAPHS = {
    "chelsea.png": (285, "Egyptian cat", 0.714),
    "coffee.png": (967, "espresso", 0.992),
    "camera.png": (872, "tripod", 0.978),
}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision's, for pixels from 0 to 1


@pytest.fixture(scope="module")
def file() -> Path:
    path = mobilenet_v2_file()
    if path is None:
        pytest.skip("needs torchvision's weights: make pretrained")
    return path


@pytest.fixture(scope="module")
def module(file):
    network = MobileNetV2()
    network.load_state_dict(torch.load(file, weights_only=True))
    return network.eval()


@pytest.fixture(scope="module")
def model(file):
    return fc.applications.MobileNetV2(weights=file)


def photograph(name):
    """One photograph (1, 224, 224, 3): shorter side to 256 by Pillow's bilinear filter, the centre, normalised."""
    image_module = pytest.importorskip("PIL.Image", reason="needs Pillow")
    package = importlib.util.find_spec("skimage")  # found, not imported: only its pictures are wanted
    if package is None or not package.submodule_search_locations:
        pytest.skip("needs scikit-image's photographs: make pretrained")
    path = Path(package.submodule_search_locations[0]) / "data" / name
    with image_module.open(path) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    scale = 256 / min(width, height)
    image = image.resize((int(width * scale), int(height * scale)), image_module.Resampling.BILINEAR)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
    return ((pixels - np.float32(MEAN)) / np.float32(DEVIATION))[None].astype(np.float32)


def test_the_file_reads_as_pytorch_reads_it(file):
    want, got = torch.load(file, weights_only=True), read_torch_file(file)
    assert list(got) == list(want)
    assert len(got) == 314
    for name, tensor in want.items():
        np.testing.assert_array_equal(got[name], tensor.numpy(), name)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photograph(model, module, name):
    number, _, probability = PHOTOGRAPHS[name]
    x = photograph(name)
    got = model.predict(x, verbose=0)[0]
    with torch.no_grad():
        want = torch.softmax(module(nchw(torch.from_numpy(x)).contiguous()), 1).numpy()[0]
    assert got.argmax() == number
    assert got[number] == pytest.approx(probability, abs=0.005)
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_imagenet_takes_the_installed_file(model, file):
    other = fc.applications.MobileNetV2(weights="imagenet")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert mobilenet_v2_file() is None
