"""Models as graphs: order, names, what a wrong graph or array is told, custom layers."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from graph_support import DTYPE, Scale, data, image, lay
from support import assert_close, awkward_arrays, randn
from torch_oracle import keras_on_torch

from fastconv import layers
from fastconv.models import Input, Model, Sequential

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
