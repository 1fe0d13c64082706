"""Dropout and SpatialDropout2D: what is dropped, when, and how it repeats."""

from __future__ import annotations

import numpy as np
import pytest
from support import both_dtypes, randn

from fastconv import layers
from fastconv.models import Model
from fastconv.random import set_random_seed

SHAPE = (4, 6, 5, 32)


@both_dtypes
@pytest.mark.parametrize("kind", [layers.Dropout, layers.SpatialDropout2D])
@pytest.mark.parametrize("rate", [0.25, 0.6])
def test_dropped_and_scaled(kind, rate, dtype):
    layer = kind(rate, seed=3)
    x = np.abs(randn(np.random.default_rng(0), (64, 5, 4, 16), dtype)) + 1
    y, cache = layer.forward(x, training=True)
    assert y.dtype == dtype
    kept = y != 0
    np.testing.assert_allclose(y[kept], x[kept] / (1 - rate), rtol=1e-6)
    draws = kept if kind is layers.Dropout else kept[:, 0, 0]
    deviation = np.sqrt(rate * (1 - rate) / draws.size)
    assert abs(draws.mean() - (1 - rate)) < 4 * deviation
    if kind is layers.SpatialDropout2D:
        np.testing.assert_array_equal(kept, np.broadcast_to(kept[:, :1, :1], kept.shape))
    dy = randn(np.random.default_rng(1), x.shape, dtype)
    np.testing.assert_allclose(layer.backward(dy, cache), np.where(kept, dy / (1 - rate), 0), rtol=1e-6)


@pytest.mark.parametrize("kind", [layers.Dropout, layers.SpatialDropout2D])
def test_nothing_happens_outside_training_or_with_rate_0(kind):
    x = randn(np.random.default_rng(0), SHAPE, "float32")
    for layer, training in ((kind(0.5), False), (kind(0.0), True)):
        state = layer.random_state.copy()
        y, cache = layer.forward(x, training=training)
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(layer.backward(x, cache), x)
        np.testing.assert_array_equal(layer(x, training=training), x)
        np.testing.assert_array_equal(layer.random_state, state)


def test_every_call_draws_another_mask_and_the_state_repeats_it():
    layer = layers.Dropout(0.5, seed=11)
    x = np.ones(SHAPE, np.float32)
    state = layer.random_state.copy()
    first, second = layer(x, training=True), layer(x, training=True)
    assert (first != second).mean() > 0.4
    layer.random_state[:] = state
    np.testing.assert_array_equal(layer(x, training=True), first)
    np.testing.assert_array_equal(layers.Dropout(0.5, seed=11)(x, training=True), first)
    assert (layers.Dropout(0.5, seed=12)(x, training=True) != first).mean() > 0.4


def test_seeds_come_from_the_process_wide_generator():
    x = np.ones(SHAPE, np.float32)
    set_random_seed(5)
    first = [layers.Dropout(0.5)(x, training=True) for _ in range(2)]
    set_random_seed(5)
    second = [layers.Dropout(0.5)(x, training=True) for _ in range(2)]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != first[1]).any()


def test_a_shared_layer_draws_two_masks_and_backward_knows_both():
    x = layers.Input((6, 5, 32))
    dropout = layers.Dropout(0.5, seed=1)
    model = Model(x, [dropout(x), dropout(x)])
    ones = np.ones(SHAPE, np.float32)
    (a, b), tape = model.forward(ones, training=True)
    assert (a != b).mean() > 0.4
    dx = model.backward([ones, 3 * ones], tape)
    np.testing.assert_allclose(dx, a + 3 * b)
