"""Checkpoints that ask for more than they hold: they are refused before they cost memory or time."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from fastconv import layers, random
from fastconv.errors import CheckpointError
from fastconv.models import Input, Model, Sequential, load_model
from fastconv.utils import set_random_seed


def _layer(class_name, **config):
    return {"class_name": class_name, "config": config}


def _stack(*descriptions, name=None):
    return _layer("Sequential", name=name, trainable=True, layers=list(descriptions))


def _write(path, description):
    """Write a file that describes a model and holds no arrays."""
    training = json.dumps({"epoch": 0, "shuffle_seed": None, "compile": None})
    metadata = {"format": "fastconv model", "version": "1", "model": json.dumps(description), "training": training}
    header = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


DENSE = _stack(_layer("InputLayer", shape=[20_000]), _layer("Dense", units=30_000))

HUGE = {
    "Dense": DENSE,
    "a model in a model": _stack(_layer("InputLayer", shape=[20_000]), DENSE),
    "Conv2D": _stack(_layer("InputLayer", shape=[9, 9, 20_000]), _layer("Conv2D", filters=30_000, kernel_size=1)),
    "Orthogonal": _stack(
        _layer("InputLayer", shape=[9000]),
        _layer("Dense", units=9000, kernel_initializer=_layer("Orthogonal", gain=1.0, seed=None)),
    ),
    "LocallyConnected2D": _stack(
        _layer("InputLayer", shape=[3000, 3000, 2]), _layer("LocallyConnected2D", filters=4, kernel_size=3)
    ),
    "PReLU": _stack(_layer("InputLayer", shape=[20_000, 20_000, 2]), _layer("PReLU")),
    "BatchNormalization": _stack(_layer("InputLayer", shape=[200_000_000]), _layer("BatchNormalization")),
    "many of them": _stack(_layer("InputLayer", shape=[2000]), *[_layer("Dense", units=2000)] * 100),
    "sizes that overflow": _stack(
        _layer("InputLayer", shape=[2**31 - 1] * 3), _layer("Flatten"), _layer("Dense", units=2**31 - 1)
    ),
    "images": _stack(
        _layer("InputLayer", shape=[2**20, 2**20, 3]),
        *(_layer("Conv2D", filters=64, kernel_size=3, padding="same"), _layer("MaxPool2D", pool_size=2)),
        *(_layer("UpSampling2D", size=1000), _layer("LocalResponseNormalization"), _layer("ZeroPadding2D")),
    ),
}


def test_a_small_file_costs_little_memory_and_time(tmp_path):
    """In a process of its own, whose peak is known: the weights of the first model alone would be 2.4 GB."""
    for name, description in HUGE.items():
        _write(tmp_path / name, description)
        assert os.path.getsize(tmp_path / name) < 10_000
    program = """
import os, resource, sys, time
from fastconv.models import load_model

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

for name in sys.argv[1:]:
    before, start = peak(), time.perf_counter()
    try:
        load_model(name)
    except ValueError as error:
        print(name, (peak() - before) // 1024, time.perf_counter() - start, type(error).__name__, error, sep="|")
"""
    done = subprocess.run([sys.executable, "-c", program, *HUGE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert [name for name, *_ in rows] == list(HUGE)
    for name, megabytes, seconds, kind, message in rows:
        assert int(megabytes) < 20, name
        assert float(seconds) < 2, name
        assert kind == "CheckpointError"
        assert message.startswith(f"{name}: cannot rebuild") or name == "images"


def test_the_message_names_the_weight(tmp_path):
    _write(tmp_path / "m", DENSE)
    with pytest.raises(CheckpointError, match=r'm: .*Dense "dense": .*"kernel" of shape \(20000, 30000\).*\d bytes$'):
        load_model(tmp_path / "m")


class Unlike(layers.Layer):
    """A user's layer that does not say its output's shape: a run over zeros finds it."""

    def forward(self, x, training=False):
        return -x, None

    def backward(self, dy, cache):
        return -dy


@pytest.mark.parametrize("kind", [Sequential, Model])
def test_a_run_over_zeros_takes_no_huge_sample(tmp_path, kind):
    if kind is Sequential:
        model = Sequential([layers.UpSampling2D(2, input_shape=(4, 4, 1)), Unlike()])
    else:
        x = Input((4, 4, 1))
        model = Model(x, Unlike()(layers.UpSampling2D(2)(x)))
    model.save(tmp_path / "m")
    known = {"Unlike": Unlike}
    assert load_model(tmp_path / "m", known).output_shape == (None, 8, 8, 1)
    config = model.get_config()
    text = json.dumps(config)
    assert '"size": [2, 2]' in text
    _write(tmp_path / "m", _layer(kind.__name__, **json.loads(text.replace('"size": [2, 2]', '"size": [2500, 2500]'))))
    with pytest.raises(CheckpointError, match=r"Unlike.* 100,000,000 zeros .*\(None, 10000, 10000, 1\)"):
        load_model(tmp_path / "m", known)


def test_models_within_models_are_counted_before_they_are_built(tmp_path):
    """Each calls the one below twice: a text of 9 KB comes to 2**24 calls."""
    description = _stack(_layer("InputLayer", shape=[4]), _layer("ReLU"))
    for _ in range(24):
        description["config"]["name"] = "inner"
        calls = [{"layer": "inner", "inputs": [i], "outputs": i + 1} for i in range(2)]
        inside = [_layer("InputLayer", shape=[4], name="x"), description]
        description = _layer("Model", name=None, inputs=["x"], layers=inside, calls=calls, outputs=[2])
    _write(tmp_path / "m", description)
    with pytest.raises(CheckpointError, match=r"models within models come to .* calls"):
        load_model(tmp_path / "m")


# ---- what must go on to work ----


class Start(layers.Layer):
    """A user's layer that looks at its weights as soon as it has them."""

    def build(self, input_shape):
        self.w = self.add_weight("w", (input_shape[-1],), lambda shape, dtype: np.full(shape, 3, dtype))
        self.v = self.add_weight("v", (input_shape[-1], 2))
        self.total = float(self.w.value.sum())
        self.length = float(np.abs(self.v.value).sum())

    def forward(self, x, training=False):
        return x * self.w.value @ self.v.value / self.length, x

    def backward(self, dy, cache):
        return dy @ self.v.value.T * self.w.value / self.length


def test_a_layer_may_look_at_the_weights_it_starts_with(tmp_path):
    model = Sequential([layers.Dense(5, input_shape=(3,)), Start()])
    model.layers[1].w.assign(np.arange(5))
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m", {"Start": Start})
    assert loaded.layers[1].total == 15
    assert loaded.layers[1].length > 0
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_loading_draws_no_weights(tmp_path):
    """They would be thrown away."""
    Sequential([layers.Dense(5, input_shape=(3,)), layers.Dense(2)]).save(tmp_path / "m")
    set_random_seed(3)
    expected = random.generator().random()
    set_random_seed(3)
    loaded = load_model(tmp_path / "m")
    assert random.generator().random() == expected
    assert all(p.value.ctypes.data % 64 == 0 for p in loaded.parameters)


def test_a_model_that_is_built_later_draws_its_weights(tmp_path):
    """A file of a model is read; what the user builds afterwards is none of its business."""
    Sequential([layers.Dense(5, input_shape=(3,))]).save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    loaded.add(layers.Dense(2000))
    loaded.add(layers.Dense(2000))
    assert loaded.layers[-1].kernel.value.any()
    _write(tmp_path / "m", DENSE)
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "m")
    assert Sequential([layers.Dense(2000, input_shape=(2000,))]).layers[0].kernel.value.any()
