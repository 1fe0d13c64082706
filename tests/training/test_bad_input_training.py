"""What a student gets wrong around compile, fit, evaluate and predict, and what they are told."""

import numpy as np
import pytest

from fastconv import layers, losses
from fastconv.models import Input, Model, Sequential

X = np.random.default_rng(0).normal(size=(12, 6, 5, 1)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 12)


def _model(loss="sparse_categorical_crossentropy", **options):
    model = Sequential(
        [layers.Flatten(input_shape=(6, 5, 1)), layers.Dense(3, activation="softmax", name="scores")], name="digits"
    )
    if loss:
        model.compile("sgd", loss, **options)
    return model


@pytest.mark.parametrize("call", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_before_compile(call):
    with pytest.raises(RuntimeError, match=r"digits.*compile"):
        getattr(_model(loss=None), call)(X, Y)


def test_predict_needs_no_compile():
    assert _model(loss=None).predict(X, verbose=0).shape == (12, 3)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X[:, :5], r"\(12, 5, 5, 1\).*\(N, 6, 5, 1\)"),
        (X[..., 0], r"\(12, 6, 5\).*\(N, 6, 5, 1\).*np.newaxis"),
        (X[0], r"\(6, 5, 1\).*\(N, 6, 5, 1\).*batch axis"),
        (np.concatenate([X, X], -1), r"\(12, 6, 5, 2\).*\(N, 6, 5, 1\)"),
        (X.reshape(12, 30), r"\(12, 30\).*\(N, 6, 5, 1\)"),
        ([X, X], r"\(2, 12, 6, 5, 1\)"),
        ({"wrong": X}, "unknown.*wrong.*missing.*input"),
        (np.float32(3), "samples along its first axis"),
    ],
)
@pytest.mark.parametrize("call", ["predict", "fit", "evaluate", "train_on_batch", "predict_on_batch"])
def test_inputs_of_another_shape(call, x, message):
    arguments = (x,) if "predict" in call else (x, Y)
    with pytest.raises(ValueError, match=message):
        getattr(_model(), call)(*arguments)


@pytest.mark.parametrize("x", [X.astype(object), X.astype(complex), X.astype(str), X.astype("datetime64[s]")])
@pytest.mark.parametrize("call", ["predict", "fit", "train_on_batch"])
def test_inputs_that_are_not_numbers(call, x):
    with pytest.raises(TypeError, match="numbers"):
        getattr(_model(), call)(*((x,) if call == "predict" else (x, Y)))


@pytest.mark.parametrize("view", ["strided", "negative", "fortran", "broadcast", "read-only", "big-endian"])
def test_unusual_arrays_give_the_contiguous_result(view):
    wide = np.repeat(X, 2, axis=2)
    x, plain = {
        "strided": (wide[:, :, ::2], X),
        "negative": (X[::-1], np.ascontiguousarray(X[::-1])),
        "fortran": (np.asfortranarray(X), X),
        "broadcast": (np.broadcast_to(X[:1], X.shape), np.repeat(X[:1], 12, 0)),
        "read-only": (X, X),
        "big-endian": (X.astype(">f4"), X),
    }[view]
    if view == "read-only":
        x = X.copy()
        x.flags.writeable = False
    model, twin = _model(), _model()
    twin.set_weights(model.get_weights())
    np.testing.assert_array_equal(model.predict(x, verbose=0), twin.predict(plain, verbose=0))
    model.fit(x, Y.astype(">i8"), shuffle=False, verbose=0)
    twin.fit(plain, Y, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (Y + 1, ValueError, r"\[0, 3\).*1 to 3"),
        (Y - 1, ValueError, "-1"),
        (Y.astype(float), TypeError, "integers"),
        (np.where(Y == 1, np.nan, Y), TypeError, "integers"),
        (Y.astype(str), TypeError, "integers"),
        (np.eye(3)[Y], ValueError, "one-hot"),
        (Y[:11], ValueError, r"\[12, 11\]"),
        (None, ValueError, "targets"),
    ],
)
@pytest.mark.parametrize("call", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_labels_that_do_not_fit(call, y, error, message):
    with pytest.raises(error, match=message):
        getattr(_model(), call)(X, y)


def test_labels_for_the_other_cross_entropy():
    with pytest.raises(ValueError, match="sparse_categorical_crossentropy"):
        _model("categorical_crossentropy").fit(X, Y, verbose=0)


def test_wrong_labels_leave_the_weights_alone():
    model = _model()
    before = model.get_weights()
    with pytest.raises(ValueError, match="labels"):
        model.fit(X, Y + 1, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": -1}, ValueError, "batch_size"),
        ({"batch_size": 1.5}, TypeError, "batch_size"),
        ({"batch_size": True}, TypeError, "batch_size"),
        ({"epochs": 0}, ValueError, "epochs"),
        ({"epochs": 2.0}, TypeError, "epochs"),
        ({"initial_epoch": -1}, ValueError, "initial_epoch"),
        ({"initial_epoch": 0.5}, TypeError, "initial_epoch"),
        ({"verbose": 3}, ValueError, "verbose"),
        ({"verbose": "yes"}, ValueError, "verbose"),
        ({"validation_split": 1.0}, ValueError, "validation_split"),
        ({"validation_split": -0.1}, ValueError, "validation_split"),
        ({"validation_split": 0.999}, ValueError, "nothing on one side"),
        ({"validation_split": 0.5, "validation_data": (X, Y)}, ValueError, "either"),
        ({"validation_data": (X,)}, ValueError, "validation_data"),
        ({"validation_data": (X[:, :4], Y)}, ValueError, r"\(12, 4, 5, 1\)"),
        ({"steps_per_epoch": 5}, ValueError, "steps_per_epoch=5.*12 samples make 1"),
        ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch"),
        ({"validation_data": (X, Y), "validation_steps": 9}, ValueError, "validation_steps=9"),
        ({"sample_weight": np.ones(11)}, ValueError, "11"),
        ({"sample_weight": np.ones((12, 3))}, ValueError, "sample_weight"),
        ({"class_weight": {0: 1.0}, "sample_weight": np.ones(12)}, ValueError, "either"),
        ({"class_weight": {}}, ValueError, "class_weight"),
        ({"class_weight": {-1: 1.0}}, ValueError, "class_weight"),
        ({"class_weight": {0.5: 1.0}}, ValueError, "class_weight"),
        ({"callbacks": ["print"]}, TypeError, "Callback"),
    ],
)
def test_arguments_of_fit(options, error, message):
    model = _model()
    before = model.get_weights()
    with pytest.raises(error, match=message):
        model.fit(X, Y, **{"verbose": 0, **options})
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"y": Y}, "leave out y"),
        ({"batch_size": 4}, "leave out batch_size"),
        ({"sample_weight": np.ones(12)}, "leave out sample_weight"),
        ({"validation_split": 0.5}, "validation_split needs arrays"),
    ],
)
def test_arguments_that_iterables_exclude(options, message):
    with pytest.raises(ValueError, match=message):
        _model().fit(iter([(X, Y)]), **{"verbose": 0, **options})


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ((X, Y, None, 1), ValueError, "4 items"),
        ((X, Y[:5]), ValueError, r"\[12, 5\]"),
        (X, ValueError, "targets"),
        ((X[:, :4], Y), ValueError, r"\(12, 4, 5, 1\)"),
    ],
)
def test_batches_that_do_not_fit(batch, error, message):
    with pytest.raises(error, match=message):
        _model().fit(iter([batch]), verbose=0)


