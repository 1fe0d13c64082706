"""Configurations round-trip, and every bad argument is refused where it is written, with the right error."""

from __future__ import annotations

import json

import numpy as np
import pytest
from layer_cases import IMAGE, LAYERS
from support import randn

from fastconv import layers, ops, reference
from fastconv.graph.architecture import deserialize_layer, serialize_layer
from fastconv.models import Sequential


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_config_round_trip(layer):
    """Through JSON: the same class, the same configuration, and with the same weights the same output."""
    description = json.loads(json.dumps(serialize_layer(layer)))
    copy = deserialize_layer(description)
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
    assert json.loads(json.dumps(copy.get_config())) == description["config"]
    x = randn(np.random.default_rng(0), (2, *IMAGE), "float32")
    want = layer(x)
    copy.build((None, *IMAGE))
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(x), want)


def test_config_of_layers_with_several_inputs_and_outputs():
    for layer in (layers.Add(), layers.Multiply(), layers.Concatenate(1), layers.MaxUnpool2D(3, 2, (9, 9))):
        copy = deserialize_layer(json.loads(json.dumps(serialize_layer(layer))))
        assert copy.get_config() == layer.get_config()
    copy = layers.MaxPool2D.from_config(layers.MaxPool2D(return_argmax=True).get_config())
    assert len(copy(layers.Input(IMAGE))) == 2
    assert layers.InputLayer.from_config(layers.Input((None, 3)).node.layer.get_config()).shape == (None, None, 3)


def test_every_exported_layer_can_be_described():
    classes = {getattr(layers, name) for name in layers.__all__}
    classes = {c for c in classes if isinstance(c, type) and issubclass(c, layers.Layer)} - {layers.Layer}
    described = {type(layer) for layer in LAYERS}
    rest = {layers.Add, layers.Multiply, layers.Concatenate, layers.MaxUnpool2D, layers.InputLayer}
    assert classes == described | rest


def test_keras_aliases():
    for alias, name in {
        "Convolution2D": "Conv2D",
        "MaxPooling2D": "MaxPool2D",
        "AveragePooling2D": "AvgPool2D",
        "GlobalMaxPooling2D": "GlobalMaxPool2D",
        "GlobalAveragePooling2D": "GlobalAvgPool2D",
        "SeparableConvolution2D": "SeparableConv2D",
        "Convolution2DTranspose": "Conv2DTranspose",
    }.items():
        assert getattr(layers, alias) is getattr(layers, name)


