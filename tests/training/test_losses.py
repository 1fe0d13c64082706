"""Losses and their gradients against Keras and PyTorch's autograd; targets that do not fit."""

import os

import numpy as np
import pytest

from fastconv import losses, ops

os.environ.setdefault("KERAS_BACKEND", "torch")

RNG = np.random.default_rng(11)
CLASSES = 5


def _softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _targets(name, shape):
    if name.startswith("Sparse"):
        return RNG.integers(0, shape[-1], shape[:-1])
    if name.startswith("Categorical"):
        return np.eye(shape[-1])[RNG.integers(0, shape[-1], shape[:-1])]
    return RNG.integers(0, 2, shape).astype(float) if name.startswith("Binary") else RNG.normal(size=shape)


def _predictions(name, shape, options):
    z = 2 * RNG.normal(size=shape)
    if options.get("from_logits") or "entropy" not in name:
        return z
    return 1 / (1 + np.exp(-z)) if name.startswith("Binary") else _softmax(z)


def _pytorch(torch, name, options):
    """The loss per sample from PyTorch's own functions."""
    f = torch.nn.functional
    smoothing = options.get("label_smoothing", 0.0)

    def binary(t, p):
        t = t * (1 - smoothing) + 0.5 * smoothing
        if options.get("from_logits"):
            return f.binary_cross_entropy_with_logits(p, t, reduction="none").mean(-1)
        return f.binary_cross_entropy(p.clamp(1e-7, 1 - 1e-7), t, reduction="none").mean(-1)

    return {
        "MeanSquaredError": lambda t, p: f.mse_loss(p, t, reduction="none").mean(-1),
        "MeanAbsoluteError": lambda t, p: f.l1_loss(p, t, reduction="none").mean(-1),
        "Huber": lambda t, p: f.huber_loss(p, t, reduction="none", delta=options.get("delta", 1.0)).mean(-1),
        "BinaryCrossentropy": binary,
    }[name]


