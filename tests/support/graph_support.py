"""What the tests of graphs share: float64 data, layers and inputs."""

import numpy as np
from support import randn

from fastconv import layers
from fastconv.models import Input

DTYPE = "float64"


def data(*shape, seed=0):
    return randn(np.random.default_rng(seed), shape, DTYPE)


def lay(kind, *arguments, **options):
    return getattr(layers, kind)(*arguments, dtype=DTYPE, **options)


def image(*shape, name=None):
    return Input(shape, dtype=DTYPE, name=name)


class Scale(layers.Layer):
    """The example of the documentation."""

    def build(self, input_shape):
        self.gamma = self.add_weight("gamma", (input_shape[-1],), initializer="ones")

    def forward(self, x, training=False):
        return x * self.gamma.value, (x,)

    def backward(self, dy, cache):
        (x,) = cache
        self.gamma.add_grad((dy * x).sum(axis=(0, 1, 2)))
        return dy * self.gamma.value
