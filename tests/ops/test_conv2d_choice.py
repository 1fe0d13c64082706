"""What "auto" chooses: an algorithm never much slower than the fastest, and Winograd only where it is allowed."""

import statistics
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

import fastconv as fc
from fastconv import _kernels, ops
from fastconv.bench.layers import ConvLayer
from fastconv.bench.networks import find
from fastconv.ops.convolution import plan

PASSES = ("forward", "backward_data", "backward_weights")
SLACK = 1.15  # times the fastest
#: Everything else that serves a layer competes. Nobody has the time to wait for plain loops; Winograd's other tiles run
#: by name only: "auto" leaves their other errors to the user.
NO_COMPETITORS = {"auto", "naive", "winograd_2x2", "winograd_6x6"}
HOPELESS = ((1, 10.0), (3, 2.0))  # (runs, times the fastest at the best of them): out of the competition
ROUNDS, ROUNDS_IN_DOUBT, TIMES_IN_DOUBT = 9, 45, 3

#: Groups of every kind: two large ones, as AlexNet was printed; ResNeXt's; few channels a group; as many as channels.
GROUPED = (
    ConvLayer("alexnet", "conv2, 2 groups", 8, (27, 27), 96, 256, (5, 5), (1, 1), ((2, 2), (2, 2)), 2),
    ConvLayer("resnext50", "conv2, 32 groups", 4, (56, 56), 128, 128, (3, 3), (1, 1), ((1, 1), (1, 1)), 32),
    ConvLayer("resnext50", "conv4, 32 groups", 8, (14, 14), 512, 512, (3, 3), (1, 1), ((1, 1), (1, 1)), 32),
    ConvLayer("groups", "of two", 8, (28, 28), 128, 128, (3, 3), (1, 1), ((1, 1), (1, 1)), 64),
    ConvLayer("groups", "two filters a channel", 8, (28, 28), 64, 128, (3, 3), (1, 1), ((1, 1), (1, 1)), 64),
    ConvLayer("mobilenet", "conv_dw_3", 8, (56, 56), 128, 128, (3, 3), (1, 1), ((1, 1), (1, 1)), 128),
    ConvLayer("mobilenet", "conv_dw_6", 8, (28, 28), 256, 256, (3, 3), (2, 2), ((0, 1), (0, 1)), 256),
)
LAYERS = (*find("typical"), *GROUPED)


def runners(layer: ConvLayer, which: str) -> dict[str, partial[object]]:
    """A call of the pass for each algorithm that serves the layer, by name."""
    rng = np.random.default_rng(0)
    x = rng.random(layer.input_shape, dtype=np.float32)
    kernel = rng.standard_normal(layer.kernel_shape, dtype=np.float32)
    dy = rng.random(layer.output_shape, dtype=np.float32)
    functions = {
        "forward": partial(ops.conv2d, x, kernel, None),
        "backward_data": partial(ops.conv2d_backward_data, dy, kernel, layer.input_shape),
        "backward_weights": partial(ops.conv2d_backward_weights, x, dy, layer.kernel),
    }
    numbers = plan(layer.input_shape, layer.kernel_shape, dilation_rate=1, **layer.arguments).geometry
    return {
        name: partial(functions[which], **layer.arguments, algorithm=name)
        for name in ops.conv2d_algorithms()
        if name not in NO_COMPETITORS and not _kernels.conv2d_refusal(numbers, PASSES.index(which), name)
    }


