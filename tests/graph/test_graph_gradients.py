"""Gradients through graphs: sharing, several inputs and outputs, nesting, linear outputs."""

from __future__ import annotations

import json

import numpy as np
from graph_support import DTYPE, data, image, lay
from support import assert_close
from torch_oracle import F, nchw, nhwc, torch, torch_gradients

from fastconv import layers
from fastconv.models import Model, Sequential

# -- gradients ---------------------------------------------------------------------------------------------------------


def test_residual_block_against_torch():
    """Sharing, Add, Concatenate, two inputs, two outputs, and an output that is used inside as well."""
    a, b = image(6, 5, 3), image(6, 5, 3)
    shared = lay("Conv2D", 3, 3, padding="same", activation="tanh")
    left, right = shared(a), shared(b)
    joined = lay("Add")([left, right, a, left])
    wide = lay("Concatenate")([joined, right])
    out = lay("Conv2D", 2, (2, 3), strides=(2, 1), activation="sigmoid")(wide)
    model = Model([a, b], [out, joined])
    kernel1, bias1, kernel2, bias2 = model.get_weights()
    xa, xb = data(2, 6, 5, 3, seed=1), data(2, 6, 5, 3, seed=2)

    def conv(x, kernel, bias, **options):
        return nhwc(F.conv2d(nchw(x), kernel.permute(3, 2, 0, 1), bias, **options))

    dys = data(2, 3, 3, 2, seed=3), data(2, 6, 5, 3, seed=4)

    def function(a, b, k1, b1, k2, b2):
        left = conv(a, k1, b1, padding="same").tanh()
        right = conv(b, k1, b1, padding="same").tanh()
        joined = left + right + a + left
        out = conv(torch.cat([joined, right], -1), k2, b2, stride=(2, 1)).sigmoid()
        return (out * torch.from_numpy(dys[0])).sum() + (joined * torch.from_numpy(dys[1])).sum().reshape(1)

    (y, z), tape = model.forward([xa, xb])
    dxs = model.backward(dys, tape)
    total, _, gradients = torch_gradients(function, [xa, xb, kernel1, bias1, kernel2, bias2], np.ones(1))
    assert_close(np.array([(y * dys[0]).sum() + (z * dys[1]).sum()]), total, DTYPE)
    for got, want in zip([*dxs, *(p.grad for p in model.parameters)], gradients, strict=True):
        assert_close(got, want, DTYPE)
    for got, want in zip(model([xa, xb]), (y, z), strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_gradient_that_is_used_twice_is_not_written_to():
    """Add hands one dy to both inputs; the sum over the readers of x must not change it."""
    x = image(3)
    twice = lay("Add")([x, x])
    model = Model(x, lay("Add")([twice, x, twice]))
    dy = data(2, 3)
    keep = dy.copy()
    dy.flags.writeable = False
    y, tape = model.forward(dy)
    np.testing.assert_allclose(y, 5 * dy)
    np.testing.assert_allclose(model.backward(dy, tape), 5 * keep)
    np.testing.assert_array_equal(dy, keep)


def test_an_output_listed_twice_and_an_input_that_is_an_output():
    x = image(3)
    y = lay("Rescaling", 2.0)(x)
    model = Model(x, [y, x, y])
    (a, b, c), tape = model.forward(data(2, 3))
    np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(a, 2 * b)
    np.testing.assert_allclose(model.backward([b, b, b], tape), 5 * b)


def test_no_gradient_for_an_output():
    x = image(3)
    hidden = lay("Dense", 4)(x)
    model = Model(x, [lay("Dense", 2, name="used")(hidden), lay("Dense", 2, name="unused")(hidden)])
    _, tape = model.forward(data(2, 3))
    model.backward([data(2, 2), None], tape)
    assert model.get_layer("used").kernel.grad is not None
    assert model.get_layer("unused").kernel.grad is None
    _, tape = model.forward(data(2, 3))
    np.testing.assert_array_equal(model.backward([None, None], tape), np.zeros((2, 3)))


def test_an_unused_input_gets_zeros():
    a, b = image(3), image(4)
    model = Model([a, b], lay("Dense", 2)(a))
    y, tape = model.forward([data(5, 3), data(5, 4)])
    da, db = model.backward(y, tape)
    assert da.any()
    np.testing.assert_array_equal(db, np.zeros((5, 4)))


def test_nested_models_equal_the_flat_one():
    def parts():
        return [lay("Conv2D", 4, 3, activation="relu"), lay("MaxPool2D", 2), lay("Flatten"), lay("Dense", 3)]

    flat = Sequential([image(8, 9, 2), *parts()])
    first, second, third, fourth = parts()
    inner = Sequential([image(8, 9, 2), first, second])
    x = image(8, 9, 2)
    middle = Model(x, third(inner(x)))
    outer = Sequential([image(8, 9, 2), middle, fourth])
    outer.set_weights(flat.get_weights())
    x, dy = data(2, 8, 9, 2), data(2, 3)
    results = []
    for model in (flat, outer):
        y, tape = model.forward(x)
        results.append([y, model.backward(dy, tape), *(p.grad for p in model.parameters)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [path for path, _ in outer.named_parameters()] == [
        "functional/sequential/conv2d/kernel",
        "functional/sequential/conv2d/bias",
        "dense/kernel",
        "dense/bias",
    ]


def test_a_nested_model_with_several_inputs_and_outputs():
    a, b = image(3), image(4)
    inner = Model([a, b], [lay("Dense", 2)(b), lay("Rescaling", 3.0)(a), b])
    p, q = image(3), image(4)
    first, second, _ = inner([p, q])
    outer = Model([p, q], [second, first])
    xs = [data(2, 3), data(2, 4, seed=1)]
    (y, z), tape = outer.forward(xs)
    np.testing.assert_array_equal(y, 3 * xs[0])
    dp, dq = outer.backward([y, z], tape)
    np.testing.assert_allclose(dp, 9 * xs[0])
    np.testing.assert_allclose(dq, z @ inner.get_layer("dense").kernel.value.T)


def test_one_layer_in_two_models():
    x = image(3)
    hidden = lay("Dense", 4, activation="tanh")(x)
    whole, features = Model(x, lay("Dense", 2)(hidden)), Model(x, hidden)
    assert features.layers == whole.layers[:2]
    features.layers[1].set_weights([np.ones((3, 4)), np.zeros(4)])
    assert whole.get_weights()[0].min() == 1


def test_a_model_from_the_middle_of_another():
    x = image(3)
    hidden = lay("Dense", 4)(x)
    y = lay("Dense", 2)(lay("Activation", "tanh")(hidden))
    head = Model(hidden, y)
    assert head.input_shape == (None, 4)
    assert [layer.name for layer in head.layers] == ["activation", "dense"]
    value = data(2, 3)
    np.testing.assert_array_equal(head(Model(x, hidden)(value)), Model(x, y)(value))
    clone = Model.from_config(json.loads(json.dumps(head.get_config())))
    clone.set_weights(head.get_weights())
    np.testing.assert_array_equal(clone(data(2, 4)), head(data(2, 4)))


def test_encoder_indices_shared_with_the_decoder():
    """As in ENet: the argmax of a pool travels to an unpooling far away, and carries no gradient."""
    x = image(6, 8, 2)
    pooled, indices = lay("MaxPool2D", 2, return_argmax=True)(x)
    deep = lay("Conv2D", 2, 3, padding="same")(pooled)
    model = Model(x, lay("MaxUnpool2D", 2)([deep, indices]))
    value, dy = data(2, 6, 8, 2), data(2, 6, 8, 2, seed=1)
    y, tape = model.forward(value)
    dx = model.backward(dy, tape)

    def function(x, kernel, bias):
        pooled, where = F.max_pool2d(nchw(x), 2, return_indices=True)
        return nhwc(F.max_unpool2d(F.conv2d(pooled, kernel.permute(3, 2, 0, 1), bias, padding=1), where, 2))

    want, _, gradients = torch_gradients(function, [value, *model.get_weights()], dy)
    assert_close(y, want, DTYPE)
    for got, expected in zip([dx, *(p.grad for p in model.parameters)], gradients, strict=True):
        assert_close(got, expected, DTYPE)
    clone = Model.from_config(json.loads(json.dumps(model.get_config())))
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(value), y)


def test_one_of_two_outputs_of_a_layer_as_the_input():
    """The pool runs for its indices; what the model is given stands in for its values."""
    x = image(4, 4, 2)
    pooled, indices = lay("MaxPool2D", 2, return_argmax=True)(x)
    model = Model([pooled, x], lay("Flatten")(lay("MaxUnpool2D", 2)([pooled, indices])))
    value, given = data(3, 4, 4, 2), data(3, 2, 2, 2, seed=1)
    y, tape = model.forward([given, value])
    np.testing.assert_allclose(np.sort(y[y != 0]), np.sort(given.ravel()))
    dgiven, dx = model.backward(y, tape)
    np.testing.assert_array_equal(dgiven, given)
    assert not dx.any()


def test_two_inputs_and_no_dx():
    class Weighted(layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight("w", (1,), "ones")

        def forward(self, a, b, training=False):
            return a + self.w.value * b, b

        def backward(self, dy, cache, need_dx=True):
            self.w.add_grad(np.array([(dy * cache).sum()]))
            return (dy, dy * self.w.value) if need_dx else None

    a, b = image(3), image(3)
    model = Model([a, b], Weighted(dtype=DTYPE)([a, b]))
    xs = [data(2, 3), data(2, 3, seed=1)]
    y, tape = model.forward(xs, need_dx=False)
    assert model.backward(y, tape, need_dx=False) is None
    np.testing.assert_allclose(model.layers[-1].w.grad, (y * xs[1]).sum())


def test_zero_batch():
    model = Sequential([image(5, 5, 2), lay("Conv2D", 3, 2), lay("Flatten"), lay("Dense", 2)])
    y, tape = model.forward(np.empty((0, 5, 5, 2)))
    assert y.shape == (0, 2)
    assert model.backward(y, tape).shape == (0, 5, 5, 2)
    for parameter in model.parameters:
        np.testing.assert_array_equal(parameter.grad, np.zeros(parameter.shape))


# -- linear outputs ----------------------------------------------------------------------------------------------------


def test_logits_in_place_of_a_softmax():
    def stack(*tail):
        return Sequential([image(4), lay("Dense", 5, activation="relu"), *tail])

    fused = stack(lay("Dense", 3, activation="softmax"))
    separate = stack(lay("Dense", 3), lay("Activation", "softmax"))
    nested = Sequential([image(4), stack(lay("Dense", 3, activation="softmax"))])
    x, dz = data(2, 4), data(2, 3)
    results = []
    for model in (fused, separate, nested):
        model.set_weights(fused.get_weights())
        assert model.final_activations == ("softmax",)
        z, tape = model.forward(x, linear_outputs={0})
        np.testing.assert_array_equal(model.infer(x, linear_outputs={0}), z)
        weights = np.exp(z)
        np.testing.assert_allclose(weights / weights.sum(-1, keepdims=True), model(x), rtol=1e-12)
        results.append([z, model.backward(dz, tape, linear_outputs={0}), *(p.grad for p in model.parameters)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_activation_that_something_else_reads_stays():
    x = image(4)
    y = lay("Dense", 3, activation="softmax")(x)
    z = lay("Dense", 2, activation="sigmoid")(y)
    assert Model(x, [y, z]).final_activations == (None, "sigmoid")
    assert Model(x, [y, y]).final_activations == (None, None)
    assert Model(x, lay("Flatten")(y)).final_activations == (None,)
