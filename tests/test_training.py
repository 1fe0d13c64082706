"""fit, evaluate, predict: against Keras step by step, on every kind of data, and when things go wrong."""

import os
import warnings

import numpy as np
import pytest

from fastconv import layers, losses, optimizers
from fastconv.callbacks import Callback, LambdaCallback
from fastconv.models import Input, Model, Sequential
from fastconv.utils import set_random_seed, to_categorical

os.environ.setdefault("KERAS_BACKEND", "torch")


def _blobs(n=120, classes=3, seed=0):
    """Images whose class is the place of a bright patch: learnt in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    x = 0.3 * rng.normal(size=(n, 8, 7, 1)).astype(np.float32)
    for i, label in enumerate(labels):
        x[i, 2 * label : 2 * label + 3, 1:5] += 1
    return x, labels


def _network(classes=3, activation="softmax", dtype=None):
    return Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(8, 7, 1), dtype=dtype),
            layers.MaxPooling2D(2, dtype=dtype),
            layers.Flatten(dtype=dtype),
            layers.Dense(classes, activation=activation, dtype=dtype),
        ]
    )


def _compiled(**options):
    set_random_seed(4)
    model = _network()
    model.compile(
        **{"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **options}
    )
    return model


def _weights_equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


# ---- learning ----


def test_fit_learns_and_reports():
    x, y = _blobs(240)
    model = _compiled(optimizer=optimizers.Adam(0.01))
    history = model.fit(x, y, epochs=12, batch_size=16, verbose=0, validation_split=0.25)
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.epoch == list(range(12))
    assert len(history.history["loss"]) == 12
    assert history.history["val_accuracy"][-1] > 0.95
    assert model.history is history
    assert model.epoch == 12
    loss, accuracy = model.evaluate(x, y, verbose=0)
    predictions = model.predict(x, verbose=0)
    assert accuracy == pytest.approx((predictions.argmax(-1) == y).mean())
    assert loss == pytest.approx(-np.log(predictions[np.arange(len(y)), y]).mean(), rel=1e-4)
    assert model.evaluate(x, y, verbose=0, return_dict=True) == {"loss": loss, "accuracy": accuracy}
    assert model.metrics_names == ["loss", "accuracy"]


@pytest.mark.parametrize("labels", ["sparse", "categorical", "binary", "regression"])
def test_training_is_keras_step_by_step(labels):
    """The same weights, batches and optimizer give Keras' losses and weights."""
    keras = pytest.importorskip("keras", reason="needs keras")
    rng = np.random.default_rng(1)
    x, y = _blobs(64)
    classes, activation, loss, metrics = {
        "sparse": (3, "softmax", "sparse_categorical_crossentropy", ["accuracy"]),
        "categorical": (3, "softmax", "categorical_crossentropy", ["accuracy", "categorical_crossentropy"]),
        "binary": (1, "sigmoid", "binary_crossentropy", ["accuracy"]),
        "regression": (2, None, "mse", ["mae"]),
    }[labels]
    if labels == "categorical":
        y = to_categorical(y, 3)
    elif labels == "binary":
        y = (y == 1).astype(np.float32)[:, None]
    elif labels == "regression":
        y = rng.normal(size=(64, 2)).astype(np.float32)
    own = _network(classes, activation)
    theirs = keras.Sequential(
        [
            keras.layers.Input((8, 7, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation=activation),
        ]
    )
    own.set_weights(theirs.get_weights())
    own.compile("adam", loss, metrics=metrics)
    theirs.compile("adam", loss, metrics=metrics)
    options = {"batch_size": 20, "epochs": 3, "shuffle": False, "verbose": 0, "sample_weight": rng.random(64)}
    ours = own.fit(x, y, validation_data=(x[:30], y[:30]), **options).history
    expected = theirs.fit(x, y, validation_data=(x[:30], y[:30]), **options).history
    assert set(ours) == set(expected)
    for name, values in ours.items():
        np.testing.assert_allclose(values, expected[name], rtol=2e-3, atol=2e-4, err_msg=name)
    for a, b in zip(own.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-4)


def test_two_outputs_with_weights_are_keras():
    keras = pytest.importorskip("keras", reason="needs keras")

    def build(package, layer, source):
        inputs = source((6,), name="features")
        hidden = layer.Dense(5, activation="tanh", name="hidden")(inputs)
        return package(
            inputs,
            [layer.Dense(3, activation="softmax", name="kind")(hidden), layer.Dense(1, name="size")(hidden)],
        )

    own, theirs = build(Model, layers, Input), build(keras.Model, keras.layers, keras.Input)
    own.set_weights(theirs.get_weights())
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6)).astype(np.float32)
    kind, size = rng.integers(0, 3, 50), rng.normal(size=(50, 1)).astype(np.float32)
    arguments = {
        "loss": {"kind": "sparse_categorical_crossentropy", "size": "mse"},
        "loss_weights": {"kind": 0.5, "size": 2.0},
        "metrics": {"kind": ["accuracy"], "size": ["mae"]},
    }
    own.compile("sgd", **arguments)
    theirs.compile("sgd", **arguments)
    options = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
    ours = own.fit(x, {"kind": kind, "size": size}, **options).history
    expected = theirs.fit(x, {"kind": kind, "size": size}, **options).history
    assert set(ours) == set(expected) == {"loss", "kind_loss", "size_loss", "kind_accuracy", "size_mae"}
    for name, values in ours.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, err_msg=name)
    # A list in the outputs' order says the same.
    own.compile("sgd", ["sparse_categorical_crossentropy", "mse"], [0.5, 2.0], [["accuracy"], ["mae"]])
    assert list(own.evaluate(x, [kind, size], verbose=0, return_dict=True)) == list(ours)
    # An output without a loss is not trained.
    own.compile("sgd", [None, "mse"])
    before = own.get_layer("kind").get_weights()
    own.fit(x, [kind, size], verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, own.get_layer("kind").get_weights(), strict=True))
    assert [p.shape for p in own.predict(x, verbose=0)] == [(50, 3), (50, 1)]


