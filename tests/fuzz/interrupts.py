"""Ctrl-C at any moment of fit, predict, save and load: what is left works, and no file is half written.

The seed decides what is interrupted and about when; chance decides at which instruction. A case is run again many
times, at slightly different moments, to see its failure.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
from safetensors import safe_open

from fastconv import callbacks
from fastconv.models import load_model

from . import journal
from .networks import Network, seed_everything

REPEATS = 200


class _Alarm:
    """Ctrl-C once, some time after :meth:`start`, and never after :meth:`stop`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._armed = False

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            signal.raise_signal(signal.SIGINT)  # what Ctrl-C sends

    def start(self) -> None:
        signal.signal(signal.SIGALRM, self._ring)
        self._armed = True
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def stop(self) -> None:
        self._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(rng: np.random.Generator, work: Callable[[], object]) -> None:
    """Call ``work`` and interrupt it after 0.02 to 50 milliseconds, if it takes that long."""
    alarm = _Alarm(float(10 ** rng.uniform(-4.7, -1.3)) * random.uniform(0.5, 2))
    try:
        with contextlib.suppress(KeyboardInterrupt):
            alarm.start()
            work()
            alarm.stop()
    finally:
        alarm.stop()


def run(seed: int) -> None:
    """One case."""
    rng = np.random.default_rng(seed)
    seed_everything(rng)
    network = Network(rng)
    if rng.random() < 0.5:
        network.model.train_on_batch(network.x, network.y)
        network.model(network.x)
    scenario = _SCENARIOS[rng.integers(len(_SCENARIOS))]
    with tempfile.TemporaryDirectory() as folder, journal.doing(scenario.__name__):
        scenario(rng, network, Path(folder))
        network.check()
        network.model.fit(network.x, network.y, verbose=0)
        network.check()


def _fit(rng: np.random.Generator, network: Network, folder: Path) -> None:
    """With all that fit can do besides, a checkpoint an epoch among it."""
    checkpoint = folder / "best.safetensors"
    data = network.x, network.y
    hooks = [callbacks.ModelCheckpoint(str(checkpoint))]
    _interrupt(rng, lambda: network.model.fit(*data, 2, 4, 0, hooks, validation_data=data))
    _whole(folder, checkpoint)


def _train_on_batch(rng: np.random.Generator, network: Network, folder: Path) -> None:
    def work() -> None:
        for _ in range(5):
            network.model.train_on_batch(network.x, network.y)

    _interrupt(rng, work)


def _predict(rng: np.random.Generator, network: Network, folder: Path) -> None:
    def work() -> None:
        network.model.predict(network.x, 1, verbose=0)
        network.model.evaluate(network.x, network.y, 1, verbose=0)
        network.model(network.x)

    before = network.model.get_weights()
    _interrupt(rng, work)
    for a, b in zip(before, network.model.get_weights(), strict=True):
        assert np.array_equal(a, b), "predicting has changed the weights"


def _save(rng: np.random.Generator, network: Network, folder: Path) -> None:
    """Over an older file: afterwards one of the two is there, whole."""
    path = folder / "m.safetensors"
    save = (network.model.save, network.model.save_weights)[rng.integers(2)]
    if rng.random() < 0.7:
        save(path)
        network.model.train_on_batch(network.x, network.y)
    before = path.read_bytes() if path.exists() else None
    _interrupt(rng, lambda: save(path))
    _whole(folder, path)
    if path.exists() and path.read_bytes() != before:
        twin = network.another()
        twin.load_weights(path)
        assert np.array_equal(twin(network.x), network.model(network.x)), "the new file holds other weights"
    else:
        assert before is None or path.exists(), "the old file is gone"


def _load(rng: np.random.Generator, network: Network, folder: Path) -> None:
    def work() -> None:
        network.model.load_weights(path)
        load_model(path)

    path = folder / "m.safetensors"
    other = network.another()
    other.compile("adam", "sparse_categorical_crossentropy")
    other.save(path)
    _interrupt(rng, work)


def _assign(rng: np.random.Generator, network: Network, folder: Path) -> None:
    def work() -> None:
        for _ in range(10):
            network.model.set_weights(weights)
            network.model(network.x)

    weights = network.another().get_weights()
    _interrupt(rng, work)


def _whole(folder: Path, *allowed: Path) -> None:
    """Nothing but ``allowed`` lies in the folder, and what does can be read."""
    left = {folder / name for name in os.listdir(folder)}
    assert left <= {*allowed}, f"left behind: {', '.join(sorted(path.name for path in left - {*allowed}))}"
    for path in left:
        with safe_open(path, framework="numpy") as file:
            assert list(file.keys())


_SCENARIOS: tuple[Callable[[np.random.Generator, Network, Path], None], ...] = (
    _fit,
    _fit,
    _train_on_batch,
    _predict,
    _save,
    _save,
    _load,
    _assign,
)
