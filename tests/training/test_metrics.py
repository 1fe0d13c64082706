"""Metrics against Keras, and what "accuracy" means for which shapes."""

import os

import numpy as np
import pytest

from fastconv import metrics

os.environ.setdefault("KERAS_BACKEND", "torch")

RNG = np.random.default_rng(5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("BinaryAccuracy", {}),
        ("BinaryAccuracy", {"threshold": 0.3}),
        ("CategoricalAccuracy", {}),
        ("SparseCategoricalAccuracy", {}),
        ("TopKCategoricalAccuracy", {"k": 2}),
        ("TopKCategoricalAccuracy", {}),
        ("SparseTopKCategoricalAccuracy", {"k": 3}),
    ],
)
@pytest.mark.parametrize("shape", [(40, 7), (5, 4, 7)])
def test_value_is_keras(name, options, shape):
    keras = pytest.importorskip("keras", reason="needs keras")
    y_pred = RNG.random(shape).astype(np.float32)
    labels = RNG.integers(0, shape[-1], shape[:-1])
    y_true = {
        "B": RNG.integers(0, 2, shape).astype(np.float32),
        "S": labels,
        "C": np.eye(shape[-1], dtype=np.float32)[labels],
        "T": np.eye(shape[-1], dtype=np.float32)[labels],
    }[name[0]]
    theirs = getattr(keras.metrics, name)(**options)
    theirs.update_state(y_true, y_pred)
    own = metrics.get({"class_name": name, "config": options})
    assert np.mean(own(y_true, y_pred)) == pytest.approx(float(theirs.result()), rel=1e-6)


@pytest.mark.parametrize(
    ("y_shape", "p_shape", "kind"),
    [
        ((8, 1), (8, 1), metrics.BinaryAccuracy),
        ((8,), (8, 1), metrics.BinaryAccuracy),
        ((8,), (8, 3), metrics.SparseCategoricalAccuracy),
        ((8, 1), (8, 3), metrics.SparseCategoricalAccuracy),
        ((8, 3), (8, 3), metrics.CategoricalAccuracy),
        ((8, 4, 4), (8, 4, 4, 3), metrics.SparseCategoricalAccuracy),
    ],
)
def test_accuracy_fits_the_shapes(y_shape, p_shape, kind):
    assert type(metrics.accuracy_for(np.zeros(y_shape, int), np.zeros(p_shape))) is kind


def test_a_prediction_at_the_threshold_is_not_above_it():
    own = metrics.BinaryAccuracy(threshold=0.5)
    assert own(np.array([[0.0], [1.0]]), np.array([[0.5], [0.5]])).tolist() == [1, 0]


def test_losses_are_metrics():
    y_true, y_pred = RNG.normal(size=(6, 2)), RNG.normal(size=(6, 2))
    np.testing.assert_allclose(metrics.get("mse")(y_true, y_pred), ((y_true - y_pred) ** 2).mean(-1))
    assert metrics.name_of("mse") == "mse"


def test_names():
    def closeness(y_true, y_pred):
        return 0.0

    assert metrics.get(closeness) is closeness
    assert metrics.name_of(closeness) == "closeness"
    assert metrics.name_of(metrics.TopKCategoricalAccuracy(k=3)) == "top_k_categorical_accuracy"
    assert metrics.name_of(metrics.TopKCategoricalAccuracy(k=3, name="top3")) == "top3"
    again = metrics.get(metrics.serialize(metrics.SparseTopKCategoricalAccuracy(k=3)))
    assert isinstance(again, metrics.SparseTopKCategoricalAccuracy)
    assert again.k == 3


def test_mean_weighs_by_samples():
    mean = metrics.Mean()
    assert mean.result() == 0
    mean.add(np.array([True, False]), 2)
    mean.add(1.0, 6)
    mean.add(np.zeros(0), 0)
    assert mean.result() == pytest.approx(7 / 8)


def test_nan_is_never_in_the_top():
    y_pred = np.full((2, 3), np.nan)
    assert metrics.SparseTopKCategoricalAccuracy(k=3)(np.array([0, 1]), y_pred).tolist() == [False, False]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: metrics.get("acuracy"), ValueError),
        (lambda: metrics.get(3), TypeError),
        (lambda: metrics.get(metrics.BinaryAccuracy), TypeError),
        (lambda: metrics.TopKCategoricalAccuracy(k=0), ValueError),
        (lambda: metrics.SparseCategoricalAccuracy()(np.array([0, 3]), np.zeros((2, 3))), ValueError),
        (lambda: metrics.SparseCategoricalAccuracy()(np.array([0.0, 1.0]), np.zeros((2, 3))), TypeError),
        (lambda: metrics.CategoricalAccuracy()(np.zeros((2, 4)), np.zeros((2, 3))), ValueError),
        (lambda: metrics.BinaryAccuracy()(np.zeros(3), np.zeros((2, 1))), ValueError),
    ],
)
def test_bad_arguments(call, error):
    with pytest.raises(error):
        call()