def test_regularizers_are_keras():
    keras = pytest.importorskip("keras", reason="needs keras")
    own = Sequential([layers.Dense(3, kernel_regularizer="l2", bias_regularizer="l1", input_shape=(4,))])
    theirs = keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Dense(3, kernel_regularizer="l2", bias_regularizer="l1")]
    )
    rng = np.random.default_rng(0)
    own.set_weights([rng.normal(size=(4, 3)), rng.normal(size=3)])
    theirs.set_weights(own.get_weights())
    x, y = rng.normal(size=(8, 4)).astype(np.float32), rng.normal(size=(8, 3)).astype(np.float32)
    for model in (own, theirs):
        model.compile("sgd", "mse")
    assert own.evaluate(x, y, verbose=0) == pytest.approx(theirs.evaluate(x, y, verbose=0), rel=1e-5)
    for _ in range(3):
        assert own.train_on_batch(x, y) == pytest.approx(float(theirs.train_on_batch(x, y)), rel=1e-5)
        theirs.reset_metrics()
    for a, b in zip(own.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_frozen_layer_stays_and_adds_no_penalty():
    model = Sequential([layers.Dense(3, input_shape=(4,), kernel_regularizer="l2", trainable=False), layers.Dense(2)])
    model.compile("sgd", "mse")
    before = model.layers[0].get_weights()
    x, y = np.ones((4, 4), np.float32), model.predict(np.ones((4, 4), np.float32), verbose=0)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(0, abs=1e-10)
    last = model.layers[1].get_weights()
    model.fit(x, y + 1, verbose=0)
    assert np.array_equal(before[0], model.layers[0].get_weights()[0])
    assert not np.array_equal(last[0], model.layers[1].get_weights()[0])
    model.layers[0].trainable = True
    model.fit(x, y + 1, verbose=0)
    assert not np.array_equal(before[0], model.layers[0].get_weights()[0])


# ---- softmax and cross-entropy ----


def test_softmax_is_fused_only_where_nothing_else_reads_it():
    inputs = Input((4,))
    scores = layers.Dense(3, activation="softmax")(inputs)
    fused = Model(inputs, scores)
    shared = Model(inputs, [scores, layers.Dense(2)(scores)])
    fused.compile("sgd", "sparse_categorical_crossentropy")
    shared.compile("sgd", ["sparse_categorical_crossentropy", "mse"])
    assert fused._steps().objective.linear_outputs == {0}
    assert shared._steps().objective.linear_outputs == frozenset()
    separate = Sequential([layers.Dense(3, input_shape=(4,)), layers.Activation("softmax")])
    separate.compile("sgd", "categorical_crossentropy")
    assert separate._steps().objective.linear_outputs == {0}
    logits = Sequential([layers.Dense(3, input_shape=(4,))])
    logits.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    assert logits._steps().objective.linear_outputs == frozenset()


def test_saturated_softmax_still_learns():
    model = Sequential([layers.Dense(2, activation="softmax", input_shape=(1,))])
    model.set_weights([np.array([[500.0, -500.0]]), np.zeros(2)])
    model.compile(optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    x, y = np.ones((1, 1), np.float32), np.array([1])
    assert model.evaluate(x, y, verbose=0) == 1000
    assert model.train_on_batch(x, y) == 1000
    np.testing.assert_allclose(model.get_weights()[0], [[499, -499]])


def test_fused_and_separate_agree():
    x, y = _blobs(20)
    probabilities, logits = _network(), _network(activation=None)
    logits.set_weights(probabilities.get_weights())
    probabilities.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    logits.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    for _ in range(3):
        np.testing.assert_allclose(probabilities.train_on_batch(x, y), logits.train_on_batch(x, y), rtol=1e-6)


# ---- data ----


def test_integer_and_float64_arrays_are_cast_but_not_scaled():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 8, 7, 1), dtype=np.uint8)
    y = rng.integers(0, 3, 20)
    reference = _compiled()
    history = reference.fit(x.astype(np.float32), y, verbose=0, epochs=2).history
    for dtype in (np.uint8, np.int64, np.float64, np.float16):
        model = _compiled()
        assert model.fit(x.astype(dtype), y.astype(np.uint8), verbose=0, epochs=2).history == history
        assert _weights_equal(model, reference)
    np.testing.assert_array_equal(reference.predict(x, verbose=0), reference(x.astype(np.float32)))


