"""Sequential: adding, popping, deferred building, errors on the line that wrote them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support import randn

from fastconv import layers, models
from fastconv.models import Input, Model, Sequential


def data(*shape):
    return randn(np.random.default_rng(0), shape, "float32")


def test_the_notebook():
    """The calls of the Keras notebook this project started from."""
    model = models.Sequential()
    model.add(layers.Conv2D(filters=32, kernel_size=(3, 3), activation="relu", input_shape=(28, 28, 1)))
    model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Conv2D(filters=64, kernel_size=(3, 3), activation="relu"))
    model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Conv2D(filters=64, kernel_size=(3, 3), activation="relu"))
    assert model.output_shape == (None, 3, 3, 64)
    assert model.count_params() == 55_744
    model.add(layers.Flatten())
    model.add(layers.Dense(units=64, activation="relu"))
    model.add(layers.Dense(units=10, activation="softmax"))
    assert model.count_params() == 93_322
    np.testing.assert_allclose(model(data(2, 28, 28, 1)).sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "first",
    [
        [layers.Dense(3, input_shape=(4,))],
        [layers.Dense(3, input_dim=4)],
        [Input((4,)), layers.Dense(3)],
        [layers.InputLayer((4,)), layers.Dense(3)],
        [Sequential([layers.Dense(3, input_shape=(4,))])],
    ],
)
def test_ways_to_give_the_input_shape(first):
    model = Sequential([*first, layers.Dense(2)])
    assert model.built
    assert model.input_shape == (None, 4)
    assert model.output_shape == (None, 2)
    assert len(model.layers) == 2


def test_deferred_building():
    """By build, by the first call on data, by the first call on a tensor."""
    for start in (lambda m: m.build((None, 4)), lambda m: m(data(5, 4)), lambda m: m(Input((4,)))):
        model = Sequential([layers.Dense(3), layers.Dense(2)], name="late")
        assert not model.built
        assert [layer.name for layer in model.layers] == ["dense", "dense_1"]
        for access in (lambda m: m.output_shape, lambda m: m.inputs, lambda m: m.graph):
            with pytest.raises(RuntimeError, match='Sequential "late" is not built'):
                access(model)
        with pytest.raises(ValueError, match="not built"):
            model.count_params()
        start(model)
        assert model.output_shape == (None, 2)
        assert model.count_params() == 23


def test_a_layer_that_does_not_fit_is_not_added():
    model = Sequential([Input((7, 9, 1)), layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match='Conv2D "conv3": kernel 6 is larger than the padded input 5'):
        model.add(layers.Conv2D(2, 6, name="conv3"))
    assert len(model.layers) == 1
    model.add(layers.Conv2D(2, 5, name="conv3"))
    assert model.output_shape == (None, 1, 3, 2)
    empty = Sequential()
    with pytest.raises(ValueError, match="Conv2D"):
        empty.add(layers.Conv2D(2, 9, input_shape=(5, 5, 1)))
    empty.add(layers.Conv2D(2, 3, input_shape=(8, 8, 3)))
    assert empty.input_shape == (None, 8, 8, 3)


def test_pop():
    model = Sequential([Input((4,)), layers.Dense(3), layers.Dense(2)])
    top = model.pop()
    assert top.name == "dense_1"
    assert model.output_shape == (None, 3)
    model.add(layers.Dense(5))
    assert [layer.name for layer in model.layers] == ["dense", "dense_1"]
    assert model(data(2, 4)).shape == (2, 5)
    model.pop(), model.pop()
    with pytest.raises(IndexError, match="has no layers"):
        model.pop()
    model.add(layers.Dense(1))
    assert model.input_shape == (None, 4)


def test_popped_layers_can_serve_elsewhere():
    model = Sequential([Input((4,)), layers.Dense(3), layers.Dense(2)])
    top = model.pop()
    x = Input((3,))
    other = Model(x, top(x))
    assert top.output.shape == (None, 2)
    assert other.count_params() == 8


def test_what_cannot_be_added():
    model = Sequential([Input((4, 4, 1)), layers.Flatten()])
    with pytest.raises(TypeError, match="made of layers, got function"):
        model.add(lambda x: x)
    with pytest.raises(ValueError, match=r"already has an input, of shape \(None, 4, 4, 1\)"):
        model.add(Input((3,)))
    flatten = model.layers[0]
    with pytest.raises(ValueError, match=r"is in .* already"):
        model.add(flatten)
    with pytest.raises(ValueError, match="has 2 outputs"):
        Sequential([Input((4, 4, 1)), layers.MaxPool2D(return_argmax=True)])
    with pytest.raises(ValueError, match="at least two inputs"):
        model.add(layers.Add())


def test_config_round_trip_keeps_names_and_numbers():
    inner = Sequential([layers.Conv2D(2, 3, activation="relu"), layers.MaxPool2D()], name="features")
    model = Sequential([Input((10, 8, 1)), inner, layers.Flatten(), layers.Dense(3, trainable=False)], name="net")
    copy = Sequential.from_config(json.loads(json.dumps(model.get_config())))
    assert [p for p, _ in copy.named_parameters()] == [p for p, _ in model.named_parameters()]
    assert [p.trainable for p in copy.parameters] == [True, True, False, False]
    copy.set_weights(model.get_weights())
    x = data(2, 10, 8, 1)
    np.testing.assert_array_equal(copy(x), model(x))
    assert copy.name == "net"
    assert copy.get_config() == model.get_config()


def test_config_of_an_unbuilt_sequential():
    copy = Sequential.from_config(Sequential([layers.Dense(3), layers.Dense(2)]).get_config())
    assert not copy.built
    assert copy(data(2, 4)).shape == (2, 2)


def test_sequential_as_a_shared_tower():
    tower = Sequential([layers.Dense(3, activation="tanh"), layers.Dense(2)])
    a, b = Input((4,)), Input((4,))
    model = Model([a, b], layers.Add()([tower(a), tower(b)]))
    assert model.count_params() == 23
    x = data(5, 4)
    y, tape = model.forward([x, x])
    np.testing.assert_allclose(y, 2 * tower(x), rtol=1e-6)
    da, db = model.backward(y, tape)
    np.testing.assert_array_equal(da, db)
    once, single = tower.forward(x)
    total = [p.grad for p in model.parameters]
    for parameter in model.parameters:
        parameter.zero_grad()
    tower.backward(2 * once, single)
    for both, one in zip(total, model.parameters, strict=True):
        np.testing.assert_allclose(both, 2 * one.grad, rtol=1e-5, atol=1e-6)


def test_frozen_from_the_start():
    model = Sequential([layers.Dense(3), layers.Dense(2)], trainable=False)
    model.build((None, 4))
    assert model.trainable_weights == []
    assert len(model.weights) == 4
