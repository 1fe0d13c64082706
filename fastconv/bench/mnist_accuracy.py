"""Test accuracy of the Keras notebook's network on the whole of MNIST: `python -m fastconv.bench.mnist_accuracy`.

Five epochs of 60,000 digits in batches of 64, as in the notebook, for several seeds; the median of their accuracies.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np

import fastconv as fc
from fastconv.bench.mnist_epoch import notebook_model


def accuracy(seed: int, epochs: int) -> float:
    """Train from this seed and return the accuracy on the 10,000 test digits."""
    fc.utils.set_random_seed(seed)
    (x_train, y_train), (x_test, y_test) = fc.datasets.mnist.load_data()
    x_train, x_test = (x[..., np.newaxis].astype(np.float32) / 255 for x in (x_train, x_test))
    model = notebook_model()
    model.fit(x=x_train, y=fc.utils.to_categorical(y_train), batch_size=64, epochs=epochs, verbose=0)
    return float(model.evaluate(x_test, fc.utils.to_categorical(y_test), verbose=0)[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Train, print a line a seed and the median; return 0."""
    parser = argparse.ArgumentParser(prog="python -m fastconv.bench.mnist_accuracy", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs, from seeds 0, 1, ... (%(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="epochs a run (%(default)s)")
    arguments = parser.parse_args(argv)
    results = []
    for seed in range(arguments.seeds):
        started = time.perf_counter()
        results.append(accuracy(seed, arguments.epochs))
        print(f"seed {seed}: test accuracy {results[-1]:.4f}, {time.perf_counter() - started:.0f} s", flush=True)
    print(f"median of {len(results)} seeds after {arguments.epochs} epochs: {statistics.median(results):.4f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
