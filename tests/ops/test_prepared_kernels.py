"""What a convolution keeps of its kernel is that of the kernel as it is: whoever changes it, whenever, however far."""

import threading

import numpy as np
import pytest
from support import randn

from fastconv import layers, ops, optimizers
from fastconv.layers.parameter import Change, Parameter
from fastconv.models import Input, Sequential
from fastconv.utils import set_random_seed

X = randn(np.random.default_rng(0), (1, 4, 4, 128), "float32")
Y = randn(np.random.default_rng(1), (1, 4, 4, 256), "float32")


def network():
    """Winograd kernels, which are kept transformed."""
    set_random_seed(1)
    model = Sequential([Input((4, 4, 128)), layers.Conv2D(256, 3, padding="same", algorithm="winograd")])
    model.compile("adam", "mse")
    return model


def assert_up_to_date(model):
    fresh = network()
    fresh.set_weights(model.get_weights())
    np.testing.assert_array_equal(model(X), fresh(X))


class Stops(np.ndarray):
    """Storage that is interrupted when half of it has been written."""

    def _stop(self, value):
        flat = np.asarray(self).reshape(-1)
        flat[: flat.size // 2] = np.broadcast_to(value, self.shape).reshape(-1)[: flat.size // 2]
        raise KeyboardInterrupt

    def __setitem__(self, key, value):
        self._stop(value)

    def __imul__(self, factor):
        self._stop(np.asarray(self) * factor)


def test_a_reader_in_the_middle_of_a_step(monkeypatch):
    """The kernel runs without the interpreter's lock: another thread sees the weights half old, half new."""
    model = network()
    step = ops.optimizer_step

    def read_half_way(kind, values, grads, states, hyper):
        whole = [value.copy() for value in values]
        for value in values:
            value[..., ::2] += 1
        model(X)
        for value, old in zip(values, whole, strict=True):
            value[...] = old
        step(kind, values, grads, states, hyper)

    model(X)
    monkeypatch.setattr(ops, "optimizer_step", read_half_way)
    model.train_on_batch(X, Y)
    assert_up_to_date(model)


@pytest.mark.parametrize("change", [lambda p: p.assign(np.zeros(p.shape)), lambda p: p.blend(np.ones(p.shape), 0.5)])
def test_a_change_that_is_interrupted(change):
    model = network()
    model(X)
    kernel = model.layers[0].kernel
    storage, kernel._storage = kernel._storage, kernel._storage.view(Stops)
    with pytest.raises(KeyboardInterrupt):
        change(kernel)
    kernel._storage = storage
    assert_up_to_date(model)


def test_a_step_that_fails_half_way(monkeypatch):
    model = network()
    model(X)

    def fail(kind, values, grads, states, hyper):
        values[0][..., ::2] = 0
        model(X)
        values[0][...] = 0
        raise MemoryError

    monkeypatch.setattr(ops, "optimizer_step", fail)
    with pytest.raises(MemoryError):
        model.train_on_batch(X, Y)
    assert_up_to_date(model)


def test_versions():
    parameter = Parameter("p", np.ones(3))
    seen = [parameter.version]
    with Change(parameter):
        seen.append(parameter.version)
        with Change(parameter):  # as another thread may
            seen.append(parameter.version)
        seen.append(parameter.version)
    parameter.assign(np.zeros(3))
    seen.append(parameter.version)
    parameter.blend(np.ones(3), 0.5)
    seen.append(parameter.version)
    assert seen == sorted(set(seen))
    assert [version % 2 for version in (seen[0], seen[1], seen[2], *seen[-2:])] == [0, 1, 1, 0, 0]


def test_nothing_is_kept_of_values_half_written():
    model = network()
    layer = model.layers[0]
    with Change(layer.kernel):
        model(X)
        assert layer._prepared is None
    model(X)
    assert layer._prepared is not None


def test_the_version_is_read_before_the_values(monkeypatch):
    """A change while the kernel is being prepared: what was prepared is of the version before."""
    model = network()
    prepare = ops.prepare_conv2d

    def change_after(kernel, *arguments):
        ready = prepare(kernel, *arguments)
        model.layers[0].kernel.assign(np.zeros_like(kernel))
        return ready

    monkeypatch.setattr(ops, "prepare_conv2d", change_after)
    model(X)
    monkeypatch.undo()
    assert_up_to_date(model)


def test_a_backward_pass_while_a_kernel_is_being_prepared(monkeypatch):
    model = network()
    y, tape = model.forward(X)
    prepare = ops.prepare_conv2d

    def drop_after(*arguments):
        ready = prepare(*arguments)
        model.backward(np.ones_like(y), tape, retain_caches=True)
        return ready

    want = model(X)
    model.layers[0]._prepared = None
    monkeypatch.setattr(ops, "prepare_conv2d", drop_after)
    np.testing.assert_array_equal(model(X), want)


def in_threads(*functions):
    """Run them all at once until the first one has ended; then ``stop`` is set. Errors of any are raised."""
    stop, errors = threading.Event(), []

    def guarded(function):
        try:
            function(stop)
        except BaseException as error:
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    threads[0].join()
    stop.set()
    for thread in threads[1:]:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("writer", ["train", "train and set_weights", "load_weights"])
def test_predictions_after_others_changed_the_weights(writer, tmp_path):
    """Two threads predict while others train, or set weights: none of what they saw is left afterwards."""
    weights = [[w * factor for w in network().get_weights()] for factor in (0.5, 1.0)]
    files = [tmp_path / "0", tmp_path / "1"]
    for path, values in zip(files, weights, strict=True):
        other = network()
        other.set_weights(values)
        other.save_weights(path)

    for _ in range(40):
        model = network()
        model.compile(optimizers.SGD(1e-2, momentum=0.9), "mse")

        def train(stop, model=model):
            for _ in range(5):
                model.train_on_batch(X, Y)

        def load(stop, model=model):
            for i in range(4):
                model.load_weights(files[i % 2])

        def keep_setting(stop, model=model):
            while not stop.is_set():
                model.set_weights(weights[0])

        def keep_predicting(stop, model=model):
            while not stop.is_set():
                model(X)

        writers = {"train": [train], "train and set_weights": [train, keep_setting], "load_weights": [load]}[writer]
        in_threads(*writers, keep_predicting, keep_predicting)
        assert_up_to_date(model)
