"""What a layer call costs beyond its kernels: `python -m fastconv.bench.overhead`.

Every kind of layer on an array of 1 x 4 x 4 x 4 values, so that what is measured is Python. Microseconds of processor
time of `layer(x)` and of `forward` and `backward` in training; then the same less the layer's kernels, called bare with
arrays that are there already.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastconv as fc
from fastconv import _kernels, layers

Run = Callable[[], object]


def _array(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


X = _array(1, 4, 4, 4)

#: name -> a layer and what it is called with
CASES: dict[str, Callable[[], tuple[Any, list[np.ndarray]]]] = {
    "Conv2D": lambda: (layers.Conv2D(4, 3, padding="same", activation="relu"), [X]),
    "Dense": lambda: (layers.Dense(4, activation="relu"), [X.reshape(16, 4)]),
    "MaxPool2D": lambda: (layers.MaxPool2D(2), [X]),
    "AvgPool2D": lambda: (layers.AvgPool2D(2), [X]),
    "BatchNormalization": lambda: (layers.BatchNormalization(), [X]),
    "Activation": lambda: (layers.Activation("relu"), [X]),
    "Flatten": lambda: (layers.Flatten(), [X]),
    "Dropout": lambda: (layers.Dropout(0.5), [X]),
    "Add": lambda: (layers.Add(), [X, X]),
    "Concatenate": lambda: (layers.Concatenate(), [X, X]),
}


def microseconds(run: Run, calls: int) -> float:
    """The processor time of a call, the least of seven turns."""
    run()
    times = []
    for _ in range(7):
        started = time.process_time()
        for _ in range(calls):
            run()
        times.append(time.process_time() - started)
    return 1e6 * min(times) / calls


def kernels_of(run: Run) -> list[Run]:
    """The calls of the binding that ``run`` makes, but for those that allocate."""
    calls: list[Run] = []
    names = [n for n in dir(_kernels) if type(getattr(_kernels, n)).__name__ == "cython_function_or_method"]
    originals = {name: getattr(_kernels, name) for name in names if name not in ("empty", "zeros", "is_plain")}

    def recorder(function: Callable[..., object]) -> Callable[..., object]:
        def recorded(*arguments: Any) -> object:
            calls.append(lambda: function(*arguments))
            return function(*arguments)

        return recorded

    for name, function in originals.items():
        setattr(_kernels, name, recorder(function))
    try:
        run()
    finally:
        for name, function in originals.items():
            setattr(_kernels, name, function)
    return calls


def measure(name: str, calls: int) -> list[tuple[float, float]]:
    """(microseconds, the same less the kernels) of `layer(x)`, forward and backward."""
    layer, inputs = CASES[name]()
    whole = inputs[0] if len(inputs) == 1 else inputs
    layer(whole)
    dy, cache = layer.forward(*inputs, training=True)
    parameters = layer.parameters

    def backward() -> None:
        for parameter in parameters:
            parameter.zero_grad()
        layer.backward(dy, cache)

    runs: tuple[Run, ...] = (lambda: layer(whole), lambda: layer.forward(*inputs, training=True), backward)
    results = []
    for run in runs:
        total = microseconds(run, calls)
        results.append((total, total - sum(microseconds(kernel, calls) for kernel in kernels_of(run))))
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table; return 0."""
    parser = argparse.ArgumentParser(prog="python -m fastconv.bench.overhead", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000, help="a turn (%(default)s)")
    arguments = parser.parse_args(argv)
    fc.set_num_threads(1)
    print(f"{'microseconds':20}{'layer(x)':>16}{'forward':>16}{'backward':>16}   (less kernels)")
    for name in CASES:
        row = "".join(f"{total:8.1f} {f'({beyond:.1f})':>7}" for total, beyond in measure(name, arguments.calls))
        print(f"{name:20}{row}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
