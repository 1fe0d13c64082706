"""What summary() prints."""

from __future__ import annotations

import pytest

from fastconv import layers
from fastconv.models import Input, Model, Sequential


def lines(model, **options):
    printed = []
    model.summary(print_fn=printed.append, **options)
    assert len(printed) == 1
    return printed[0].split("\n")


def row(model, name):
    """The cells of a layer's row."""
    (line,) = [line for line in lines(model) if line.startswith(name + " (")]
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def lenet():
    return Sequential(
        [Input((28, 28, 1)), layers.Conv2D(6, 5, padding="same", activation="tanh"), layers.AvgPool2D(),
         layers.Conv2D(16, 5, activation="tanh"), layers.AvgPool2D(), layers.Flatten(), layers.Dense(120),
         layers.Dense(10, activation="softmax")], name="lenet",
    )  # fmt: skip


def test_the_whole_table():
    assert lines(lenet()) == [
        'Model: "lenet"',
        "Layer (type)                     Output shape        Parameters  Multiply-adds  Activations",
        "-------------------------------------------------------------------------------------------",
        "conv2d (Conv2D)                  (None, 28, 28, 6)          156        117,600     18.38 KB",
        "average_pooling2d (AvgPool2D)    (None, 14, 14, 6)            0              0      4.59 KB",
        "conv2d_1 (Conv2D)                (None, 10, 10, 16)       2,416        240,000      6.25 KB",
        "average_pooling2d_1 (AvgPool2D)  (None, 5, 5, 16)             0              0      1.56 KB",
        "flatten (Flatten)                (None, 400)                  0              0      1.56 KB",
        "dense (Dense)                    (None, 120)             48,120         48,000        480 B",
        "dense_1 (Dense)                  (None, 10)               1,210          1,200         40 B",
        "-------------------------------------------------------------------------------------------",
        "Total params: 51,902 (202.74 KB)",
        "Trainable params: 51,902 (202.74 KB)",
        "Non-trainable params: 0 (0 B)",
        "Multiply-adds: 406,800 per sample",
        "Activation memory: 32.85 KB per sample",
    ]


def test_prints_by_default(capsys):
    lenet().summary()
    assert "Total params: 51,902" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("layer", "multiply_adds"),
    [
        (layers.Conv2D(8, (3, 2), strides=2), 3 * 4 * 8 * 3 * 2 * 6),
        (layers.Conv2D(6, 3, groups=3), 5 * 7 * 6 * 9 * 2),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), 5 * 7 * 12 * 9),
        (layers.SeparableConv2D(4, 3, depth_multiplier=2), 5 * 7 * 12 * (9 + 4)),
        (layers.Conv2DTranspose(4, 3, 2), 7 * 9 * 6 * 9 * 4),
        (layers.LocallyConnected2D(4, 3), 5 * 7 * 4 * 9 * 6),
        (layers.Dense(5), 7 * 9 * 6 * 5),
        (layers.MaxPool2D(), 0),
    ],
    ids=lambda v: type(v).__name__,
)
def test_multiply_adds(layer, multiply_adds):
    model = Sequential([Input((7, 9, 6)), layer])
    assert row(model, layer.name)[3] == f"{multiply_adds:,}"
    assert f"Multiply-adds: {multiply_adds:,} per sample" in lines(model)


def test_frozen_and_state_are_not_trainable():
    model = Sequential([Input((4,)), layers.Dense(3, trainable=False), layers.BatchNormalization(), layers.Dense(2)])
    text = lines(model)
    assert "Total params: 35 (140 B)" in text
    assert "Trainable params: 14 (56 B)" in text
    assert "Non-trainable params: 21 (84 B)" in text


def test_float64_and_argmax_count_their_bytes():
    x = Input((4, 6, 2), dtype="float64")
    model = Model(x, layers.MaxPool2D(return_argmax=True)(x))
    assert row(model, "max_pooling2d")[1:5] == ["(None, 2, 3, 2), (None, 2, 3, 2)", "0", "0", "144 B"]


def test_a_nested_model_is_one_row_with_totals():
    inner = lenet()
    outer = Sequential([Input((28, 28, 1)), inner, layers.Dense(2)])
    assert row(outer, "lenet")[1:] == ["(None, 10)", "51,902", "406,800", "32.85 KB"]
    assert "Multiply-adds: 406,820 per sample" in lines(outer)


def test_a_shared_layer_counts_its_weights_once_and_its_work_twice():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    shared = layers.Dense(3, name="shared")
    model = Model([a, b], layers.Concatenate(name="join")([shared(a), shared(b)]))
    assert row(model, "shared") == ["shared (Dense)", "(None, 3)", "15", "24", "24 B", "a, b"]
    assert row(model, "join")[-1] == "shared, shared"
    assert row(model, "a")[-1] == "-"
    assert lines(model)[1].endswith("Connected to")
    assert "Total params: 15 (60 B)" in lines(model)


def test_unknown_sizes():
    model = Sequential([Input((None, None, 3)), layers.Conv2D(4, 3), layers.GlobalAvgPool2D(), layers.Dense(2)])
    assert row(model, "conv2d") == ["conv2d (Conv2D)", "(None, None, None, 4)", "112", "?", "?"]
    assert row(model, "dense")[2:] == ["10", "8", "8 B"]
    assert "Multiply-adds: ? per sample" in lines(model)


def test_an_unbuilt_model():
    text = lines(Sequential([layers.Dense(3), layers.Dense(2)]))
    assert [line.split() for line in text[3:5]] == [
        ["dense", "(Dense)", "?", "?", "?", "?"],
        ["dense_1", "(Dense)", "?", "?", "?", "?"],
    ]
    assert text[-1] == "The model is not built: its input shape is not known yet."


def test_line_length():
    assert all(len(line) <= 80 for line in lines(lenet(), line_length=80))
    assert any("..." in line for line in lines(lenet(), line_length=80))
    assert len(lines(lenet(), line_length=110)[2]) == 110