def take_turns(runs: dict[str, partial[object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every run: what disturbs the machine for a moment disturbs one round of all."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in list(runs.items())[:: -1 if number % 2 else 1]:
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def slower_than_others(choice: str, seconds: dict[str, list[float]]) -> dict[str, float]:
    """How many times the others' time the choice takes: in the median of the rounds, or at its best if that is less.

    What is slower is so in both. On a busy machine one of them strays, as "depthwise" and "grouped" show, which are one
    kernel where both serve.
    """
    mine = seconds[choice]
    return {
        name: min(
            statistics.median(a / b for a, b in zip(mine, values, strict=True)),
            min(mine) / min(values),
        )
        for name, values in seconds.items()
    }


def test_every_algorithm_that_auto_may_choose_competes() -> None:
    """Or the test below says nothing of it."""
    competing = {name for layer in LAYERS for name in runners(layer, "forward")}
    assert competing == set(ops.conv2d_algorithms()) - NO_COMPETITORS
    for layer in GROUPED:
        assert {"grouped", "implicit_gemm"} <= set(runners(layer, "forward"))
    choices = {ops.conv2d_choice(v.input_shape, v.kernel_shape, **v.arguments, which=w) for v in LAYERS for w in PASSES}
    assert choices == {"depthwise", "grouped", "winograd", "implicit_gemm"}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The choice is the same for any number of threads; waking others, as the suite lets them sleep, takes longer than
    what some algorithms do between."""
    before = fc.get_num_threads()
    fc.set_num_threads(1)
    yield
    fc.set_num_threads(before)


@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_auto_is_close_to_the_fastest(one_thread: None, layer: ConvLayer, which: str) -> None:
    """One verdict, on all rounds; while it is in doubt, there are more of them, with arrays in other places: where they
    lie in the caches can be worth more than the algorithm."""
    if which == "backward_data" and layer.reads_images:
        pytest.skip("training needs no gradient of images")
    choice = ops.conv2d_choice(layer.input_shape, layer.kernel_shape, **layer.arguments, which=which)
    runs = runners(layer, which)
    for rounds, times in HOPELESS:
        best = {name: min(values) for name, values in take_turns(runs, rounds).items()}
        limit = times * min(best.values())
        runs = {name: run for name, run in runs.items() if name == choice or best[name] < limit}
    seconds = take_turns(runs, ROUNDS)
    slower = slower_than_others(choice, seconds)
    kept = []
    while max(slower.values()) > SLACK and len(kept) < TIMES_IN_DOUBT:
        kept.append(runs)  # whose arrays stay where they are
        runs = {name: run for name, run in runners(layer, which).items() if name in runs}
        for name, more in take_turns(runs, ROUNDS_IN_DOUBT).items():
            seconds[name] += more
        slower = slower_than_others(choice, seconds)
    assert max(slower.values()) <= SLACK, f"auto runs {choice}, which takes, times the others: {slower}"


def test_the_choice_follows_dtype_accuracy_and_pass(exact_accuracy: None) -> None:
    shapes = (8, 28, 28, 128), (3, 3, 128, 128)
    assert ops.conv2d_choice(*shapes, padding="same") == "implicit_gemm"
    fc.set_conv2d_accuracy("fast")
    for which in (*PASSES, "inference"):
        assert ops.conv2d_choice(*shapes, padding="same", which=which) == "winograd"
        assert ops.conv2d_choice(*shapes, padding="same", which=which, dtype=np.float64) == "implicit_gemm"
    assert ops.conv2d_choice((8, 28, 28, 128), (3, 3, 1, 128), groups=128) == "depthwise"
    with pytest.raises(ValueError, match="which must be one of"):
        ops.conv2d_choice(*shapes, which="backwards")


def test_prepared_kernels_favour_winograd_where_filters_are_the_cost() -> None:
    shapes = (1, 7, 7, 512), (3, 3, 512, 512)
    assert ops.conv2d_choice(*shapes, padding=1, which="forward") == "implicit_gemm"
    assert ops.conv2d_choice(*shapes, padding=1, which="inference") == "winograd"


def test_accuracy_exact_keeps_integers_exact(exact_accuracy: None) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(-4, 5, (2, 20, 20, 64)).astype(np.float32)
    kernel = rng.integers(-4, 5, (3, 3, 64, 64)).astype(np.float32)
    want = ops.conv2d(x.astype(np.float64), kernel.astype(np.float64), algorithm="naive")
    assert np.array_equal(ops.conv2d(x, kernel), want)
    fc.set_conv2d_accuracy("fast")
    assert fc.get_conv2d_accuracy() == "fast"
    assert not np.array_equal(ops.conv2d(x, kernel), want)  # or the test above proves nothing
    with pytest.raises(ValueError, match="'fast' or 'exact', got 'best'"):
        fc.set_conv2d_accuracy("best")
