"""fit, evaluate, train_on_batch: against Keras step by step, losses, metrics."""

import numpy as np
import pytest
from training_support import blobs, compiled, network, weights_equal

from fastconv import layers, losses, optimizers
from fastconv.models import Input, Model, Sequential
from fastconv.training import step_of
from fastconv.utils import to_categorical

# ---- learning ----


def test_fit_learns_and_reports():
    x, y = blobs(240)
    model = compiled(optimizer=optimizers.Adam(0.01))
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
    x, y = blobs(64)
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
    own = network(classes, activation)
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
    assert step_of(fused).objective.linear_outputs == {0}
    assert step_of(shared).objective.linear_outputs == frozenset()
    separate = Sequential([layers.Dense(3, input_shape=(4,)), layers.Activation("softmax")])
    separate.compile("sgd", "categorical_crossentropy")
    assert step_of(separate).objective.linear_outputs == {0}
    logits = Sequential([layers.Dense(3, input_shape=(4,))])
    logits.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    assert step_of(logits).objective.linear_outputs == frozenset()


def test_saturated_softmax_still_learns():
    model = Sequential([layers.Dense(2, activation="softmax", input_shape=(1,))])
    model.set_weights([np.array([[500.0, -500.0]]), np.zeros(2)])
    model.compile(optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    x, y = np.ones((1, 1), np.float32), np.array([1])
    assert model.evaluate(x, y, verbose=0) == 1000
    assert model.train_on_batch(x, y) == 1000
    np.testing.assert_allclose(model.get_weights()[0], [[499, -499]])


def test_fused_and_separate_agree():
    x, y = blobs(20)
    probabilities, logits = network(), network(activation=None)
    logits.set_weights(probabilities.get_weights())
    probabilities.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    logits.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    for _ in range(3):
        np.testing.assert_allclose(probabilities.train_on_batch(x, y), logits.train_on_batch(x, y), rtol=1e-6)


# ---- one batch ----


def test_train_on_batch_and_fit_agree():
    x, y = blobs(32)
    one, other = compiled(), compiled()
    for i in (0, 16):
        values = one.train_on_batch(x[i : i + 16], y[i : i + 16], return_dict=True)
        assert set(values) == {"loss", "accuracy"}
    other.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    assert weights_equal(one, other)
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

    x, y = blobs(20)
    target = to_categorical(y)
    own, built_in = compiled(loss=Squared(), metrics=[bias]), compiled(loss="mse", metrics=None)
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

    x, y = blobs(4)
    with pytest.raises(ValueError, match=r"shape \(\).*\(4, 3\)"):
        compiled(loss=Wrong(), metrics=None).fit(x, y, verbose=0)
