"""ImageNet's names, `decode_predictions` and the scalings of the pixels, against Keras."""

import hashlib
import json
from importlib import import_module

import numpy as np
import pytest

import fastconv as fc
from fastconv.applications import imagenet

#: What Keras checks its download `imagenet_class_index.json` against.
KERAS_MD5 = "c2c37ea517e94d9795004a39431a14cb"


@pytest.fixture
def keras_utils(monkeypatch):
    pytest.importorskip("torch", reason="needs torch==2.13.0")
    pytest.importorskip("keras", reason="needs keras 3")
    utils = import_module("keras.src.applications.imagenet_utils")
    # Its download; the test below says that this is the same file.
    monkeypatch.setattr(utils, "CLASS_INDEX", {str(i): list(names) for i, names in enumerate(imagenet.class_names())})
    return utils


def test_the_names_are_those_that_keras_downloads_to_the_byte():
    index = json.dumps({str(i): list(names) for i, names in enumerate(imagenet.class_names())})
    assert hashlib.md5(index.encode()).hexdigest() == KERAS_MD5


@pytest.mark.parametrize(
    ("index", "names"),
    [
        (0, ("n01440764", "tench")),
        (285, ("n02124075", "Egyptian_cat")),
        (872, ("n04485082", "tripod")),
        (967, ("n07920052", "espresso")),
        (999, ("n15075141", "toilet_tissue")),
    ],
)
def test_class_names(index, names):
    assert imagenet.class_names()[index] == names


