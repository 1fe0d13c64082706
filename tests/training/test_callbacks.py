"""Callbacks: when each hook runs, and what the built-in ones do."""

import csv
import os

import numpy as np
import pytest

from fastconv import callbacks, layers, optimizers
from fastconv.models import Sequential, load_model
from fastconv.utils import set_random_seed

os.environ.setdefault("KERAS_BACKEND", "torch")

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
Y = X @ np.array([[1.0], [2.0], [-1.0]], np.float32)


def _model(optimizer="sgd"):
    set_random_seed(2)
    model = Sequential([layers.Dense(1, input_shape=(3,))])
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def _fit(model, *given, **options):
    return model.fit(X, Y, **{"verbose": 0, "batch_size": 10, "callbacks": list(given), **options})


class Scripted(callbacks.Callback):
    """Puts values of our choosing into the logs, before the callbacks that watch them."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


def _called(value):
    return getattr(value, "name", value)


def test_order_of_the_hooks():
    calls = []

    class Recorder(callbacks.Callback):
        pass

    for name in [name for name in vars(callbacks.Callback) if name.startswith("on_")]:
        setattr(Recorder, name, lambda self, *a, name=name: calls.append((name, *a[:-1], sorted(map(_called, a[-1])))))
    recorder = Recorder()
    model = _model()
    _fit(model, recorder, epochs=1, batch_size=10, validation_data=(X[:5], Y[:5]))
    assert calls == [
        ("on_train_begin", []),
        ("on_epoch_begin", 0, []),
        ("on_train_batch_begin", 0, []),
        ("on_gradients", ["bias", "kernel"]),
        ("on_train_batch_end", 0, ["loss", "mae"]),
        ("on_train_batch_begin", 1, []),
        ("on_gradients", ["bias", "kernel"]),
        ("on_train_batch_end", 1, ["loss", "mae"]),
        ("on_test_begin", []),
        ("on_test_batch_begin", 0, []),
        ("on_test_batch_end", 0, ["loss", "mae"]),
        ("on_test_end", ["loss", "mae"]),
        ("on_epoch_end", 0, ["loss", "mae", "val_loss", "val_mae"]),
        ("on_train_end", ["loss", "mae", "val_loss", "val_mae"]),
    ]
    assert recorder.model is model
    assert recorder.params == {"epochs": 1, "steps": 2, "verbose": 0}
    calls.clear()
    model.predict(X[:5], verbose=0, callbacks=[recorder])
    assert [name for name, *_ in calls] == [
        "on_predict_begin",
        "on_predict_batch_begin",
        "on_predict_batch_end",
        "on_predict_end",
    ]
    calls.clear()
    model.evaluate(X, Y, verbose=0, callbacks=[recorder])
    assert [name for name, *_ in calls] == [
        "on_test_begin",
        "on_test_batch_begin",
        "on_test_batch_end",
        "on_test_end",
    ]


def test_what_callbacks_add_to_the_logs_reaches_the_history():
    history = _fit(_model(), Scripted("extra", [5.0, 6.0]), epochs=2)
    assert history.history["extra"] == [5.0, 6.0]


def test_stop_training_inside_an_epoch():
    batches = []

    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            batches.append(batch)
            self.model.stop_training = len(batches) == 3

    history = _fit(_model(), Stop(), epochs=5)
    assert batches == [0, 1, 0]
    assert history.epoch == [0, 1]


@pytest.mark.parametrize(
    ("options", "values", "epochs"),
    [
        ({"patience": 2}, [5, 4, 4.5, 4.2, 3, 2], 4),
        ({"patience": 0}, [5, 4, 4.5, 1], 3),
        ({"patience": 1, "min_delta": 0.5}, [5, 4.8, 1], 2),
        ({"patience": 1, "mode": "max"}, [1, 2, 3, 2.5, 9], 4),
        ({"patience": 1, "monitor": "val_acc"}, [1, 2, 3, 2.5, 9], 4),
        ({"patience": 1, "start_from_epoch": 3}, [1, 2, 3, 5, 6, 9], 5),
        ({"patience": 2, "baseline": 3}, [5, 4, 4.5, 1], 3),
        ({"patience": 2}, [5, 4, 4.5, 1], 4),
        ({"patience": 3}, [1, np.nan, np.nan, np.nan, 0], 4),
    ],
)
def test_early_stopping(options, values, epochs):
    options = {"monitor": "watched", **options}
    stopping = callbacks.EarlyStopping(**options)
    history = _fit(_model(), Scripted(options["monitor"], values), stopping, epochs=len(values))
    assert len(history.epoch) == epochs


def test_early_stopping_is_keras():
    keras = pytest.importorskip("keras", reason="needs keras")
    rng = np.random.default_rng(3)
    for trial in range(30):
        values = rng.integers(0, 6, 12).astype(float).tolist()
        options = {
            "patience": int(rng.integers(0, 4)),
            "min_delta": float(rng.choice([0.0, 1.5])),
            "baseline": [None, 2.5][trial % 2],
            "start_from_epoch": int(rng.integers(0, 3)),
            "mode": ["min", "max"][trial % 3 == 0],
        }

        class Model:
            stop_training = False

        ends = []
        for kind in (callbacks.EarlyStopping, keras.callbacks.EarlyStopping):
            callback, model = kind("watched", **options), Model()
            callback.set_model(model)
            callback.on_train_begin()
            for epoch, value in enumerate(values):
                callback.on_epoch_end(epoch, {"watched": value})
                if model.stop_training:
                    break
            ends.append(epoch)
        assert ends[0] == ends[1], (values, options)


def test_early_stopping_restores_the_best_weights(capsys):
    weights = []

    class Keep(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weights.append(self.model.get_weights())

    model = _model()
    stopping = callbacks.EarlyStopping("watched", patience=2, restore_best_weights=True, verbose=1)
    _fit(model, Keep(), Scripted("watched", [3.0, 1.0, 2.0, 2.0, 0.0]), stopping, epochs=5)
    assert len(weights) == 4
    assert not np.array_equal(weights[1][0], weights[3][0])
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights[1], strict=True))
    assert "early stopping" in capsys.readouterr().err


def test_missing_value_warns():
    with pytest.warns(UserWarning, match="val_loss.*loss, mae"):
        _fit(_model(), callbacks.EarlyStopping(), epochs=1)


def test_reduce_lr_on_plateau():
    values = [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5]
    reduce = callbacks.ReduceLROnPlateau("watched", factor=0.5, patience=2, cooldown=1, min_lr=0.03)
    history = _fit(_model(optimizers.SGD(0.1)), Scripted("watched", values), reduce, epochs=8)
    # Waits in epochs 1 and 2, reduces, cools down and waits in 3, waits in 4, reduces to the limit.
    assert history.history["learning_rate"] == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.03, 0.03, 0.03])


def test_reduce_lr_on_plateau_is_keras():
    keras = pytest.importorskip("keras", reason="needs keras")
    rng = np.random.default_rng(4)

    class Optimizer:
        learning_rate = 1.0

    class Model:
        pass

    for _ in range(30):
        values = rng.integers(0, 5, 20).astype(float).tolist()
        options = {
            "factor": 0.5,
            "patience": int(rng.integers(1, 4)),
            "cooldown": int(rng.integers(0, 3)),
            "min_lr": 0.1,
            "mode": ["min", "max"][int(rng.integers(2))],
        }
        rates = []
        for kind in (callbacks.ReduceLROnPlateau, keras.callbacks.ReduceLROnPlateau):
            callback, model = kind("watched", **options), Model()
            model.optimizer = Optimizer()
            callback.set_model(model)
            callback.on_train_begin()
            rates.append([])
            for epoch, value in enumerate(values):
                callback.on_epoch_end(epoch, {"watched": value})
                rates[-1].append(model.optimizer.learning_rate)
        assert rates[0] == pytest.approx(rates[1]), (values, options)


def test_learning_rate_scheduler():
    scheduler = callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch < 2 else 0.0)
    model = _model(optimizers.SGD(0.2))
    history = _fit(model, scheduler, epochs=4)
    assert history.history["learning_rate"] == [0.1, 0.05, 0.0, 0.0]
    assert history.history["loss"][3] == pytest.approx(model.evaluate(X, Y, verbose=0)[0])  # nothing moved
    with pytest.raises(ValueError, match="learning_rate"):
        _fit(_model(), callbacks.LearningRateScheduler(lambda epoch, rate: -1.0), epochs=1)


def test_model_checkpoint(tmp_path):
    every = callbacks.ModelCheckpoint(tmp_path / "{epoch:02d}-{watched:.1f}.safetensors")
    best = callbacks.ModelCheckpoint(
        tmp_path / "best.safetensors", "watched", save_best_only=True, save_weights_only=True
    )
    weights = []

    class Keep(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weights.append(self.model.get_weights())

    _fit(_model(), Scripted("watched", [3.0, 1.0, 2.0]), Keep(), every, best, epochs=3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["01-3.0.safetensors", "02-1.0.safetensors", "03-2.0.safetensors", "best.safetensors"]
    model = _model()
    model.load_weights(tmp_path / "best.safetensors")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights[1], strict=True))
    loaded = load_model(tmp_path / "03-2.0.safetensors")
    assert loaded.epoch == 3
    assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), weights[2], strict=True))
    with pytest.raises(KeyError, match="val_loss"):
        _fit(_model(), callbacks.ModelCheckpoint(tmp_path / "{val_loss}"), epochs=1)


def test_model_checkpoint_into_a_missing_folder_fails_before_the_first_epoch(tmp_path, monkeypatch):
    model, began = _model(), []
    watch = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: began.append(epoch))
    for folder in (tmp_path / "missing", "missing"):
        with pytest.raises(FileNotFoundError, match=r"ModelCheckpoint cannot save there.*missing"):
            _fit(model, watch, callbacks.ModelCheckpoint(f"{folder}/{{epoch}}"), epochs=1)
    assert not began
    monkeypatch.chdir(tmp_path)
    _fit(model, watch, callbacks.ModelCheckpoint("here.safetensors"), epochs=1)
    (tmp_path / "1").mkdir()
    _fit(model, watch, callbacks.ModelCheckpoint(tmp_path / "{epoch}" / "weights"), epochs=1)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["1", "1/weights", "here.safetensors"]


def test_model_checkpoint_by_batches(tmp_path):
    saved = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{loss:.3f}", save_freq=3, save_weights_only=True)
    _fit(_model(), saved, epochs=4, batch_size=10)
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["2", "3"]


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    model = _model()
    history = _fit(model, callbacks.CSVLogger(path), epochs=2)
    _fit(model, callbacks.CSVLogger(path, append=True), epochs=3, initial_epoch=2)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [float(row["loss"]) for row in rows[:2]] == history.history["loss"]


def test_csv_logger_closes_its_file_after_ctrl_c(tmp_path):
    logger = callbacks.CSVLogger(tmp_path / "log.csv", separator=";")

    def interrupt(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fit(_model(), logger, callbacks.LambdaCallback(on_epoch_begin=interrupt), epochs=3)
    assert logger._file is None
    assert (tmp_path / "log.csv").read_text().startswith("epoch;loss;mae")


def test_terminate_on_nan():
    model = _model(optimizers.SGD(1e20))
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="the loss is"):
        history = _fit(model, callbacks.TerminateOnNaN(), epochs=50)
    assert len(history.epoch) < 5
    assert not np.isfinite(history.history["loss"][-1])


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: callbacks.EarlyStopping(mode="down"), ValueError),
        (lambda: callbacks.EarlyStopping(min_delta=-1), ValueError),
        (lambda: callbacks.ReduceLROnPlateau(factor=1.0), ValueError),
        (lambda: callbacks.ModelCheckpoint("x", save_freq="batch"), ValueError),
        (lambda: callbacks.ModelCheckpoint("x", save_freq=0), ValueError),
        (lambda: callbacks.LambdaCallback(on_epoch=print), TypeError),
        (lambda: callbacks.LambdaCallback(on_epoch_end=3), TypeError),
        (lambda: _fit(_model(), callbacks.History), TypeError),
        (lambda: _fit(_model(), print), TypeError),
    ],
)
def test_bad_arguments(make, error):
    with pytest.raises(error):
        make()
