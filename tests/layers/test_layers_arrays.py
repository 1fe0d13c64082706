"""Every layer on awkward data: no samples at all, any memory layout, read-only arrays, NaN."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from layer_cases import IMAGE, LAYERS
from support import awkward_arrays, randn

from fastconv import layers
from fastconv.graph.architecture import deserialize_layer, serialize_layer

every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)

#: Layers for whose output any shape will do; a model checks dy for these.
ANY_SHAPE = (
    layers.Dropout, layers.SpatialDropout2D, layers.Rescaling, layers.ZeroPadding2D, layers.Cropping2D, layers.Flatten,
    layers.Reshape,
)  # fmt: skip
PARTICULAR = [layer for layer in LAYERS if not isinstance(layer, ANY_SHAPE)]


def fresh(layer):
    """A copy with weights of its own, for inputs of IMAGE."""
    copy = deserialize_layer(serialize_layer(layer))
    copy(layers.Input(IMAGE))
    return copy


def run(layer, x, dy=None, training=False):
    """Output, dx and weight gradients; a dropout layer draws the same mask every time."""
    if layer.random_state is not None:
        layer.random_state[1] = 0
    for parameter in layer.parameters:
        parameter.zero_grad()
    y, cache = layer.forward(x, training=training)
    return y, layer.backward(np.cos(y) if dy is None else dy, cache), [p.grad for p in layer.trainable_weights]


@every_layer
def test_zero_batch(layer):
    layer = fresh(layer)
    before = layer.get_weights()
    y, dx, gradients = run(layer, np.empty((0, *IMAGE), np.float32), training=True)
    assert y.shape == (0, *layer.output.shape[1:])
    assert y.dtype == dx.dtype == np.float32
    assert dx.shape == (0, *IMAGE)
    for gradient, parameter in zip(gradients, layer.trainable_weights, strict=True):
        np.testing.assert_array_equal(gradient, np.zeros(parameter.shape))
    for now, then in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@every_layer
@pytest.mark.parametrize("training", [False, True])
def test_memory_layouts(layer, training):
    """x and dy in every layout give what contiguous arrays give, and are not written to."""
    layer = fresh(layer)
    if layers.BatchNormalization is type(layer):
        layer.momentum = 1.0  # its averages shall stay where they are
    rng = np.random.default_rng(0)
    x = randn(rng, (2, *IMAGE), "float32")
    dy = randn(rng, layer(x).shape, "float32")
    want = run(layer, x, dy, training)
    for (name, odd_x), (_, odd_dy) in zip(awkward_arrays(x), awkward_arrays(dy), strict=True):
        if name in ("broadcast", "big-endian"):  # another value; converted where data enters a model
            continue
        saved = odd_x.copy(), odd_dy.copy()
        y, dx, gradients = run(layer, odd_x, odd_dy, training)
        for got, expected in zip([y, dx, *gradients], [want[0], want[1], *want[2]], strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(odd_x, saved[0])
        np.testing.assert_array_equal(odd_dy, saved[1])


@every_layer
def test_read_only_caches_and_inputs(layer):
    layer = fresh(layer)
    x = randn(np.random.default_rng(0), (2, *IMAGE), "float32")
    x.flags.writeable = False
    y, cache = layer.forward(x, training=True)
    for array in [y, *(cache if isinstance(cache, tuple) else (cache,))]:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    given = [
        array for array in (x, y, *(cache if isinstance(cache, tuple) else (cache,))) if isinstance(array, np.ndarray)
    ]
    before = [array.copy() for array in given]
    layer.backward(y, cache)
    for array, values in zip(given, before, strict=True):  # C could write in spite of the flag
        np.testing.assert_array_equal(array, values)


@pytest.mark.parametrize("layer", PARTICULAR, ids=lambda layer: type(layer).__name__)
def test_backward_with_another_shape_or_dtype(layer):
    """No layer reads beyond a dy that does not belong to its output."""
    layer = fresh(layer)
    x = randn(np.random.default_rng(0), (2, *IMAGE), "float32")
    y, cache = layer.forward(x, training=True)
    with pytest.raises(ValueError):
        layer.backward(np.concatenate([y, y], axis=1)[:, :-1] if y.shape[1] > 1 else np.concatenate([y, y]), cache)


def test_one_value_per_channel_warns_and_gives_beta():
    layer = layers.BatchNormalization(beta_initializer="ones")
    with pytest.warns(RuntimeWarning, match="one value per channel"):
        y = layer(np.full((1, 1, 1, 3), 7, np.float32), training=True)
    np.testing.assert_array_equal(y, np.ones((1, 1, 1, 3)))


def test_nan_propagates_through_a_network():
    x = randn(np.random.default_rng(0), (2, *IMAGE), "float32")
    x[1, 3, 4, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for layer in (
            layers.Conv2D(33, 3, padding="same"),
            layers.MaxPool2D(),
            layers.ReLU(),
            layers.GlobalAvgPool2D(),
        ):
            y = layer(x)
            assert np.isnan(y[1]).any()
            assert not np.isnan(y[0]).any()
