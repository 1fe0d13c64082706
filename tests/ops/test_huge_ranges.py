"""A range describes a huge array in a few bytes: it is refused before it becomes one."""

import numpy as np
import pytest

from fastconv import layers, losses, ops, utils
from fastconv.models import Sequential

HUGE = range(10**12)  # 8 TB
X = np.zeros((4, 3), np.float32)


def model():
    made = Sequential([layers.Dense(2, activation="softmax", input_shape=(3,))])
    made.compile("sgd", loss="sparse_categorical_crossentropy")
    return made


@pytest.mark.parametrize(
    "call",
    [
        lambda: model().fit(X, HUGE, verbose=0),
        lambda: model().fit(X, np.zeros(4, int), sample_weight=HUGE, verbose=0),
        lambda: model().train_on_batch(X, np.zeros(4, int), sample_weight=HUGE),
        lambda: model().train_on_batch(HUGE, np.zeros(4, int)),
        lambda: model().evaluate(X, HUGE, verbose=0),
        lambda: model().set_weights([HUGE, HUGE]),
        lambda: model().parameters[0].assign(HUGE),
        lambda: losses.MeanSquaredError()(HUGE, X),
        lambda: losses.MeanSquaredError()(X, X, HUGE),
        lambda: losses.SparseCategoricalCrossentropy()(HUGE, X),
        lambda: utils.to_categorical(HUGE, 3),
        lambda: ops.relu(HUGE),
        lambda: ops.conv2d(np.zeros((1, 4, 4, 1), np.float32), HUGE),
        lambda: ops.softmax_cross_entropy(X, HUGE),
        lambda: ops.max_pool2d_backward(np.zeros((1, 2, 2, 1), np.float32), HUGE, (1, 4, 4, 1)),
    ],
)
def test_is_refused(call):
    with pytest.raises(ValueError, match=r"range\(0, 1000000000000\), 1,000,000,000,000 numbers: pass an array"):
        call()


def test_short_ones_are_arrays():
    made = model()
    made.fit(X, np.array([0, 1, 0, 1]), sample_weight=range(4), verbose=0)
    assert utils.to_categorical(range(3), 3).tolist() == np.eye(3).tolist()
