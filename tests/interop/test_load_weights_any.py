"""Model.load_weights: every format that is read, by content alone."""

import os

import numpy as np
import pytest

from fastconv import layers
from fastconv.errors import CheckpointError
from fastconv.models import Sequential

os.environ.setdefault("KERAS_BACKEND", "torch")


def network():
    return Sequential(
        [layers.Conv2D(3, 3, input_shape=(6, 5, 2)), layers.Flatten(), layers.Dense(4, activation="softmax")]
    )


def same(model, other):
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


@pytest.mark.parametrize("name", ["w.safetensors", "w.h5", "w.pth", "w"])
def test_our_own_under_any_name(tmp_path, name):
    model, other = network(), network()
    model.save_weights(tmp_path / name)
    other.load_weights(tmp_path / name)
    assert same(model, other)


def test_our_own_through_a_tool_that_drops_the_metadata(tmp_path):
    from safetensors.numpy import load_file, save_file

    model, other = network(), network()
    model.save_weights(tmp_path / "w")
    save_file(load_file(tmp_path / "w"), tmp_path / "stripped")
    other.load_weights(tmp_path / "stripped")
    assert same(model, other)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
def test_pytorch(tmp_path, suffix):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.Flatten(), torch.nn.Linear(36, 4), torch.nn.Softmax(1)
    )
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(module.state_dict(), path)
    else:
        torch.save(module.state_dict(), path)
    model = network()
    model.load_weights(path)
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 2)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(model.infer(x), expected, atol=1e-6)


def test_pytorch_modules_with_a_slash_in_their_names(tmp_path):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    from safetensors.torch import save_file

    module = torch.nn.Sequential()
    module.add_module("features/0", torch.nn.Conv2d(2, 3, 3))
    module.add_module("features/1", torch.nn.Linear(36, 4))
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    model = network()
    model.load_weights(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(model.get_weights()[1], module[0].bias.detach().numpy())


@pytest.mark.parametrize("renamed", [False, True])
def test_keras(tmp_path, renamed):
    keras = pytest.importorskip("keras", reason="needs Keras")
    pytest.importorskip("h5py", reason="needs h5py")
    theirs = keras.Sequential(
        [
            keras.Input((6, 5, 2)),
            keras.layers.Conv2D(3, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    path = tmp_path / "w.weights.h5"
    theirs.save_weights(path)
    if renamed:
        path = path.rename(tmp_path / "w.safetensors")
    model = network()
    model.load_weights(path)
    for own, other in zip(model.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("content", [b"", b"something else entirely", b"version https://git-lfs.github.com/spec/v1"])
def test_no_weights_at_all(tmp_path, content):
    (tmp_path / "w.pth.safetensors").write_bytes(content)
    model = network()
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=r"w\.pth\.safetensors"):
        model.load_weights(tmp_path / "w.pth.safetensors")
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe"):
        network().load_weights(tmp_path / "pipe")
