"""The figures of the README, measured: `make bench` or `fastconv bench summary`, a Markdown table."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fastconv.bench import conv, gemm, layers, mnist_epoch, nets, networks, ops
from fastconv.bench.report import geometric_mean, number, words
from fastconv.bench.rows import DisagreementError, Measurement, Options


@dataclass(frozen=True)
class Figure:
    """A line of the table; ``ratio`` above 1: fastconv is faster."""

    what: str
    ours: str
    peer: str
    ratio: float


def measure_all(quick: bool = False) -> list[Figure]:
    """Every figure; `quick` only shows that everything runs: tiny batches, one round.

    Raises:
        UsageError: PyTorch is not installed. DisagreementError: a peer computes something else.
    """
    if "torch" not in _installed():
        raise layers.UsageError("the figures are ratios to PyTorch, which is not installed: pip install torch==2.13.0")
    options = Options(rounds=1, turn=0.001, pause=0.0) if quick else Options()
    batch = 1 if quick else None
    steps = (_convolutions, _depthwise, _memory_bound, _networks)
    figures: list[Figure] = []
    for step in steps:
        found = step(options, batch)
        figures += found
        for figure in found:
            print(f"{figure.what}: {figure.ratio:.2f}", file=sys.stderr)
    return [*figures, _epoch(quick), *_products(quick)]


def _installed() -> list[str]:
    from fastconv.bench.peers import installed

    return installed(["torch"])[0]


def _rows(layer_set: str, options: Options, batch: int | None) -> list[Measurement]:
    found = [layer.with_batch(batch) for layer in networks.find(layer_set)]
    rows = list(conv.compare(found, ("forward", "backward"), options))
    _check(rows)
    return rows


def _check(rows: Iterable[Measurement]) -> None:
    for row in rows:
        if row.wrong:
            raise DisagreementError(f"{row.title}, {words(row.which)}: {'; '.join(row.wrong)}")


def _ratios(rows: Iterable[Measurement]) -> list[float]:
    return [row.ratio for row in rows if row.ratio is not None]


def _mean(what: str, rows: Sequence[Measurement]) -> Figure:
    ratios = _ratios(rows)
    return Figure(f"{what} (slowest: {min(ratios):.2f})", "", "", geometric_mean(ratios))


def _one(what: str, row: Measurement) -> Figure:
    best = row.fastest("torch")
    assert best is not None
    assert row.ratio is not None
    unit = f" {row.unit}"
    return Figure(what, number(row.rate()) + unit, number(row.rate(best)) + unit, row.ratio)


def _convolutions(options: Options, batch: int | None) -> list[Figure]:
    rows = _rows("typical", options, batch)
    square = [row for row in rows if row.layer and layers.is_3x3(row.layer)]
    found = []
    for which in ("forward", "backward"):
        some, nine = ([row for row in group if row.which == which] for group in (rows, square))
        found.append(_mean(f"{which}, geometric mean of {len(some)} layers", some))
        found.append(_mean(f"{which}, the {len(nine)} layers 3 x 3 stride 1", nine))
    by_title = {(row.title, row.which): row for row in rows}
    found.append(_one("forward, AlexNet's conv2 (5 x 5)", by_title["alexnet conv2", "forward"]))
    found.append(_one("forward, AlexNet's conv1 (11 x 11, stride 4)", by_title["alexnet conv1", "forward"]))
    slowest = min(rows, key=lambda row: row.ratio or 0)
    found.append(_one(f"the slowest of these: {slowest.title}, {slowest.which}", slowest))
    return found


def _depthwise(options: Options, batch: int | None) -> list[Figure]:
    rows = _rows("depthwise", options, batch)
    found = []
    for which in ("forward", "backward"):
        some = [row for row in rows if row.which == which]
        found.append(_mean(f"depthwise layers of MobileNet, {which}, geometric mean of {len(some)}", some))
    return found


def _memory_bound(options: Options, batch: int | None) -> list[Figure]:
    found = []
    for kind, name in (("max_pool", "max pool"), ("batch_norm", "batch norm in training")):
        for which in ops.PASSES:
            rows = list(ops.compare([kind], [which], batch, options))
            _check(rows)
            found.append(_mean(f"{name}, {which}, geometric mean of {len(rows)}", rows))
    return found


def _networks(options: Options, batch: int | None) -> list[Figure]:
    row = nets.measure_network(nets.WORKLOADS["lenet5"], "train", batch or 64, options)
    _check([row])
    return [_one("a training step of LeNet-5, batch 64", row)]


def _epoch(quick: bool) -> Figure:
    images, batch_size, rounds = (64, 8, 1) if quick else (60_000, 64, 3)
    seconds = mnist_epoch.epochs(images, batch_size, rounds)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    best = min(median for name, median in medians.items() if name != "fastconv")
    what = f"an epoch of the Keras MNIST notebook's network ({images:,} digits, batches of {batch_size})"
    return Figure(what, f"{medians['fastconv']:.1f} s", f"{best:.1f} s", best / medians["fastconv"])


def _products(quick: bool) -> list[Figure]:
    shapes, rounds, work = (((64, 64, 64),), 1, 1e6) if quick else (gemm.SHAPES, 5, 2e10)
    found = []
    for m, k, n in shapes:
        ours, theirs = gemm.compare(m, k, n, rounds, work)
        what = f"matrix product {m} x {k} x {n} (peer: NumPy's BLAS)"
        found.append(Figure(what, f"{ours:.0f} GFLOP/s", f"{theirs:.0f} GFLOP/s", ours / theirs))
    return found


def markdown(figures: Iterable[Figure]) -> str:
    """The table of the README."""
    lines = ["| what | fastconv | PyTorch, faster layout | ratio |", "|---|---|---|---|"]
    lines += [f"| {figure.what} | {figure.ours} | {figure.peer} | {figure.ratio:.2f} |" for figure in figures]
    return "\n".join(lines)
