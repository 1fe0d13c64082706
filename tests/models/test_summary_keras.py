"""The totals of summary() against Keras' own, and against what torchinfo counts: PyTorch's parameters and FLOPs."""

import re

import numpy as np
import pytest
from torch_oracle import keras_on_torch

import fastconv as fc

keras = keras_on_torch()


def printed_totals(model, words):
    """The numbers that summary() prints after these words."""
    text = []
    model.summary(print_fn=lambda line, **options: text.append(line))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(text))  # Keras prints in bold
    found = [re.search(rf"^ *{word}: ([\d,]+)", plain, flags=re.MULTILINE) for word in words]
    return tuple(int(match.group(1).replace(",", "")) for match in found)


PARAMETERS = ("Total params", "Trainable params", "Non-trainable params")


def totals(model):
    return printed_totals(model, PARAMETERS)


def lenet(k, sequential, tensor):
    return sequential(
        [tensor((28, 28, 1)), k.Conv2D(6, 5, padding="same", activation="tanh"), k.AveragePooling2D(2),
         k.Conv2D(16, 5, activation="tanh"), k.AveragePooling2D(2), k.Flatten(), k.Dropout(0.5),
         k.Dense(120, use_bias=False), k.Dense(10, activation="softmax")]
    )  # fmt: skip


def every_layer_with_weights(k, sequential, tensor):
    """Groups, depth multipliers, PReLU with shared axes, batch norm without scale."""
    return sequential(
        [tensor((16, 12, 4)), k.Conv2D(8, (3, 2), groups=2, use_bias=False), k.BatchNormalization(),
         k.PReLU(shared_axes=[1, 2]), k.DepthwiseConv2D(3, depth_multiplier=2), k.BatchNormalization(scale=False),
         k.SeparableConv2D(5, 3, depth_multiplier=3, padding="same"), k.Conv2DTranspose(7, 3, strides=2),
         k.BatchNormalization(center=False), k.Flatten(), k.Dense(3)]
    )  # fmt: skip


def partly_frozen(k, sequential, tensor):
    """A frozen convolution, a frozen batch norm, a frozen model inside."""
    inner = sequential([tensor((6, 6, 8)), k.Conv2D(4, 1), k.BatchNormalization()])
    model = sequential(
        [tensor((8, 8, 3)), k.Conv2D(8, 3, trainable=False), k.BatchNormalization(), k.BatchNormalization(),
         inner, k.Flatten(), k.Dense(2)]
    )  # fmt: skip
    model.layers[-4].trainable = False
    model.layers[-3].trainable = False
    return model


@pytest.mark.parametrize("build", [lenet, every_layer_with_weights, partly_frozen])
def test_small_networks(build):
    ours = build(fc.layers, fc.Sequential, fc.Input)
    theirs = build(keras.layers, keras.Sequential, lambda shape: keras.Input(shape))
    assert totals(ours) == totals(theirs)
    assert 0 < totals(ours)[1] <= totals(ours)[0]


def test_a_shared_layer():
    def build(k, tensor, model):
        a, b = tensor((6, 6, 2)), tensor((6, 6, 2))
        shared = k.Conv2D(3, 3)
        return model([a, b], k.Dense(2)(k.Flatten()(k.Concatenate()([shared(a), shared(b)]))))

    assert totals(build(fc.layers, fc.Input, fc.Model)) == totals(build(keras.layers, keras.Input, keras.Model))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MobileNet", {"alpha": 0.25, "input_shape": (32, 32, 3)}),
        ("MobileNetV2", {"alpha": 0.35, "input_shape": (32, 32, 3)}),
        ("VGG16", {"include_top": False, "input_shape": (32, 32, 3), "pooling": "max"}),
        ("ResNet50", {"input_shape": (32, 32, 3), "classes": 7}),
    ],
)
def test_networks_of_the_zoo(name, options):
    ours = getattr(fc.applications, name)(weights=None, **options)
    theirs = getattr(keras.applications, name)(weights=None, **options)
    assert totals(ours) == totals(theirs)


def test_what_torchinfo_counts():
    """torchinfo's parameters are PyTorch's, without moving statistics; multiply-adds are half of PyTorch's FLOPs."""
    torch = pytest.importorskip("torch", reason="needs torch==2.13.0")
    from torch.utils.flop_counter import FlopCounterMode

    from fastconv.bench.twin import torch_twin

    x = fc.Input((20, 18, 3))
    y = fc.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    y = fc.layers.ReLU()(fc.layers.BatchNormalization()(y))
    z = fc.layers.DepthwiseConv2D(3, padding="same")(y)
    z = fc.layers.SeparableConv2D(8, 3, padding="same")(z)
    y = fc.layers.Add()([y, fc.layers.Conv2D(8, 3, padding="same", groups=2)(z)])
    model = fc.Model(x, fc.layers.Dense(5)(fc.layers.GlobalAvgPool2D()(y)))
    net = torch_twin(model).eval()
    total, trainable, frozen, work = printed_totals(model, (*PARAMETERS, "Multiply-adds"))
    assert trainable == sum(p.numel() for p in net.parameters() if p.requires_grad)
    statistics = [b for name, b in net.named_buffers() if name.endswith(("running_mean", "running_var"))]
    assert frozen == sum(b.numel() for b in statistics)
    assert total == trainable + frozen
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.from_numpy(np.zeros((1, 3, 20, 18), np.float32)))
    assert 2 * work == counter.get_total_flops()
