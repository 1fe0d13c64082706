"""What the tests of training share: an easy data set, a small network."""

import numpy as np

from fastconv import layers
from fastconv.models import Sequential
from fastconv.utils import set_random_seed


def blobs(n=120, classes=3, seed=0):
    """Images whose class is the place of a bright patch: learnt in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    x = 0.3 * rng.normal(size=(n, 8, 7, 1)).astype(np.float32)
    for i, label in enumerate(labels):
        x[i, 2 * label : 2 * label + 3, 1:5] += 1
    return x, labels


def network(classes=3, activation="softmax", dtype=None):
    return Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(8, 7, 1), dtype=dtype),
            layers.MaxPooling2D(2, dtype=dtype),
            layers.Flatten(dtype=dtype),
            layers.Dense(classes, activation=activation, dtype=dtype),
        ]
    )


def compiled(**options):
    set_random_seed(4)
    model = network()
    model.compile(
        **{"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **options}
    )
    return model


def weights_equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))