BAD = [
    (lambda: layers.Conv2D(0, 3), ValueError, "filters must be at least 1, got 0"),
    (lambda: layers.Conv2D(-1, 3), ValueError, "filters"),
    (lambda: layers.Conv2D(True, 3), TypeError, "filters must be an integer, got the bool"),
    (lambda: layers.Conv2D(3.0, 3), TypeError, "filters must be an integer, got 3.0"),
    (lambda: layers.Conv2D(float("nan"), 3), TypeError, "filters"),
    (lambda: layers.Conv2D("3", 3), TypeError, "filters"),
    (lambda: layers.Conv2D(2**31, 3), OverflowError, "filters"),
    (lambda: layers.Conv2D(3, 0), ValueError, "kernel_size"),
    (lambda: layers.Conv2D(3, (3, 3, 3)), ValueError, "kernel_size must be one integer or two"),
    (lambda: layers.Conv2D(3, []), ValueError, "kernel_size"),
    (lambda: layers.Conv2D(3, (3, 2.0)), TypeError, r"kernel_size\[1\]"),
    (lambda: layers.Conv2D(3, 3, strides=0), ValueError, "strides"),
    (lambda: layers.Conv2D(3, 3, strides=(1, -2)), ValueError, r"strides\[1\]"),
    (lambda: layers.Conv2D(3, 3, dilation_rate=0), ValueError, "dilation_rate"),
    (lambda: layers.Conv2D(3, 3, groups=0), ValueError, "groups"),
    (lambda: layers.Conv2D(3, 3, groups=2), ValueError, "3 filters are not divisible by groups = 2"),
    (lambda: layers.Conv2D(3, 3, padding="full"), ValueError, "padding must be 'valid', 'same'"),
    (lambda: layers.Conv2D(3, 3, padding=-1), ValueError, "padding"),
    (lambda: layers.Conv2D(3, 3, padding=1.5), TypeError, "padding"),
    (lambda: layers.Conv2D(3, 3, data_format="channels_first"), ValueError, "nchw_to_nhwc"),
    (
        lambda: layers.Conv2D(3, 3, activation="rely"),
        ValueError,
        r"unknown activation 'rely' \(did you mean 'relu'\?\); known: 'relu'",
    ),
    (lambda: layers.Conv2D(3, 3, activation=("leaky_relu", 0)), ValueError, "leaky_relu must be positive"),
    (lambda: layers.Conv2D(3, 3, kernel_initializer="he"), ValueError, "unknown initializer 'he'"),
    (lambda: layers.Conv2D(3, 3, kernel_regularizer="l3"), ValueError, "unknown regularizer 'l3'"),
    (lambda: layers.Conv2D(3, 3, algorithm=3), TypeError, "algorithm"),
    (lambda: layers.Conv2D(3, 3, algorithm="fast"), ValueError, "unknown algorithm 'fast'; there are auto"),
    (lambda: layers.Conv2D(3, 3, dtype="float16"), ValueError, "dtype must be 'float32' or 'float64'"),
    (lambda: layers.Conv2D(3, 3, dtype="int32"), ValueError, "dtype"),
    (lambda: layers.Conv2D(3, 3, name=3), TypeError, "name must be a string"),
    (lambda: layers.Conv2D(3, 3, name="a/b"), ValueError, "'/'"),
    (lambda: layers.Conv2D(3, 3, kernel_constraint=None), TypeError, "kernel_constraint"),
    (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), ValueError, "depth_multiplier"),
    (lambda: layers.SeparableConv2D(0, 3), ValueError, "filters"),
    (lambda: layers.Conv2DTranspose(3, 3, 2, output_padding=2), ValueError, "output_padding 2 must be smaller"),
    (lambda: layers.LocallyConnected2D(3, 3, padding="same"), ValueError, "ZeroPadding2D"),
    (lambda: layers.Dense(0), ValueError, "units"),
    (lambda: layers.Dense(2.5), TypeError, "units"),
    (lambda: layers.MaxPool2D(0), ValueError, "pool_size"),
    (lambda: layers.MaxPool2D(2, padding=2), ValueError, "padding 2 is more than half the pool 2"),
    (lambda: layers.AvgPool2D(2, strides=0), ValueError, "strides"),
    (lambda: layers.Dropout(1.0), ValueError, r"rate must lie in \[0, 1\), got 1.0"),
    (lambda: layers.Dropout(-0.1), ValueError, "rate"),
    (lambda: layers.Dropout("0.5"), TypeError, "rate must be a number"),
    (lambda: layers.Dropout(float("nan")), ValueError, "rate"),
    (lambda: layers.Dropout(0.5, noise_shape=(1, 2)), ValueError, "SpatialDropout2D"),
    (lambda: layers.Dropout(0.5, seed=1.5), TypeError, "seed"),
    (lambda: layers.BatchNormalization(epsilon=0), ValueError, "epsilon must be positive"),
    (lambda: layers.BatchNormalization(momentum=1.1), ValueError, "momentum"),
    (lambda: layers.BatchNormalization(axis=1)(layers.Input(IMAGE)), ValueError, "axis must be the last one"),
    (lambda: layers.LocalResponseNormalization(-1), ValueError, "depth_radius"),
    (lambda: layers.LocalResponseNormalization(bias=0), ValueError, "bias"),
    (lambda: layers.LeakyReLU(-0.1), ValueError, "negative_slope"),
    (lambda: layers.LeakyReLU(None), TypeError, "negative_slope"),
    (lambda: layers.ReLU(max_value=-1), ValueError, "max_value"),
    (lambda: layers.ELU(-1), ValueError, "alpha"),
    (lambda: layers.Softmax(axis=1), ValueError, "axis"),
    (lambda: layers.PReLU(shared_axes=0), ValueError, "shared_axes"),
    (lambda: layers.PReLU(shared_axes=4)(layers.Input(IMAGE)), ValueError, "do not exist"),
    (lambda: layers.PReLU()(layers.Input((None, 4, 3))), ValueError, "share these axes"),
    (lambda: layers.Reshape(5), TypeError, "target_shape"),
    (lambda: layers.Reshape((-1, -1)), ValueError, "only one size may be -1"),
    (lambda: layers.Reshape((5, 5))(layers.Input(IMAGE)), ValueError, r"cannot reshape \(7, 9, 6\) \(378 values\)"),
    (lambda: layers.Concatenate(axis=0), ValueError, "batch"),
    (lambda: layers.ZeroPadding2D(-1), ValueError, "padding"),
    (lambda: layers.Cropping2D((4, 0))(layers.Input(IMAGE)), ValueError, "nothing is left: height 7 - cropping 4 - 4"),
    (lambda: layers.UpSampling2D(0), ValueError, "size"),
    (lambda: layers.UpSampling2D(2, interpolation="cubic"), ValueError, "interpolation"),
    (lambda: layers.Rescaling("a"), TypeError, "scale"),
    (lambda: layers.Rescaling([1.0, 2.0])(layers.Input(IMAGE)), ValueError, "2 values for 6 channels"),
    (lambda: layers.Input(28), TypeError, "an input shape is a tuple"),
    (lambda: layers.Input((28, 0, 1)), ValueError, r"input shape\[1\] must be at least 1"),
    (lambda: layers.Input((28, 28.0, 1)), TypeError, "input shape"),
    (lambda: layers.Input((28, 28, 1), dtype="uint8"), ValueError, "dtype"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message) as caught:
        make()
    assert type(caught.value) is error


