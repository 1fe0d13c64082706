"""What the tests of hostile weight files share: a model, good files for it, and how a bad one is refused."""

from __future__ import annotations

import numpy as np
import pytest
from torch_oracle import torch

import fastconv as fc
from fastconv import layers
from fastconv.errors import CheckpointError
from fastconv.interop import load_weights

h5py = pytest.importorskip("h5py", reason="needs h5py")

MODEL = fc.Sequential(
    [
        layers.Conv2D(2, 3, input_shape=(5, 5, 1)),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dense(2),
    ]
)


def refused(path, message):
    """Loading raises a CheckpointError that matches and changes nothing."""
    before = MODEL.get_weights()
    with pytest.raises(CheckpointError, match=message) as caught:
        load_weights(MODEL, path)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, MODEL.get_weights(), strict=True))
    assert len(str(caught.value)) < 3000  # a file cannot fill the screen
    return caught.value


def state():
    """A state dict of PyTorch that fits MODEL."""
    nn = torch.nn
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(18, 2)).state_dict()


def keras_file(path):
    """A file in the layout of keras.applications that fits MODEL."""
    shapes = {
        "conv2d": {"kernel": (3, 3, 1, 2), "bias": (2,)},
        "batch_normalization": dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (2,)),
        "dense": {"kernel": (18, 2), "bias": (2,)},
    }
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([name.encode() for name in shapes])
        for layer, weights in shapes.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = np.array([f"{layer}/{name}:0".encode() for name in weights])
            for name, shape in weights.items():
                group[f"{layer}/{name}:0"] = rng.random(shape, np.float32)
    return path
