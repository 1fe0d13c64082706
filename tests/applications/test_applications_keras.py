"""The networks that follow Keras: parameters, names, geometry and predictions as Keras', training, memory, errors."""

from __future__ import annotations

import re
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv as fc
from fastconv import interop, layers, optimizers
from fastconv.applications import densenet, inception_v3, mobilenet, mobilenet_v2, resnet, vgg, xception
from fastconv.applications._frame import KerasFrame
from fastconv.errors import DatasetError

NETWORKS: dict[str, Callable[..., Any]] = {
    network.__name__: network
    for network in (
        vgg.VGG16, vgg.VGG19, resnet.ResNet18, resnet.ResNet34, resnet.ResNet50, resnet.ResNet101, resnet.ResNet152,
        inception_v3.InceptionV3, xception.Xception, densenet.DenseNet121, densenet.DenseNet169, densenet.DenseNet201,
        mobilenet.MobileNet, mobilenet_v2.MobileNetV2,
    )
}  # fmt: skip
SMALLEST = {"InceptionV3": 75, "Xception": 71}


def small(name: str, **options: Any) -> Any:
    """A network for ten classes and the smallest images it takes."""
    size = SMALLEST.get(name, 32)
    return NETWORKS[name](input_shape=(size, size, 3), classes=10, **options)


# ---- parameters ----


@pytest.mark.parametrize(
    ("name", "options", "total", "trainable"),
    [
        ("VGG16", {"include_top": False}, 14_714_688, 14_714_688),
        ("VGG19", {"include_top": False}, 20_024_384, 20_024_384),
        ("ResNet18", {}, 11_699_112, 11_689_512),  # torchvision and the issue tracker count without moving statistics
        ("ResNet34", {}, 21_814_696, 21_797_672),
        ("ResNet50", {}, 25_636_712, 25_583_592),
        ("ResNet50", {"variant": "torchvision"}, 25_610_152, 25_557_032),
        ("ResNet101", {}, 44_707_176, 44_601_832),
        ("ResNet101", {"variant": "torchvision"}, 44_654_504, 44_549_160),
        ("ResNet152", {}, 60_419_944, 60_268_520),
        ("ResNet152", {"variant": "torchvision"}, 60_344_232, 60_192_808),
        ("InceptionV3", {}, 23_851_784, 23_817_352),
        ("Xception", {}, 22_910_480, 22_855_952),
        ("DenseNet121", {}, 8_062_504, 7_978_856),
        ("DenseNet169", {}, 14_307_880, 14_149_480),
        ("DenseNet201", {}, 20_242_984, 20_013_928),
        ("MobileNet", {}, 4_253_864, 4_231_976),
        ("MobileNet", {"alpha": 0.25}, 475_544, 470_072),
        ("MobileNetV2", {}, 3_538_984, 3_504_872),
        ("MobileNetV2", {"variant": "torchvision"}, 3_538_984, 3_504_872),
        ("MobileNetV2", {"alpha": 1.4}, 6_156_712, 6_108_776),
    ],
)
def test_parameters(name: str, options: dict[str, Any], total: int, trainable: int) -> None:
    """All weights, and those that training changes, at the default size and 1000 classes."""
    model = NETWORKS[name](**options)
    assert model.count_params() == total
    assert sum(p.size for p in model.trainable_weights) == trainable
    size = {"InceptionV3": 299, "Xception": 299}.get(name, 224) if options.get("include_top", True) else None
    assert model.input_shape == (None, size, size, 3)


@pytest.fixture(scope="module")
def vgg16() -> Any:
    return vgg.VGG16()


def test_vgg16_is_built_lean() -> None:
    """Its weights are allocated once, and in less than two seconds."""
    tracemalloc.start()
    try:
        started = time.process_time()
        model = vgg.VGG16()
        seconds = time.process_time() - started
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = sum(p.value.nbytes for p in model.parameters)
    assert size == 4 * 138_357_544
    assert peak < 1.5 * size, f"{peak / size:.2f} times the size of the weights"
    assert seconds < 2


