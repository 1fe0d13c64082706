"""What all networks of `fastconv.applications` have in common: names, arguments, documentation, errors."""

import inspect
import re
import subprocess
import sys

import numpy as np
import pytest

import fastconv as fc
from fastconv import applications
from fastconv.applications.imagenet import NETWORKS

NAMES = [network.name for network in NETWORKS]

#: As the papers, Keras and pytorchcv count them; ResNet18 and 34 and ENet without moving statistics.
PARAMETERS = {
    "LeNet5": 61_706,
    "AlexNet": 62_378_344,
    "ZFNet": 62_357_608,
    "VGG16": 138_357_544,
    "VGG19": 143_667_240,
    "GoogLeNet": 6_998_552,
    "SqueezeNet": 1_248_424,
    "ResNet18": 11_689_512,
    "ResNet34": 21_797_672,
    "ResNet50": 25_636_712,
    "ResNet101": 44_707_176,
    "ResNet152": 60_419_944,
    "InceptionV3": 23_851_784,
    "Xception": 22_910_480,
    "DenseNet121": 8_062_504,
    "DenseNet169": 14_307_880,
    "DenseNet201": 20_242_984,
    "MobileNet": 4_253_864,
    "MobileNetV2": 3_538_984,
    "NiN": 966_986,
    "ENet": 358_060,
}
#: Keras' modules, and the networks in them.
MODULES = {
    "vgg16": ["VGG16"],
    "vgg19": ["VGG19"],
    "resnet": ["ResNet50", "ResNet101", "ResNet152"],
    "resnet50": ["ResNet50"],
    "inception_v3": ["InceptionV3"],
    "xception": ["Xception"],
    "densenet": ["DenseNet121", "DenseNet169", "DenseNet201"],
    "mobilenet": ["MobileNet"],
    "mobilenet_v2": ["MobileNetV2"],
}
KERAS_NETWORKS = sorted({name for names in MODULES.values() for name in names})
#: Their like for the networks that Keras does not have.
OTHER_MODULES = {
    "alexnet": "AlexNet",
    "enet": "ENet",
    "googlenet": "GoogLeNet",
    "lenet": "LeNet5",
    "nin": "NiN",
    "squeezenet": "SqueezeNet",
    "zfnet": "ZFNet",
}
NOT_PUBLISHED = sorted(set(NAMES) - set(KERAS_NETWORKS))


def channels(name):
    return next(network.input_shape[2] for network in NETWORKS if network.name == name)


def fresh_python(code):
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---- loading ----


def test_importing_fastconv_is_fast_and_loads_no_network():
    code = (
        "import time; start = time.process_time(); import fastconv, sys; print(time.process_time() - start); "
        "print([name for name in sys.modules if name.startswith(('PIL', 'matplotlib', 'h5py', 'fastconv.applications', "
        "'fastconv.preprocessing', 'fastconv.interop', 'fastconv.layers'))])"
    )
    seconds, loaded = zip(*(fresh_python(code).splitlines() for _ in range(3)), strict=True)
    assert set(loaded) == {"[]"}
    assert min(map(float, seconds)) < 0.3, seconds


def test_a_network_loads_its_own_file_only():
    code = (
        "import fastconv.applications as a, sys; before = set(sys.modules)\n"
        "a.vgg16.preprocess_input; a.VGG16; a.vgg16.VGG16; new = set(sys.modules) - before\n"
        "print(sorted(m[22:] for m in new if m.startswith('fastconv.applications.') and '._' not in m))\n"
        "print([m for m in before if m.startswith(('fastconv.layers', 'fastconv.models'))])"
    )
    assert fresh_python(code).splitlines() == ["['vgg']", "[]"]


def test_names_are_imported_as_in_keras():
    code = (
        "from fastconv.applications.vgg16 import VGG16, decode_predictions, preprocess_input\n"
        "import fastconv.applications.resnet50 as resnet50\n"
        "from fastconv.applications import mobilenet_v2, vgg16, MobileNetV2\n"
        "from fastconv.applications import *\n"
        "import fastconv as fc\n"
        "assert vgg16.VGG16 is VGG16 is fc.applications.VGG16 and resnet50 is fc.applications.resnet50\n"
        "assert mobilenet_v2.MobileNetV2 is MobileNetV2 and resnet50.ResNet50 is fc.applications.resnet.ResNet50\n"
        "print(ENet.__name__, vgg16.__name__, 'VGG16' in dir(vgg16))"
    )
    assert fresh_python(code) == "ENet fastconv.applications.vgg16 True"


def test_every_network_is_exported():
    assert set(NAMES) == set(PARAMETERS)
    assert set(NAMES) <= set(applications.__all__)
    assert set(applications.__all__) <= set(dir(applications))
    for network in NETWORKS:
        function = getattr(applications, network.name)
        assert callable(function)
        assert function is network.function
        assert function.__name__ == network.name
        assert function.__module__ == f"fastconv.applications.{network.module}"
    for name in applications.__all__:
        getattr(applications, name)


def test_networks_by_name():
    networks = applications.networks()
    assert list(networks) == [name.lower() for name in NAMES]
    assert networks["mobilenetv2"] is applications.MobileNetV2
    assert len(set(networks.values())) == 21


@pytest.mark.parametrize(
    ("owner", "name", "hint"),
    [
        (applications, "Resnet50", "did you mean 'ResNet50'?"),
        (applications, "VGG61", "did you mean 'VGG1"),
        (applications, "MobilNetV2", "did you mean 'MobileNetV2'?"),
        (applications, "inception", "did you mean 'InceptionV3'?"),
        (applications.vgg16, "preproces_input", "did you mean 'preprocess_input'?"),
        (applications.vgg16, "VGG19", "did you mean 'VGG16'?"),
        (fc, "application", "did you mean 'applications'?"),
        (fc, "preprocesing", "did you mean 'preprocessing'?"),
    ],
)
def test_misspelt_names(owner, name, hint):
    with pytest.raises(AttributeError, match=re.escape(hint)):
        getattr(owner, name)
    assert not hasattr(applications.vgg16, "__path__")


