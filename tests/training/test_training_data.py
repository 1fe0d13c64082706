"""fit, evaluate, predict on every kind of data."""

import warnings

import numpy as np
import pytest
from training_support import blobs, compiled, network, weights_equal

from fastconv import layers, losses
from fastconv.callbacks import Callback, LambdaCallback
from fastconv.models import Input, Model, Sequential
from fastconv.utils import set_random_seed, to_categorical

# ---- data ----


def test_integer_and_float64_arrays_are_cast_but_not_scaled():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 8, 7, 1), dtype=np.uint8)
    y = rng.integers(0, 3, 20)
    reference = compiled()
    history = reference.fit(x.astype(np.float32), y, verbose=0, epochs=2).history
    for dtype in (np.uint8, np.int64, np.float64, np.float16):
        model = compiled()
        assert model.fit(x.astype(dtype), y.astype(np.uint8), verbose=0, epochs=2).history == history
        assert weights_equal(model, reference)
    np.testing.assert_array_equal(reference.predict(x, verbose=0), reference(x.astype(np.float32)))


def test_float64_model():
    x, y = blobs(20)
    model = network(dtype="float64")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    assert model.predict(x, verbose=0).dtype == np.float64
    assert all(slot.dtype == np.float64 for slots in model.optimizer.slots.values() for slot in slots)


@pytest.mark.parametrize("kind", ["list", "generator", "sequence", "lists"])
def test_iterables_equal_arrays(kind):
    x, y = blobs(48)
    batches = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 48, 16)]

    class Indexed:
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return batches[i]

    class Loader:
        def __iter__(self):
            return iter([list(batch) for batch in batches])

    def endless():
        while True:
            yield from batches

    arrays, iterable = compiled(), compiled()
    expected = arrays.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0).history
    data = {"list": iter(batches), "generator": endless(), "sequence": Indexed(), "lists": Loader()}[kind]
    if kind == "list":
        history = {name: values[:1] for name, values in expected.items()}
        assert iterable.fit(data, epochs=1, verbose=0).history == history
        return
    steps = 3 if kind == "generator" else None
    assert iterable.fit(data, epochs=3, steps_per_epoch=steps, verbose=0).history == expected
    assert weights_equal(arrays, iterable)
    if kind == "generator":
        assert iterable.evaluate(data, steps=3, verbose=0) == pytest.approx(iterable.evaluate(x, y, 16, verbose=0))
        assert iterable.predict(data, steps=3, verbose=0).shape == (48, 3)
    else:
        np.testing.assert_array_equal(iterable.predict(data, verbose=0), iterable.predict(x, 16, verbose=0))


def test_generator_goes_on_from_epoch_to_epoch():
    x, y = blobs(64)
    seen = []

    def endless():
        i = 0
        while True:
            seen.append(i)
            yield x[i % 64 : i % 64 + 8], y[i % 64 : i % 64 + 8]
            i += 8

    compiled().fit(endless(), steps_per_epoch=3, epochs=2, verbose=0)
    assert seen == [0, 8, 16, 24, 32, 40]


def test_generator_that_ends_warns_and_ends_training():
    x, y = blobs(32)
    with pytest.warns(UserWarning, match="ended after 1 of 2"):
        history = compiled().fit(((x[:8], y[:8]) for _ in range(3)), steps_per_epoch=2, epochs=2, verbose=0)
    assert len(history.epoch) == 2
    with pytest.warns(UserWarning, match="used up"):
        history = compiled().fit(((x[:8], y[:8]) for _ in range(3)), epochs=5, verbose=0)
    assert len(history.epoch) == 1
    model = compiled()
    for _ in range(2):
        with pytest.raises(ValueError, match="no batches"):
            model.fit(iter([]), verbose=0)
        model.fit(x, y, verbose=0)