def test_vgg16s_table_of_the_course_notes(vgg16: Any) -> None:
    """cs231n, "Convolutional Networks": memory and weights row by row, as summary() prints them.

    The notes count no biases, and round: "224*224*64=3.2M". Their rows add up to 15.2 M floats, 58 MB an image (60 with
    "flatten", which is a view of the pool), not to the 24 M and 93 MB they give as the sum.
    """
    notes = {  # row: memory, weights
        "input_layer": (150_528, 0),
        "block1_conv1": (3_211_264, 1_728), "block1_conv2": (3_211_264, 36_864), "block1_pool": (802_816, 0),
        "block2_conv1": (1_605_632, 73_728), "block2_conv2": (1_605_632, 147_456), "block2_pool": (401_408, 0),
        "block3_conv1": (802_816, 294_912), "block3_conv2": (802_816, 589_824), "block3_conv3": (802_816, 589_824),
        "block3_pool": (200_704, 0),
        "block4_conv1": (401_408, 1_179_648), "block4_conv2": (401_408, 2_359_296),
        "block4_conv3": (401_408, 2_359_296),
        "block4_pool": (100_352, 0),
        "block5_conv1": (100_352, 2_359_296), "block5_conv2": (100_352, 2_359_296),
        "block5_conv3": (100_352, 2_359_296),
        "block5_pool": (25_088, 0),
        "fc1": (4_096, 102_760_448), "fc2": (4_096, 16_777_216), "predictions": (1_000, 4_096_000),
    }  # fmt: skip
    printed: list[str] = []
    vgg16.summary(print_fn=printed.append)
    found = {}
    for line in printed[0].split("\n"):
        row = re.match(r"(\w+) \(\w+\) +\(None, ([\d, ]+)\) +([\d,]+)", line)
        if row:
            sizes = [int(size) for size in row[2].split(", ")]
            parameters = int(row[3].replace(",", ""))
            found[row[1]] = (int(np.prod(sizes)), parameters - (sizes[-1] if parameters else 0))
    assert found.pop("flatten") == (25_088, 0)
    assert found == notes
    assert list(found) == list(notes)
    assert sum(memory for memory, _ in found.values()) == 15_237_608
    assert sum(weights for _, weights in found.values()) == 138_344_128
    assert "Total params: 138,357,544 (527.79 MB)" in printed[0]
    assert "Multiply-adds: 15,470,264,320 per sample" in printed[0]


# ---- Keras ----

AUTOMATIC = re.compile(
    r"(input_layer|conv2d|batch_normalization|activation|add|concatenate|zero_padding2d|"
    r"(global_)?(max|average)_pooling2d)(_\d+)?"
)
SETTINGS = (
    "filters", "units", "kernel_size", "pool_size", "strides", "padding", "use_bias", "epsilon", "momentum", "center",
    "scale", "rate", "max_value", "negative_slope", "depth_multiplier", "axis", "keepdims", "target_shape",
)  # fmt: skip


@pytest.fixture(scope="module")
def keras() -> Any:
    from torch_oracle import keras_on_torch

    return keras_on_torch()


def plain(value: Any) -> Any:
    """Lists as tuples."""
    return tuple(plain(item) for item in value) if isinstance(value, list | tuple) else value


def assert_same_graph(model: Any, theirs: Any) -> None:
    """The same layers in the same order, with the same settings and, where Keras gives them, names."""
    for layer, other in zip(model.layers, theirs.layers, strict=True):
        assert isinstance(layer, getattr(layers, type(other).__name__))
        if not AUTOMATIC.fullmatch(other.name):
            assert layer.name == other.name
        config, wanted = layer.get_config(), other.get_config()
        for key in (key for key in SETTINGS if key in wanted and key in config):
            if key == "axis":
                assert config[key] in (wanted[key], -1), (layer.name, wanted[key])
            elif key != "padding" or plain(config.get("kernel_size")) != (1, 1):  # 1 x 1 needs none, however it is said
                assert plain(config[key]) == plain(wanted[key]), (layer.name, key)
        if "activation" in config:
            activation = wanted["activation"]
            assert (config["activation"] or "linear") == activation, layer.name


