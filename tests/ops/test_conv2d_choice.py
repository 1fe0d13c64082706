"""What "auto" chooses: an algorithm never much slower than the fastest, and Winograd only where it is allowed."""

import statistics
import time
from functools import partial

import numpy as np
import pytest

import fastconv as fc
from fastconv import ops
from fastconv.bench.layers import ConvLayer, find

CANDIDATES = ("implicit_gemm", "winograd", "depthwise", "grouped")
PASSES = ("forward", "backward_data", "backward_weights")
SLACK = 1.15  # times the fastest
ATTEMPTS = 5  # a shared machine has slow moments; a wrong choice is slow in all of them


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
    found = {}
    for name in CANDIDATES:
        run = partial(functions[which], **layer.arguments, algorithm=name)
        try:
            run()
        except ValueError:  # it does not serve this layer
            continue
        found[name] = run
    return found


def medians(runs: dict[str, partial[object]], rounds: int = 5) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize("layer", find("typical"), ids=str)
def test_auto_is_close_to_the_fastest(layer: ConvLayer, which: str) -> None:
    if which == "backward_data" and layer.reads_images:
        pytest.skip("training needs no gradient of images")
    choice = ops.conv2d_choice(layer.input_shape, layer.kernel_shape, **layer.arguments, which=which)
    runs = runners(layer, which)
    for _ in range(ATTEMPTS):
        seconds = medians(runs)
        if seconds[choice] <= SLACK * min(seconds.values()):
            return
    pytest.fail(f"auto runs {choice}: " + ", ".join(f"{name} {1e3 * s:.2f} ms" for name, s in seconds.items()))


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
