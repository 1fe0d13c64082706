"""Checkpoints: round trips, resuming to the bit, atomic writing, and files that are damaged or hostile."""

import contextlib
import json
import os
import pickle
import stat
import struct

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from fastconv import callbacks, layers, losses, optimizers
from fastconv.errors import CheckpointError
from fastconv.models import Input, Model, Sequential, load_model
from fastconv.optimizers import schedules
from fastconv.utils import set_random_seed

X = np.random.default_rng(0).normal(size=(44, 6, 5, 2)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 44)


def _network():
    return Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(6, 5, 2), kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def _compiled(optimizer="adam"):
    set_random_seed(9)
    model = _network()
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


# ---- weights ----


def test_weights_round_trip_and_keys(tmp_path):
    model, path = _compiled(), tmp_path / "w.safetensors"
    model.fit(X, Y, verbose=0)
    model.save_weights(path)
    assert set(load_file(path)) == {
        "conv2d/kernel",
        "conv2d/bias",
        "batch_normalization/gamma",
        "batch_normalization/beta",
        "batch_normalization/moving_mean",
        "batch_normalization/moving_variance",
        "dense/kernel",
        "dense/bias",
    }
    other = _network()
    assert not _same(model, other)
    other.load_weights(str(path))
    assert _same(model, other)
    np.testing.assert_array_equal(model.predict(X, verbose=0), other.predict(X, verbose=0))


def test_predictions_follow_loaded_weights(tmp_path):
    """Packed copies of weights, if a kernel keeps any, must not outlive the weights."""
    a, b = _network(), _network()
    a.predict(X, verbose=0)
    b.save_weights(tmp_path / "w")
    a.load_weights(tmp_path / "w")
    np.testing.assert_array_equal(a.predict(X, verbose=0), b.predict(X, verbose=0))


def test_nested_and_shared_layers(tmp_path):
    def build():
        a, b = Input((4,)), Input((4,))
        inner = Sequential([layers.Dense(3, activation="relu", input_shape=(4,)), layers.Dense(2)], name="tower")
        return Model([a, b], layers.Concatenate()([inner(a), inner(b)]))

    first, second = build(), build()
    first.save(tmp_path / "m")
    assert {"tower/dense/kernel", "tower/dense_1/bias"} <= set(load_file(tmp_path / "m"))
    second.load_weights(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    x = [np.ones((2, 4), np.float32), np.zeros((2, 4), np.float32)]
    for model in (second, loaded):
        np.testing.assert_array_equal(model.predict(x, verbose=0), first.predict(x, verbose=0))


# ---- whole models ----


class Scale(layers.Layer):
    """A user's own layer."""

    config_fields = ("factor",)

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def forward(self, x, training=False):
        return x * self.factor, None

    def backward(self, dy, cache):
        return dy * self.factor


class Squared:
    """A user's own loss."""

    def forward(self, y_true, y_pred):
        return float(((y_true - y_pred) ** 2).mean()), y_pred - y_true

    def backward(self, cache):
        return 2 * cache / cache.size


def error_size(y_true, y_pred):
    return abs(y_true - y_pred).mean(axis=-1)


def test_custom_objects(tmp_path):
    model = Sequential([layers.Dense(2, input_shape=(3,)), Scale(3.0)])
    model.compile("sgd", Squared(), metrics=[error_size, "mae"])
    x, y = np.ones((4, 3), np.float32), np.zeros((4, 2), np.float32)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "m")
    with pytest.raises(CheckpointError, match="Scale"):
        load_model(tmp_path / "m")
    known = {"Scale": Scale, "Squared": Squared, "error_size": error_size}
    loaded = load_model(tmp_path / "m", custom_objects=known)
    assert loaded.layers[1].factor == 3.0
    assert loaded.metrics_names == ["loss", "error_size", "mae"]
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    loaded.save(tmp_path / "again")
    assert not load_model(tmp_path / "m", known, compile=False).compiled