def randomise(theirs: Any, ours: Any, rng: np.random.Generator) -> None:
    """Give Keras' model weights and batch norm statistics that keep two images apart through all layers.

    Kernels are as wide as He et al. want them. The statistics are those of a batch, but the means are off by up to a
    quarter and the variances larger, or rounding errors would grow from layer to layer.
    """
    values = []
    for weight in theirs.weights:
        kind, shape = weight.path.split("/")[-1], tuple(weight.shape)
        if kind in ("kernel", "pointwise_kernel", "depthwise_kernel"):
            depthwise = "dw" in weight.path or "depthwise" in weight.path
            fan = np.prod(shape[:2] if depthwise else shape[:-1])
            values.append(rng.normal(0, np.sqrt(2 / fan), shape))
        elif kind in ("gamma", "moving_variance"):
            values.append(rng.uniform(0.75, 1.25, shape))
        else:
            values.append(rng.normal(0, 0.1, shape))
    theirs.set_weights(values)
    ours.set_weights(values)
    for layer in ours.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    ours.infer(rng.standard_normal((8, *ours.input_shape[1:])).astype(np.float32), training=True)
    values = ours.get_weights()
    for i, weight in enumerate(theirs.weights):
        if "moving" in weight.path:
            low, high = (1.0, 1.5) if "variance" in weight.path else (0.8, 1.25)
            values[i] = values[i] * rng.uniform(low, high, values[i].shape).astype(np.float32)
    theirs.set_weights(values)


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("VGG16", (32, 32, 3), {}),
        ("VGG16", (33, 46, 3), {"include_top": False}),
        ("VGG19", (40, 33, 3), {"include_top": False, "pooling": "max"}),
        ("ResNet50", (33, 46, 3), {}),
        ("ResNet101", (32, 32, 3), {"include_top": False, "pooling": "avg"}),
        ("InceptionV3", (75, 86, 3), {}),
        ("Xception", (84, 71, 3), {}),
        ("DenseNet121", (33, 46, 3), {}),
        ("DenseNet169", (32, 32, 4), {"include_top": False, "pooling": "max"}),
        ("MobileNet", (33, 46, 3), {}),
        ("MobileNet", (64, 65, 3), {"alpha": 0.5, "depth_multiplier": 2, "dropout": 0.2}),
        ("MobileNetV2", (33, 46, 3), {}),
        ("MobileNetV2", (50, 49, 3), {"alpha": 0.35}),
        ("MobileNetV2", (48, 32, 3), {"alpha": 1.3, "include_top": False, "pooling": "avg"}),
    ],
)
def test_predictions_are_keras(
    keras: Any, name: str, shape: tuple[int, ...], options: dict[str, Any], tmp_path: Path
) -> None:
    """Weights and random statistics travel in an .h5 file: Keras' older layout with a top, its newer one without."""
    pytest.importorskip("h5py", reason="needs h5py")
    theirs = getattr(keras.applications, name)(weights=None, input_shape=shape, classes=10, **options)
    model = NETWORKS[name](input_shape=shape, classes=10, **options)
    assert_same_graph(model, theirs)
    rng = np.random.default_rng(1)
    randomise(theirs, NETWORKS[name](input_shape=shape, classes=10, **options), rng)
    path = tmp_path / ("model.h5" if options.get("include_top", True) else "model.weights.h5")
    (theirs.save if path.name == "model.h5" else theirs.save_weights)(path)
    interop.load_weights(model, path)
    x = rng.standard_normal((2, *shape)).astype(np.float32)
    y, expected = model.predict(x, verbose=0), np.asarray(theirs.predict(x, verbose=0))
    # Without the images telling in the output the comparison would prove nothing.
    assert np.linalg.norm(expected[0] - expected[1]) > 0.02 * np.linalg.norm(expected)
    assert np.linalg.norm(y - expected) < 1e-4 * np.linalg.norm(expected)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=5e-5 * np.abs(expected).max())


