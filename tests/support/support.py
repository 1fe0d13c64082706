"""What the tests of the ops share: seeded random geometries and data, tolerances, awkward arrays. NumPy only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pytest

from fastconv import _kernels, ops, reference
from fastconv.ops.convolution import plan

Array = np.ndarray[Any, Any]

#: Largest error allowed, relative to the largest magnitude of the expected array.
TOLERANCE = {"float64": 1e-10, "float32": 3e-5}
#: From one channel to twice the widest vector (16 float32 lanes) and one more: every tail length.
TAIL_CHANNELS = range(1, 34)

#: Algorithms that want groups refuse all else.
FOR_GROUPS = ("depthwise", "grouped")
WINOGRAD = ("winograd", "winograd_2x2", "winograd_6x6")

both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
both_implementations = pytest.mark.parametrize("impl", [ops, reference], ids=["ops", "reference"])


def assert_close(got: Array, want: Array, dtype: str, what: str = "") -> None:
    """``got`` has dtype and shape, and differs from ``want`` by at most ``TOLERANCE`` of want's magnitude."""
    assert isinstance(got, np.ndarray), f"{what}: {type(got)}"
    assert got.dtype == dtype, f"{what}: {got.dtype}, expected {dtype}"
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    if want.size == 0:
        return
    error = np.abs(got.astype(np.float64) - want)
    bound = TOLERANCE[dtype] * max(float(np.abs(want).max()), 1e-3)
    assert error.max() <= bound, (
        f"{what}: {error.max():.3g} > {bound:.3g} at {np.unravel_index(error.argmax(), error.shape)}"
    )


def randn(rng: np.random.Generator, shape: Sequence[int], dtype: str) -> Array:
    """Normal values; the way to make data everywhere, so that float32 and float64 see the same numbers."""
    return rng.standard_normal(tuple(shape)).astype(dtype)


def integers(rng: np.random.Generator, shape: Sequence[int], dtype: str) -> Array:
    """Integers of -4 ... 4: sums of a few thousand of their products are exact in any order, even in float32."""
    return rng.integers(-4, 5, tuple(shape)).astype(dtype)


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """TensorFlow's documented rule for "SAME", on one axis."""
    total = max(window - stride, 0) if size % stride == 0 else max(window - size % stride, 0)
    return total // 2, total - total // 2