WRONG_SHAPES = [
    (
        layers.Conv2D(4, 5, dilation_rate=2, name="conv3"),
        'Conv2D "conv3": kernel 5 (dilated: 9) is larger than the padded input 7 (height 7 + padding 0 + 0)',
    ),
    (layers.Conv2D(4, 3, groups=4), "Conv2D: 6 input channels are not divisible by groups = 4"),
    (
        layers.MaxPool2D(8, name="p"),
        'MaxPool2D "p": pool 8 is larger than the padded input 7 (height 7 + padding 0 + 0)',
    ),
    (layers.LocallyConnected2D(4, 8), "LocallyConnected2D: kernel 8 is larger than the padded input 7"),
    (layers.SeparableConv2D(4, (1, 10)), "SeparableConv2D: kernel 10 is larger than the padded input 9 (width 9"),
    (layers.Conv2DTranspose(4, 1, padding=4), "Conv2DTranspose: height 7 gives no output"),
]


@pytest.mark.parametrize(("layer", "message"), WRONG_SHAPES, ids=lambda v: getattr(v, "label", None))
def test_a_wrong_shape_is_an_error_on_the_line_that_wrote_it(layer, message):
    with pytest.raises(ValueError) as caught:
        layer(layers.Input(IMAGE))
    assert message in str(caught.value)
    assert layer.parameters == []


def test_other_channels_than_the_weights_have():
    for layer in (
        layers.Conv2D(3, 2),
        layers.DepthwiseConv2D(2),
        layers.SeparableConv2D(3, 2),
        layers.Conv2DTranspose(3, 2),
    ):
        layer(layers.Input((5, 5, 4)))
        with pytest.raises(ValueError, match=r"expected 4 input channels, got input shape \(None, 5, 5, 3\)"):
            layer(layers.Input((5, 5, 3)))
    dense = layers.Dense(3, name="fc")
    dense(layers.Input((5,)))
    with pytest.raises(ValueError, match=r'Dense "fc": expected 5 features'):
        dense(layers.Input((4,)))
    for layer in (layers.Dense(3), layers.BatchNormalization()):
        with pytest.raises(ValueError, match="must have a known size"):
            layer(layers.Input((None,)))
    for layer in (layers.Conv2D(3, 2), layers.GlobalAvgPool2D(), layers.ZeroPadding2D()):
        with pytest.raises(ValueError, match=r"\(None, 5, 5\)"):
            layer(layers.Input((5, 5)))