def test_any_size_without_a_top(keras: Any) -> None:
    """Without a shape and a top the network takes images of every size, as Keras'."""
    for name in ("VGG16", "MobileNetV2"):
        theirs = getattr(keras.applications, name)(weights=None, include_top=False)
        model = NETWORKS[name](include_top=False)
        assert model.input_shape == theirs.input_shape == (None, None, None, 3)
        assert model.output_shape == theirs.output_shape
        assert_same_graph(model, theirs)
        assert model.predict(np.zeros((1, 64, 96, 3), np.float32), verbose=0).shape[1:3] == (2, 3)


# ---- torchvision's variants ----


def test_torchvisions_resnet50() -> None:
    """Version 1.5: the stride in the 3 x 3 convolution, padded alike on all sides, no bias; the same names."""
    model = small("ResNet50", variant="torchvision")
    assert model.get_layer("conv3_block1_1_conv").strides == (1, 1)
    assert model.get_layer("conv3_block1_2_conv").strides == (2, 2)
    assert model.get_layer("conv3_block1_2_conv").padding == 1
    assert model.get_layer("conv1_conv").padding == 3
    assert model.get_layer("pool1_pool").padding == 1
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(1e-5, 0.9)}
    assert not any(getattr(layer, "use_bias", False) for layer in model.layers if isinstance(layer, layers.Conv2D))
    keras_names = {layer.name for layer in small("ResNet50").layers}
    assert keras_names - {layer.name for layer in model.layers} == {"conv1_pad", "pool1_pad"}


