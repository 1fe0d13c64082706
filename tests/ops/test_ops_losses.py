"""softmax_cross_entropy and its gradient against PyTorch."""

from typing import Any

import numpy as np
import pytest
from support import assert_close, both_dtypes, both_implementations, randn
from torch_oracle import F, torch, torch_gradients


@both_implementations
@both_dtypes
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("kind", ["labels", "one-hot", "soft"])
@pytest.mark.parametrize("lead", [(5,), (2, 3), (2, 3, 4)], ids=str)
def test_against_pytorch(impl: Any, lead: tuple[int, ...], kind: str, smoothing: float, dtype: str) -> None:
    for classes in (2, 3, 8, 10, 16, 17, 33, 100):
        rng = np.random.default_rng(classes)
        logits = 4 * randn(rng, (*lead, classes), dtype)
        labels = rng.integers(0, classes, lead)
        rows = np.eye(classes, dtype=dtype)[labels]
        if kind == "soft":
            rows = rng.dirichlet(np.ones(classes), lead).astype(dtype)
        targets = labels if kind == "labels" else rows
        torch_targets = torch.from_numpy(rows.reshape(-1, classes).astype(np.float64))
        scale = randn(rng, lead, dtype)

        def oracle(z: Any, t: Any = torch_targets, lead: Any = lead, classes: int = classes) -> Any:
            loss = F.cross_entropy(z.reshape(-1, classes), t, reduction="none", label_smoothing=smoothing)
            return loss.reshape(lead)

        loss, _, (dlogits,) = torch_gradients(oracle, [logits], scale)
        got, probabilities = impl.softmax_cross_entropy(logits, targets, smoothing)
        assert_close(got, loss, dtype)
        wide = torch.from_numpy(logits.astype(np.float64))
        assert_close(probabilities, F.softmax(wide, dim=-1).numpy(), dtype)
        weighted, _ = impl.softmax_cross_entropy(logits, targets, smoothing, sample_weight=scale)
        assert_close(weighted, loss * scale, dtype)
        assert_close(impl.softmax_cross_entropy_backward(probabilities, targets, scale, smoothing), dlogits, dtype)
        mean = impl.softmax_cross_entropy_backward(probabilities, targets, 0.25, smoothing)
        ones = impl.softmax_cross_entropy_backward(probabilities, targets, np.ones(lead, dtype), smoothing)
        assert_close(mean, 0.25 * ones.astype(np.float64), dtype)


@both_implementations
@pytest.mark.parametrize("label_type", ["int8", "uint8", "int32", "uint32", "int64"])
def test_every_integer_type_of_labels(impl: Any, label_type: str) -> None:
    logits = randn(np.random.default_rng(1), (4, 5), "float64")
    labels = np.array([4, 0, 2, 3])
    want, probabilities = impl.softmax_cross_entropy(logits, labels)
    got, _ = impl.softmax_cross_entropy(logits, labels.astype(label_type))
    assert np.array_equal(got, want)
    dlogits = impl.softmax_cross_entropy_backward(probabilities, labels.astype(label_type), 1.0)
    assert np.array_equal(dlogits, impl.softmax_cross_entropy_backward(probabilities, labels, 1.0))


@both_implementations
@both_dtypes
def test_stable_for_huge_logits(impl: Any, dtype: str) -> None:
    """Taking the logarithm of the softmax would give infinity here."""
    logits = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4], [0, -np.inf, 3]], dtype)
    loss, probabilities = impl.softmax_cross_entropy(logits, np.array([2, 1, 2]))
    assert_close(loss, np.array([2e4, np.log(3), np.log1p(np.exp(-3))]), dtype)
    assert_close(probabilities[1], np.full(3, 1 / 3), dtype)
    assert probabilities[2, 1] == 0
    assert np.isfinite(impl.softmax_cross_entropy_backward(probabilities, np.array([2, 1, 2]), 1.0)).all()
    assert impl.softmax_cross_entropy(logits[:1], np.eye(3, dtype=dtype)[:1])[0] == 0
    rows, _ = impl.softmax_cross_entropy(logits, np.eye(3, dtype=dtype)[[2, 1, 2]])
    assert_close(rows, loss.astype(np.float64), dtype)  # a target of 0 makes nothing of the infinite term


@both_implementations
def test_nan_spoils_its_own_sample_only(impl: Any) -> None:
    for classes in (2, 9, 16, 33):
        for lane in range(classes):
            logits = randn(np.random.default_rng(2), (3, classes), "float32")
            logits[1, lane] = np.nan
            loss, probabilities = impl.softmax_cross_entropy(logits, np.array([0, 1, 1]))
            assert np.array_equal(np.isnan(loss), [False, True, False])
            assert np.array_equal(np.isnan(probabilities).all(axis=1), [False, True, False])


@both_implementations
def test_zero_batch(impl: Any) -> None:
    loss, probabilities = impl.softmax_cross_entropy(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    assert loss.shape == (0,)
    assert probabilities.shape == (0, 4)
    dlogits = impl.softmax_cross_entropy_backward(probabilities, np.zeros(0, np.int64), 1.0)
    assert dlogits.shape == (0, 4)
