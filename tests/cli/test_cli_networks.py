"""The commands `fastconv predict` and `fastconv summary`, with a small network in place of the trained ones."""

import io
import re
import sys
from contextlib import redirect_stdout

import numpy as np
import pytest
from PIL import Image

import fastconv as fc
from fastconv import cli, layers
from fastconv.applications import imagenet, mobilenet_v2

SPELLINGS = ["mobilenet_v2", "MobileNetV2", "mobilenetv2", "MOBILENET_V2", "mobilenet.v2"]


@pytest.fixture
def pictures(tmp_path):
    """Two photographs of noise, a grey one in PNG and one in colour in JPEG."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / "grey.png", tmp_path / "colour.jpg"]
    Image.fromarray(rng.integers(0, 256, (300, 420), dtype=np.uint8)).save(paths[0])
    Image.fromarray(rng.integers(0, 256, (260, 230, 3), dtype=np.uint8)).save(paths[1])
    return [str(path) for path in paths]


@pytest.fixture
def small(monkeypatch):
    """A random network in the place of MobileNetV2; returns the weights it was built with, and the model."""
    asked = {}

    def build(include_top=True, weights=None, **options):
        fc.utils.set_random_seed(0)
        asked["weights"] = weights
        asked["model"] = fc.Sequential(
            [
                layers.Input((224, 224, 3)),
                layers.AvgPool2D(56),
                layers.Flatten(),
                layers.Dense(1000, activation="softmax"),
            ]
        )
        return asked["model"]

    monkeypatch.setattr(mobilenet_v2, "MobileNetV2", build)
    return asked


def expected(model, path, scaling, top):
    image = fc.preprocessing.resize_and_crop(fc.preprocessing.load_image(path), resize=256, crop=224)
    y = model.predict(imagenet.preprocess_input(image[np.newaxis], scaling), verbose=0)[0]
    names = fc.applications.class_names()
    return [f"{i:4d}  {names[i][0]}  {names[i][1]}  {y[i]:.4f}" for i in np.argsort(-y, kind="stable")[:top]]


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_line_for_each_class(name, small, pictures, capsys, monkeypatch):
    monkeypatch.setattr("fastconv.interop.pretrained.mobilenet_v2_file", lambda: None)
    assert cli.main(["predict", pictures[1], "--model", name, "--top", "3"]) == 0
    assert capsys.readouterr().out.splitlines() == expected(small["model"], pictures[1], "tf", 3)
    assert small["weights"] == "imagenet"


def test_several_pictures(small, pictures, capsys):
    assert cli.main(["predict", *pictures, "--model", "mobilenet_v2", "--scaling", "tf"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{pictures[0]}:"
    assert lines[6] == f"{pictures[1]}:"
    assert lines[1:6] == expected(small["model"], pictures[0], "tf", 5)
    assert lines[7:] == expected(small["model"], pictures[1], "tf", 5)


@pytest.mark.parametrize(
    ("weights", "options", "scaling"),
    [
        ("some.h5", [], "tf"),
        ("some.pth", [], "torch"),
        ("some.pth", ["--scaling", "caffe"], "caffe"),
    ],
)
def test_pixels_are_scaled_as_the_weights_want_it(weights, options, scaling, small, pictures, capsys):
    command = ["predict", pictures[1], "--model", "mobilenet_v2", "--weights", weights, "--top", "2", *options]
    assert cli.main(command) == 0
    assert capsys.readouterr().out.splitlines() == expected(small["model"], pictures[1], scaling, 2)
    assert small["weights"] == weights


def test_imagenet_weights_of_mobilenet_v2_may_be_pytorchs(small, pictures, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("fastconv.interop.pretrained.mobilenet_v2_file", lambda: tmp_path)
    assert cli.main(["predict", pictures[1], "--model", "mobilenet_v2"]) == 0
    assert capsys.readouterr().out.splitlines() == expected(small["model"], pictures[1], "torch", 5)


def refused(capsys, *command):
    """The one line that a refused command prints."""
    assert cli.main(list(command)) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return line


def test_errors_are_one_line(small, pictures, capsys, tmp_path):
    missing = str(tmp_path / "missing.png")
    line = refused(capsys, "predict", missing, "--model", "mobilenet_v2")
    assert line == f"fastconv predict: {missing}: No such file or directory"
    text = tmp_path / "text.png"
    text.write_text("no picture")
    line = refused(capsys, "predict", pictures[0], str(text), "--model", "mobilenet_v2")
    assert re.match(rf"fastconv predict: {text} is not a picture", line)
    assert "model" not in small  # what is wrong is said before anything is built
    line = refused(capsys, "predict", pictures[0], "--model", "mobilnet_v2")
    assert "no network 'mobilnet_v2' (did you mean 'mobilenetv2'?)" in line


def test_weights_that_are_missing_or_no_weights(pictures, capsys, tmp_path):
    missing = str(tmp_path / "missing.h5")
    line = refused(capsys, "predict", pictures[0], "--model", "squeezenet", "--weights", missing)
    assert line == f"fastconv predict: {missing}: No such file or directory"
    line = refused(capsys, "predict", pictures[0], "--model", "squeezenet", "--weights", pictures[0])
    assert "no weight file that is known" in line
    line = refused(capsys, "predict", pictures[0], "--model", "squeezenet")
    assert "no ImageNet weights are published for squeezenet" in line


def test_a_network_for_something_else(small, pictures, capsys, monkeypatch):
    digits = fc.Sequential([layers.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])
    monkeypatch.setattr(mobilenet_v2, "MobileNetV2", lambda **options: digits)
    line = refused(capsys, "predict", pictures[0], "--model", "mobilenet_v2")
    assert line.startswith("fastconv predict: MobileNetV2 maps (None, 28, 28, 1) to (None, 10): it is no network for")


@pytest.mark.parametrize("arguments", [["--top", "0"], ["--top", "1001"], ["--top", "x"], ["--scaling", "x"], []])
def test_a_wrong_command_line(arguments, pictures, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", *(pictures if arguments else []), "--model", "mobilenet_v2", *arguments])
    assert stopped.value.code == 2
    assert "usage: fastconv predict" in capsys.readouterr().err


def summary_of(model):
    text = io.StringIO()
    with redirect_stdout(text):
        model.summary()
    return text.getvalue()


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["squeezenet"], {}),
        (["SqueezeNet", "--input-shape", "64", "80", "3"], {"input_shape": (64, 80, 3)}),
        (["squeeze_net", "--input-shape", "64", "80", "1", "--no-top"],
         {"input_shape": (64, 80, 1), "include_top": False}),
    ],
)  # fmt: skip
def test_summary(arguments, options, capsys):
    assert cli.main(["summary", *arguments]) == 0
    printed = capsys.readouterr().out
    assert printed == summary_of(fc.applications.SqueezeNet(**options))
    assert "Total params: " in printed


def test_summary_that_is_impossible(capsys):
    assert "height must be at least 32" in refused(capsys, "summary", "vgg16", "--input-shape", "8", "8", "3")
    assert "there is no network 'vgg' (did you mean 'vgg1" in refused(capsys, "summary", "vgg")
    with pytest.raises(SystemExit):
        cli.main(["summary", "vgg16", "--input-shape", "8", "8"])


def test_help_imports_no_network(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("fastconv.applications")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "predict" in capsys.readouterr().out
    assert not any(name.startswith("fastconv.applications") for name in sys.modules)


def test_a_keras_file_without_h5py_is_one_line(tmp_path, pictures, capsys, monkeypatch):
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert cli.main(["predict", *pictures, "--model", "lenet5", "--weights", str(tmp_path / "w.h5")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastconv predict: ")
    assert "h5py" in error
    assert error.count("\n") == 1
