"""Measure max pooling and batch normalisation (training), each pass: `fastconv bench ops`.

They compute little: what counts is the memory they touch, so the unit is gigabytes of inputs and outputs a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastconv import ops
from fastconv.bench.layers import BATCH_NORMS, MAX_POOLS, BatchNormLayer, PoolLayer
from fastconv.bench.rows import Contestant, Measurement, Options, race

PASSES = ("forward", "backward")
LAYERS: dict[str, tuple[PoolLayer | BatchNormLayer, ...]] = {"max_pool": MAX_POOLS, "batch_norm": BATCH_NORMS}
EPSILON = 1e-3
TOLERANCE = 1e-4


def compare(kinds: Iterable[str], passes: Iterable[str], batch: int | None, options: Options) -> Iterator[Measurement]:
    """Measure every shape in every pass; a row as soon as it is there. `batch` replaces the shapes' own."""
    passes = list(passes)
    for kind in kinds:
        for layer in LAYERS[kind]:
            for which in passes:
                if isinstance(layer, PoolLayer):
                    yield _row(_max_pool(layer, which, batch), options)
                else:
                    yield _row(_batch_norm(layer, which, batch), options)


class Case(NamedTuple):
    """One shape and pass; ``theirs(channels_last)`` makes PyTorch's contestant."""

    title: str
    shape: str
    which: str
    nbytes: int
    ours: Contestant
    theirs: Callable[[bool], Contestant]


def _row(case: Case, options: Options) -> Measurement:
    everybody = {"fastconv": case.ours}
    if "torch" in options.peers:
        everybody |= {"torch NCHW": case.theirs(False), "torch NHWC": case.theirs(True)}
    samples, notes = race(everybody, TOLERANCE, options)
    return Measurement(case.title, case.shape, case.which, case.nbytes, "GB/s", samples, case.nbytes, notes=notes)


def _normal(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _nchw(array: np.ndarray, channels_last: bool) -> Any:
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=layout)


def _nhwc(tensor: Any) -> np.ndarray:
    return tensor.permute(0, 2, 3, 1).numpy()


def _max_pool(layer: PoolLayer, which: str, batch: int | None) -> Case:
    shape = (batch or layer.input_shape[0], *layer.input_shape[1:])
    x, geometry = _normal(shape), (layer.pool, layer.stride, layer.padding)
    y, argmax = ops.max_pool2d(x, *geometry)
    dy = _normal(y.shape)

    def forward() -> Any:
        return ops.max_pool2d(x, *geometry)

    def backward() -> Any:
        return ops.max_pool2d_backward(dy, argmax, shape, *geometry)

    def theirs(channels_last: bool) -> Contestant:
        import torch

        aten = torch.ops.aten
        tx, tdy = _nchw(x, channels_last), _nchw(dy, channels_last)
        window = tuple([number, number] for number in geometry)
        if which == "forward":
            return Contestant(lambda: aten.max_pool2d_with_indices(tx, *window), lambda out: {"y": _nhwc(out[0])})
        winners = aten.max_pool2d_with_indices(tx, *window)[1]
        return Contestant(
            lambda: aten.max_pool2d_with_indices_backward(tdy, tx, *window, [1, 1], False, winners),
            lambda dx: {"dx": _nhwc(dx)},
        )

    text = f"{_by(shape)}, {layer.pool}x{layer.pool} / {layer.stride}"
    ours = (
        Contestant(forward, lambda out: {"y": out[0]})
        if which == "forward"
        else Contestant(backward, lambda dx: {"dx": dx})
    )
    return Case(layer.title, text, which, x.nbytes + y.nbytes, ours, theirs)


def _batch_norm(layer: BatchNormLayer, which: str, batch: int | None) -> Case:
    shape = (batch or layer.input_shape[0], *layer.input_shape[1:])
    x, dy = _normal(shape), _normal(shape, seed=1)
    gamma, beta = _normal(shape[-1:], seed=2), _normal(shape[-1:], seed=3)
    _, mean, variance = ops.batch_norm(x, gamma, beta, EPSILON)

    def forward() -> Any:
        return ops.batch_norm(x, gamma, beta, EPSILON)

    def backward() -> Any:
        return ops.batch_norm_backward(dy, x, gamma, mean, variance, EPSILON)

    def theirs(channels_last: bool) -> Contestant:
        import torch

        aten = torch.ops.aten
        tx, tdy = _nchw(x, channels_last), _nchw(dy, channels_last)
        tgamma, tbeta = torch.from_numpy(gamma), torch.from_numpy(beta)

        def training() -> Any:
            return aten.native_batch_norm(tx, tgamma, tbeta, None, None, True, 0.1, EPSILON)

        if which == "forward":
            return Contestant(training, lambda out: {"y": _nhwc(out[0]), "mean": out[1].numpy()})
        _, *statistics = training()
        return Contestant(
            lambda: aten.native_batch_norm_backward(
                tdy, tx, tgamma, None, None, *statistics, True, EPSILON, [True] * 3
            ),
            lambda out: {"dx": _nhwc(out[0]), "dgamma": out[1].numpy(), "dbeta": out[2].numpy()},
        )

    ours = (
        Contestant(forward, lambda out: {"y": out[0], "mean": out[1]})
        if which == "forward"
        else Contestant(backward, lambda out: {"dx": out[0], "dgamma": out[1], "dbeta": out[2]})
    )
    return Case(layer.title, _by(shape), which, x.nbytes * (2 if which == "forward" else 3), ours, theirs)