CASES = [
    ("MeanSquaredError", {}),
    ("MeanAbsoluteError", {}),
    ("Huber", {}),
    ("Huber", {"delta": 0.4}),
    ("BinaryCrossentropy", {}),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}),
    ("BinaryCrossentropy", {"from_logits": True}),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}),
    ("CategoricalCrossentropy", {}),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}),
    ("CategoricalCrossentropy", {"from_logits": True}),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.3}),
    ("SparseCategoricalCrossentropy", {}),
    ("SparseCategoricalCrossentropy", {"from_logits": True}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("shape", [(6, CLASSES), (3, 2, 4, CLASSES)])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
def test_value_and_gradient_are_keras(name, options, shape, reduction, weighted, dtype, tolerance):
    keras = pytest.importorskip("keras", reason="needs keras")
    torch = pytest.importorskip("torch", reason="needs torch==2.13.0")
    y_true, y_pred = _targets(name, shape), _predictions(name, shape, options).astype(dtype)
    y_true = y_true.astype(dtype) if y_true.dtype.kind == "f" else y_true
    weight = RNG.random(shape[:-1]).astype(dtype) if weighted else None
    own = getattr(losses, name)(reduction=reduction, **options)
    value, cache = own.forward(y_true, y_pred, weight)
    dy = own.backward(cache)
    assert dy.dtype == dtype
    assert dy.shape == y_pred.shape
    leaf = torch.tensor(y_pred, requires_grad=True)
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        theirs = getattr(keras.losses, name)(reduction=reduction, **options)
        rows = [torch.tensor(y_true), leaf, None if weight is None else torch.tensor(weight)]
        if name.startswith("Sparse"):  # Keras' own backward fails with inner axes
            rows = [rows[0].reshape(-1), leaf.reshape(-1, shape[-1]), None if weight is None else rows[2].reshape(-1)]
        if dtype == "float32":
            expected = theirs(*rows)
        else:  # Keras' means fall back to float32
            per_sample = theirs.call if "Categorical" in name else _pytorch(torch, name, options)
            each = per_sample(rows[0], rows[1]) * (1 if rows[2] is None else rows[2])
            expected = each.sum() if reduction == "sum" else each.mean()
    finally:
        keras.config.set_floatx(before)
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(dy, leaf.grad.numpy(), rtol=tolerance, atol=tolerance)


def test_no_absolute_error_pulls_nowhere():
    loss = losses.MeanAbsoluteError(reduction="sum")
    value, cache = loss.forward(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 5.0, 0.0]]))
    assert value == 2
    assert loss.backward(cache).tolist() == [[0, 1 / 3, -1 / 3]]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.25])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_fused_softmax_is_pytorch(label_smoothing, weighted, sparse):
    torch = pytest.importorskip("torch", reason="needs torch==2.13.0")
    z = 30 * RNG.normal(size=(7, CLASSES))  # far beyond what clipped probabilities could tell apart
    labels = RNG.integers(0, CLASSES, 7)
    weight = RNG.random(7) if weighted else None
    kind = losses.SparseCategoricalCrossentropy if sparse else losses.CategoricalCrossentropy
    loss = kind(label_smoothing=label_smoothing)
    value, cache, probabilities = loss.forward_logits(labels if sparse else np.eye(CLASSES)[labels], z, weight)
    leaf = torch.tensor(z, requires_grad=True)
    each = torch.nn.functional.cross_entropy(
        leaf, torch.tensor(labels), reduction="none", label_smoothing=label_smoothing
    )
    expected = (each if weight is None else each * torch.tensor(weight)).mean()
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-10)
    np.testing.assert_allclose(loss.backward_logits(cache), leaf.grad.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(probabilities, _softmax(z), rtol=1e-10, atol=1e-300)


def test_fused_loss_is_finite_where_probabilities_are_not():
    z = np.array([[1000.0, -1000.0]], np.float32)
    loss = losses.SparseCategoricalCrossentropy()
    value, cache, _ = loss.forward_logits(np.array([1]), z)
    assert value == 2000
    np.testing.assert_array_equal(loss.backward_logits(cache), [[1.0, -1.0]])
    clipped, _ = loss.forward(np.array([1]), ops.softmax(z))
    assert clipped == pytest.approx(-np.log(1e-7), rel=1e-5)


def test_weight_per_sample_reaches_inner_axes():
    y_true, y_pred = RNG.normal(size=(3, 4, 5)), RNG.normal(size=(3, 4, 5))
    weight = np.array([0.0, 1.0, 2.0])
    full = np.broadcast_to(weight[:, None], (3, 4))
    loss = losses.MeanSquaredError()
    a, cache_a = loss.forward(y_true, y_pred, weight)
    b, cache_b = loss.forward(y_true, y_pred, full)
    assert a == pytest.approx(b)
    np.testing.assert_allclose(loss.backward(cache_a), loss.backward(cache_b))
    assert (loss.backward(cache_a)[0] == 0).all()
    assert (loss.backward(cache_a)[1] != 0).all()


def test_a_missing_or_extra_last_axis_of_one():
    y = RNG.normal(size=(6, 1))
    loss = losses.MeanSquaredError()
    assert loss(y[:, 0], 2 * y) == pytest.approx(loss(y, 2 * y))
    assert losses.SparseCategoricalCrossentropy()(np.array([[1], [0]]), np.eye(3)[[1, 2]]) == pytest.approx(
        losses.SparseCategoricalCrossentropy()(np.array([1, 0]), np.eye(3)[[1, 2]])
    )


def test_empty_batch():
    for loss, y_true in [
        (losses.MeanSquaredError(), np.zeros((0, 3))),
        (losses.CategoricalCrossentropy(), np.zeros((0, 3))),
        (losses.SparseCategoricalCrossentropy(), np.zeros(0, int)),
    ]:
        value, cache = loss.forward(y_true, np.zeros((0, 3)))
        assert value == 0
        assert loss.backward(cache).shape == (0, 3)


P = np.full((2, 3), 1 / 3)


@pytest.mark.parametrize(
    ("loss", "y_true", "error", "message"),
    [
        ("sparse_categorical_crossentropy", np.array([0, 3]), ValueError, r"\[0, 3\).*0 to 3"),
        ("sparse_categorical_crossentropy", np.array([-1, 0]), ValueError, "-1"),
        ("sparse_categorical_crossentropy", np.array([0.0, 1.0]), TypeError, "integers"),
        ("sparse_categorical_crossentropy", np.array([np.nan, 1.0]), TypeError, "integers"),
        ("sparse_categorical_crossentropy", np.array(["a", "b"]), TypeError, "integers"),
        ("sparse_categorical_crossentropy", np.eye(3, dtype=int)[[0, 1]], ValueError, "one-hot"),
        ("sparse_categorical_crossentropy", np.array([0, 1, 2]), ValueError, r"\(3,\).*\(2, 3\)"),
        ("categorical_crossentropy", np.array([0, 1]), ValueError, "sparse_categorical"),
        ("categorical_crossentropy", np.array([[0], [1]]), ValueError, "sparse_categorical"),
        ("categorical_crossentropy", np.array([[np.nan, 0, 1], [1, 0, 0]]), ValueError, "nan"),
        ("categorical_crossentropy", np.array([[0, 0, 255], [1, 0, 0]]), ValueError, "255"),
        ("categorical_crossentropy", np.zeros((2, 4)), ValueError, r"\(2, 4\).*\(2, 3\)"),
        ("binary_crossentropy", np.full((2, 3), 2.0), ValueError, r"\[0, 1\]"),
        ("binary_crossentropy", np.full((2, 3), np.nan), ValueError, r"\[0, 1\]"),
        ("mse", np.zeros(2), ValueError, r"\(2,\).*\(2, 3\)"),
        ("mse", np.zeros((2, 1)), ValueError, r"\(2, 1\).*\(2, 3\)"),
        ("mae", np.zeros((2, 3), complex), TypeError, "numbers"),
        ("huber", np.zeros((2, 3), object), TypeError, "numbers"),
    ],
)
def test_targets_that_do_not_fit(loss, y_true, error, message):
    with pytest.raises(error, match=message):
        losses.get(loss).forward(y_true, P)


@pytest.mark.parametrize("weight", [np.ones(3), np.ones((2, 3)), np.float64(1.0), np.array(["a", "b"])])
def test_sample_weights_that_do_not_fit(weight):
    with pytest.raises((ValueError, TypeError), match="sample_weight"):
        losses.MeanSquaredError().forward(P, P, weight)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: losses.get("crossentropy"), ValueError),
        (lambda: losses.get(losses.Huber), TypeError),
        (lambda: losses.get(lambda a, b: 0.0), TypeError),
        (lambda: losses.Huber(delta=0), ValueError),
        (lambda: losses.CategoricalCrossentropy(label_smoothing=1.5), ValueError),
        (lambda: losses.MeanSquaredError(reduction="none"), ValueError),
    ],
)
def test_bad_arguments(make, error):
    with pytest.raises(error):
        make()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_serialization_round_trip(name, options):
    loss = getattr(losses, name)(reduction="sum", **options)
    again = losses.get(losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mse", losses.MeanSquaredError),
        ("MSE", losses.MeanSquaredError),
        ("mean_absolute_error", losses.MeanAbsoluteError),
        ("huber", losses.Huber),
        ("binary_crossentropy", losses.BinaryCrossentropy),
        ("categorical_crossentropy", losses.CategoricalCrossentropy),
        ("SparseCategoricalCrossentropy", losses.SparseCategoricalCrossentropy),
    ],
)
def test_names(name, kind):
    assert type(losses.get(name)) is kind
