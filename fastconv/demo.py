"""LeNet-5 on handwritten digits, from data to pictures: `make demo`, `fastconv demo` or `python -m fastconv.demo`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import fastconv as fc  # its modules are loaded when the demo runs: the command line asks for its arguments alone

from .command import positive, run_command

HELP = "train LeNet-5 on the embedded digits and draw what it learned"
EPOCHS = 12
BATCH_SIZE = 32


def load_digits() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The embedded digits, ready for training: pixels float32 from 0 to 1, shape (N, 28, 28, 1); labels (N,)."""
    (x_train, y_train), (x_test, y_test) = fc.datasets.mnist_mini.load_data()
    x_train, x_test = (x[..., np.newaxis].astype(np.float32) / 255 for x in (x_train, x_test))
    return (x_train, y_train), (x_test, y_test)


def train(model: fc.models.Model, epochs: int = EPOCHS) -> fc.callbacks.History:
    """Train on the embedded digits; the test digits are watched for the curves and decide nothing.

    Label smoothing (Szegedy et al., 2016) asks for 91 % instead of certainty, which helps with few digits; the loss
    then cannot fall below 0.50, the entropy of what it asks for.
    """
    (x_train, y_train), test = load_digits()
    steps = epochs * -(-len(x_train) // BATCH_SIZE)
    rate = fc.optimizers.schedules.CosineDecay(2e-3, steps)
    loss = fc.losses.SparseCategoricalCrossentropy(label_smoothing=0.1)
    model.compile(fc.optimizers.Adam(rate), loss=loss, metrics=["accuracy"])
    return model.fit(x_train, y_train, batch_size=BATCH_SIZE, epochs=epochs, validation_data=test)


def save_pictures(model: fc.models.Model, history: fc.callbacks.History, output: Path) -> list[Path]:
    """Write curves, filters, feature maps, wrong predictions and the confusion matrix; return their paths."""
    _, (x_test, y_test) = load_digits()
    predictions = model.predict(x_test, verbose=0)
    first = next(layer for layer in model.layers if isinstance(layer, fc.layers.Conv2D))
    figures = {
        "curves.png": fc.visualization.plot_history(history),
        "first_filters.png": fc.visualization.plot_filters(first),
        "feature_maps.png": fc.visualization.plot_feature_maps(model, x_test[0]),
        "wrong_predictions.png": fc.visualization.plot_predictions(x_test, y_test, predictions, only_wrong=True),
        "confusion_matrix.png": fc.visualization.plot_confusion_matrix(y_test, predictions),
    }
    for name, figure in figures.items():
        figure.savefig(output / name, dpi=120)
    return [output / name for name in figures]


def run(output: Path, epochs: int = EPOCHS, seed: int = 0) -> float:
    """Train LeNet-5, print what happens, write pictures and `lenet.safetensors` to a folder; return the test accuracy.

    Args:
        output: a folder; made when missing.
        epochs: passes through the 5,000 training digits.
        seed: of the initial weights and the order of the digits.
    """
    output.mkdir(parents=True, exist_ok=True)
    fc.utils.set_random_seed(seed)
    model = fc.applications.LeNet5()
    model.summary()
    started = time.perf_counter()
    history = train(model, epochs)
    print(f"trained in {time.perf_counter() - started:.1f} s")
    _, (x_test, y_test) = load_digits()
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"test accuracy: {accuracy:.4f}")
    written = save_pictures(model, history, output)
    model.save(output / "lenet.safetensors")
    print(f"{output}/: {', '.join(path.name for path in written)}, lenet.safetensors")
    print("The targets were smoothed (label_smoothing=0.1), so the loss cannot fall below 0.50.")
    print(f'Go on with the model: fastconv.models.load_model("{output}/lenet.safetensors")')
    return accuracy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's arguments, and what runs it, to the parser of a command."""
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder to write to (%(default)s)")
    parser.add_argument("--epochs", type=positive, default=EPOCHS, help="passes through the digits (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights (%(default)s)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    run(arguments.output, arguments.epochs, arguments.seed)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo with arguments of the command line (by default those of the process); return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fastconv.demo", description=HELP)
    add_arguments(parser)
    return run_command(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
