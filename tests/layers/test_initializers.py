"""Initializers: distributions, fans, seeds, names, against Keras' definitions."""

import numpy as np
import pytest

from fastconv import initializers, regularizers
from fastconv.random import next_seed
from fastconv.utils import set_random_seed, to_categorical

SHAPE = (3, 5, 32, 64)
FAN_IN, FAN_OUT = 3 * 5 * 32, 3 * 5 * 64


@pytest.mark.parametrize(
    ("name", "variance", "limit"),
    [
        ("glorot_uniform", 2 / (FAN_IN + FAN_OUT), np.sqrt(6 / (FAN_IN + FAN_OUT))),
        ("he_uniform", 2 / FAN_IN, np.sqrt(6 / FAN_IN)),
        ("lecun_uniform", 1 / FAN_IN, np.sqrt(3 / FAN_IN)),
        # A truncated normal is scaled so that its standard deviation after the cut is the wanted one.
        ("glorot_normal", 2 / (FAN_IN + FAN_OUT), 2 * np.sqrt(2 / (FAN_IN + FAN_OUT)) / 0.8796256610342398),
        ("he_normal", 2 / FAN_IN, 2 * np.sqrt(2 / FAN_IN) / 0.8796256610342398),
        ("lecun_normal", 1 / FAN_IN, 2 * np.sqrt(1 / FAN_IN) / 0.8796256610342398),
        ("random_normal", 0.05**2, np.inf),
        ("truncated_normal", (0.05 * 0.8796256610342398) ** 2, 0.1),
        ("random_uniform", 0.1**2 / 12, 0.05),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distribution(name, variance, limit, dtype):
    set_random_seed(3)
    values = initializers.get(name)(SHAPE, dtype)
    assert values.dtype == dtype
    assert values.shape == SHAPE
    assert values.flags.c_contiguous
    n = values.size
    assert abs(values.mean()) < 5 * np.sqrt(variance / n)
    assert values.var() == pytest.approx(variance, rel=0.03)
    assert np.abs(values).max() <= limit * (1 + 1e-6)
    if np.isfinite(limit):
        assert np.abs(values).max() > 0.98 * limit


def test_distribution_shape_is_keras_by_quantiles():
    keras = pytest.importorskip("keras", reason="needs keras")
    for name in ("he_normal", "glorot_uniform", "TruncatedNormal", "RandomUniform", "VarianceScaling"):
        own = np.quantile(initializers.get(name)((80, 500), "float64"), np.linspace(0.02, 0.98, 25))
        theirs = keras.ops.convert_to_numpy(keras.initializers.get(name)((80, 500)))
        theirs = np.quantile(theirs, np.linspace(0.02, 0.98, 25))
        np.testing.assert_allclose(own, theirs, atol=0.04 * np.abs(theirs).max())


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 2, 2, 8), (5, 5)])
def test_orthogonal(shape):
    matrix = initializers.Orthogonal(gain=2.0, seed=1)(shape, "float64").reshape(-1, shape[-1])
    small = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_constants():
    assert (initializers.get("zeros")((2, 3), "float32") == 0).all()
    assert (initializers.get("ones")((2, 3), "float64") == 1).all()
    assert initializers.Constant(2.5)((2,), "float32").tolist() == [2.5, 2.5]
    assert initializers.Constant([1.0, 2.0])((3, 2), "float32").tolist() == [[1.0, 2.0]] * 3
    assert initializers.get(None)((2,), "float32").tolist() == [0.0, 0.0]


def test_fans_are_keras():
    assert initializers.compute_fans((7,)) == (7, 7)
    assert initializers.compute_fans((7, 9)) == (7, 9)
    assert initializers.compute_fans((3, 5, 7, 9)) == (105, 135)
    assert initializers.compute_fans(()) == (1, 1)


@pytest.mark.parametrize("kind", [initializers.RandomNormal, initializers.TruncatedNormal])
def test_mean_is_added_after_scaling(kind):
    around_zero, shifted = kind(0.0, 0.5, seed=3)((40, 50), "float64"), kind(7.0, 0.5, seed=3)((40, 50), "float64")
    np.testing.assert_allclose(shifted, around_zero + 7, rtol=1e-12)
    assert shifted.std() == pytest.approx(around_zero.std())
    assert shifted.mean() == pytest.approx(7, abs=0.1)