@pytest.mark.parametrize("x", [None, 3])
def test_data_that_is_none(x):
    with pytest.raises(TypeError, match="arrays or an iterable"):
        _model().fit(x, None, verbose=0)


def test_no_samples():
    with pytest.raises(ValueError, match="no samples"):
        _model().fit(X[:0], Y[:0], verbose=0)
    with pytest.raises(ValueError, match="no samples"):
        _model().evaluate(X[:0], Y[:0], verbose=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"loss": None}, ValueError, "loss"),
        ({"loss": "crossentropy"}, ValueError, "unknown loss.*sparse_categorical_crossentropy"),
        ({"loss": lambda a, b: 0}, TypeError, "forward"),
        ({"loss": losses.Huber}, TypeError, "Huber()"),
        ({"loss": ["mse", "mse"]}, ValueError, "2 entries.*1 outputs"),
        ({"loss": {"score": "mse"}}, ValueError, "score.*scores"),
        ({"loss": "mse", "optimizer": "adma"}, ValueError, "unknown optimizer"),
        ({"loss": "mse", "metrics": ["acuracy"]}, ValueError, "unknown metric"),
        ({"loss": "mse", "metrics": [3]}, TypeError, "metric"),
        ({"loss": "mse", "loss_weights": [1.0, 2.0]}, ValueError, "loss_weights"),
        ({"loss": "mse", "loss_weights": 2.0}, TypeError, "loss_weights"),
    ],
)
def test_arguments_of_compile(options, error, message):
    with pytest.raises(error, match=message):
        _model(loss=None).compile(**options)


def test_two_inputs_and_outputs():
    a, b = Input((3,), name="a"), Input((2,), name="b")
    both = layers.Concatenate()([a, b])
    model = Model([a, b], [layers.Dense(1, name="p")(both), layers.Dense(1, name="q")(both)])
    xa, xb, y = np.zeros((4, 3)), np.zeros((4, 2)), np.zeros((4, 1))
    model.compile("sgd", "mse")
    model.fit([xa, xb], [y, y], verbose=0)
    for x, message in [([xa], "2 inputs"), (xa, "2 inputs"), ([xb, xa], r"\(4, 2\)"), ({"a": xa}, "missing")]:
        with pytest.raises(ValueError, match=message):
            model.fit(x, [y, y], verbose=0)
    for targets in ([y], y, {"p": y}):
        with pytest.raises(ValueError, match="target"):
            model.fit([xa, xb], targets, verbose=0)
    with pytest.raises(ValueError, match="one output"):
        model.fit([xa, xb], [y, y], class_weight={0: 1.0}, verbose=0)
    with pytest.raises(ValueError, match="metrics"):
        model.compile("sgd", "mse", metrics=["mae"])
