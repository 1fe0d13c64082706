"""The table of layers that benchmarks and tests share: sums of weights as published, every layer as in Keras."""

import math
from collections import Counter

import numpy as np
import pytest

import fastconv as fc
from fastconv import ops
from fastconv.bench import layers, nets, networks

#: Weights and biases of all convolutions: the networks' published totals without dense layers and batch norms.
TOTALS = {
    "lenet": 61_706 - 59_134,  # LeCun et al.: 400 x 120, 120 x 84, 84 x 10 and biases are dense
    "alexnet": 62_378_344 - 58_631_144,
    "zfnet": 62_357_608 - 58_631_144,
    "vgg16": 14_714_688,  # Keras, include_top=False
    "googlenet": 6_998_552 - 1_025_000,
    "squeezenet": 1_248_424,
    "squeezenet1.1": 1_235_496,
}
#: Weights alone, where batch norm takes the place of biases.
KERNELS = {
    "resnet18": 11_689_512 - 513_000 - 9_600,  # torchvision: dense layer, gamma and beta
    "resnet50": 23_454_912,
    "inception_v3": 21_802_784 - 3 * 17_216,  # Keras, include_top=False: beta and two moving averages a filter
    "xception": 20_752_424,
    "mobilenet": 4_253_864 - 4 * 10_944 - 1_000,  # Keras: four numbers a batch-norm channel, the biases of conv_preds
    "densenet121": 6_870_208,
}
#: Multiply-adds an image, in billions, as the papers or pytorchcv count them (convolutions only).
BILLIONS = {"alexnet": 1.08, "vgg16": 15.35, "googlenet": 1.58, "resnet18": 1.81, "resnet50": 3.86, "mobilenet": 0.57}


@pytest.mark.parametrize("net", TOTALS)
def test_sum_of_weights_and_biases(net):
    assert sum(layer.weights + layer.filters for layer in networks.convolutions(net)) == TOTALS[net]


@pytest.mark.parametrize("net", KERNELS)
def test_sum_of_weights(net):
    assert sum(layer.weights for layer in networks.convolutions(net)) == KERNELS[net]


def test_every_network_has_a_known_sum():
    assert {*TOTALS, *KERNELS} == {*networks.SOURCES}


@pytest.mark.parametrize("net", BILLIONS)
def test_multiply_adds(net):
    table = networks.convolutions(net)
    assert sum(layer.flop for layer in table) / table[0].batch / 2e9 == pytest.approx(BILLIONS[net], abs=0.005)


APPLICATIONS = {
    "vgg16": "VGG16",
    "resnet50": "ResNet50",
    "inception_v3": "InceptionV3",
    "xception": "Xception",
    "mobilenet": "MobileNet",
    "densenet121": "DenseNet121",
}


def keras_convolutions(model):
    """Counter of (input (H, W), output (OH, OW, K), kernel (KH, KW, C / groups, K), strides)."""
    found = Counter()
    for layer in model.layers:
        kind = type(layer).__name__
        if kind not in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D"):
            continue
        size, out = layer.input.shape[1:3], layer.output.shape[1:]
        if kind == "Conv2D":
            found[size, out, tuple(layer.kernel.shape), layer.strides] += 1
            continue
        kh, kw, c, multiplier = (layer.kernel if kind == "DepthwiseConv2D" else layer.depthwise_kernel).shape
        found[size, (*out[:2], c), (kh, kw, 1, c * multiplier), layer.strides] += 1
        if kind == "SeparableConv2D":
            found[out[:2], out, tuple(layer.pointwise_kernel.shape), (1, 1)] += 1
    return found


@pytest.mark.parametrize("net", APPLICATIONS)
def test_every_layer_is_that_of_keras(net):
    keras = pytest.importorskip("keras", reason="needs keras")
    table = networks.convolutions(net)
    shape = (*table[0].size, table[0].channels)
    model = getattr(keras.applications, APPLICATIONS[net])(
        weights=None, include_top=net == "mobilenet", input_shape=shape
    )
    want = keras_convolutions(model)
    ours = Counter()
    for layer in table:
        padded = tuple(size + sum(pads) for size, pads in zip(layer.size, layer.padding, strict=True))
        key = (layer.output_shape[1:], layer.kernel_shape, layer.strides)
        # Keras pads with a layer of its own in some places
        ours[(layer.size if (layer.size, *key) in want else padded, *key)] += 1
    assert ours == want


