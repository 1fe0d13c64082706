"""Small models, and the question whether one still is what its weights say."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastconv as fc
from fastconv import layers
from fastconv.models import Input, Model, Sequential

Array = np.ndarray[Any, Any]

#: Names of optimizers, all kinds.
OPTIMIZERS = ("sgd", "rmsprop", "adam", "adamw", "adagrad")


def tiny() -> Sequential:
    """A layer of each kind that weight files know; 48 weights."""
    model = Sequential(
        [
            layers.Conv2D(2, 3, input_shape=(5, 5, 1)),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.random(w.shape, np.float32) for w in model.get_weights()])
    return model


class Network:
    """A model whose convolutions keep prepared kernels, in one of several shapes.

    Attributes:
        model: compiled.
        x, y: a batch to train on.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._shape = (int(rng.integers(8, 13)), int(rng.integers(8, 13)), 16)
        self._filters = int(rng.choice([16, 24, 32]))
        self._branches = bool(rng.integers(2))
        self._depthwise = bool(rng.integers(2))
        self.model = self.another()
        self.model.compile(str(rng.choice(OPTIMIZERS)), "sparse_categorical_crossentropy", metrics=["accuracy"])
        self.x = rng.standard_normal((6, *self._shape)).astype(np.float32)
        self.y = rng.integers(0, 3, 6)

    def another(self) -> Model:
        """A model of the same shape with weights of its own."""
        inputs = Input(self._shape)
        x = layers.Conv2D(self._filters, 3, padding="same", activation="relu", name="first")(inputs)
        x = layers.BatchNormalization(name="norm")(x)
        if self._depthwise:
            x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
        shared = layers.Conv2D(self._filters, 3, padding="same", name="shared")
        y = layers.ReLU()(shared(x))
        y = layers.Add()([x, shared(y)]) if self._branches else y
        y = layers.Dropout(0.2)(layers.MaxPool2D(2)(y))
        return Model(inputs, layers.Dense(3, activation="softmax", name="scores")(layers.Flatten()(y)))

    def twin(self) -> Model:
        """A new model with the same weights, which has prepared and cached nothing yet."""
        model = self.another()
        model.set_weights(self.model.get_weights())
        return model

    def check(self) -> None:
        """The model's weights are finite, and its predictions those of a twin, to the bit."""
        for name, parameter in self.model.named_parameters():
            assert np.isfinite(parameter.value).all(), f"{name} is not finite"
        twin = self.twin()
        for x in (self.x, self.x[:2]):
            assert np.array_equal(self.model(x), twin(x)), "model(x) differs from that of a twin"
        mine, other = self.model.predict(self.x, 4, verbose=0), twin.predict(self.x, 4, verbose=0)
        assert np.array_equal(mine, other), "predict differs from that of a twin"


def seed_everything(rng: np.random.Generator) -> None:
    """Weights, dropout and shuffling follow from the case's seed, and the number of threads does."""
    fc.utils.set_random_seed(int(rng.integers(2**32)))
    fc.set_num_threads(int(rng.integers(1, 3)))
