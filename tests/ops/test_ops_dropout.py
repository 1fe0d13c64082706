"""Dropout: the documented generator to the bit, its statistics, and masks that backward draws again."""

from typing import Any

import numpy as np
import pytest
from support import Array, both_dtypes, both_implementations, randn

from fastconv import ops, reference
from fastconv.reference.dropout import philox4x32

MASK = 0xFFFFFFFF


def philox(words: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 of one block in plain integers, after Salmon et al. 2011."""
    for _ in range(10):
        first, second = 0xD2511F53 * words[0], 0xCD9E8D57 * words[2]
        words = [(second >> 32) ^ words[1] ^ key[0], second & MASK, (first >> 32) ^ words[3] ^ key[1], first & MASK]
        key = [(key[0] + 0x9E3779B9) & MASK, (key[1] + 0xBB67AE85) & MASK]
    return words


def expected_mask(count: int, rate: float, seed: int, counter: int) -> Array:
    words = [philox([e // 4, 0, counter & MASK, counter >> 32], [seed & MASK, seed >> 32])[e % 4] for e in range(count)]
    return np.array(words) >= round(rate * 2**32)


@pytest.mark.parametrize(
    ("words", "key", "expected"),
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([MASK] * 4, [MASK] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_known_answers_of_random123(words: list[int], key: list[int], expected: str) -> None:
    """The vectors published with the Random123 library."""
    assert " ".join(f"{word:08x}" for word in philox(words, key)) == expected
    vectors = tuple(np.array([word], np.uint64) for word in words)
    got = philox4x32(vectors, (key[0], key[1]))  # type: ignore[arg-type]
    assert " ".join(f"{int(word[0]):08x}" for word in got) == expected


@both_implementations
@both_dtypes
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1 - 2**-40])
@pytest.mark.parametrize(("seed", "counter"), [(0, 0), (1, 7), (2**64 - 1, 2**63 + 5), (0xDEADBEEF12345678, 1 << 32)])
def test_the_mask_is_the_documented_one(impl: Any, seed: int, counter: int, rate: float, dtype: str) -> None:
    for shape in [(1,), (3, 5), (2, 3, 4, 7), (5, 33)]:
        x = randn(np.random.default_rng(1), shape, dtype)
        keep = expected_mask(x.size, rate, seed, counter).reshape(shape)
        scaled = x * np.dtype(dtype).type(1 / (1 - rate))
        y = impl.dropout(x, rate, seed, counter)
        assert y.dtype == dtype
        assert np.array_equal(y, np.where(keep, scaled, 0))
        assert np.array_equal(impl.dropout_backward(x, rate, seed, counter), y)


@both_implementations
def test_a_word_equal_to_the_threshold_is_kept(impl: Any) -> None:
    ones = np.ones(70, np.float32)
    for element in (0, 1, 5, 33, 64, 69):
        word = philox([element // 4, 0, 3, 0], [11, 0])[element % 4]
        assert impl.dropout(ones, word / 2**32, 11, 3)[element] != 0
        assert impl.dropout(ones, (word + 1) / 2**32, 11, 3)[element] == 0


@both_implementations
@both_dtypes
def test_spatial_dropout_drops_planes(impl: Any, dtype: str) -> None:
    for channels in (1, 6, 16, 33):
        x = randn(np.random.default_rng(2), (3, 4, 5, channels), dtype)
        keep = expected_mask(3 * channels, 0.4, 11, 13).reshape(3, 1, 1, channels)
        y = impl.spatial_dropout2d(x, 0.4, 11, 13)
        assert np.array_equal(y, np.where(keep, x * np.dtype(dtype).type(1 / 0.6), 0))
        assert np.array_equal(impl.spatial_dropout2d_backward(x, 0.4, 11, 13), y)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.8])
def test_statistics(rate: float) -> None:
    """A quarter of a million draws: the share dropped within five standard deviations, neighbours independent."""
    ones = np.ones(1 << 18, np.float32)
    y = ops.dropout(ones, rate, 3, 4)
    dropped = y == 0
    deviation = np.sqrt(rate * (1 - rate) / ones.size)
    assert abs(dropped.mean() - rate) < 5 * deviation
    assert abs(y.mean() - 1) < 5 * deviation / (1 - rate)
    other = ops.dropout(ones, rate, 3, 5) == 0
    for a, b in [(dropped[1:], dropped[:-1]), (dropped, other)]:
        assert abs((a & b).mean() - rate**2) < 5 * rate / np.sqrt(ones.size)
    assert not np.array_equal(ops.dropout(ones, rate, 4, 4), y)


def test_ops_and_reference_agree_to_the_bit() -> None:
    x = randn(np.random.default_rng(5), (7, 31, 33, 13), "float32")
    assert np.array_equal(ops.dropout(x, 0.37, 99, 1), reference.dropout(x, 0.37, 99, 1))
    assert np.array_equal(ops.spatial_dropout2d(x, 0.37, 99, 1), reference.spatial_dropout2d(x, 0.37, 99, 1))


@both_implementations
def test_dropped_nan_and_inf_are_zero(impl: Any) -> None:
    for value in (np.nan, np.inf):
        x = np.full(35, value, np.float32)
        y = impl.dropout(x, 0.5, 1, 2)
        keep = expected_mask(35, 0.5, 1, 2)
        assert (y[~keep] == 0).all()
        assert not np.isfinite(y[keep]).any()


@both_implementations
def test_zero_batch(impl: Any) -> None:
    x = np.zeros((0, 3, 4, 5), np.float32)
    assert impl.dropout(x, 0.5, 1, 2).shape == x.shape
    assert impl.spatial_dropout2d(x, 0.5, 1, 2).shape == x.shape
