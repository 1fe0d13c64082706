"""The hook between backward pass and update: clipping, accumulation, and a step that fails there."""

import numpy as np
import pytest
from training_support import blobs, compiled, weights_equal

from fastconv import callbacks, optimizers

X, Y = blobs(n=48)


def test_gradients_arrive_before_the_update():
    seen = []

    class Looks(callbacks.Callback):
        def on_gradients(self, parameters):
            seen.append([(p.name, np.abs(p.grad).max() > 0) for p in parameters])

    looked, plain = compiled(), compiled()
    looked.fit(X, Y, batch_size=16, verbose=0, callbacks=Looks(), shuffle=False)
    plain.fit(X, Y, batch_size=16, verbose=0, shuffle=False)
    assert seen == 3 * [[("kernel", True), ("bias", True), ("kernel", True), ("bias", True)]]
    assert weights_equal(looked, plain)


def test_clipping_in_the_hook_is_the_optimizers():
    class Clip(callbacks.Callback):
        def on_gradients(self, parameters):
            for p in parameters:
                p.set_grad(np.clip(p.grad, -1e-2, 1e-2))

    hooked, built_in = compiled(optimizer="sgd"), compiled(optimizer=optimizers.SGD(clipvalue=1e-2))
    plain = compiled(optimizer="sgd")
    hooked.fit(X, Y, verbose=0, callbacks=Clip(), shuffle=False)
    built_in.fit(X, Y, verbose=0, shuffle=False)
    plain.fit(X, Y, verbose=0, shuffle=False)
    assert weights_equal(hooked, built_in)
    assert not weights_equal(hooked, plain)


def test_accumulation_is_a_larger_batch():
    small, large = compiled(optimizer="sgd"), compiled(optimizer="sgd")
    small.fit(X, Y, batch_size=8, verbose=0, callbacks=callbacks.GradientAccumulation(3), epochs=2, shuffle=False)
    large.fit(X, Y, batch_size=24, verbose=0, epochs=2, shuffle=False)
    assert small.optimizer.iterations == large.optimizer.iterations == 4
    for a, b in zip(small.get_weights(), large.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-7)


def test_nothing_is_left_over_for_the_next_run():
    model, other = compiled(optimizer="sgd"), compiled(optimizer="sgd")
    model.fit(X[:40], Y[:40], batch_size=8, verbose=0, callbacks=callbacks.GradientAccumulation(4), shuffle=False)
    assert model.optimizer.iterations == 1
    other.fit(X[:32], Y[:32], batch_size=8, verbose=0, callbacks=callbacks.GradientAccumulation(4), shuffle=False)
    for one in (model, other):
        one.train_on_batch(X[:8], Y[:8])
    assert weights_equal(model, other)


def test_a_hook_that_fails_leaves_the_model_as_it_was():
    class Fails(callbacks.Callback):
        def on_gradients(self, parameters):
            raise KeyboardInterrupt

    model = compiled()
    before = model.get_weights()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, verbose=0, callbacks=Fails())
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.optimizer.iterations == 0
    assert all(p.grad is None for p in model.parameters)


@pytest.mark.parametrize(("batches", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_how_many_batches(batches, error):
    with pytest.raises(error, match="batches must be"):
        callbacks.GradientAccumulation(batches)


def test_a_run_that_a_callback_ends_leaves_no_gradients_to_the_next():
    class Fails(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise ValueError("enough")

    class Waits(callbacks.Callback):
        def on_gradients(self, parameters):
            return False

    model, other = compiled(optimizer="sgd"), compiled(optimizer="sgd")
    with pytest.raises(ValueError, match="enough"):
        model.fit(X, Y, verbose=0, callbacks=[Waits(), Fails()])
    for one in (model, other):
        one.train_on_batch(X[:8], Y[:8])
    assert weights_equal(model, other)