def test_seeds():
    seeded = initializers.HeNormal(seed=5)
    assert np.array_equal(seeded((4, 4)), seeded((4, 4)))
    assert not np.array_equal(initializers.HeNormal(seed=6)((4, 4)), seeded((4, 4)))
    set_random_seed(1)
    first = [initializers.get("he_normal")((4, 4)), initializers.get("orthogonal")((4, 4)), next_seed()]
    set_random_seed(1)
    second = [initializers.get("he_normal")((4, 4)), initializers.get("orthogonal")((4, 4)), next_seed()]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    unseeded = initializers.get("he_normal")
    assert not np.array_equal(unseeded((4, 4)), unseeded((4, 4)))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match="seed"):
        set_random_seed(seed)


@pytest.mark.parametrize("seed", [1.5, "1", True, None])
def test_seed_of_wrong_type(seed):
    with pytest.raises(TypeError):
        set_random_seed(seed)


@pytest.mark.parametrize("name", ["HeNormal", "he_normal", "Orthogonal", "constant", "VarianceScaling", "uniform"])
def test_serialization_round_trip(name):
    description = initializers.serialize(initializers.get(name))
    again = initializers.get(description)
    assert type(again) is type(initializers.get(name))
    assert initializers.serialize(again) == description


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: initializers.get("he_norml"), ValueError),
        (lambda: initializers.get(initializers.HeNormal), TypeError),
        (lambda: initializers.get(3), TypeError),
        (lambda: initializers.VarianceScaling(scale=0), ValueError),
        (lambda: initializers.VarianceScaling(scale=float("nan")), ValueError),
        (lambda: initializers.VarianceScaling(mode="fan"), ValueError),
        (lambda: initializers.VarianceScaling(distribution="gauss"), ValueError),
        (lambda: initializers.RandomNormal(stddev=-1), ValueError),
        (lambda: initializers.RandomUniform(1, 0), ValueError),
        (lambda: initializers.HeNormal(seed=1.5), TypeError),
        (lambda: initializers.Orthogonal()((3,)), ValueError),
    ],
)
def test_bad_arguments(make, error):
    with pytest.raises(error):
        make()


def test_regularizers():
    w = np.array([[1.0, -2.0], [0.0, 3.0]])
    assert regularizers.L1(0.1).loss(w) == pytest.approx(0.6)
    assert regularizers.L2(0.1).loss(w) == pytest.approx(1.4)
    both = regularizers.get("l1_l2")
    assert both.loss(w) == pytest.approx(0.01 * 6 + 0.01 * 14)
    np.testing.assert_allclose(both.gradient(w), 0.01 * np.sign(w) + 0.02 * w)
    assert regularizers.L2(0.1).gradient(w.astype(np.float32)).dtype == np.float32
    assert regularizers.get(None) is None
    again = regularizers.get(regularizers.serialize(regularizers.L1(0.3)))
    assert isinstance(again, regularizers.L1)
    assert again.l1 == 0.3
    with pytest.raises(ValueError, match="l2"):
        regularizers.L2(-1)
    with pytest.raises(TypeError):
        regularizers.get(lambda w: 0.0)


def test_to_categorical():
    np.testing.assert_array_equal(to_categorical([0, 2, 1]), np.eye(3)[[0, 2, 1]])
    assert to_categorical(np.zeros((2, 3), int), 4).shape == (2, 3, 4)
    assert to_categorical(np.zeros((5, 1), np.uint8), 2).shape == (5, 2)
    assert to_categorical([1], 3, dtype="float64").dtype == np.float64
    with pytest.raises(ValueError, match=r"\[0, 2\)"):
        to_categorical([0, 2], 2)
    with pytest.raises(ValueError, match="-1"):
        to_categorical([-1, 1], 2)
    with pytest.raises(TypeError, match="float"):
        to_categorical([0.5, 1.0])
