"""Training that goes wrong: Ctrl-C, values that are not numbers."""

import warnings

import numpy as np
import pytest
from training_support import blobs, compiled, weights_equal

from fastconv import layers, losses
from fastconv.callbacks import Callback
from fastconv.models import Sequential
from fastconv.utils import set_random_seed

# ---- when things go wrong ----


def test_ctrl_c_ends_fit_cleanly_and_goes_on(capsys):
    x, y = blobs(40)
    ended = []

    class CtrlC(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.epoch == 2 and batch == 1:
                raise KeyboardInterrupt

        def on_train_end(self, logs=None):
            ended.append(True)

    model = compiled()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, batch_size=10, epochs=9, verbose=0, callbacks=[CtrlC()])
    assert model.history.epoch == [0, 1]
    assert len(model.history.history["loss"]) == 2
    assert ended == [True]
    assert capsys.readouterr().err == "interrupted in epoch 3; the history holds 2 epochs\n"
    model.fit(x, y, initial_epoch=2, epochs=3, verbose=0)


def test_nan_loss_warns_once_and_names_the_layer():
    class Breaks(layers.Layer):
        def forward(self, x, training=False):
            return x * np.float32(np.nan), None

        def backward(self, dy, cache):
            return dy

    model = Sequential(
        [
            layers.Dense(4, input_shape=(3,)),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            Breaks(name="guilty"),
            layers.Dense(2),
        ]
    )
    model.compile("sgd", "mse")
    x, y = np.ones((8, 3), np.float32), np.ones((8, 2), np.float32)
    with pytest.warns(RuntimeWarning, match='first NaN is in the output of layer "guilty"') as caught:
        model.fit(x, y, epochs=3, batch_size=4, verbose=0)
    assert len([w for w in caught if "first NaN" in str(w.message)]) == 1


def test_nan_in_the_data_is_named():
    x, y = blobs(8)
    x[3, 2, 2] = np.nan
    with pytest.warns(RuntimeWarning, match="first NaN is in the model's input"):
        compiled().fit(x, y, verbose=0)


def test_looking_for_a_nan_changes_nothing():
    def run(look):
        set_random_seed(3)
        model = Sequential(
            [layers.Dense(4, input_shape=(3,)), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(2)]
        )

        class Infinite(losses.MeanSquaredError):
            def forward(self, y_true, y_pred, sample_weight=None):
                value, cache = super().forward(y_true, y_pred, sample_weight)
                return (np.inf if look else value), cache

        model.compile("sgd", Infinite())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(np.eye(3, dtype=np.float32), np.ones((3, 2)), epochs=3, verbose=0)
        assert any("arises in the loss" in str(w.message) for w in caught) == look
        return model

    assert weights_equal(run(False), run(True))
