"""One epoch of a small Keras network, fastconv against PyTorch: `python -m fastconv.bench.mnist_epoch`.

The network of the Keras notebook: three 3 x 3 convolutions (32, 64, 64 filters) with two max pools, two dense layers,
RMSprop, batches of 64 out of 60,000 digits (the 5,000 embedded ones, twelve times). Everybody gets the same number of
threads; the contestants take turns in one process, so that a slow minute of the machine hits all of them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence

import numpy as np

import fastconv as fc
from fastconv import layers, models
from fastconv.bench.timing import take_turns

PARAMETERS = 93_322


def digits(images: int) -> tuple[np.ndarray, np.ndarray]:
    """`images` digits as training takes them: (N, 28, 28, 1) float32 from 0 to 1, integer labels (N,)."""
    (x, y), _ = fc.datasets.mnist_mini.load_data()
    index = np.arange(images) % len(x)
    return x[index, :, :, np.newaxis].astype(np.float32) / 255, y[index].astype(np.int64)


def notebook_model() -> fc.Sequential:
    """The network of the Keras notebook, in its words and compiled as there; labels are one-hot."""
    model = models.Sequential()
    model.add(layers.Conv2D(filters=32, kernel_size=(3, 3), activation="relu", input_shape=(28, 28, 1)))
    model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Conv2D(filters=64, kernel_size=(3, 3), activation="relu"))
    model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Conv2D(filters=64, kernel_size=(3, 3), activation="relu"))
    model.add(layers.Flatten())
    model.add(layers.Dense(units=64, activation="relu"))
    model.add(layers.Dense(units=10, activation="softmax"))
    assert model.count_params() == PARAMETERS
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def fastconv_epoch(x: np.ndarray, y: np.ndarray, batch_size: int) -> Callable[[], None]:
    """A function that trains one epoch with `fit`."""
    model, one_hot = notebook_model(), fc.utils.to_categorical(y)

    def epoch() -> None:
        model.fit(x, one_hot, batch_size=batch_size, epochs=1, verbose=0)

    return epoch


def torch_epoch(x: np.ndarray, y: np.ndarray, batch_size: int, channels_last: bool) -> Callable[[], None]:
    """A function that trains one epoch with PyTorch, counting right answers as Keras' accuracy does."""
    import torch
    from torch import nn

    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    labels = torch.from_numpy(y)
    model = nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    model.to(memory_format=layout)  # type: ignore[call-overload]
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.9)
    criterion = nn.CrossEntropyLoss()

    def epoch() -> None:
        right = torch.zeros((), dtype=torch.int64)
        for index in torch.randperm(len(images)).split(batch_size):
            logits = model(images[index])
            optimizer.zero_grad()
            criterion(logits, labels[index]).backward()
            optimizer.step()
            right += (logits.argmax(1) == labels[index]).sum()

    return epoch


def epochs(images: int, batch_size: int, rounds: int) -> dict[str, list[float]]:
    """Seconds an epoch of every contestant, one number a round."""
    import torch

    torch.set_num_threads(fc.get_num_threads())

    def contestants(x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], None]]:
        return {
            "fastconv": fastconv_epoch(x, y, batch_size),
            "PyTorch, channels first": torch_epoch(x, y, batch_size, channels_last=False),
            "PyTorch, channels last": torch_epoch(x, y, batch_size, channels_last=True),
        }

    take_turns(contestants(*digits(20 * batch_size)), rounds=1)  # warm up: threads, memory, code
    return take_turns(contestants(*digits(images)), rounds)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table; return 0."""
    parser = argparse.ArgumentParser(prog="python -m fastconv.bench.mnist_epoch", description=__doc__)
    parser.add_argument("--images", type=int, default=60_000, help="digits an epoch (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="digits a step (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each contestant (%(default)s)")
    arguments = parser.parse_args(argv)
    import torch

    seconds = epochs(arguments.images, arguments.batch_size, arguments.rounds)
    threads = fc.get_num_threads()
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"one epoch of {arguments.images:,} digits, {threads} threads, PyTorch {torch.__version__}")
    for name, times in seconds.items():
        spread = f"{min(times):.2f} to {max(times):.2f} s"
        speed = f"{arguments.images / medians[name]:,.0f} images/s"
        print(f"  {name:24} {medians[name]:7.2f} s (median of {len(times)}: {spread}) {speed:>18}")
    best = min(median for name, median in medians.items() if name != "fastconv")
    print(f"fastconv is {best / medians['fastconv']:.2f} times as fast as PyTorch's faster layout")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
