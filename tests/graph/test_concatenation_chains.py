"""Chains of concatenations (DenseNet's blocks) copy every channel once, with the same results."""

from typing import Any

import numpy as np
import pytest

import fastconv as fc
from fastconv import layers, ops
from fastconv.graph.execution import Plan


def dense_block(normalise: bool = True) -> fc.Model:
    """Four steps, one of them without batch norm before it, then a transition."""
    x = y = fc.Input((6, 5, 7))
    for i in range(4):
        z = layers.BatchNormalization()(y) if normalise else y
        z = layers.Conv2D(3 + i, 3, padding="same", use_bias=False)(layers.ReLU()(z))
        y = layers.Concatenate()([y, z])
    y = layers.AvgPool2D(2)(layers.ReLU()(layers.BatchNormalization()(y)))
    return fc.Model(x, layers.Dense(4)(layers.Flatten()(y)))


def branches() -> fc.Model:
    """A tensor that begins two others, outputs in the middle, the chain's start as a second part."""
    x = fc.Input((4, 3, 5))
    a = layers.Concatenate()([layers.Conv2D(4, 1)(x), x])
    b = layers.Concatenate()([a, layers.Conv2D(2, 3, padding="same")(a)])
    c = layers.Concatenate()([a, layers.Conv2D(6, 3, padding="same")(b)])
    d = layers.Concatenate()([b, c, a])
    return fc.Model(x, [layers.ReLU()(d), b, layers.GlobalAvgPool2D()(c)])


def run(model: fc.Model, x: np.ndarray, fused: bool, training: bool) -> tuple[list[Any], Any, list[Any]]:
    """Outputs, dx, gradients of the weights."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([np.asarray(w) for w in layer.get_weights()])
    plan = Plan(model.graph, fused=fused)
    for p in model.parameters:
        p.zero_grad()
    outputs, tape = plan.forward([x], training, True)
    dys = [np.random.default_rng(i).standard_normal(y.shape).astype(x.dtype) for i, y in enumerate(outputs)]
    (dx,) = plan.backward(dys, tape, True, False)
    return outputs, dx, [p.grad.copy() for p in model.parameters if p.trainable]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("build", [dense_block, lambda: dense_block(False), branches])
def test_same_as_one_by_one(build: Any, training: bool) -> None:
    fc.utils.set_random_seed(0)
    model = build()
    x = np.random.default_rng(0).standard_normal((3, *model.input_shape[1:]), dtype=np.float32)
    before = [w.copy() for w in model.get_weights()]
    alone = run(model, x, False, training)
    model.set_weights(before)
    chained = run(model, x, True, training)
    for one, other in zip((*alone[0], alone[1], *alone[2]), (*chained[0], chained[1], *chained[2]), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def test_gradients() -> None:
    fc.utils.set_random_seed(0)
    assert fc.testing.gradcheck(branches(), seed=1).passed


def test_every_channel_is_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []
    original = ops.merging._kernels.copy_rows
    monkeypatch.setattr(ops.merging._kernels, "copy_rows", lambda *a: copied.append(a[-1]) or original(*a))
    model = dense_block()
    copied.clear()
    model.predict_on_batch(np.zeros((2, 6, 5, 7), np.float32))
    assert sum(copied) == 7 + 3 + 4 + 5 + 6


@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 3), (1, 1, 1, 6), (3, 1, 1, 4), (1, 2, 1, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_norm_and_add_read_part_of_a_wider_array(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    for channels in (1, 3, 16, 33, 300):
        wide = rng.standard_normal((*shape[:-1], channels + 9)).astype(dtype)
        x, dy = wide[..., :channels], rng.standard_normal((*shape[:-1], channels)).astype(dtype)
        gamma, beta = rng.standard_normal((2, channels)).astype(dtype)
        plain = x.copy()
        for got, want in zip(ops.batch_norm(x, gamma, beta), ops.batch_norm(plain, gamma, beta), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
        _, mean, variance = ops.batch_norm(plain, gamma, beta)
        arguments = (gamma, mean, variance, 1e-3, "relu", beta)
        for got, want in zip(
            ops.batch_norm_backward(dy, x, *arguments), ops.batch_norm_backward(dy, plain, *arguments), strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
        got = ops.batch_norm_inference(x, gamma, beta, mean, variance)
        np.testing.assert_allclose(
            got, ops.batch_norm_inference(plain, gamma, beta, mean, variance), rtol=1e-5, atol=1e-6
        )
        assert np.array_equal(ops.add(x, dy), plain + dy)
        assert np.array_equal(ops.add(dy, x), dy + plain)
        assert np.array_equal(ops.add(x, x), plain + plain)
