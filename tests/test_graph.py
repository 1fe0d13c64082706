"""Models as graphs: order, names, sharing, several inputs and outputs, nesting, freezing, memory, threads."""

from __future__ import annotations

import copy
import gc
import json
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support import assert_close, awkward_arrays, randn
from torch_oracle import F, keras_on_torch, nchw, nhwc, torch, torch_gradients

from fastconv import layers, ops
from fastconv.models import Input, Model, Sequential
from fastconv.models.execution import Plan

DTYPE = "float64"


def data(*shape, seed=0):
    return randn(np.random.default_rng(seed), shape, DTYPE)


def lay(kind, *arguments, **options):
    return getattr(layers, kind)(*arguments, dtype=DTYPE, **options)


def image(*shape, name=None):
    return Input(shape, dtype=DTYPE, name=name)


class Scale(layers.Layer):
    """The example of the documentation."""

    def build(self, input_shape):
        self.gamma = self.add_weight("gamma", (input_shape[-1],), initializer="ones")

    def forward(self, x, training=False):
        return x * self.gamma.value, (x,)

    def backward(self, dy, cache):
        (x,) = cache
        self.gamma.add_grad((dy * x).sum(axis=(0, 1, 2)))
        return dy * self.gamma.value


class Spy(layers.Layer):
    """The identity; remembers what it was told and whether its cache is still alive."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seen = []
        self.alive = []

    def forward(self, x, training=False):
        y = x + 0
        self.alive.append(weakref.ref(y))
        return y, y

    def infer(self, x, training=False):
        self.seen.append("infer")
        y = x + 0
        self.alive.append(weakref.ref(y))
        return y

    def compute_output_shape(self, input_shape):
        return input_shape

    def backward(self, dy, cache, need_dx=True):
        self.seen.append(need_dx)
        return dy if need_dx else None


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


# -- what runs, and what is kept ---------------------------------------------------------------------------------------


def test_frozen_layers_cost_nothing_before_the_first_trainable():
    spies = [Spy(dtype=DTYPE) for _ in range(3)]
    frozen, trained = lay("Dense", 3, trainable=False), lay("Dense", 3)
    model = Sequential([image(3), spies[0], frozen, spies[1], trained, spies[2]])
    y, tape = model.forward(data(2, 3), training=True, need_dx=False)
    assert tape.caches[:3] == [None] * 3
    assert model.backward(y, tape, need_dx=False) is None
    assert [spy.seen for spy in spies] == [["infer"], ["infer"], [True]]
    assert frozen.kernel.grad is None
    assert trained.kernel.grad is not None
    y, tape = model.forward(data(2, 3))
    assert model.backward(y, tape).shape == (2, 3)
    assert frozen.kernel.grad is None


@pytest.mark.parametrize(
    ("make", "op"),
    [
        (lambda **o: layers.BatchNormalization(**o), "batch_norm_inference_backward"),
        (lambda **o: layers.PReLU(**o), "prelu_backward"),
        (lambda **o: layers.PReLU(shared_axes=(1, 2), **o), "prelu_backward"),
        (lambda **o: layers.Conv2DTranspose(3, 2, activation="relu", **o), "conv2d_transpose_backward"),
        (lambda **o: layers.LocallyConnected2D(3, 2, activation="relu", **o), "locally_connected2d_backward"),
    ],
)
def test_a_frozen_layer_in_the_middle_passes_the_gradient_on_and_has_none(make, op, monkeypatch):
    given = []
    original = getattr(ops, op)

    def spy(*arguments, **options):
        given.append(original(*arguments, **options))
        return given[-1]

    monkeypatch.setattr(ops, op, spy)
    below, middle = lay("Conv2D", 3, 2), make(dtype=DTYPE)
    model = Sequential([image(6, 5, 2), below, middle, layers.Flatten(dtype=DTYPE), lay("Dense", 2)])
    x, dy = data(2, 6, 5, 2), data(2, 2)
    if op != "batch_norm_inference_backward":  # the gradient below is that of the layer that learns
        model.backward(dy, model.forward(x, training=True)[1])
        want = below.kernel.grad
        below.kernel.zero_grad()
    middle.trainable = False
    model.backward(dy, model.forward(x, training=True)[1])
    if op != "batch_norm_inference_backward":
        np.testing.assert_array_equal(below.kernel.grad, want)
        assert all(gradient is not None for gradient in given[0])
    assert below.kernel.grad.any()
    assert given[-1][0] is not None
    assert all(gradient is None for gradient in given[-1][1:])


# -- what runs as one --------------------------------------------------------------------------------------------------

RECTIFIERS = [
    lambda: layers.ReLU(dtype=DTYPE),
    lambda: layers.Activation("relu6", dtype=DTYPE),
    lambda: layers.LeakyReLU(0.1, dtype=DTYPE),
]


@pytest.mark.parametrize("make", RECTIFIERS)
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_takes_the_rectifier_after_it_in(make, trainable, training):
    """One step in place of two; outputs, gradients and moving averages are the same bits."""
    model = Sequential([
        image(6, 5, 2), lay("Conv2D", 4, 2), layers.BatchNormalization(dtype=DTYPE, trainable=trainable), make(),
        layers.Flatten(dtype=DTYPE), lay("Dense", 2),
    ])  # fmt: skip
    norm = model.layers[1]
    for parameter in norm.parameters:
        parameter.assign(np.abs(data(*parameter.shape)) + 0.1)
    start, x, dy = model.get_weights(), data(3, 6, 5, 2), data(3, 2)
    results = []
    for fused in (True, False):
        plan = Plan(model.graph, fused=fused)
        assert len(plan.steps) == (4 if fused else 5)
        (y,), tape = plan.forward([x], training, need_dx=True)
        (dx,) = plan.backward([dy], tape, need_dx=True, retain_caches=False)
        grads = [p.grad for p in model.parameters if p.grad is not None]
        results.append([y, dx, *grads, *model.get_weights(), *plan.infer([x], training=False)])
        model.set_weights(start)
        for parameter in model.parameters:
            parameter.zero_grad()
    assert len(results[0]) == len(results[1])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_batch_norm_stays_alone_where_its_output_is_wanted():
    def steps(build, **options):
        x = Input((5,))
        return len(Plan(Model(x, build(x)).graph, **options).steps)

    def norm(x):
        return layers.BatchNormalization()(x)

    class Own(layers.BatchNormalization):
        pass

    def read_twice(x):
        z = norm(x)
        return layers.Add()([layers.ReLU()(z), z])

    def output_too(x):
        z = norm(x)
        return [layers.ReLU()(z), z]

    assert steps(lambda x: layers.ReLU()(norm(x))) == 1
    assert steps(lambda x: layers.ReLU()(norm(x)), fused=False) == 2
    assert steps(read_twice) == 3
    assert steps(output_too) == 2
    for other in (layers.ReLU(threshold=0.1), layers.Activation("tanh"), layers.Softmax(), layers.Activation("linear")):
        assert steps(lambda x, other=other: other(norm(x))) == 2
    assert steps(lambda x: layers.ReLU()(Own()(x))) == 2
    assert steps(lambda x: layers.ReLU()(norm(x)), linear_outputs=(0,)) == 2
    x = Input((5,))
    z = norm(x)
    inner = Model(z, layers.ReLU()(z))  # from the middle of a graph
    assert len(Plan(inner.graph).steps) == 1
    y = randn(np.random.default_rng(0), (2, 5), "float32")
    np.testing.assert_array_equal(inner(y), np.maximum(y, 0))


def test_need_dx_stops_at_the_first_layer_with_weights():
    first, last = Spy(dtype=DTYPE), Spy(dtype=DTYPE)
    model = Sequential([image(3), lay("Dense", 3), first, lay("Dense", 2), last])
    y, tape = model.forward(data(2, 3))
    model.backward(y, tape, need_dx=False)
    assert first.seen == last.seen == [True]

    told = []

    class Told(layers.Dense):
        def backward(self, dy, cache, need_dx=True):
            told.append(need_dx)
            return super().backward(dy, cache, need_dx)

    model = Sequential([image(3), Told(3, dtype=DTYPE), Told(2, dtype=DTYPE)])
    y, tape = model.forward(data(2, 3))
    model.backward(y, tape, need_dx=False)
    assert told == [True, False]


def test_freezing_between_steps_takes_effect():
    model = Sequential([image(3), lay("Dense", 3, name="a"), lay("Dense", 2, name="b")])
    inner = model.get_layer("a")
    inner.trainable = False
    assert [p.name for p in model.trainable_weights] == ["kernel", "bias"]
    assert len(model.non_trainable_weights) == 2
    y, tape = model.forward(data(2, 3), need_dx=False)
    model.backward(y, tape, need_dx=False)
    assert inner.kernel.grad is None
    model.trainable = True
    y, tape = model.forward(data(2, 3), need_dx=False)
    model.backward(y, tape, need_dx=False)
    assert inner.kernel.grad is not None
    model.trainable = False
    assert not inner.trainable
    assert model.trainable_weights == []


def test_weight_order_does_not_depend_on_freezing():
    layer = lay("BatchNormalization")
    layer.build((None, 3))
    names = [p.name for p in layer.parameters]
    assert names == ["gamma", "beta", "moving_mean", "moving_variance"]
    layer.trainable = False
    assert [p.name for p in layer.parameters] == names
    layer.trainable = True
    assert [p.trainable for p in layer.parameters] == [True, True, False, False]


@pytest.mark.parametrize("training", [False, True])
def test_activations_and_caches_die_when_nobody_needs_them(training):
    spies = [Spy(dtype=DTYPE) for _ in range(3)]
    living = []

    class Counter(layers.Layer):
        def forward(self, x, training=False):
            gc.collect()
            living.append([spy.alive[-1]() is not None for spy in spies if spy.alive])
            return x * 1, None

        def backward(self, dy, cache):
            gc.collect()
            living.append([spy.alive[-1]() is not None for spy in spies])
            return dy * 1

    stack = [layer for spy in spies for layer in (spy, lay("Rescaling", 2.0), Counter(dtype=DTYPE))]
    model = Sequential([image(4), *stack])
    living.clear()
    if not training:
        model(data(2, 4))
        assert living == [[False], [False, False], [False, False, False]]
        return
    y, tape = model.forward(data(2, 4), training=True)
    living.clear()
    model.backward(y, tape)
    # The caches of the spies are their outputs; one is gone once its backward pass has run.
    assert living == [[True, True, True], [True, True, False], [True, False, False]]


def test_forward_lets_go_of_what_no_cache_holds():
    alive = []

    class Watch(layers.Layer):
        def forward(self, x, training=False):
            gc.collect()
            alive.append([ref() is not None for ref in made])
            return x * 1, None

        def backward(self, dy, cache):
            return dy

    class Make(Watch):
        def forward(self, x, training=False):
            y = x * 1
            made.append(weakref.ref(y))
            return y, None

    made = []
    model = Sequential([image(4), *[kind(dtype=DTYPE) for kind in (Make, Watch, Watch, Make, Watch, Watch)]])
    made.clear(), alive.clear()
    model.forward(data(2, 4), training=True)
    assert alive == [[True], [False], [False, True], [False, False]]


def test_a_tape_is_used_up_unless_retained():
    model = Sequential([image(3), lay("Dense", 2)])
    y, tape = model.forward(data(2, 3))
    first = model.backward(y, tape, retain_caches=True)
    np.testing.assert_array_equal(model.backward(y, tape), first)
    with pytest.raises(RuntimeError, match="used it up"):
        model.backward(y, tape)


def test_dx_after_promising_not_to_need_it():
    model = Sequential([image(3), lay("Dense", 3, trainable=False), lay("Dense", 2)])
    y, tape = model.forward(data(2, 3), need_dx=False)
    with pytest.raises(RuntimeError, match="kept no cache"):
        model.backward(y, tape)


def test_predict_from_many_threads():
    model = Sequential(
        [image(12, 12, 2), lay("Conv2D", 8, 3, activation="relu"), lay("MaxPool2D", 2), lay("BatchNormalization"),
         lay("Dropout", 0.5), lay("Flatten"), lay("Dense", 4, activation="softmax")]
    )  # fmt: skip
    batches = [data(3, 12, 12, 2, seed=i) for i in range(24)]
    want = [model(x) for x in batches]
    with ThreadPoolExecutor(4) as pool:
        for got, expected in zip(pool.map(model, batches), want, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_training_fixed_for_one_call():
    """``base(x, training=False)``, as transfer learning with Keras writes it."""
    x = image(3)
    base = Sequential([lay("BatchNormalization"), lay("Dense", 4, activation="softmax")])
    fixed = Model(x, base(x, training=False))
    free = Model(x, base(x))
    always = Model(x, lay("Dropout", 0.5, seed=1)(x, training=True))
    value = data(6, 3)
    want = base(value)
    for model in (fixed, Model.from_config(json.loads(json.dumps(fixed.get_config())))):
        model.set_weights(base.get_weights())
        y, tape = model.forward(value, training=True)
        np.testing.assert_array_equal(y, want)
        assert model.backward(y, tape).shape == (6, 3)
        logits, _ = model.forward(value, training=True, linear_outputs={0})
        np.testing.assert_array_equal(logits, model.infer(value, linear_outputs={0}))
    assert (free.forward(value, training=True)[0] != want).any()
    assert (always(value) == 0).any()


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


# -- order and names ---------------------------------------------------------------------------------------------------


def test_layers_and_weights_in_the_order_of_keras():
    """Branches of different length, a shared layer at two depths, two inputs and outputs."""

    def build(api, make_input, model_class):
        a, b = make_input((8, 8, 2), name="a"), make_input((8, 8, 2), name="b")
        shared = api.Conv2D(2, 3, padding="same", name="shared")
        long = api.Conv2D(2, 1, name="l1")(a)
        long = api.BatchNormalization(name="l2")(long)
        long = shared(long)
        short = shared(b)
        early = api.GlobalAveragePooling2D(name="early")(short)
        joined = api.Concatenate(name="joined")([api.Conv2D(3, 1, name="s1")(short), long, a])
        out = api.Dense(4, name="out")(api.Flatten(name="flat")(api.MaxPooling2D(name="pool")(joined)))
        return model_class([a, b], [api.Dense(2, name="out2")(early), out])

    keras = keras_on_torch()
    ours = build(layers, Input, Model)
    theirs = build(keras.layers, keras.Input, keras.Model)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    assert [path for path, _ in ours.named_parameters()] == [
        v.path.removeprefix(theirs.name + "/") for v in theirs.weights
    ]
    theirs.set_weights(ours.get_weights())
    xs = [randn(np.random.default_rng(i), (2, 8, 8, 2), "float32") for i in range(2)]
    for got, want in zip(ours(xs), theirs(xs), strict=True):
        assert_close(got, want.detach().numpy(), "float32")
    assert ours.count_params() == theirs.count_params()


@pytest.mark.parametrize("seed", [*range(8), 17, 23, 38])
def test_order_of_random_graphs(seed):
    """Random graphs with shared layers, joins and several outputs."""

    def build(api, make_input, model_class):
        rng = np.random.default_rng(seed)
        tensors = [make_input((4,), name=f"in{i}") for i in range(2)]
        inputs = list(tensors)
        shared = [api.Dense(4, name=f"shared{i}") for i in range(3)]
        for i in range(14):
            picked = [tensors[j] for j in rng.choice(len(tensors), 2, replace=False)]
            kind = rng.integers(3)
            if kind == 0:
                tensors.append(api.Add(name=f"add{i}")(picked))
            elif kind == 1:
                tensors.append(shared[rng.integers(3)](picked[0]))
            else:
                tensors.append(api.Dense(4, name=f"dense{i}")(picked[0]))
        return model_class(inputs, [tensors[j] for j in rng.choice(np.arange(6, 16), 3, replace=False)])

    keras = keras_on_torch()
    ours, theirs = build(layers, Input, Model), build(keras.layers, keras.Input, keras.Model)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    theirs.set_weights(ours.get_weights())
    xs = [randn(np.random.default_rng(i), (3, 4), "float32") for i in range(2)]
    for got, want in zip(ours(xs), theirs(xs), strict=True):
        assert_close(got, want.detach().numpy(), "float32")


def test_names_count_within_a_model_not_within_the_process():
    for _ in range(2):
        x = Input((8, 8, 1))
        y = layers.Conv2D(2, 3)(layers.Conv2D(2, 3)(x))
        y = layers.MaxPooling2D()(y)
        y = layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.ReLU()(y)))
        names = [layer.name for layer in Model(x, y).layers]
        assert names == [
            "input_layer", "conv2d", "conv2d_1", "max_pooling2d", "re_lu", "global_average_pooling2d", "dense",
        ]  # fmt: skip


def test_default_names_are_keras_names():
    keras = keras_on_torch()
    for name in layers.__all__:
        ours, theirs = getattr(layers, name), getattr(keras.layers, name, None)
        if isinstance(ours, type) and theirs is not None and name not in ("Layer", "Input", "InputLayer"):
            expected = keras.src.utils.naming.to_snake_case(theirs.__name__)
            assert ours.type_name.fget(ours.__new__(ours)) == expected, name


def test_given_names_are_kept_and_must_be_unique():
    x = Input((4,))
    model = Model(x, layers.Dense(2)(layers.Dense(3, name="dense_1")(layers.Dense(3, name="dense")(x))))
    assert [layer.name for layer in model.layers[1:]] == ["dense", "dense_1", "dense_2"]
    with pytest.raises(ValueError, match='two layers have the name "d"'):
        Model(x, layers.Dense(2, name="d")(layers.Dense(3, name="d")(x)))
    with pytest.raises(ValueError, match='already has a layer "d"'):
        Sequential([layers.Dense(2, name="d"), layers.Dense(2, name="d")])


def test_unnamed_layers_of_two_models_meet_in_a_third():
    """Names given by a model are only defaults: a clash is resolved for the new model, the old ones keep theirs."""
    first = Sequential([Input((4,)), layers.Dense(3), layers.Dense(2)])
    second = Sequential([Input((4,)), layers.Dense(3), layers.Dense(2)])
    both = Model([first.input, second.input], layers.Add()([first.output, second.output]))
    names = list(both.sublayers())
    assert sorted(names) == ["add", "dense", "dense_1", "dense_2", "dense_3", "input_layer", "input_layer_1"]
    assert [layer.name for layer in second.layers] == ["dense", "dense_1"]
    assert len({path for path, _ in both.named_parameters()}) == 8
    clone = Model.from_config(json.loads(json.dumps(both.get_config())))
    clone.set_weights(both.get_weights())
    xs = [randn(np.random.default_rng(i), (2, 4), "float32") for i in range(2)]
    np.testing.assert_array_equal(clone(xs), both(xs))


def test_get_layer():
    model = Sequential([Input((4,)), layers.Dense(3, name="a"), layers.Dense(2)])
    assert model.get_layer("a") is model.layers[0]
    assert model.get_layer(index=-1) is model.layers[1]
    with pytest.raises(ValueError, match='no layer "b" in Sequential; there are: a, dense'):
        model.get_layer("b")
    with pytest.raises(ValueError, match="no layer 2"):
        model.get_layer(index=2)
    with pytest.raises(ValueError, match="either name or index"):
        model.get_layer("a", 1)


# -- errors ------------------------------------------------------------------------------------------------------------


def test_arrays_that_do_not_fit_the_input():
    model = Sequential([Input((28, 28, 1)), layers.Flatten(), layers.Dense(2)], name="net")
    for call in (model, model.forward, model.infer):
        with pytest.raises(ValueError, match=r'"net" expects an input of shape \(None, 28, 28, 1\), got \(2, 28, 28\)'):
            call(np.zeros((2, 28, 28), np.float32))
        with pytest.raises(TypeError, match=r"takes float32, got float64: x.astype\(np.float32\)"):
            call(np.zeros((2, 28, 28, 1)))
    with pytest.raises(ValueError, match="has 1 inputs, got 2"):
        model([np.zeros((2, 28, 28, 1), np.float32)] * 2)
    with pytest.raises(ValueError, match=r"\(None, 28, 28, 1\), got \(None, 27, 28, 1\)"):
        model(Input((27, 28, 1)))


def test_awkward_arrays_are_accepted():
    model = Sequential([Input((6, 7, 3)), layers.Flatten(), layers.Dense(2)])
    x = randn(np.random.default_rng(0), (2, 6, 7, 3), "float32")
    want = model(x)
    for name, array in awkward_arrays(x):
        if name != "broadcast":
            np.testing.assert_array_equal(model(array), want, err_msg=name)


def test_gradients_that_do_not_fit_the_output():
    model = Sequential([image(3), lay("Dense", 2)])
    _, tape = model.forward(data(4, 3))
    with pytest.raises(ValueError, match=r"gradient of shape \(4, 3\) for an array of shape \(4, 2\)"):
        model.backward(data(4, 3), tape)
    with pytest.raises(ValueError, match="has 1 outputs, got 2 gradients"):
        model.backward([data(4, 2)] * 2, tape)


def test_disconnected_graphs_and_things_that_are_not_tensors():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    y = layers.Add()([a, b])
    with pytest.raises(ValueError, match='depend on InputLayer "b", which is not among the model\'s inputs'):
        Model(a, y)
    with pytest.raises(ValueError, match="listed twice"):
        Model([a, a], y)
    with pytest.raises(TypeError, match="inputs must be tensors"):
        Model(layers.Dense(3), y)
    with pytest.raises(TypeError, match="outputs must be tensors"):
        Model([a, b], np.zeros(3))
    with pytest.raises(ValueError, match="empty"):
        Model([a, b], [])


def test_a_wrong_backward_names_its_layer():
    class Wrong(layers.Layer):
        def forward(self, x, training=False):
            return x, None

        def backward(self, dy, cache):
            return dy[:, :1]

    model = Sequential([image(3), Wrong(name="mine")])
    y, tape = model.forward(data(2, 3))
    with pytest.raises(ValueError, match=r"gradient of shape \(2, 1\) for an array of shape \(2, 3\)") as caught:
        model.backward(y, tape)
    assert caught.value.__notes__ == ['in Wrong "mine" (backward)']


def test_errors_at_run_time_name_the_layer():
    class Fails(layers.Layer):
        def forward(self, x, training=False):
            if x.shape[0] == 3:
                raise ZeroDivisionError
            return x, None

    model = Sequential([Input((3,)), layers.Dense(2), Fails()])
    for call in (model, model.forward):
        with pytest.raises(ZeroDivisionError) as caught:
            call(np.zeros((3, 3), np.float32))
        assert caught.value.__notes__ == ['in Fails "fails"']


# -- custom layers -----------------------------------------------------------------------------------------------------


def test_a_custom_layer_in_a_model():
    x = image(4, 5, 3)
    model = Model(x, Scale(dtype=DTYPE)(x))
    assert model.output_shape == (None, 4, 5, 3)
    model.set_weights([np.array([1.0, 2.0, 3.0])])
    value, dy = data(2, 4, 5, 3), data(2, 4, 5, 3, seed=1)
    y, tape = model.forward(value)
    np.testing.assert_allclose(y, value * [1, 2, 3])
    np.testing.assert_allclose(model.backward(dy, tape), dy * [1, 2, 3])
    np.testing.assert_allclose(model.layers[1].gamma.grad, (dy * value).sum((0, 1, 2)))
    clone = Model.from_config(model.get_config(), {"Scale": Scale})
    assert type(clone.layers[1]) is Scale


def test_shapes_of_custom_layers_come_from_a_trial_run():
    class Rows(layers.Layer):
        def forward(self, x, training=False):
            return (x.sum(axis=2), x[:, ::2]), x.shape

    rows, half = Rows()(Input((None, 5, 3)))
    assert rows.shape == (None, None, 3)
    assert half.shape == (None, None, 5, 3)


def test_a_layer_made_of_layers():
    class Block(layers.Layer):
        def __init__(self, filters, **options):
            super().__init__(**options)
            self.filters = filters
            self.convs = [layers.Conv2D(filters, 3, padding="same", dtype=self.dtype) for _ in range(2)]
            self.scale = Scale(dtype=self.dtype)

        def build(self, input_shape):
            for conv in self.convs:
                conv.build(input_shape)
            self.scale.build(input_shape)

        def forward(self, x, training=False):
            h, first = self.convs[0].forward(x)
            h, second = self.convs[1].forward(h)
            y, third = self.scale.forward(h)
            return y, (first, second, third)

        def backward(self, dy, cache):
            dy = self.scale.backward(dy, cache[2])
            return self.convs[0].backward(self.convs[1].backward(dy, cache[1]), cache[0])

        config_fields = ("filters",)

    x = image(5, 5, 3)
    model = Model(x, Block(3, dtype=DTYPE)(x))
    assert [path for path, _ in model.named_parameters()] == [
        "block/convs_0/kernel", "block/convs_0/bias", "block/convs_1/kernel", "block/convs_1/bias", "block/scale/gamma",
    ]  # fmt: skip
    y, tape = model.forward(data(2, 5, 5, 3))
    model.backward(y, tape)
    assert all(p.grad is not None for p in model.parameters)
    model.trainable = False
    assert model.trainable_weights == []
    assert Block.from_config(model.layers[1].get_config()).filters == 3


def test_get_config_is_asked_for():
    class Units(layers.Layer):
        def __init__(self, units, **options):
            super().__init__(**options)
            self.units = units

    with pytest.raises(NotImplementedError, match="Units takes units"):
        Units(3).get_config()


def test_a_failed_build_leaves_nothing_and_a_second_build_changes_nothing():
    class Fussy(layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight("w", (input_shape[-1],))
            self.state = self.add_weight("state", (1,), trainable=False)
            if input_shape[-1] == 3:
                raise ValueError("not three")

    layer = Fussy()
    with pytest.raises(ValueError, match="Fussy: not three"):
        layer(Input((3,)))
    assert layer.parameters == []
    layer.build((None, 4))
    weights = layer.w
    layer.build((None, 5))
    assert layer.w is weights
    assert layer.parameters == [weights, layer.state]


def test_a_deep_copy_is_independent():
    model = Sequential([Input((4,)), layers.Dense(3, activation="relu"), layers.BatchNormalization(), layers.Dense(2)])
    x = randn(np.random.default_rng(0), (5, 4), "float32")
    want = model(x)
    twin = copy.deepcopy(model)
    np.testing.assert_array_equal(twin(x), want)
    twin.set_weights([np.zeros_like(w) for w in twin.get_weights()])
    assert not twin(x).any()
    np.testing.assert_array_equal(model(x), want)


def test_trace_yields_every_layer_in_order():
    model = Sequential([Input((6, 6, 1)), layers.Conv2D(2, 3), layers.ReLU(), layers.Flatten()])
    x = randn(np.random.default_rng(0), (2, 6, 6, 1), "float32")
    steps = list(model.trace(x))
    assert [name for name, _, _ in steps] == ["conv2d", "re_lu", "flatten"]
    np.testing.assert_array_equal(steps[-1][2], model(x))
    np.testing.assert_array_equal(np.maximum(steps[0][2], 0), steps[1][2])