def pads_of(padding: Any, size: Sequence[int], window: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """[(top, bottom), (left, right)] of any padding."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":
        return [same_padding(n, k, s) for n, k, s in zip(size, window, strides, strict=True)]
    if isinstance(padding, int):
        padding = (padding, padding)
    return [(p, p) if isinstance(p, int) else tuple(p) for p in padding]


@dataclass(frozen=True)
class ConvCase:
    """One geometry of a convolution."""

    batch: int
    size: tuple[int, int]
    channels: int
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Any = "valid"
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __str__(self) -> str:
        return ",".join(f"{key[0]}={value}" for key, value in asdict(self).items()).replace(" ", "")

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation,
            "groups": self.groups,
        }

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return (self.batch, *self.size, self.channels)

    @property
    def window(self) -> tuple[int, int]:
        return (self.kernel[0] - 1) * self.dilation[0] + 1, (self.kernel[1] - 1) * self.dilation[1] + 1

    @property
    def algorithms(self) -> list[str]:
        """Those that serve all three passes; the others refuse."""
        kernel_shape = (*self.kernel, self.channels // self.groups, self.filters)
        numbers = plan(self.input_shape, kernel_shape, **self.arguments).geometry
        names = ops.conv2d_algorithms()
        return [a for a in names if a == "auto" or not any(_kernels.conv2d_refusal(numbers, i, a) for i in range(3))]

    def arrays(self, make: Any, seed: int, dtype: str) -> tuple[Array, Array, Array]:
        """x, kernel, bias from ``make(rng, shape, dtype)``."""
        rng = np.random.default_rng(seed)
        kernel_shape = (*self.kernel, self.channels // self.groups, self.filters)
        return make(rng, self.input_shape, dtype), make(rng, kernel_shape, dtype), make(rng, (self.filters,), dtype)


def random_padding(rng: np.random.Generator, limit: Sequence[int]) -> Any:
    """One of the five spellings; numbers up to ``limit`` (height, width)."""
    kind = rng.integers(5)
    values = [int(rng.integers(0, limit[axis] + 1)) for axis in (0, 0, 1, 1)]
    spellings = ["valid", "same", min(values), (values[0], values[2]), ((values[0], values[1]), (values[2], values[3]))]
    return spellings[kind]


def random_conv_case(rng: np.random.Generator) -> ConvCase:
    """Non-square everything; a kernel that fits; padding sometimes wider than the kernel; groups up to depthwise."""
    kernel = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    strides = (int(rng.integers(1, 5)), int(rng.integers(1, 5))) if rng.random() < 0.6 else (1, 1)
    dilation = (int(rng.integers(1, 4)), int(rng.integers(1, 4))) if rng.random() < 0.3 else (1, 1)
    padding = random_padding(rng, (kernel[0] + 1, kernel[1] + 1))
    case = ConvCase(int(rng.integers(1, 4)), (99, 99), 1, 1, kernel, strides, padding, dilation)
    smallest = [
        1 if padding == "same" else max(1, k - sum(p))
        for k, p in zip(case.window, pads_of(padding, (99, 99), case.window, strides), strict=True)
    ]
    size = (smallest[0] + int(rng.integers(0, 10)), smallest[1] + int(rng.integers(0, 10)))
    kind = rng.random()
    if kind < 0.6:
        groups, channels, filters = 1, int(rng.integers(1, 34)), int(rng.integers(1, 34))
    elif kind < 0.8:
        groups = int(rng.integers(2, 5))
        channels, filters = groups * int(rng.integers(1, 9)), groups * int(rng.integers(1, 9))
    else:
        channels = groups = int(rng.integers(1, 34))
        filters = channels * int(rng.integers(1, 4))
    return ConvCase(case.batch, size, channels, filters, kernel, strides, padding, dilation, groups)


def random_conv_cases(count: int, seed: int) -> list[ConvCase]:
    rng = np.random.default_rng(seed)
    return [random_conv_case(rng) for _ in range(count)]


@dataclass(frozen=True)
class PoolCase:
    """One geometry of pooling."""

    batch: int
    size: tuple[int, int]
    channels: int
    pool: tuple[int, int]
    strides: tuple[int, int] | None
    padding: Any
    ceil_mode: bool

    def __str__(self) -> str:
        return ",".join(f"{key[0:2]}={value}" for key, value in asdict(self).items()).replace(" ", "")

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return (self.batch, *self.size, self.channels)

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "pool_size": self.pool,
            "strides": self.strides,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
        }

    def symmetric_padding(self) -> tuple[int, int] | None:
        """(h, w) where PyTorch, which pads both sides alike, can express this case, else None."""
        pads = pads_of(self.padding, self.size, self.pool, self.strides or self.pool)
        return (pads[0][0], pads[1][0]) if all(before == after for before, after in pads) else None


def random_pool_case(rng: np.random.Generator) -> PoolCase:
    """Overlapping and gapped windows, every padding spelling up to half the pool, ceil_mode both ways."""
    pool = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    strides = None if rng.random() < 0.2 else (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
    padding = random_padding(rng, (pool[0] // 2, pool[1] // 2))
    size = (pool[0] + int(rng.integers(0, 10)), pool[1] + int(rng.integers(0, 10)))
    return PoolCase(
        int(rng.integers(1, 4)), size, int(rng.integers(1, 34)), pool, strides, padding, bool(rng.integers(2))
    )


def random_pool_cases(count: int, seed: int) -> list[PoolCase]:
    rng = np.random.default_rng(seed)
    return [random_pool_case(rng) for _ in range(count)]


def awkward_arrays(a: Array) -> Iterator[tuple[str, Array]]:
    """The memory layouts that an op must accept. All but the broadcast one hold the values of ``a``."""
    strided = np.empty((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)[..., ::2]
    strided[...] = a
    yield "strided", strided
    yield "negative stride", a[::-1].copy()[::-1]
    yield "Fortran order", np.asfortranarray(a)
    yield "big-endian", a.astype(a.dtype.newbyteorder(">"))
    read_only = a.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only
    raw = np.empty(a.nbytes + 1, np.uint8)[1:]
    unaligned = raw.view(a.dtype).reshape(a.shape)
    unaligned[...] = a
    yield "unaligned", unaligned
    yield "broadcast", np.broadcast_to(a[:1], a.shape)


def contiguous(a: Array) -> Array:
    """A fresh, native, C-contiguous copy."""
    return np.array(a, dtype=a.dtype.newbyteorder("="), order="C", copy=True)
