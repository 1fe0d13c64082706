"""A training step that fails, or meets Ctrl-C, leaves the model as it was; one that is done is done whole."""

import itertools
import os
import signal
import threading
import warnings

import numpy as np
import pytest

from fastconv import _kernels, layers, losses, ops, optimizers, regularizers
from fastconv.models import Input, Model, Sequential
from fastconv.training import step_of
from fastconv.utils import set_random_seed

X = np.random.default_rng(0).normal(size=(6, 6, 5, 2)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
ERRORS = [MemoryError, KeyboardInterrupt, ValueError]


class Trap(layers.Layer):
    """Does nothing, or raises ``Trap.error`` in the method ``Trap.where``."""

    where, error = "", MemoryError

    def forward(self, x, training=False):
        self.spring("forward", training)
        return x, None

    def backward(self, dy, cache):
        self.spring("backward")
        return dy

    @classmethod
    def spring(cls, where, armed=True):
        if armed and cls.where == where:
            raise cls.error


class TrapLoss(losses.MeanSquaredError):
    def forward(self, y_true, y_pred, sample_weight=None):
        Trap.spring("loss")
        return super().forward(y_true, y_pred, sample_weight)

    def backward(self, cache):
        Trap.spring("loss backward")
        return super().backward(cache)


class TrapRegularizer(regularizers.L2):
    def gradient(self, value):
        Trap.spring("regularizer")
        return super().gradient(value)


def metric(y_true, y_pred):
    Trap.spring("metric")
    return np.abs(y_true - y_pred).mean(-1)


def rate(step):
    Trap.spring("schedule")
    return 0.1 / (step + 1)


@pytest.fixture(autouse=True)
def _disarmed(monkeypatch):
    monkeypatch.setattr(Trap, "where", "")


def network():
    """Moving averages and counters: of a layer used twice, in a model within the model, of one that is frozen."""
    set_random_seed(3)
    shared = layers.BatchNormalization(name="shared")
    inner = Sequential([Input((6, 5, 3)), layers.BatchNormalization(), layers.SpatialDropout2D(0.3)], name="inner")
    x = Input((6, 5, 2))
    h = layers.Conv2D(3, 3, padding="same", kernel_regularizer=TrapRegularizer(1e-3))(shared(x))
    h = layers.Conv2D(2, 1)(layers.Dropout(0.2)(inner(h)))
    h = layers.BatchNormalization(trainable=False, name="frozen")(shared(h))
    y = layers.Dense(3)(layers.Flatten()(Trap()(h)))
    model = Model(x, y)
    model.compile(optimizers.SGD(rate, momentum=0.9), TrapLoss(), metrics=[metric])
    return model


def everything(model):
    """All that a step changes."""
    slots = [model.optimizer.slots.get(p, [np.zeros(p.shape)])[0].copy() for p in model.parameters]
    states = [x.random_state.copy() for _, x in model.named_layers() if x.random_state is not None]
    return [*model.get_weights(), *slots, *states, np.array(model.optimizer.iterations)]


def assert_same(got, want):
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("first", [True, False], ids=["first step", "third step"])
@pytest.mark.parametrize("where", ["forward", "backward", "loss", "loss backward", "regularizer", "metric", "schedule"])
def test_a_step_that_fails_changes_nothing(where, first, error, monkeypatch):
    model = network()
    for _ in range(0 if first else 2):
        model.train_on_batch(X, Y)
    before, versions = everything(model), [p.version for p in model.trainable_weights]
    monkeypatch.setattr(Trap, "error", error)
    monkeypatch.setattr(Trap, "where", where)
    with pytest.raises(error):
        model.train_on_batch(X, Y)
    assert_same(everything(model), before)
    assert [p.version for p in model.trainable_weights] == versions
    assert all(p.grad is None for p in model.parameters)

    monkeypatch.setattr(Trap, "where", "")
    model.train_on_batch(X, Y)
    straight = network()
    for _ in range(1 if first else 3):
        straight.train_on_batch(X, Y)
    assert_same(everything(model), everything(straight))


def fail(*arguments, **options):
    raise MemoryError


@pytest.mark.parametrize(
    ("clip", "owner", "name"),
    [
        ("clipvalue", np, "clip"),
        ("clipnorm", optimizers.base, "_norm"),
        ("global_clipnorm", optimizers.base, "_norm"),
        ("clipnorm", optimizers.Adam, "slot_start"),
        ("clipnorm", ops, "optimizer_step"),
    ],
)
def test_an_optimizer_that_fails_has_changed_nothing(clip, owner, name, monkeypatch):
    model = network()
    model.compile(optimizers.Adam(**{clip: 0.1}), "mse")
    before = everything(model)
    with monkeypatch.context() as broken:
        broken.setattr(owner, name, fail)
        with pytest.raises(MemoryError):
            model.train_on_batch(X, Y)
    assert_same(everything(model), before)


@pytest.mark.parametrize("when", ["before", "after"])
def test_ctrl_c_in_the_optimizer_comes_when_the_step_is_done(when, monkeypatch):
    """The kernel cannot be stopped, so that moving averages and the count of steps go with it."""
    model, straight = network(), network()
    straight.train_on_batch(X, Y)
    step = ops.optimizer_step

    def interrupted(*arguments):
        if when == "before":
            signal.raise_signal(signal.SIGINT)
        step(*arguments)
        if when == "after":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ops, "optimizer_step", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        model.train_on_batch(X, Y)
    assert signal.getsignal(signal.SIGINT) is handler
    assert_same(everything(model), everything(straight))


def test_ctrl_c_while_a_failed_step_is_put_back(monkeypatch):
    model = network()
    before = everything(model)
    assign = layers.Parameter.assign

    def interrupted(parameter, value):
        signal.raise_signal(signal.SIGINT)
        assign(parameter, value)

    monkeypatch.setattr(Trap, "where", "backward")
    monkeypatch.setattr(layers.Parameter, "assign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.train_on_batch(X, Y)
    assert_same(everything(model), before)


def test_no_memory_at_any_moment(monkeypatch):
    """Every allocation of a step fails in turn."""
    model = network()
    before = everything(model)
    empty = _kernels.empty
    for last in itertools.count(1):
        left = last

        def scarce(*arguments):
            nonlocal left
            left -= 1
            if not left:
                raise MemoryError
            return empty(*arguments)

        with monkeypatch.context() as context:
            context.setattr(_kernels, "empty", scarce)
            try:
                model.train_on_batch(X, Y)
            except MemoryError:
                assert_same(everything(model), before)
            else:
                break
    assert last > 20
    straight = network()
    straight.train_on_batch(X, Y)
    assert_same(everything(model), everything(straight))


def test_ctrl_c_at_any_moment():
    """A step that meets Ctrl-C is done whole or not at all."""
    model, straight = network(), network()
    armed, over = False, threading.Event()

    def handler(number, frame):
        if armed:
            raise KeyboardInterrupt

    def send():
        rng = np.random.default_rng(0)
        while not over.wait(rng.uniform(1e-4, 4e-3)):
            os.kill(os.getpid(), signal.SIGINT)

    before, sender = signal.signal(signal.SIGINT, handler), threading.Thread(target=send)
    sender.start()
    interrupted = 0
    try:
        for _ in range(300):
            try:
                armed = True
                model.train_on_batch(X, Y)
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                armed = False
            while straight.optimizer.iterations < model.optimizer.iterations:
                straight.train_on_batch(X, Y)
            assert_same(everything(model), everything(straight))
    finally:
        over.set()
        sender.join()
        signal.signal(signal.SIGINT, before)
    assert interrupted


def test_a_warning_that_is_an_error_changes_nothing():
    model = network()
    before = everything(model)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="the loss is inf"):
            model.fit(X, np.full_like(Y, np.inf), verbose=0)
    assert_same(everything(model), before)


def test_a_forward_pass_by_hand_moves_the_averages_at_once():
    layer = layers.BatchNormalization(momentum=0.5)
    layer(X, training=True)
    once = layer.moving_mean.numpy()
    np.testing.assert_allclose(once, X.mean((0, 1, 2)) / 2, rtol=1e-5)
    layer.forward(X, training=True)
    np.testing.assert_allclose(layer.moving_mean.numpy(), X.mean((0, 1, 2)) * 0.75, rtol=1e-5)
    model = network()
    before = model.get_layer("shared").moving_mean.numpy()
    model.forward(X, training=True)
    assert not np.array_equal(model.get_layer("shared").moving_mean.value, before)


def test_a_step_copies_no_weights():
    """Only what a forward pass may change is put aside, which is little: not the weights of a frozen network."""
    model = Sequential([Input((4,)), layers.Dense(5, trainable=False), layers.BatchNormalization(), layers.Dense(2)])
    model.compile("sgd", "mse")
    assert [type(layer).__name__ for layer in step_of(model).stateful] == ["BatchNormalization"]