@pytest.mark.parametrize("top", [1, 5, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decode_predictions_is_keras(keras_utils, top, dtype):
    preds = np.random.default_rng(0).dirichlet(np.ones(1000), 3).astype(dtype)
    assert len(np.unique(preds)) == preds.size, "ties would leave the order open"
    got = fc.applications.decode_predictions(preds, top=top)
    assert got == [
        [(*names, float(score)) for *names, score in row] for row in keras_utils.decode_predictions(preds, top)
    ]
    assert [len(row) for row in got] == [top] * 3
    assert type(got[0][0]) is tuple
    assert type(got[0][0][2]) is float


def test_equal_scores_come_in_the_order_of_the_classes_and_nan_first():
    preds = np.zeros((2, 1000), np.float32)
    preds[0, [7, 3, 500]] = 1
    preds[1, 600] = np.nan
    tied, broken = fc.applications.decode_predictions(preds, top=4)
    names = imagenet.class_names()
    assert [row[:2] for row in tied] == [names[3], names[7], names[500], names[0]]
    assert broken[0][:2] == names[600]
    assert np.isnan(broken[0][2])


def test_an_empty_batch_has_no_names():
    assert fc.applications.decode_predictions(np.zeros((0, 1000))) == []


@pytest.mark.parametrize(
    ("preds", "top", "error", "message"),
    [
        (np.zeros((2, 10)), 5, ValueError, r"\(N, 1000\), got \(2, 10\)"),
        (np.zeros((1, 1001)), 5, ValueError, r"got \(1, 1001\)"),
        (np.zeros(1000), 5, ValueError, r"got \(1000,\); one sample is predictions\[np.newaxis\]"),
        (np.zeros((1, 1, 1000)), 5, ValueError, r"got \(1, 1, 1000\)"),
        (np.zeros((1, 1000), complex), 5, TypeError, "complex128"),
        (np.zeros((1, 1000), bool), 5, TypeError, "bool"),
        (np.zeros((1, 1000)), 0, ValueError, "top must be at least 1, got 0"),
        (np.zeros((1, 1000)), 1001, ValueError, "top is 1001, but there are 1000 classes"),
        (np.zeros((1, 1000)), 2.0, TypeError, r"top must be an integer, got 2\.0"),
    ],
)
def test_decode_predictions_refuses(preds, top, error, message):
    with pytest.raises(error, match=message):
        fc.applications.decode_predictions(preds, top=top)


@pytest.mark.parametrize("mode", ["tf", "caffe", "torch"])
@pytest.mark.parametrize("shape", [(3, 4, 3), (2, 3, 4, 3), (0, 3, 4, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64", ">f4"])
def test_preprocess_input_is_keras(keras_utils, mode, shape, dtype):
    x = np.random.default_rng(1).integers(0, 256, shape).astype(dtype)
    if np.issubdtype(x.dtype, np.floating):
        x += x.dtype.type(0.25)
    before = x.copy()
    got = imagenet.preprocess_input(x, mode=mode)
    want = keras_utils.preprocess_input(x.copy(), data_format="channels_last", mode=mode)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert not np.shares_memory(got, x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6)


def test_preprocess_input_by_hand_of_any_rank_and_layout():
    pixel = np.array([255, 0, 51], np.uint8)
    x = np.broadcast_to(pixel, (2, 1, 3, 5, 4, 3))
    want = {
        "tf": [1, -1, -0.6],
        "caffe": [51 - 103.939, -116.779, 255 - 123.68],
        "torch": [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225],
        "unit": [1, 0, 0.2],
    }
    for mode, values in want.items():
        for images in (x, x[..., ::-1, :], np.asfortranarray(x)):
            got = imagenet.preprocess_input(images, mode)
            assert got.shape == x.shape
            np.testing.assert_allclose(got, np.broadcast_to(np.float32(values), x.shape), rtol=1e-6)
    np.testing.assert_allclose(imagenet.preprocess_input(x), imagenet.preprocess_caffe(x))


def test_grey_images_where_colour_plays_no_part():
    x = np.full((2, 28, 28, 1), 51, np.uint8)
    np.testing.assert_allclose(fc.applications.preprocessing_of("lenet5")(x), np.full(x.shape, 0.2, np.float32))


@pytest.mark.parametrize(
    ("x", "mode", "error", "message"),
    [
        (np.zeros((2, 3, 4, 4)), "caffe", ValueError, r"got \(2, 3, 4, 4\); it looks like \(N, C, H, W\)"),
        (np.zeros((2, 4, 4, 1)), "torch", ValueError, r"\(\.\.\., height, width, 3\), RGB, got \(2, 4, 4, 1\)"),
        (np.zeros((4, 4)), "tf", ValueError, r"got \(4, 4\)"),
        (np.zeros((4, 4, 3), complex), "tf", TypeError, "complex128"),
        (np.zeros((4, 4, 3), bool), "unit", TypeError, "bool"),
        ([["a"]], "caffe", TypeError, "<U1"),
        (np.zeros((4, 4, 3)), "torhc", ValueError, r"got 'torhc' \(did you mean 'torch'\?\)"),
    ],
)
def test_preprocess_input_refuses(x, mode, error, message):
    with pytest.raises(error, match=message):
        imagenet.preprocess_input(x, mode=mode)


# Keras' module of each network that Keras has.
@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("VGG16", "vgg16"),
        ("VGG19", "vgg19"),
        ("ResNet50", "resnet"),
        ("ResNet101", "resnet"),
        ("ResNet152", "resnet"),
        ("InceptionV3", "inception_v3"),
        ("Xception", "xception"),
        ("DenseNet121", "densenet"),
        ("DenseNet169", "densenet"),
        ("DenseNet201", "densenet"),
        ("MobileNet", "mobilenet"),
        ("MobileNetV2", "mobilenet_v2"),
    ],
)
def test_every_network_that_keras_has_scales_as_keras_does(name, module):
    pytest.importorskip("torch", reason="needs torch==2.13.0")
    keras = pytest.importorskip("keras", reason="needs keras 3")
    x = np.random.default_rng(2).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    want = getattr(keras.applications, module).preprocess_input(x.copy())
    np.testing.assert_allclose(fc.applications.preprocessing_of(name)(x), want, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "weights_from", "function"),
    [
        ("mobilenet_v2", None, imagenet.preprocess_tf),
        ("mobilenet_v2", "torch", imagenet.preprocess_torch),
        ("MobileNetV2", "torch", imagenet.preprocess_torch),
        ("vgg-16", "torch", imagenet.preprocess_torch),
        ("resnet18", None, imagenet.preprocess_torch),  # only PyTorch has weights
        ("Inception V3", "torch", imagenet.preprocess_tf),  # ported with TensorFlow's scaling
        ("nin", "torch", imagenet.preprocess_unit),
    ],
)
def test_preprocessing_of(name, weights_from, function):
    assert fc.applications.preprocessing_of(name, weights_from=weights_from) is function


def test_unknown_names():
    with pytest.raises(
        ValueError, match=r"no network 'mobilnet_v2' \(did you mean 'mobilenetv2'\?\): known are LeNet5,"
    ):
        fc.applications.preprocessing_of("mobilnet_v2")
    with pytest.raises(ValueError, match="weights_from must be None or 'torch', got 'keras'"):
        fc.applications.preprocessing_of("vgg16", weights_from="keras")
    with pytest.raises(TypeError, match="must be a string, got 16"):
        fc.applications.preprocessing_of(16)