def test_iterable_with_steps_starts_again():
    x, y = blobs(32)
    batches = [(x[:16], y[:16]), (x[16:], y[16:])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = compiled().fit(_Again(batches), epochs=3, steps_per_epoch=3, verbose=0)
    assert len(history.epoch) == 3


class _Again:
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_validation_split_takes_the_last_part_before_shuffling():
    x, y = blobs(50)
    seen = []

    class Spy(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    split, given = compiled(), compiled()
    set_random_seed(8)
    a = split.fit(x, y, validation_split=0.21, epochs=2, batch_size=10, verbose=0, callbacks=[Spy()]).history
    set_random_seed(8)
    b = given.fit(x[:39], y[:39], validation_data=(x[39:], y[39:]), epochs=2, batch_size=10, verbose=0).history
    assert a == b
    assert len(seen) == 8
    assert weights_equal(split, given)


def test_validation_data_of_every_kind():
    x, y = blobs(40)
    expected = compiled().fit(x, y, validation_data=(x[:20], y[:20]), verbose=0, batch_size=10).history
    batches = [(x[:10], y[:10]), (x[10:20], y[10:20])]

    def endless():
        while True:
            yield from batches

    for data, steps in ((_Again(batches), None), (endless(), 2)):
        history = compiled().fit(x, y, validation_data=data, validation_steps=steps, verbose=0, batch_size=10).history
        for name, values in history.items():
            assert values == pytest.approx(expected[name]), name
    weighted = (x[:20], y[:20], np.r_[np.ones(10), np.zeros(10)])
    history = compiled().fit(x, y, validation_data=weighted, verbose=0, batch_size=10, validation_batch_size=20)
    assert history.history["val_loss"] != expected["val_loss"]


def test_shuffling_follows_seed_and_epoch():
    x = blobs(40)[0]
    orders = []

    class Spy:
        def forward(self, y_true, y_pred):
            orders.append(y_true.copy())
            return losses.MeanSquaredError().forward(y_true, y_pred)

        def backward(self, cache):
            return losses.MeanSquaredError().backward(cache)

    def run(seed, **options):
        orders.clear()
        set_random_seed(seed)
        model = network(1, None)
        model.compile("sgd", Spy())
        model.fit(x, np.arange(40.0)[:, None], batch_size=40, verbose=0, **options)
        return [order[:, 0].tolist() for order in orders]

    first = run(1, epochs=3)
    assert first == run(1, epochs=3)
    assert first != run(2, epochs=3)
    assert first[0] != first[1]
    assert all(sorted(order) == list(range(40)) for order in first)
    assert run(1, epochs=2, shuffle=False) == [list(range(40))] * 2


def test_class_weight_is_sample_weight():
    x, y = blobs(30)
    weights = {0: 2.0, 2: 0.25}
    by_class, by_sample, one_hot = compiled(), compiled(), compiled(loss="categorical_crossentropy")
    options = {"epochs": 2, "batch_size": 8, "verbose": 0, "shuffle": False}
    by_class.fit(x, y, class_weight=weights, **options)
    by_sample.fit(x, y, sample_weight=np.array([2.0, 1.0, 0.25])[y], **options)
    one_hot.fit(x, to_categorical(y), class_weight=weights, **options)
    assert weights_equal(by_class, by_sample)
    for a, b in zip(by_class.get_weights(), one_hot.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    plain = compiled()
    plain.fit(x, y, **options)
    assert not weights_equal(plain, by_class)


def test_named_inputs():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    model = Model([a, b], layers.Dense(1)(layers.Add()([a, b])))
    model.compile("sgd", "mse")
    x = {"b": np.ones((4, 3)), "a": np.zeros((4, 3))}
    assert model.predict(x, verbose=0).shape == (4, 1)
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict([x["a"], x["b"]], verbose=0))
    model.fit(x, np.zeros(4), verbose=0)
    model.fit([x["a"], x["b"]], np.zeros((4, 1)), verbose=0)


def test_steps_per_epoch_with_arrays():
    x, y = blobs(40)
    counted = []
    callback = LambdaCallback(on_train_batch_end=lambda batch, logs: counted.append(batch))
    compiled().fit(x, y, batch_size=10, steps_per_epoch=2, epochs=2, verbose=0, callbacks=[callback])
    assert counted == [0, 1, 0, 1]


def test_sequential_learns_its_input_shape_from_the_data():
    x, y = blobs(16)
    for data in ((x, y), (_Again([(x, y)]), None)):
        model = Sequential([layers.Flatten(), layers.Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(*data, verbose=0)
        assert model.input_shape == (None, 8, 7, 1)


def test_predict_on_no_samples_and_on_a_last_small_batch():
    model = compiled()
    assert model.predict(np.zeros((0, 8, 7, 1)), verbose=0).shape == (0, 3)
    x = blobs(37)[0]
    np.testing.assert_allclose(model.predict(x, batch_size=10, verbose=0), model(x), rtol=1e-5, atol=1e-6)
