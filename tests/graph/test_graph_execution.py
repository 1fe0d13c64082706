"""What a graph runs, and what it keeps: freezing, steps run as one, memory, threads."""

from __future__ import annotations

import gc
import json
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from graph_support import DTYPE, data, image, lay
from support import randn

from fastconv import layers, ops
from fastconv.graph.execution import Plan
from fastconv.models import Input, Model, Sequential


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
