"""Gradients for what goes into a model: against numerical differences, and without a trace in the model."""

import numpy as np
import pytest

from fastconv import layers
from fastconv.models import Input, Model, Sequential, input_gradients


def classifier():
    return Sequential(
        [
            layers.Conv2D(3, 3, activation="tanh", input_shape=(6, 5, 2), dtype="float64"),
            layers.BatchNormalization(dtype="float64"),
            layers.Flatten(dtype="float64"),
            layers.Dense(4, activation="softmax", dtype="float64"),
        ]
    )


def images(count=3, shape=(6, 5, 2)):
    return np.random.default_rng(1).standard_normal((count, *shape))


def numerical(function, x, step=1e-6):
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += step
        up = function(moved)
        moved[index] -= 2 * step
        gradient[index] = (up - function(moved)) / (2 * step)
    return gradient


def test_of_class_scores_before_the_softmax():
    model, x, classes = classifier(), images(), [2, 0, 1]

    def scores(x):
        return model.forward(x, linear_outputs=(0,))[0][np.arange(3), classes].sum()

    np.testing.assert_allclose(input_gradients(model, x, classes), numerical(scores, x), atol=1e-7)


def test_one_class_for_all_and_the_highest_score_of_each():
    model, x = classifier(), images()
    highest = model.forward(x, linear_outputs=(0,))[0].argmax(axis=1)
    np.testing.assert_array_equal(input_gradients(model, x), input_gradients(model, x, highest))
    np.testing.assert_array_equal(input_gradients(model, x, 3), input_gradients(model, x, [3, 3, 3]))


def test_of_a_function_of_the_output():
    model, x = classifier(), images()
    wanted = np.full((3, 4), 0.25)
    gradient = input_gradients(model, x, lambda y: 2 * (y - wanted))
    np.testing.assert_allclose(gradient, numerical(lambda x: ((model.infer(x) - wanted) ** 2).sum(), x), atol=1e-7)


def test_from_a_layer_in_the_middle():
    model, x = classifier(), images()
    maps = Model(model.inputs, model.layers[0].output)
    gradient = input_gradients(maps, x, lambda y: 3 * y**2)
    np.testing.assert_allclose(gradient, numerical(lambda x: (maps.infer(x) ** 3).sum(), x), atol=1e-6)


def test_several_inputs_and_outputs():
    a, b = Input((4,), dtype="float64"), Input((4,), dtype="float64")
    both = layers.Multiply()([a, b])
    model = Model([a, b], [both, layers.Dense(2, use_bias=False, dtype="float64")(a)])
    x, y = images(2, (4,)), images(3, (4,))[:2] + 1
    dx, dy = input_gradients(model, [x, y], lambda outputs: [np.ones_like(outputs[0]), np.zeros_like(outputs[1])])
    np.testing.assert_allclose(dx, y)
    np.testing.assert_allclose(dy, x)


def test_the_model_keeps_its_weights_and_gradients():
    model, x = classifier(), images()
    y, tape = model.forward(x, training=True)
    model.backward(np.ones_like(y), tape)
    weights, gradients = model.get_weights(), [p.grad for p in model.parameters]
    trainable = [p.trainable for p in model.parameters]
    input_gradients(model, x, 1)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert all(p.grad is before for p, before in zip(model.parameters, gradients, strict=True))
    assert [p.trainable for p in model.parameters] == trainable


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (4, ValueError, "class_index 4: the model has 4 classes, 0 to 3"),
        ([1, 2], ValueError, "got 2 classes for 3 samples"),
        (1.5, TypeError, "class_index"),
        (lambda y: y[:1], ValueError, "gradient of shape"),
    ],
)
def test_targets_that_do_not_fit(target, error, message):
    with pytest.raises(error, match=message):
        input_gradients(classifier(), images(), target)


def test_inputs_that_do_not_fit():
    with pytest.raises(ValueError, match="expects an input of shape"):
        input_gradients(classifier(), images(shape=(5, 6, 2)))