def test_merges_show_both_shapes():
    a, b = layers.Input((4, 5, 3)), layers.Input((4, 6, 3))
    for layer in (layers.Add(name="sum"), layers.Multiply(), layers.Concatenate()):
        with pytest.raises(ValueError, match=r"\(None, 4, 5, 3\), \(None, 4, 6, 3\)"):
            layer([a, b])
        with pytest.raises(ValueError, match="at least two inputs"):
            layer([a])
        with pytest.raises(ValueError, match=r"\(None, 4, 5, 3\), \(None, 3\)"):
            layer([a, layers.Input((3,))])
    assert layers.Concatenate(2)([a, b]).shape == (None, 4, 11, 3)
    assert layers.Concatenate(1)([layers.Input((None, 3)), layers.Input((2, 3))]).shape == (None, None, 3)


def test_calls_that_are_neither_arrays_nor_tensors():
    layer = layers.Conv2D(3, 2, name="c")
    for value in ([[1.0, 2.0]], "x", 3.0, None):
        with pytest.raises(TypeError, match="takes NumPy arrays or Input tensors"):
            layer(value)
    with pytest.raises(ValueError, match="empty list"):
        layer([])
    with pytest.raises(TypeError, match='Conv2D "c" takes NumPy arrays or Input tensors, got str'):
        layer("x")
    with pytest.raises(TypeError, match=r"takes NumPy arrays or Input tensors"):
        layers.Add()([layers.Input((3,)), np.ones((1, 3), np.float32)])


def test_dtypes_do_not_mix():
    with pytest.raises(TypeError, match="is float32, its input float64"):
        layers.Conv2D(3, 2)(layers.Input((4, 4, 1), dtype="float64"))
    assert layers.Conv2D(3, 2, dtype="float64")(layers.Input((4, 4, 1), dtype="float64")).dtype == "float64"
    assert layers.Flatten()(layers.Input((4, 4, 1), dtype="float64")).dtype == "float64"
    for layer in (layers.Add(), layers.Multiply(), layers.Concatenate()):
        with pytest.raises(TypeError, match="does not mix float32 and float64"):
            layer([layers.Input((3,)), layers.Input((3,), dtype="float64")])
        with pytest.raises(TypeError, match="does not mix float32 and float64"):
            layer([np.ones((1, 3), np.float32), np.ones((1, 3))])


def test_unknown_class_and_custom_objects():
    class Twice(layers.Layer):
        def forward(self, x, training=False):
            return 2 * x, None

        def backward(self, dy, cache):
            return 2 * dy

    description = serialize_layer(Twice(name="t"))
    with pytest.raises(ValueError, match="unknown layer 'Twice'"):
        deserialize_layer(description)
    assert deserialize_layer(description, {"Twice": Twice}).name == "t"


def test_a_layer_class_is_not_a_layer():
    with pytest.raises(TypeError, match="Sequential is made of layers"):
        Sequential([layers.Flatten])


def test_activation_given_as_a_layer():
    for activation, spec in [
        (layers.ReLU(), "relu"),
        (layers.ReLU(6), "relu6"),
        (layers.LeakyReLU(0.1), ("leaky_relu", 0.1)),
        (layers.ELU(0.5), ("elu", 0.5)),
        (layers.Softmax(), "softmax"),
    ]:
        assert layers.Dense(3, activation=activation).activation == spec
    with pytest.raises(ValueError, match="no fused form"):
        layers.Dense(3, activation=layers.ReLU(3))