def test_torchvisions_mobilenet_v2_pads_both_sides() -> None:
    """Padding 1, where Keras pads the corner: a stride of 2 then begins a row and a column earlier."""
    model, keras_form = small("MobileNetV2", variant="torchvision"), small("MobileNetV2")
    strided = [layer for layer in model.layers if getattr(layer, "strides", None) == (2, 2)]
    assert [layer.padding for layer in strided] == [1] * 5
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(1e-5, 0.9)}
    model.set_weights(keras_form.get_weights())
    names = {layer.name for layer in keras_form.layers if layer.parameters}
    assert names == {layer.name for layer in model.layers if layer.parameters}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_variant_follows_the_weights(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PyTorch file means torchvision's network, one that fastconv wrote means Keras', an argument decides."""
    loaded = []
    monkeypatch.setattr("fastconv.interop.load_weights", lambda model, path: loaded.append(path))
    foreign = tmp_path / f"weights{suffix}"
    foreign.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    network = mobilenet_v2.MobileNetV2
    for weights, variant, epsilon in [
        (foreign, None, 1e-5), (str(foreign), None, 1e-5), (foreign, "keras", 1e-3), (tmp_path / "x.h5", None, 1e-3),
        (tmp_path / "x.h5", "torchvision", 1e-5), (None, None, 1e-3),
    ]:  # fmt: skip
        model = network(input_shape=(32, 32, 3), weights=weights, variant=variant)
        assert model.get_layer("bn_Conv1").epsilon == epsilon, (weights, variant)
    assert len(loaded) == 5
    own = tmp_path / "own.safetensors"
    network(input_shape=(32, 32, 3)).save_weights(own)
    assert network(input_shape=(32, 32, 3), weights=own).get_layer("bn_Conv1").epsilon == 1e-3


def test_mobilenet_v2_prefers_the_installed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """weights="imagenet": torchvision's file if its package is installed, with or without the classifier."""
    path = tmp_path / "mobilenet_v2.safetensors"
    full = mobilenet_v2.MobileNetV2(variant="torchvision")
    full.save_weights(path)
    monkeypatch.setattr("fastconv.interop.pretrained.mobilenet_v2_file", lambda: path)
    model = mobilenet_v2.MobileNetV2(weights="imagenet", input_shape=(64, 64, 3))
    assert model.get_layer("bn_Conv1").epsilon == 1e-5
    for value, expected in zip(model.get_weights(), full.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)
    features = mobilenet_v2.MobileNetV2(weights="imagenet", include_top=False, pooling="avg", input_shape=(64, 64, 3))
    assert features.output_shape == (None, 1280)
    np.testing.assert_array_equal(features.get_weights()[0], full.get_weights()[0])

    monkeypatch.setattr("fastconv.interop.pretrained.mobilenet_v2_file", lambda: None)
    with pytest.raises(DatasetError, match="make pretrained"):
        mobilenet_v2.MobileNetV2(weights="imagenet", variant="torchvision")
    with pytest.raises(ValueError, match=r"exists for alpha 1, not for 0\.5"):
        mobilenet_v2.MobileNetV2(weights="imagenet", variant="torchvision", alpha=0.5)


# ---- training ----


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in NETWORKS] + [(name, {"variant": "torchvision"}) for name in ("ResNet50", "MobileNetV2")],
)
def test_a_step_moves_every_weight(name: str, options: dict[str, Any]) -> None:
    fc.utils.set_random_seed(0)
    model = small(name, **options)
    model.compile(optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    before = [p.numpy() for p in model.trainable_weights]
    x = np.random.default_rng(0).standard_normal((2, *model.input_shape[1:])).astype(np.float32)
    assert np.isfinite(model.train_on_batch(x, np.array([1, 2])))
    paths = [path for path, p in model.named_parameters() if p.trainable]
    for path, parameter, old in zip(paths, model.trainable_weights, before, strict=True):
        assert np.isfinite(parameter.value).all(), path
        # A 3 x 3 kernel on a feature map of one pixel has eight taps that see only padding; ReLU silences others.
        assert np.mean(parameter.value != old) > 0.09, path


FRAME = KerasFrame(True, None, None, (32, 32, 3), None, 3, None, "narrow")


def narrow_inception(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One module of each kind."""
    monkeypatch.setattr(inception_v3, "FIVE_BY_FIVE", (32,))
    monkeypatch.setattr(inception_v3, "SEVEN_BY_SEVEN", (128,))
    monkeypatch.setattr(inception_v3, "EXPANDED", 1)
    return inception_v3.InceptionV3(input_shape=(75, 75, 3), classes=3, classifier_activation=None, _width=1 / 32)


def narrow_mobilenet(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(mobilenet, "BLOCKS", ((64, 1), (128, 2), (128, 1), (256, 2)))
    return mobilenet.MobileNet((32, 32, 3), alpha=1 / 16, dropout=0.3, classes=3, classifier_activation=None)


def narrow_mobilenet_v2(variant: str) -> Callable[[pytest.MonkeyPatch], Any]:
    def build(monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(mobilenet_v2, "BLOCKS", ((1, 16, 1, 1), (6, 16, 2, 2), (6, 24, 1, 2)))
        return mobilenet_v2.MobileNetV2((32, 32, 3), 0.1, classes=3, classifier_activation=None, variant=variant)

    return build


NARROW: dict[str, Callable[[pytest.MonkeyPatch], Any]] = {
    "vgg": lambda _: vgg._vgg(FRAME, "vgg16", (1, 1, 2, 1, 1), widths=(3, 4, 5, 6, 7), units=8),
    "resnet, basic blocks": lambda _: resnet._resnet(
        FRAME, "resnet18", resnet._basic, resnet.FORMS["torchvision"], width=3, depths=(1, 2, 1, 1)
    ),
    "resnet, keras": lambda _: resnet._resnet(
        FRAME, "resnet50", resnet._bottleneck, resnet.FORMS["keras"], width=2, depths=(1, 2, 1, 1)
    ),
    "resnet, torchvision": lambda _: resnet._resnet(
        FRAME, "resnet50", resnet._bottleneck, resnet.FORMS["torchvision"], width=2, depths=(1, 2, 1, 1)
    ),
    "densenet": lambda _: densenet._densenet(FRAME, "densenet121", (2, 2, 2, 1), growth_rate=4),
    "xception": lambda _: xception.Xception(
        input_shape=(71, 71, 3), classes=3, classifier_activation=None, _width=1 / 32, _middle=1
    ),
    "inception": narrow_inception,
    "mobilenet": narrow_mobilenet,
    "mobilenet_v2, keras": narrow_mobilenet_v2("keras"),
    "mobilenet_v2, torchvision": narrow_mobilenet_v2("torchvision"),
}


@pytest.mark.parametrize("name", NARROW)
def test_gradcheck_of_a_narrow_copy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole network with a few channels and fewer repeats, in training: two elements and two directions each."""
    fc.utils.set_random_seed(2)
    model = NARROW[name](monkeypatch)
    report = fc.testing.gradcheck(model, batch_size=3, elements=2, seed=2)
    assert report.passed, report
    assert len(report.tensors) == len(model.trainable_weights) + 1
    zero = [tensor.name for tensor in report.tensors if not tensor.nonzero]
    assert not zero


# ---- errors and published files ----


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("VGG16", {"input_shape": (31, 32, 3)}, ValueError, r"\(31, 32, 3\): height must be at least 32"),
        ("VGG16", {"input_shape": (None, None, 3)}, ValueError, "known height"),
        ("ResNet50", {"input_shape": (32, 32)}, ValueError, r"\(height, width, channels\), got \(32, 32\)"),
        ("InceptionV3", {"input_shape": (75, 74, 3)}, ValueError, "width must be at least 75"),
        ("Xception", {"input_shape": (70, 71, 3)}, ValueError, "height must be at least 71"),
        ("DenseNet121", {"include_top": False, "pooling": "sum"}, ValueError, "'avg' or 'max', got 'sum'"),
        ("MobileNet", {"alpha": 0}, ValueError, "alpha must be positive, got 0"),
        ("MobileNet", {"alpha": 0.01}, ValueError, "alpha = 0.01 leaves no filter of a layer's 32"),
        ("MobileNet", {"depth_multiplier": 0}, ValueError, "depth_multiplier"),
        ("MobileNet", {"dropout": 1.0}, ValueError, r"rate must lie in \[0, 1\), got 1.0"),
        ("MobileNet", {"weights": "imagenet", "alpha": 0.6}, ValueError, "alpha 0.25, 0.5, 0.75, 1.0, not for 0.6"),
        ("MobileNet", {"weights": "imagenet", "depth_multiplier": 2}, ValueError, "depth_multiplier 1, not for 2"),
        ("MobileNetV2", {"alpha": "1"}, TypeError, "alpha must be a number"),
        ("MobileNetV2", {"weights": "imagenet", "alpha": 0.6}, ValueError, "not for 0.6"),
        ("MobileNetV2", {"variant": "tf"}, ValueError, "'keras', 'torchvision' or None"),
        ("ResNet50", {"variant": "torchvision", "weights": "imagenet"}, ValueError, "belong to variant='keras'"),
        ("ResNet50", {"classes": 0}, ValueError, "classes"),
        ("ResNet50", {"classes": 10.5}, TypeError, "classes"),
        ("ResNet50", {"weights": "imagenet", "classes": 10}, ValueError, "1000 classes, got classes=10"),
        ("Xception", {"weights": "imagenet", "classifier_activation": "relu"}, ValueError, "'softmax' or None"),
        ("ResNet18", {"weights": "imagenet"}, ValueError, "no ImageNet weights are published for resnet18"),
    ],
)
def test_bad_arguments(name: str, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        NETWORKS[name](**options)


def test_input_tensor() -> None:
    """A network on top of another model's layer."""
    image = fc.Input((40, 32, 3))
    model = resnet.ResNet18(input_tensor=layers.Rescaling(1 / 255)(image), include_top=False, pooling="avg")
    assert fc.Model(image, model.output).predict(np.ones((1, 40, 32, 3), np.float32), verbose=0).shape == (1, 512)
    with pytest.raises(ValueError, match=r"\(32, 32, 3\), but input_tensor has \(40, 32, 3\)"):
        resnet.ResNet18(input_tensor=image, input_shape=(32, 32, 3))