# ---- what belongs to a network ----


@pytest.mark.parametrize("name", MODULES)
def test_modules_have_what_those_of_keras_have(name):
    pytest.importorskip("torch", reason="needs torch==2.13.0")
    keras = pytest.importorskip("keras", reason="needs keras 3")
    module, theirs = getattr(applications, name), getattr(keras.applications, name)
    assert module.__doc__
    for network in MODULES[name]:
        assert getattr(module, network) is getattr(applications, network)
        assert hasattr(theirs, network)
    x = np.random.default_rng(0).integers(0, 256, (1, 2, 3, 3), dtype=np.uint8)
    np.testing.assert_allclose(module.preprocess_input(x), theirs.preprocess_input(x.copy()), rtol=2e-6, atol=2e-6)
    assert module.decode_predictions is applications.decode_predictions


@pytest.mark.parametrize(("name", "network"), OTHER_MODULES.items())
def test_modules_of_the_other_networks(name, network):
    module = getattr(applications, name)
    assert getattr(module, network) is getattr(applications, network)
    assert module.preprocess_input is applications.preprocessing_of(network)
    of_imagenet = inspect.signature(getattr(module, network)).parameters["classes"].default == 1000
    assert of_imagenet == hasattr(module, "decode_predictions")


# ---- arguments and documentation ----


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_those_of_keras(name):
    parameters = inspect.signature(getattr(applications, name)).parameters
    defaults = {
        "include_top": True,
        "weights": None,
        "input_tensor": None,
        "input_shape": None,
        "pooling": None,
        "classes": {"LeNet5": 10, "NiN": 10, "ENet": 19}.get(name, 1000),
        "classifier_activation": "softmax",
    }
    assert {key: parameters[key].default for key in defaults} == defaults
    assert "name" in parameters
    assert all(parameter.default is not parameter.empty for parameter in parameters.values())


@pytest.mark.parametrize("name", KERAS_NETWORKS)
def test_order_and_defaults_are_those_of_keras(name):
    pytest.importorskip("torch", reason="needs torch==2.13.0")
    keras = pytest.importorskip("keras", reason="needs keras 3")
    theirs = inspect.signature(getattr(keras.applications, name)).parameters
    ours = inspect.signature(getattr(applications, name)).parameters
    positional = [key for key, parameter in ours.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    assert positional == list(theirs)
    for key, parameter in theirs.items():
        if key not in ("weights", "name"):
            assert ours[key].default == parameter.default, key


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_name_paper_size_and_cost(name):
    doc = inspect.getdoc(getattr(applications, name))
    family = re.search(r"as\s+:func:`(\w+)`", doc)
    whole = doc + (inspect.getdoc(getattr(applications, family.group(1))) if family else "")
    assert f"{PARAMETERS[name]:,}" in doc
    assert re.search(r"\d( [GM])?\s+multiply-adds|\| multiply-adds \|", doc)
    assert re.search(r"arXiv:\d{4}\.\d{4,5}|(IEEE|NIPS|ECCV|CVPR) (1998|201\d)", whole)
    assert re.search(r"\d+ x \d+ x \d|\(N, \d+, \d+, \d\)", doc), "input size"
    assert re.search(r"\d\s%", doc), "accuracy"
    public = [key for key in inspect.signature(getattr(applications, name)).parameters if not key.startswith("_")]
    for argument in public:
        assert re.search(rf"^    .*\b{argument}\b.*:", whole, re.MULTILINE), argument
    assert "Raises:" in whole


# ---- bad arguments ----


@pytest.mark.parametrize("name", NAMES)
def test_bad_arguments(name):
    build = getattr(applications, name)
    shape = (96, 96, channels(name))
    with pytest.raises(ValueError, match=r"'avg'.*'max'.*'average'"):
        build(include_top=False, input_shape=shape, pooling="average")
    with pytest.raises(ValueError, match=r"\(4, 4, \d\).*at least|at least.*\b4\b|\(4, 4, \d\).*multiple"):
        build(include_top=False, input_shape=(4, 4, channels(name)))
    with pytest.raises(ValueError, match=r"\(96, 96\)"):
        build(include_top=False, input_shape=(96, 96))
    with pytest.raises(TypeError, match=r"96\.0"):
        build(include_top=False, input_shape=(96.0, 96, channels(name)))
    with pytest.raises((TypeError, ValueError), match=r"\b0\b"):
        build(input_shape=shape, classes=0)


@pytest.mark.parametrize(("name", "ending"), list(zip(NAMES, ["safetensors", "h5", "pth"] * 7, strict=True)))
def test_a_weight_file_that_does_not_exist(tmp_path, name, ending):
    if ending == "h5":
        pytest.importorskip("h5py", reason="needs h5py")
    build = getattr(applications, name)
    with pytest.raises(FileNotFoundError, match=rf"nowhere\.{ending}"):
        build(include_top=False, input_shape=(96, 96, channels(name)), weights=tmp_path / f"nowhere.{ending}")


@pytest.mark.parametrize("name", NOT_PUBLISHED)
def test_imagenet_weights_that_nobody_published(name):
    build = getattr(applications, name)
    with pytest.raises(ValueError, match=rf"(?i){name}.*path|path.*{name}|no ImageNet weights.*{name}"):
        build(include_top=False, input_shape=(96, 96, channels(name)), weights="imagenet")