def test_what_cannot_be_described_cannot_be_saved(tmp_path):
    model = Sequential([layers.Dense(2, input_shape=(3,))])
    model.compile("sgd", "mse", metrics=[lambda a, b: 0.0])
    with pytest.raises(TypeError, match="lambda"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
    model.save_weights(tmp_path / "w")


OPTIMIZERS = [
    "sgd",
    optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    optimizers.RMSprop(0.01, momentum=0.5),
    optimizers.Adam(schedules.ExponentialDecay(0.01, 5, 0.7), clipnorm=1.0),
    "adamw",
    optimizers.Adagrad(0.1),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o if isinstance(o, str) else type(o).__name__)
@pytest.mark.parametrize("at", [1, 3])
def test_resumed_run_gives_the_same_bits(tmp_path, optimizer, at):
    optimizer = optimizers.serialize(optimizers.get(optimizer))
    halve = callbacks.LearningRateScheduler(lambda epoch, rate: rate if epoch % 2 else rate / 2)
    own = [] if isinstance(optimizer["config"]["learning_rate"], dict) else [halve]
    options = {"batch_size": 8, "verbose": 0, "validation_split": 0.2, "callbacks": own}
    straight = _compiled(optimizer)
    expected = straight.fit(X, Y, epochs=5, **options).history
    first = _compiled(optimizer)
    first.fit(X, Y, epochs=at, **options)
    first.save(tmp_path / "m")
    set_random_seed(12345)  # another process would not stand where this one does
    resumed = load_model(tmp_path / "m")
    assert resumed.epoch == at
    history = resumed.fit(X, Y, epochs=5, initial_epoch=resumed.epoch, **options).history
    assert {name: values[at:] for name, values in expected.items()} == history
    assert _same(straight, resumed)
    assert straight.optimizer.iterations == resumed.optimizer.iterations


def test_resume_from_model_checkpoint_after_ctrl_c(tmp_path):
    straight = _compiled()
    straight.fit(X, Y, epochs=4, batch_size=8, verbose=0)

    def interrupt(batch, logs):
        if broken.epoch == 2 and batch == 3:
            raise KeyboardInterrupt

    broken = _compiled()
    checkpoint = callbacks.ModelCheckpoint(tmp_path / "last.safetensors")
    stop = callbacks.LambdaCallback(on_train_batch_end=interrupt)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(X, Y, epochs=4, batch_size=8, verbose=0, callbacks=[checkpoint, stop])
    assert not _same(straight, broken)
    resumed = load_model(tmp_path / "last.safetensors")
    resumed.fit(X, Y, epochs=4, batch_size=8, verbose=0, initial_epoch=resumed.epoch)
    assert _same(straight, resumed)


def test_compile_arguments_survive(tmp_path):
    inputs = Input((3,))
    model = Model(inputs, [layers.Dense(2, name="a")(inputs), layers.Dense(1, name="b")(inputs)])
    model.compile(
        "sgd",
        {"a": losses.Huber(0.5), "b": "mse"},
        {"a": 0.3, "b": 2.0},
        {"a": ["mae"], "b": ["accuracy"]},
    )
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    x, y = np.ones((4, 3), np.float32), [np.zeros((4, 2)), np.ones((4, 1))]
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == model.evaluate(x, y, verbose=0, return_dict=True)


def test_weights_load_from_a_whole_model_but_not_the_reverse(tmp_path):
    model = _compiled()
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m")
    other = _network()
    other.load_weights(tmp_path / "m")
    assert _same(model, other)
    model.save_weights(tmp_path / "w")
    with pytest.raises(CheckpointError, match="load_weights"):
        load_model(tmp_path / "w")


def test_unbuilt_model_and_missing_file(tmp_path):
    model = Sequential([layers.Dense(2)])
    for call in (model.save_weights, model.save, model.load_weights):
        _network().save_weights(tmp_path / "w")
        with pytest.raises(RuntimeError, match="not built"):
            call(tmp_path / "w")
    for call in (_network().load_weights, load_model):
        with pytest.raises(FileNotFoundError):
            call(tmp_path / "missing")
        with pytest.raises(OSError):
            call(tmp_path)


# ---- writing ----


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    model, path = _network(), tmp_path / "w"
    model.save_weights(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        model.save_weights(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError):
        model.save_weights(tmp_path / "no" / "folder")


def test_the_file_is_synced_before_it_replaces(tmp_path, monkeypatch):
    events = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda d: (events.append("fsync"), sync(d)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), replace(a, b)))
    _network().save_weights(tmp_path / "w")
    assert events == ["fsync", "replace", "fsync"]