def test_the_typical_layers_are_those_of_the_list():
    """N, H = W, C, K, kernel, stride of the 18 layers that the speed figures are about."""
    want = [
        (64, 28, 1, 6, 5, 1), (64, 14, 6, 16, 5, 1), (8, 227, 3, 96, 11, 4), (8, 27, 96, 256, 5, 1),
        (8, 13, 256, 384, 3, 1), (2, 224, 64, 64, 3, 1), (2, 112, 128, 128, 3, 1), (2, 56, 256, 256, 3, 1),
        (2, 28, 512, 512, 3, 1), (2, 14, 512, 512, 3, 1), (8, 224, 3, 64, 7, 2), (8, 56, 64, 256, 1, 1),
        (8, 28, 128, 128, 3, 1), (8, 7, 512, 2048, 1, 1), (8, 56, 128, 128, 3, 2), (8, 55, 128, 16, 1, 1),
        (8, 55, 16, 64, 3, 1), (32, 32, 32, 32, 3, 1),
    ]  # fmt: skip
    found = networks.find("typical")
    short = [(x.batch, x.size[0], x.channels, x.filters, x.kernel[0], x.strides[0]) for x in found]
    assert short == want
    assert all(x.size[0] == x.size[1] and x.kernel[0] == x.kernel[1] and x.groups == 1 for x in found)
    unpadded = [x.title for x in found if x.padding == ((0, 0), (0, 0)) and x.kernel != (1, 1)]
    assert unpadded == ["lenet conv2", "alexnet conv1"]
    padded = [x for x in found if x.padding != ((0, 0), (0, 0))]
    assert all(x.padding == ((x.kernel[0] // 2,) * 2,) * 2 for x in padded)
    assert sum(layers.is_3x3(x) for x in found) == 9


def test_the_convolutions_of_a_model():
    """In the order of the graph; zeros of a layer of their own are padding, a separable convolution is two."""
    inner = fc.Sequential([fc.Input((9, 8, 6)), fc.layers.SeparableConv2D(5, 3, 2, "same", name="apart")], name="inner")
    x = inputs = fc.Input((8, 7, 2))
    x = fc.layers.ZeroPadding2D(((1, 2), (0, 3)))(x)
    x = fc.layers.Conv2D(6, 3, padding=((0, 0), (0, 0)), groups=2, name="first_conv")(x)
    x = fc.layers.ZeroPadding2D(((0, 0), (0, 0)))(fc.layers.ReLU()(x))
    model = fc.Model(inputs, inner(fc.layers.Conv2D(6, 3, 1, "same", name="second")(x)))
    first, second, depthwise, pointwise = networks.conv_layers(model, "mine", 4)
    assert first == layers.ConvLayer("mine", "first", 4, (8, 7), 2, 6, (3, 3), (1, 1), ((1, 2), (0, 3)), 2)
    assert second == layers.ConvLayer("mine", "second", 4, (9, 8), 6, 6, (3, 3), (1, 1), ((1, 1), (1, 1)))
    name, pads = "inner/apart", ((1, 1), (0, 1))
    assert depthwise == layers.ConvLayer("mine", f"{name}_depthwise", 4, (9, 8), 6, 6, (3, 3), (2, 2), pads, 6)
    assert pointwise == layers.ConvLayer("mine", f"{name}_pointwise", 4, (5, 4), 6, 5, (1, 1))
    dilated = fc.Sequential([fc.Input((8, 8, 1)), fc.layers.Conv2D(1, 3, dilation_rate=2, name="wide")])
    with pytest.raises(ValueError, match="wide has dilation"):
        list(networks.conv_layers(dilated))


def test_output_shapes_are_those_of_the_ops():
    for layer in {*networks.find("typical"), *networks.find("depthwise"), *networks.find("inception_v3")}:
        plan = ops.convolution.plan(layer.input_shape, layer.kernel_shape, 1, "valid", 1, layer.groups)
        assert plan.geometry[0] == layer.batch
        plan = ops.convolution.plan(
            layer.input_shape, layer.kernel_shape, layer.strides, layer.padding, 1, layer.groups
        )
        assert plan.output_shape == layer.output_shape


def test_depthwise_set():
    found = networks.find("depthwise")
    assert sum(layer.count for layer in found) == 13
    assert {layer.strides for layer in found} == {(1, 1), (2, 2)}
    assert all(layer.groups == layer.channels == layer.filters for layer in found)


def test_merged_layers_keep_their_number():
    for net in networks.SOURCES:
        table, merged = networks.convolutions(net), networks.find(net)
        assert sum(layer.count for layer in merged) == len(table)
        assert sum(layer.count * layer.weights for layer in merged) == sum(layer.weights for layer in table)


def test_find_one_layer_or_several():
    assert [layer.name for layer in networks.find("alexnet", "conv2")] == ["conv2"]
    assert [layer.title for layer in networks.find("typical", "alexnet conv2")] == ["alexnet conv2"]
    assert {layer.net for layer in networks.find("typical", "squeezenet")} == {"squeezenet"}
    assert networks.find("vgg16", "block5_conv3")[0].name == "block5_conv3"  # merged with others in the set
    assert networks.find("alexnet", "conv2")[0].with_batch(3).output_shape == (3, 27, 27, 256)


@pytest.mark.parametrize(
    ("net", "layer", "words"),
    [("alexnt", None, "did you mean 'alexnet'"), ("vgg16", "blok3_conv1", "did you mean 'block3_conv1'")],
)
def test_unknown_names_get_a_suggestion(net, layer, words):
    with pytest.raises(layers.UsageError, match=words):
        networks.find(net, layer)


def test_vgg16_as_a_model_has_its_weights():
    shapes = [layer.kernel_shape for layer in networks.convolutions("vgg16")]
    dense = [(7 * 7 * 512, 4096), (4096, 4096), (4096, 1000)]
    assert sum(math.prod(s) + s[-1] for s in [*shapes, *dense]) == 138_357_544
    small = nets.application("VGG16", input_shape=(32, 32, 3))()
    assert small.output_shape == (None, 1000)
    kernels = [w.shape for w in small.get_weights() if w.ndim == 4]
    assert kernels == shapes
    assert np.isfinite(small.predict_on_batch(np.zeros((1, 32, 32, 3), np.float32))).all()