def test_parameters_are_read_only_and_aligned():
    layer = layers.Conv2D(3, 2)
    layer.build((None, 4, 4, 5))
    kernel = layer.kernel
    assert kernel.value.ctypes.data % 64 == 0
    with pytest.raises(ValueError, match="read-only"):
        kernel.value[0] = 1
    version = kernel.version
    kernel.assign(np.ones(kernel.shape))
    assert kernel.version > version
    assert kernel.value.min() == 1
    with pytest.raises(ValueError, match=r"shape \(2, 2, 5, 3\), got values of shape \(3,\)"):
        kernel.assign(np.ones(3))
    with pytest.raises(TypeError, match="dtype"):
        kernel.assign(np.full(kernel.shape, "a"))
    with pytest.raises(ValueError, match="gradient"):
        kernel.add_grad(np.ones(3, np.float32))
    with pytest.raises(TypeError, match="gradient"):
        kernel.add_grad(np.ones(kernel.shape))


def test_gradients_of_a_step_add_up_without_touching_the_given_arrays():
    layer = layers.Dense(2)
    layer.build((None, 3))
    bias = layer.bias
    given = [np.array([1, 2], np.float32), np.array([10, 20], np.float32), np.array([100, 200], np.float32)]
    copies = [array.copy() for array in given]
    for gradient in given:
        gradient.flags.writeable = False
        bias.add_grad(gradient)
    np.testing.assert_array_equal(bias.grad, [111, 222])
    for gradient, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(gradient, copy)
    bias.zero_grad()
    bias.add_grad(given[0])
    np.testing.assert_array_equal(bias.grad, [1, 2])


def test_set_weights_changes_nothing_when_it_fails():
    layer = layers.Dense(2, name="d")
    layer.build((None, 3))
    before = layer.get_weights()
    with pytest.raises(ValueError, match='Dense "d" has 2 weights, got 1'):
        layer.set_weights(before[:1])
    with pytest.raises(ValueError, match=r'"bias" has shape \(2,\), got \(3,\)'):
        layer.set_weights([before[0] + 1, np.ones(3)])
    for now, then in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_an_unbuilt_layer_says_so():
    with pytest.raises(ValueError, match="not built"):
        layers.Dense(3).count_params()
    with pytest.raises(AttributeError, match="has no attribute 'kernel' yet: it is not built"):
        layers.Dense(3).forward(np.ones((1, 2), np.float32))
    layer = layers.Dense(3)
    layer.build((None, 2))
    with pytest.raises(AttributeError, match=r"has no attribute 'kernal'$"):
        layer.kernal  # noqa: B018


@pytest.mark.parametrize("kind", [layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D])
def test_an_algorithm_of_ones_own_serves_all_passes(kind, monkeypatch):
    """``algorithm=`` reaches forward and both backward passes."""
    monkeypatch.setattr("fastconv.ops.algorithms.registered", {})
    used = []

    def named(name, function):
        def run(*arguments, **options):
            used.append(name)
            return function(*arguments, **options)

        return run

    ops.register_conv2d(
        f"own_{kind.__name__}",
        named("forward", reference.conv2d),
        named("data", reference.conv2d_backward_data),
        named("weights", lambda *arguments, **options: reference.conv2d_backward_weights(*arguments, **options)[0]),
    )
    filters = {} if kind is layers.DepthwiseConv2D else {"filters": 4}
    ours = kind(**filters, kernel_size=(3, 2), strides=2, algorithm=f"own_{kind.__name__}", dtype="float64")
    plain = kind(**filters, kernel_size=(3, 2), strides=2, dtype="float64")
    x = randn(np.random.default_rng(0), (2, *IMAGE), "float64")
    results = []
    for layer in (ours, plain):
        layer.build(x.shape)
        layer.set_weights(ours.get_weights())
        y, cache = layer.forward(x)
        results.append([y, layer.backward(np.sin(y), cache), *(p.grad for p in layer.parameters)])
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
    assert sorted(used) == ["data", "forward", "weights"]