def test_permissions_and_links(tmp_path):
    umask = os.umask(0o022)
    try:
        _network().save_weights(tmp_path / "w")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "w").stat().st_mode) == 0o644
    (tmp_path / "link").symlink_to(tmp_path / "w")
    model = _network()
    model.save_weights(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    other = _network()
    other.load_weights(tmp_path / "w")
    assert _same(model, other)


# ---- reading what should not be read ----


def _unchanged(call, model, match=None):
    before = model.get_weights()
    with pytest.raises(CheckpointError, match=match) as caught:
        call()
    assert isinstance(caught.value, ValueError)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def _header(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


HOSTILE = {
    "empty": b"",
    "short": b"\x01\x02",
    "text": b"not a checkpoint at all, only some words",
    "pickle": pickle.dumps({"dense/kernel": np.ones(3)}),
    "zip (a .pth or .npz)": b"PK\x03\x04" + bytes(64),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(64),
    "header of 2**63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "header of 200 MB": struct.pack("<Q", 200 * 2**20) + b"{" + b" " * 100,
    "header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "header that is not JSON": _header(b"{'a': 1}"),
    "header that is a list": _header([1, 2]),
    "deeply nested header": _header(b"[" * 100_000),
    "offsets out of range": _header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(8)),
    "negative offsets": _header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, bytes(8)),
    "reversed offsets": _header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [8, 4]}}, bytes(8)),
    "offsets and shape disagree": _header({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, bytes(8)),
    "overflowing shape": _header(
        {"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}},
    ),
    "unknown dtype": _header({"a": {"dtype": "OBJECT", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "bfloat16": _header({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
    "integers": _header({"a": {"dtype": "I32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "trailing bytes": _header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(12)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(tmp_path, name):
    path = tmp_path / "hostile"
    path.write_bytes(HOSTILE[name])
    model = _network()
    _unchanged(lambda: model.load_weights(path), model)
    with pytest.raises(CheckpointError):
        load_model(path)


def test_every_truncation_is_noticed(tmp_path):
    model, path = _network(), tmp_path / "w"
    model.save_weights(path)
    whole = path.read_bytes()
    for length in sorted({0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 4, len(whole) - 1}):
        path.write_bytes(whole[:length])
        _unchanged(lambda: model.load_weights(path), model)


def test_random_damage_never_crashes(tmp_path):
    model, path = _compiled(), tmp_path / "m"
    model.fit(X, Y, verbose=0)
    model.save(path)
    whole = path.read_bytes()
    size = struct.unpack("<Q", whole[:8])[0]
    rng = np.random.default_rng(0)
    loaded = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for position in rng.integers(0, 8 + size, rng.integers(1, 4)):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(CheckpointError):
            load_model(path)
            loaded += 1
    assert loaded < 100  # some damage is in a number that may be any, most is refused
    path.write_bytes(whole)
    load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("dense/kernel"), "missing: dense/kernel"),
        (lambda t: t.update(extra=np.zeros(2, np.float32)), "not in the model: extra"),
        (lambda t: t.update({"dense/bias": np.zeros(4, np.float32)}), r"dense/bias has shape \(4,\).*\(3,\)"),
        (lambda t: t.update({"dense/bias": np.zeros(3)}), "dense/bias is float64.*float32"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, change, message):
    model, path = _network(), tmp_path / "w"
    tensors = dict(zip([k for k, _ in model.named_parameters()], model.get_weights(), strict=True))
    tensors = {key: value + 1 for key, value in tensors.items()}
    change(tensors)
    save_file(tensors, path)
    _unchanged(lambda: model.load_weights(path), model, message)


@pytest.mark.parametrize(
    "change",
    [
        lambda m, t: m.update(model="[1"),
        lambda m, t: m.update(model=json.dumps({"class_name": "os.system", "config": {}})),
        lambda m, t: m.update(model=json.dumps({"class_name": "Dense", "config": {"units": 2}})),
        lambda m, t: m.update(model="[" * 100_000),
        lambda m, t: m.update(model=m["model"].replace('"Conv2D"', '"Conv9D"')),
        lambda m, t: m.update(training="{}"),
        lambda m, t: m.update(training=m["training"].replace("Adam", "Adamant")),
        lambda m, t: m.update(version="99"),
        lambda m, t: m.pop("model"),
        lambda m, t: t.pop("optimizer//dense/bias/momentum"),
        lambda m, t: t.update({"optimizer//dense/bias/extra": np.zeros(3, np.float32)}),
        lambda m, t: t.update({"optimizer//dense/bias/momentum": np.zeros(7, np.float32)}),
        lambda m, t: t.pop("random_state//dropout"),
        lambda m, t: t.pop("dense/bias"),
    ],
)
def test_models_that_do_not_fit_together(tmp_path, change):
    model, path = _compiled(), tmp_path / "m"
    model.fit(X, Y, verbose=0)
    model.save(path)
    with safe_open(path, framework="numpy") as file:
        metadata = dict(file.metadata())
    tensors = load_file(path)
    change(metadata, tensors)
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError):
        load_model(path)