def test_float64_model():
    x, y = _blobs(20)
    model = _network(dtype="float64")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    assert model.predict(x, verbose=0).dtype == np.float64
    assert all(slot.dtype == np.float64 for slots in model.optimizer.slots.values() for slot in slots)


@pytest.mark.parametrize("kind", ["list", "generator", "sequence", "lists"])
def test_iterables_equal_arrays(kind):
    x, y = _blobs(48)
    batches = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 48, 16)]

    class Indexed:
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return batches[i]

    class Loader:
        def __iter__(self):
            return iter([list(batch) for batch in batches])

    def endless():
        while True:
            yield from batches

    arrays, iterable = _compiled(), _compiled()
    expected = arrays.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0).history
    data = {"list": iter(batches), "generator": endless(), "sequence": Indexed(), "lists": Loader()}[kind]
    if kind == "list":
        history = {name: values[:1] for name, values in expected.items()}
        assert iterable.fit(data, epochs=1, verbose=0).history == history
        return
    steps = 3 if kind == "generator" else None
    assert iterable.fit(data, epochs=3, steps_per_epoch=steps, verbose=0).history == expected
    assert _weights_equal(arrays, iterable)
    if kind == "generator":
        assert iterable.evaluate(data, steps=3, verbose=0) == pytest.approx(iterable.evaluate(x, y, 16, verbose=0))
        assert iterable.predict(data, steps=3, verbose=0).shape == (48, 3)
    else:
        np.testing.assert_array_equal(iterable.predict(data, verbose=0), iterable.predict(x, 16, verbose=0))


def test_generator_goes_on_from_epoch_to_epoch():
    x, y = _blobs(64)
    seen = []

    def endless():
        i = 0
        while True:
            seen.append(i)
            yield x[i % 64 : i % 64 + 8], y[i % 64 : i % 64 + 8]
            i += 8

    _compiled().fit(endless(), steps_per_epoch=3, epochs=2, verbose=0)
    assert seen == [0, 8, 16, 24, 32, 40]


