"""Threads that train, predict and change weights at once; the model must end up being what its weights say.

The seed decides what the threads do, chance decides when; a case is run again many times to see its failure.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastconv import layers, ops
from fastconv.models import Model

from . import journal
from .networks import Array, Network, seed_everything

REPEATS = 100

Step = Callable[[], object]
#: What one thread does a few times while the others go on for ever, and what is checked afterwards.
Scenario = Callable[[np.random.Generator], None]


def run(seed: int) -> None:
    """One case."""
    rng = np.random.default_rng(seed)
    seed_everything(rng)
    scenario = _SCENARIOS[rng.integers(len(_SCENARIOS))]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(float(rng.choice([1e-6, 1e-4, 5e-3])))
    try:
        with journal.doing(scenario.__name__):
            scenario(rng)
    finally:
        sys.setswitchinterval(interval)


def _together(step: Step, times: int, *others: Step) -> None:
    """Call ``step`` ``times`` times while threads call each of ``others`` for ever; raise what a thread raised."""
    done, errors = threading.Event(), []

    def go_on(other: Step) -> None:
        try:
            while not done.is_set():
                other()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=go_on, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    try:
        for _ in range(times):
            step()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def _readers(network: Network) -> list[Step]:
    """Two threads that predict; the shapes are those that are checked later."""

    def call() -> None:
        assert network.model(network.x).shape == (6, 3)

    def predict() -> None:
        assert network.model.predict(network.x, 4, verbose=0).shape == (6, 3)

    return [call, predict]


def _training(rng: np.random.Generator) -> None:
    network = Network(rng)
    _together(lambda: network.model.train_on_batch(network.x, network.y), int(rng.integers(1, 6)), *_readers(network))
    network.check()


def _fitting(rng: np.random.Generator) -> None:
    network = Network(rng)
    _together(
        lambda: network.model.fit(network.x, network.y, 3, epochs=2, verbose=0, validation_data=(network.x, network.y)),
        1,
        *_readers(network),
    )
    network.check()


def _assigning(rng: np.random.Generator) -> None:
    """Weights set from outside: by set_weights, by a parameter's assign, from a file."""
    network = Network(rng)
    choices = [[w + rng.standard_normal(w.shape).astype(w.dtype) for w in network.model.get_weights()] for _ in "ab"]
    for weights in choices:  # variances stay positive
        weights[:] = [np.abs(w) for w in weights]
    parameters = network.model.parameters
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.safetensors")
        network.model.save_weights(path)

        def all_at_once() -> None:
            network.model.set_weights(choices[rng.integers(2)])

        def one_by_one() -> None:
            for parameter, value in zip(parameters, choices[rng.integers(2)], strict=True):
                parameter.assign(value)

        def from_a_file() -> None:
            network.model.load_weights(path)

        step = (all_at_once, one_by_one, from_a_file)[rng.integers(3)]
        _together(step, int(rng.integers(1, 8)), *_readers(network))
    network.check()


def _saving(rng: np.random.Generator) -> None:
    """One thread saves what others read; every file is whole."""
    network = Network(rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.safetensors")

        def save() -> None:
            network.model.save(path)
            twin.load_weights(path)

        twin = network.twin()
        _together(save, 3, *_readers(network))
    network.check()


def _sharing(rng: np.random.Generator) -> None:
    """Two models with layers in common: one trains, the other predicts."""
    network = Network(rng)
    shared = network.model.layers
    trunk = next(layer for layer in shared if layer.name == "norm").output
    head = layers.Dense(2, name="other")(layers.GlobalAvgPool2D()(trunk))
    other = Model(network.model.inputs, head)
    _together(
        lambda: network.model.train_on_batch(network.x, network.y),
        int(rng.integers(1, 5)),
        lambda: other(network.x),
        lambda: other.predict(network.x, verbose=0),
    )
    network.check()
    now = other(network.x)
    for parameter in other.parameters:  # whatever was made in advance of the weights is made again
        parameter.assign(parameter.numpy())
    assert np.array_equal(now, other(network.x)), "the other model predicts from old weights"


def _apart(rng: np.random.Generator) -> None:
    """Models of their own in threads of their own come to the weights they come to alone."""
    networks = [Network(rng) for _ in range(3)]
    for network in networks:
        network.model.train_on_batch(network.x, network.y)  # slots and random states exist
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{i}.safetensors") for i in range(len(networks))]
        for network, path in zip(networks, paths, strict=True):
            network.model.save(path)

        def train(network: Network) -> list[Array]:
            for _ in range(3):
                network.model.train_on_batch(network.x, network.y)
            return list(network.model.get_weights())

        from fastconv.models import load_model

        results: list[list[Array]] = [[] for _ in networks]

        def work(i: int) -> None:
            results[i] = train(networks[i])

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(networks))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i, network in enumerate(networks):
            network.model = load_model(paths[i])
            for mine, alone in zip(results[i], train(network), strict=True):
                assert np.array_equal(mine, alone), f"model {i} trained to other weights beside others"


def _ops(rng: np.random.Generator) -> None:
    """Kernels and their memory, used by several threads: the same bits as alone."""
    x = rng.standard_normal((2, 20, 17, 16)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, 16, 24)).astype(np.float32)
    dy = rng.standard_normal((2, 20, 17, 24)).astype(np.float32)
    calls: list[Callable[[], Array]] = [
        lambda: ops.conv2d(x, kernel, padding="same"),
        lambda: ops.conv2d_backward_data(dy, kernel, x.shape, padding="same"),
        lambda: ops.conv2d_backward_weights(x, dy, 3, padding="same")[0],
        lambda: ops.max_pool2d(x, 2)[0],
        lambda: ops.batch_norm(x, None, None)[0],
    ]
    expected = [call() for call in calls]

    def checked(i: int) -> Step:
        def step() -> None:
            assert np.array_equal(calls[i](), expected[i]), f"call {i} gives other bits beside others"

        return step

    first, second, third = (int(i) for i in rng.choice(len(calls), 3))
    _together(checked(first), 10, checked(second), checked(third))


_SCENARIOS: tuple[Scenario, ...] = (_training, _training, _fitting, _assigning, _saving, _sharing, _apart, _ops)
