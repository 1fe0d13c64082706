"""Memory of a model goes with its last use, at once: no circle of references waits for Python's collector."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from graph_support import Scale

from fastconv import _kernels, applications, layers, optimizers
from fastconv.callbacks import Callback, CSVLogger, EarlyStopping, LambdaCallback, ModelCheckpoint, ReduceLROnPlateau
from fastconv.models import Input, Model, Sequential, load_model

X = np.random.default_rng(0).normal(size=(8, 8, 8, 2)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 8)


@pytest.fixture(autouse=True)
def _no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def watch(model):
    """Weak references to all that is large: layers, the arrays of weights, their gradients, the optimizer's."""
    arrays = [p._storage for p in model.parameters]
    arrays += [p.grad for p in model.parameters if p.grad is not None]
    if model.optimizer is not None:
        arrays += [slot for slots in model.optimizer.slots.values() for slot in slots]
    return [weakref.ref(thing) for thing in (*dict.fromkeys(layer for _, layer in model.named_layers()), *arrays)]


def alive(references):
    return [thing for reference in references if (thing := reference()) is not None]


def sequential():
    return Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 2)),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def functional():
    x = Input((8, 8, 2))
    a = layers.Conv2D(4, 3, padding="same")(x)
    y = layers.Concatenate()([layers.ReLU()(layers.BatchNormalization()(a)), x])
    y = Scale()(layers.Dropout(0.1)(y), training=False)
    return Model(x, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(y)))


def nested():
    inner = Sequential([Input((8, 8, 2)), layers.Conv2D(2, 3, padding="same"), layers.BatchNormalization()])
    innermost = Model(inner.input, layers.ReLU()(inner.output))
    x = Input((8, 8, 2))
    return Model(x, layers.Dense(3, activation="softmax")(layers.Flatten()(innermost(inner(x)))))


def shared():
    """A layer, and a model, that stand before and after themselves."""
    conv = layers.Conv2D(2, 3, padding="same")
    block = Sequential([Input((8, 8, 2)), layers.BatchNormalization(), layers.ReLU()])
    x = Input((8, 8, 2))
    y = block(conv(block(conv(conv(x)))))
    return Model(x, layers.Dense(3, activation="softmax")(layers.Flatten()(y)))


def built_late():
    model = Sequential([layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3, activation="softmax")])
    model.add(layers.ReLU())
    model.pop()
    return model


BUILDERS = [sequential, functional, nested, shared, built_late]
every_kind = pytest.mark.parametrize("build", BUILDERS)


@every_kind
def test_a_model_is_freed(build):
    model = build()
    model(X)
    references = watch(model)
    del model
    assert not alive(references)


@every_kind
def test_a_trained_model_is_freed_though_its_history_is_kept(build, tmp_path):
    model = build()
    model.compile(optimizers.Adam(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    epochs = []
    callbacks = [
        EarlyStopping(restore_best_weights=True, patience=3),
        ModelCheckpoint(tmp_path / "m", save_weights_only=build is functional),
        CSVLogger(tmp_path / "log"),
        ReduceLROnPlateau(),
        LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch)),
    ]
    history = model.fit(X, Y, epochs=3, batch_size=4, verbose=0, validation_data=(X, Y), callbacks=callbacks)
    assert history is model.history
    assert history.model is model
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    model.train_on_batch(X, Y)
    model.test_on_batch(X, Y)
    model.summary(print_fn=lambda text: None)
    list(model.trace(X))
    model.profile(X, repeats=1)
    references = watch(model)
    del model, callbacks
    assert not alive(references)
    assert history.model is None
    assert history.epoch == [0, 1, 2]


def test_a_failed_and_an_interrupted_fit_leave_nothing():
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    model = sequential()
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, verbose=0, callbacks=Stop())
    with pytest.raises(ValueError, match="labels"):
        model.fit(X, Y + 7, verbose=0)
    references = watch(model)
    del model
    assert not alive(references)


def test_activations_are_freed_with_the_step():
    model = functional()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.train_on_batch(X, Y)
    model(X)
    used = _kernels.pool_usage()
    for _ in range(3):
        model.train_on_batch(X, Y)
        model(X)
    assert _kernels.pool_usage() == used


NETWORKS = [name for name in applications.__all__ if name[0].isupper()]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_the_zoo_is_freed(name):
    model = getattr(applications, name)()
    references = watch(model)
    assert len(references) > 5
    del model
    assert not alive(references)


def test_loaded_copied_and_described_models_are_freed(tmp_path):
    model = shared()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m")
    others = [load_model(tmp_path / "m"), copy.deepcopy(model), Model.from_config(model.get_config())]
    for other in others:
        other(X)
    references = [reference for other in (model, *others) for reference in watch(other)]
    del model, others, other
    assert not alive(references)


