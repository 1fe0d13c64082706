"""A training step of LeNet-5, fastconv against PyTorch: `python -m fastconv.bench.lenet_step`.

`train_on_batch` with digits of 28 x 28 and labels: forward, cross-entropy, backward, SGD or Adam. PyTorch runs eagerly
in both layouts. Everybody gets the same number of threads; the contestants take turns in one process.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastconv as fc
from fastconv import layers
from fastconv.bench.mnist_epoch import digits
from fastconv.bench.timing import take_turns

PARAMETERS = 61_706
STEPS = 20  # a turn


def fastconv_step(x: np.ndarray, y: np.ndarray, optimizer: str) -> Callable[[], object]:
    """A function that makes one step."""
    model = fc.Sequential(
        [
            layers.Conv2D(6, 5, padding="same", activation="tanh", input_shape=(28, 28, 1)),
            layers.AvgPool2D(2),
            layers.Conv2D(16, 5, activation="tanh"),
            layers.AvgPool2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="tanh"),
            layers.Dense(84, activation="tanh"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    assert model.count_params() == PARAMETERS
    rate = {"sgd": fc.optimizers.SGD(0.1, momentum=0.9), "adam": fc.optimizers.Adam(1e-3)}[optimizer]
    model.compile(rate, "sparse_categorical_crossentropy")
    return lambda: model.train_on_batch(x, y)


def torch_step(x: np.ndarray, y: np.ndarray, optimizer: str, channels_last: bool) -> Callable[[], object]:
    """A function that makes one step with PyTorch."""
    import torch
    from torch import nn

    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    labels = torch.from_numpy(y)
    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
    )
    model.to(memory_format=layout)  # type: ignore[call-overload]
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS
    rate: torch.optim.Optimizer = (
        torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        if optimizer == "sgd"
        else torch.optim.Adam(model.parameters(), 1e-3)
    )
    criterion = nn.CrossEntropyLoss()

    def step() -> Any:
        rate.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        rate.step()
        return loss.item()

    return step


def compare(batch_size: int, optimizer: str, rounds: int) -> dict[str, float]:
    """Median seconds a step of each contestant."""
    x, y = digits(batch_size)
    contestants = {
        "fastconv": fastconv_step(x, y, optimizer),
        "PyTorch, channels first": torch_step(x, y, optimizer, channels_last=False),
        "PyTorch, channels last": torch_step(x, y, optimizer, channels_last=True),
    }

    def turn(step: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(STEPS):
                step()

        return run

    seconds = take_turns({name: turn(step) for name, step in contestants.items()}, rounds, pause=0.02)
    return {name: statistics.median(times) / STEPS for name, times in seconds.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table; return 0."""
    parser = argparse.ArgumentParser(prog="python -m fastconv.bench.lenet_step", description=__doc__)
    parser.add_argument("--batch-size", type=int, default=64, help="digits a step (%(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contestant (%(default)s)")
    arguments = parser.parse_args(argv)
    import torch

    threads = fc.get_num_threads()
    torch.set_num_threads(threads)
    print(f"LeNet-5, batch {arguments.batch_size}, {threads} threads, PyTorch {torch.__version__}")
    for optimizer in ("sgd", "adam"):
        medians = compare(arguments.batch_size, optimizer, arguments.rounds)
        best = min(median for name, median in medians.items() if name != "fastconv")
        times = ", ".join(f"{name} {1e6 * median:,.0f} us" for name, median in medians.items())
        print(f"{optimizer}: {times}; {best / medians['fastconv']:.2f} times as fast as PyTorch's faster layout")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