def test_generator_that_ends_warns_and_ends_training():
    x, y = _blobs(32)
    with pytest.warns(UserWarning, match="ended after 1 of 2"):
        history = _compiled().fit(((x[:8], y[:8]) for _ in range(3)), steps_per_epoch=2, epochs=2, verbose=0)
    assert len(history.epoch) == 2
    with pytest.warns(UserWarning, match="used up"):
        history = _compiled().fit(((x[:8], y[:8]) for _ in range(3)), epochs=5, verbose=0)
    assert len(history.epoch) == 1
    model = _compiled()
    for _ in range(2):
        with pytest.raises(ValueError, match="no batches"):
            model.fit(iter([]), verbose=0)
        model.fit(x, y, verbose=0)


def test_iterable_with_steps_starts_again():
    x, y = _blobs(32)
    batches = [(x[:16], y[:16]), (x[16:], y[16:])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = _compiled().fit(_Again(batches), epochs=3, steps_per_epoch=3, verbose=0)
    assert len(history.epoch) == 3


class _Again:
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_validation_split_takes_the_last_part_before_shuffling():
    x, y = _blobs(50)
    seen = []

    class Spy(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    split, given = _compiled(), _compiled()
    set_random_seed(8)
    a = split.fit(x, y, validation_split=0.21, epochs=2, batch_size=10, verbose=0, callbacks=[Spy()]).history
    set_random_seed(8)
    b = given.fit(x[:39], y[:39], validation_data=(x[39:], y[39:]), epochs=2, batch_size=10, verbose=0).history
    assert a == b
    assert len(seen) == 8
    assert _weights_equal(split, given)


def test_validation_data_of_every_kind():
    x, y = _blobs(40)
    expected = _compiled().fit(x, y, validation_data=(x[:20], y[:20]), verbose=0, batch_size=10).history
    batches = [(x[:10], y[:10]), (x[10:20], y[10:20])]

    def endless():
        while True:
            yield from batches

    for data, steps in ((_Again(batches), None), (endless(), 2)):
        history = _compiled().fit(x, y, validation_data=data, validation_steps=steps, verbose=0, batch_size=10).history
        for name, values in history.items():
            assert values == pytest.approx(expected[name]), name
    weighted = (x[:20], y[:20], np.r_[np.ones(10), np.zeros(10)])
    history = _compiled().fit(x, y, validation_data=weighted, verbose=0, batch_size=10, validation_batch_size=20)
    assert history.history["val_loss"] != expected["val_loss"]


def test_shuffling_follows_seed_and_epoch():
    x = _blobs(40)[0]
    orders = []

    class Spy:
        def forward(self, y_true, y_pred):
            orders.append(y_true.copy())
            return losses.MeanSquaredError().forward(y_true, y_pred)

        def backward(self, cache):
            return losses.MeanSquaredError().backward(cache)

    def run(seed, **options):
        orders.clear()
        set_random_seed(seed)
        model = _network(1, None)
        model.compile("sgd", Spy())
        model.fit(x, np.arange(40.0)[:, None], batch_size=40, verbose=0, **options)
        return [order[:, 0].tolist() for order in orders]

    first = run(1, epochs=3)
    assert first == run(1, epochs=3)
    assert first != run(2, epochs=3)
    assert first[0] != first[1]
    assert all(sorted(order) == list(range(40)) for order in first)
    assert run(1, epochs=2, shuffle=False) == [list(range(40))] * 2


def test_class_weight_is_sample_weight():
    x, y = _blobs(30)
    weights = {0: 2.0, 2: 0.25}
    by_class, by_sample, one_hot = _compiled(), _compiled(), _compiled(loss="categorical_crossentropy")
    options = {"epochs": 2, "batch_size": 8, "verbose": 0, "shuffle": False}
    by_class.fit(x, y, class_weight=weights, **options)
    by_sample.fit(x, y, sample_weight=np.array([2.0, 1.0, 0.25])[y], **options)
    one_hot.fit(x, to_categorical(y), class_weight=weights, **options)
    assert _weights_equal(by_class, by_sample)
    for a, b in zip(by_class.get_weights(), one_hot.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    plain = _compiled()
    plain.fit(x, y, **options)
    assert not _weights_equal(plain, by_class)


def test_named_inputs():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    model = Model([a, b], layers.Dense(1)(layers.Add()([a, b])))
    model.compile("sgd", "mse")
    x = {"b": np.ones((4, 3)), "a": np.zeros((4, 3))}
    assert model.predict(x, verbose=0).shape == (4, 1)
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict([x["a"], x["b"]], verbose=0))
    model.fit(x, np.zeros(4), verbose=0)
    model.fit([x["a"], x["b"]], np.zeros((4, 1)), verbose=0)


def test_steps_per_epoch_with_arrays():
    x, y = _blobs(40)
    counted = []
    callback = LambdaCallback(on_train_batch_end=lambda batch, logs: counted.append(batch))
    _compiled().fit(x, y, batch_size=10, steps_per_epoch=2, epochs=2, verbose=0, callbacks=[callback])
    assert counted == [0, 1, 0, 1]


def test_sequential_learns_its_input_shape_from_the_data():
    x, y = _blobs(16)
    for data in ((x, y), (_Again([(x, y)]), None)):
        model = Sequential([layers.Flatten(), layers.Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(*data, verbose=0)
        assert model.input_shape == (None, 8, 7, 1)


def test_predict_on_no_samples_and_on_a_last_small_batch():
    model = _compiled()
    assert model.predict(np.zeros((0, 8, 7, 1)), verbose=0).shape == (0, 3)
    x = _blobs(37)[0]
    np.testing.assert_allclose(model.predict(x, batch_size=10, verbose=0), model(x), rtol=1e-5, atol=1e-6)


# ---- one batch ----


def test_train_on_batch_and_fit_agree():
    x, y = _blobs(32)
    one, other = _compiled(), _compiled()
    for i in (0, 16):
        values = one.train_on_batch(x[i : i + 16], y[i : i + 16], return_dict=True)
        assert set(values) == {"loss", "accuracy"}
    other.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    assert _weights_equal(one, other)
    assert one.test_on_batch(x, y) == pytest.approx(one.evaluate(x, y, verbose=0))
    np.testing.assert_array_equal(one.predict_on_batch(x), one.predict(x, verbose=0))
    assert one.train_on_batch(x, y, class_weight={0: 0.0})[0] < one.test_on_batch(x, y)[0] * 10


# ---- custom loss and metric ----


def test_custom_loss_and_metric():
    class Squared:
        def forward(self, y_true, y_pred):
            error = y_pred - y_true
            return (error**2).mean(), error

        def backward(self, cache):
            return 2 * cache / cache.size

    def bias(y_true, y_pred):
        return float((y_pred - y_true).mean())

    x, y = _blobs(20)
    target = to_categorical(y)
    own, built_in = _compiled(loss=Squared(), metrics=[bias]), _compiled(loss="mse", metrics=None)
    a = own.fit(x, target, epochs=2, verbose=0).history
    b = built_in.fit(x, target, epochs=2, verbose=0).history
    assert list(a) == ["loss", "bias"]
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-6)
    with pytest.raises(ValueError, match="sample weights"):
        own.fit(x, target, sample_weight=np.ones(20), verbose=0)


def test_custom_loss_with_a_gradient_of_the_wrong_shape():
    class Wrong:
        def forward(self, y_true, y_pred):
            return 0.0, y_pred

        def backward(self, cache):
            return cache.sum()

    x, y = _blobs(4)
    with pytest.raises(ValueError, match=r"shape \(\).*\(4, 3\)"):
        _compiled(loss=Wrong(), metrics=None).fit(x, y, verbose=0)


# ---- when things go wrong ----


def test_ctrl_c_ends_fit_with_the_history_so_far(capsys):
    x, y = _blobs(40)
    ended = []

    class CtrlC(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.epoch == 2 and batch == 1:
                raise KeyboardInterrupt

        def on_train_end(self, logs=None):
            ended.append(True)

    model = _compiled()
    history = model.fit(x, y, batch_size=10, epochs=9, verbose=0, callbacks=[CtrlC()])
    assert history.epoch == [0, 1]
    assert len(history.history["loss"]) == 2
    assert ended == [True]
    assert "interrupted in epoch 3" in capsys.readouterr().err
    model.fit(x, y, initial_epoch=2, epochs=3, verbose=0)


def test_nan_loss_warns_once_and_names_the_layer():
    class Breaks(layers.Layer):
        def forward(self, x, training=False):
            return x * np.float32(np.nan), None

        def backward(self, dy, cache):
            return dy

    model = Sequential(
        [
            layers.Dense(4, input_shape=(3,)),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            Breaks(name="guilty"),
            layers.Dense(2),
        ]
    )
    model.compile("sgd", "mse")
    x, y = np.ones((8, 3), np.float32), np.ones((8, 2), np.float32)
    with pytest.warns(RuntimeWarning, match='first NaN is in the output of layer "guilty"') as caught:
        model.fit(x, y, epochs=3, batch_size=4, verbose=0)
    assert len([w for w in caught if "first NaN" in str(w.message)]) == 1


def test_nan_in_the_data_is_named():
    x, y = _blobs(8)
    x[3, 2, 2] = np.nan
    with pytest.warns(RuntimeWarning, match="first NaN is in the model's input"):
        _compiled().fit(x, y, verbose=0)


def test_looking_for_a_nan_changes_nothing():
    def run(look):
        set_random_seed(3)
        model = Sequential(
            [layers.Dense(4, input_shape=(3,)), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(2)]
        )

        class Infinite(losses.MeanSquaredError):
            def forward(self, y_true, y_pred, sample_weight=None):
                value, cache = super().forward(y_true, y_pred, sample_weight)
                return (np.inf if look else value), cache

        model.compile("sgd", Infinite())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(np.eye(3, dtype=np.float32), np.ones((3, 2)), epochs=3, verbose=0)
        assert any("arises in the loss" in str(w.message) for w in caught) == look
        return model

    assert _weights_equal(run(False), run(True))


# ---- the progress display ----


def test_log_file_gets_one_line_an_epoch(capsys):
    x, y = _blobs(20)
    _compiled().fit(x, y, epochs=3, verbose=1, validation_split=0.5)
    err = capsys.readouterr().err
    lines = err.splitlines()
    assert "\r" not in err
    assert len(lines) == 3
    assert all(word in lines[0] for word in ("epoch 1/3", "loss:", "accuracy:", "val_loss:", "images/s"))
    _compiled().fit(x, y, verbose=0)
    assert capsys.readouterr().err == ""


def test_terminal_gets_a_bar(monkeypatch):
    import io
    import sys

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    x, y = _blobs(20)
    _compiled().fit(x, y, epochs=2, batch_size=5, verbose="auto")
    text = terminal.getvalue()
    assert "\r" in text
    assert "epoch 1/2: 100%" in text
    assert "4/4" in text
    assert "images/s" in text
    assert "epoch 2/2: 100%" in text
    assert text.endswith("\n")


def test_a_bar_of_unknown_length_and_one_for_predict(monkeypatch):
    import io
    import sys

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    x, y = _blobs(20)
    model = _compiled()
    for call in (
        lambda: model.fit(((x[i : i + 5], y[i : i + 5]) for i in range(0, 20, 5)), verbose=1),
        lambda: model.evaluate(x, y, batch_size=5),
        lambda: model.predict(x, batch_size=5),
    ):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        call()
        assert "4/4" in terminal.getvalue()
        assert "images/s" in terminal.getvalue()


def test_notebook_counts_as_able_to_show_a_bar(monkeypatch):
    import sys
    import types

    import tqdm.auto
    import tqdm.notebook

    from fastconv.models.progress import resolve_verbose

    assert resolve_verbose("auto") == 2  # pytest captures standard error
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert resolve_verbose("auto") == 2  # a kernel without widgets
    monkeypatch.setattr(tqdm.auto, "tqdm", type("tqdm", (tqdm.notebook.tqdm_notebook,), {}))
    assert resolve_verbose("auto") == 1
    assert resolve_verbose(0) == 0
    assert resolve_verbose(2) == 2


def test_steps_run_without_growing_the_model():
    """What a step leaves behind does not pile up."""
    import gc

    x, y = _blobs(16)
    model = _compiled()
    model.train_on_batch(x, y)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(20):
        model.train_on_batch(x, y)
    gc.collect()
    assert len(gc.get_objects()) - before < 200