# ---- who keeps whom ----


def test_a_tensor_keeps_the_layers_before_it():
    def chain():
        x = Input((4,))
        return x, layers.Dense(2, name="second")(layers.Dense(3, name="first")(x))

    x, y = chain()
    assert [layer.name for layer in Model(x, y).layers] == ["input_layer", "first", "second"]
    assert y.node.layer.output is y
    assert y.node.inputs[0].node.layer.output is y.node.inputs[0]


def test_a_model_keeps_its_tensors_and_their_identity():
    model = functional()
    assert all(layer.output is layer.output for layer in model.layers)
    assert model.layers[-1].output is model.output
    assert model.layers[0].output is model.input
    assert [node.outputs for node in model.graph.nodes] == [node.outputs for node in model.graph.nodes]
    part = Model(model.input, model.layers[1].output)
    references = watch(model)
    want = part(X)
    del model
    assert len(alive(references)) == 4  # the input, a convolution, its kernel and bias
    np.testing.assert_array_equal(part(X), want)


def test_a_layer_keeps_its_call():
    layer = layers.Dense(2)
    layer(layers.Dense(3, name="before")(Input((4,), name="x")))
    assert layer.output.shape == (None, 2)
    assert layer.output.node.inputs == (layer.input,)
    model = Model(layer.input.node.inputs[0], layer.output)
    assert [one.name for one in model.layers] == ["x", "before", "dense"]
    references = watch(model)
    del model
    assert len(alive(references)) == len(references) - 1
    del layer
    assert not alive(references)


def test_a_layer_of_several_calls_keeps_none():
    """One call may lead to the other, and so the layer to itself."""
    layer, x = layers.Dense(4), Input((4,))
    first = layer(x)
    assert layer.output is first
    second = layer(layers.ReLU()(first))
    with pytest.raises(ValueError, match="2 times, not once"):
        layer.output  # noqa: B018
    node = weakref.ref(second.node)
    del second
    assert node() is None
    with pytest.raises(ValueError, match="2 times, not once"):
        layer.output  # noqa: B018


def test_an_input_layer_always_has_its_tensor():
    layer = layers.InputLayer((4,))
    tensor = layer.output
    assert layer.output is tensor
    assert layer.input == []
    del tensor
    assert layer.output.shape == (None, 4)
    model = Sequential([layer, layers.Dense(2)])
    assert model.input is layer.output


def test_several_outputs_keep_their_identity():
    pool = layers.MaxPool2D(2, return_argmax=True)
    x = Input((8, 8, 2))
    y, where = pool(x)
    assert pool.output == [y, where]
    model = Model(x, layers.MaxUnpool2D(2)([y, where]))
    del y, where
    first = pool.output
    assert [a is b for a, b in zip(first, pool.output, strict=True)] == [True, True]
    assert model(X).shape == (8, 8, 8, 2)
    unused = Model(x, layers.ReLU()(pool(x)[0]))  # nobody holds the other
    assert unused(X).shape == (8, 4, 4, 2)


def test_pop_forgets_the_call_though_its_output_is_held():
    model = sequential()
    output, last = model.output, model.layers[-1]
    assert model.pop() is last
    with pytest.raises(ValueError, match="0 times"):
        last.output  # noqa: B018
    model.add(last)
    assert last.output is model.output is not output


def test_a_deep_copy_has_calls_of_its_own():
    model = functional()
    model(X)
    twin = copy.deepcopy(model)
    for ours, theirs in zip(model.layers, twin.layers, strict=True):
        assert theirs.output is not ours.output
        assert theirs.output.node.layer is theirs
    assert twin.layers[-1].output is twin.output
    assert twin.layers[0].output is twin.input
    shapes = twin.tensor_shapes([(3, 8, 8, 2)])
    assert shapes[twin.layers[1].output] == (3, 8, 8, 4)
    scale = next(layer for layer in twin.layers if isinstance(layer, Scale))  # whose methods run guarded
    scale.gamma.assign(np.zeros(scale.gamma.shape))
    np.testing.assert_allclose(twin(X), 1 / 3, rtol=1e-6)
    assert not np.allclose(model(X), 1 / 3)


def test_a_trained_model_can_be_copied_and_pickled():
    model = shared()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    model.predict(X, verbose=0)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin(X), model(X))
        assert twin.history.history == model.history.history
        assert twin.history.model is None
        twin.fit(X, Y, verbose=0)
        assert twin.history.model is twin
        assert not np.array_equal(twin(X), model(X))
