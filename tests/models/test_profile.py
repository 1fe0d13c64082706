"""model.profile(x): what is measured, that it adds up, and that the model is left as it was."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import config, layers
from fastconv.graph import profile as profile_module


def nested_model():
    body = fc.Sequential(
        [
            layers.Input((8, 6, 4)),
            layers.Conv2D(6, 3, name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(name="relu"),
            layers.Dropout(0.5, name="drop"),
        ],
        name="body",
    )
    x = fc.Input((8, 6, 4))
    y = body(layers.Conv2D(4, 3, padding="same", name="first")(x))
    y = layers.Add(name="sum")([layers.Conv2D(6, 1, name="left")(y), y])
    return fc.Model(x, layers.Dense(3, activation="softmax", name="scores")(layers.Flatten(name="flat")(y)), name="net")


def images(count=5):
    return np.random.default_rng(0).standard_normal((count, 8, 6, 4), dtype=np.float32)


@pytest.fixture(params=[False, True], ids=["inference", "training"])
def training(request):
    return request.param


def test_a_row_for_every_layer_of_nested_models_too(training):
    profile = nested_model().profile(images(), repeats=2, training=training)
    assert [(row.name, row.kind, row.output_shape) for row in profile.rows] == [
        ("first", "Conv2D", (5, 8, 6, 4)),
        ("body/conv", "Conv2D", (5, 6, 4, 6)),
        ("body/bn + body/relu", "BatchNormalization", (5, 6, 4, 6)),
        ("body/drop", "Dropout", (5, 6, 4, 6)),
        ("left", "Conv2D", (5, 6, 4, 6)),
        ("sum", "Add", (5, 6, 4, 6)),
        ("flat", "Flatten", (5, 144)),
        ("scores", "Dense", (5, 3)),
    ]
    assert all(row.forward > 0 and row.backward > 0 for row in profile.rows)


def test_work_and_memory():
    model = nested_model()
    rows = {row.name: row for row in model.profile(images(), repeats=1).rows}
    first, conv = rows["first"], rows["body/conv"]
    assert first.multiply_adds == 5 * 8 * 6 * 4 * 9 * 4
    assert first.backward_multiply_adds == first.multiply_adds  # the images need no gradient
    assert conv.backward_multiply_adds == 2 * conv.multiply_adds == 2 * 5 * 6 * 4 * 6 * 9 * 4
    assert (conv.output_bytes, conv.parameter_bytes) == (5 * 6 * 4 * 6 * 4, (9 * 4 * 6 + 6) * 4)
    assert conv.forward_rate == pytest.approx(2 * conv.multiply_adds / conv.forward)
    assert conv.backward_rate == pytest.approx(2 * conv.backward_multiply_adds / conv.backward)
    assert (rows["sum"].multiply_adds, rows["sum"].forward_rate) == (0, None)
    total = model.profile(images(), repeats=1).total
    lines = []
    model.summary(print_fn=lines.append)
    assert f"Multiply-adds: {total.multiply_adds // 5:,} per sample" in lines[0]
    assert total.parameter_bytes == sum(p.value.nbytes for p in model.parameters)


def test_the_total_is_the_sum(training):
    profile = nested_model().profile(images(), repeats=3, training=training)
    for field in ("forward", "backward", "multiply_adds", "output_bytes", "parameter_bytes"):
        assert getattr(profile.total, field) == pytest.approx(sum(getattr(row, field) for row in profile.rows))


def test_shared_weights_count_once_and_work_twice():
    x = fc.Input((6, 6, 2))
    conv = layers.Conv2D(2, 3, padding="same", name="twice")
    profile = fc.Model(x, conv(conv(x))).profile(np.zeros((1, 6, 6, 2), np.float32), repeats=1)
    assert [row.name for row in profile.rows] == ["twice", "twice"]
    assert profile.total.parameter_bytes == (9 * 4 + 2) * 4
    assert profile.total.multiply_adds == 2 * 36 * 9 * 4


def test_frozen_layers_have_no_backward_pass():
    model = nested_model()
    model.get_layer("first").trainable = False
    model.get_layer("body").trainable = False
    rows = {row.name: row for row in model.profile(images(), repeats=1).rows}
    assert {name for name, row in rows.items() if row.backward == 0} == {
        "first", "body/conv", "body/bn + body/relu", "body/drop"
    }  # fmt: skip
    assert rows["body/conv"].backward_multiply_adds == 0
    assert rows["left"].backward_multiply_adds == rows["left"].multiply_adds  # nobody below learns


def test_medians_of_the_runs_after_the_first(monkeypatch):
    """With a clock of ours: each run takes as long as it says."""
    model = fc.Sequential([layers.Input((4,)), layers.Dense(2)])
    x = np.zeros((3, 4), np.float32)

    def profile(durations, **options):
        readings = []
        for duration in durations:
            readings += [0.0, duration]
        clock = iter(readings)
        monkeypatch.setattr(profile_module.time, "perf_counter", lambda: next(clock))
        (row,) = model.profile(x, repeats=3, **options).rows
        monkeypatch.undo()
        assert next(clock, None) is None
        return row.forward, row.backward

    # Of training: forward, backward, forward, backward, ...
    assert profile([99, 77, 1, 10, 5, 50, 2, 20], training=True) == (2, 20)
    # Of inference: three runs and the first, then training as before.
    assert profile([99, 4, 8, 6, 99, 77, 1, 10, 5, 50, 2, 20]) == (6, 20)


def test_the_model_is_left_as_it_was(training):
    fc.utils.set_random_seed(0)
    model = nested_model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    y, tape = model.forward(images(), training=True)
    model.backward(np.ones_like(y), tape)
    drop = model.get_layer("body").get_layer("drop")
    before = [(p.grad, p.grad.copy() if p.grad is not None else None, p.numpy()) for p in model.parameters]
    state = drop.random_state.copy()
    assert sum(gradient is not None for gradient, *_ in before) == 10
    model.profile(images(3), repeats=2, training=training)
    for p, (gradient, copy, value) in zip(model.parameters, before, strict=True):
        assert p.grad is gradient
        np.testing.assert_array_equal(p.value, value)
        if copy is not None:
            np.testing.assert_array_equal(gradient, copy)
    np.testing.assert_array_equal(drop.random_state, state)
    model.parameters[0].add_grad(np.ones(model.parameters[0].shape, np.float32))  # adds as it did before
    np.testing.assert_allclose(model.parameters[0].grad, before[0][1] + 1, rtol=1e-6)


def test_it_is_left_so_after_an_error_too():
    class Fails(layers.Layer):
        def forward(self, x, training=False):
            return x, None

        def backward(self, dy, cache):
            raise ArithmeticError("on purpose")

        def compute_output_shape(self, input_shape):
            return input_shape

    model = fc.Sequential([layers.Input((4,)), layers.Dense(2), Fails()])
    kernel = model.layers[0].kernel
    kernel.add_grad(gradient := np.ones(kernel.shape, np.float32))
    with pytest.raises(ArithmeticError, match="on purpose"):
        model.profile(np.zeros((1, 4), np.float32))
    assert kernel.grad is gradient


def test_the_table():
    profile = nested_model().profile(images(), repeats=2)
    lines = str(profile).split("\n")
    threads = config.get_num_threads()
    assert lines[0] == (
        f'Profile of "net", inference, input 5 x 8 x 6 x 4, median of 2 runs, {threads} thread'
        f"{'s' if threads > 1 else ''}, {config.isa()}"
    )
    assert lines[1].split("  ")[0] == "Layer (type)"
    assert len(lines) == 3 + 8 + 2
    assert lines[-1].startswith("total")
    assert f"{1e3 * profile.total.forward:.3f}" in lines[-1]
    conv = profile.rows[1]
    assert lines[4].split() == [
        "body/conv", "(Conv2D)", "(5,", "6,", "4,", "6)", f"{1e3 * conv.forward:.3f}", f"{conv.forward_rate / 1e9:.1f}",
        f"{1e3 * conv.backward:.3f}", f"{conv.backward_rate / 1e9:.1f}", "2.81", "KB", "888", "B",
    ]  # fmt: skip
    assert "training" in nested_model().profile(images(), repeats=1, training=True).title
    assert "one run" in nested_model().profile(images(), repeats=1).title


def test_the_picture():
    profile = nested_model().profile(images(), repeats=1)
    figure = profile.plot()
    times, rates, memory = figure.axes
    assert [ax.get_xlabel() for ax in figure.axes] == ["ms", "GFLOP/s", "MB"]
    forward, backward = times.containers
    np.testing.assert_allclose([bar.get_width() for bar in forward], [1e3 * row.forward for row in profile.rows])
    np.testing.assert_allclose([bar.get_width() for bar in backward], [1e3 * row.backward for row in profile.rows])
    np.testing.assert_allclose(rates.containers[0][1].get_width(), profile.rows[1].forward_rate / 1e9)
    np.testing.assert_allclose(memory.containers[1][1].get_width(), 888 / 2**20)
    assert figure.get_suptitle() == profile.title


def test_several_inputs_and_outputs():
    a, b = fc.Input((4, 4, 2)), fc.Input((4, 4, 2))
    y = layers.Add(name="sum")([a, b])
    z, argmax = layers.MaxPool2D(2, return_argmax=True, name="pool")(layers.Conv2D(2, 1, name="c")(y))
    model = fc.Model([a, b], [y, layers.MaxUnpool2D(2, name="up")([z, argmax])])
    arrays = [np.ones((3, 4, 4, 2), np.float32)] * 2
    profile = model.profile(arrays, repeats=1)
    assert [row.name for row in profile.rows] == ["sum", "c", "pool", "up"]
    assert profile.rows[2].output_bytes == 3 * 4 * 2 * (4 + 4)  # maxima, and where they were
    assert "input 3 x 4 x 4 x 2, 3 x 4 x 4 x 2" in profile.title


def test_arguments():
    model = nested_model()
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        model.profile(images(), repeats=0)
    with pytest.raises(ValueError, match=r"there are no samples in arrays of shape \(0, 8, 6, 4\)"):
        model.profile(images()[:0])
    with pytest.raises(ValueError, match="expects an input of shape"):
        model.profile(images()[:, 1:])
    with pytest.raises(TypeError, match="takes float32, got float64"):
        model.profile(images().astype(np.float64))
