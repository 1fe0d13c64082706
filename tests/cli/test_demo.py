"""The demo and the command line: LeNet-5 reaches 0.97 in under 30 seconds and leaves its pictures."""

import runpy
import sys
import time

import numpy as np
import pytest
from PIL import Image

import fastconv as fc
from fastconv import cli, demo
from fastconv.applications import LeNet5


def test_lenet5_is_lenet5():
    model = LeNet5()
    assert model.count_params() == 61_706
    shapes = [tuple(layer.output.shape[1:]) for layer in model.layers if not isinstance(layer, fc.layers.InputLayer)]
    assert shapes == [(28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (400,), (120,), (84,), (10,)]


def test_demo_learns_and_draws(tmp_path, capsys):
    started = time.perf_counter()
    accuracy = demo.run(tmp_path)
    seconds = time.perf_counter() - started
    printed = capsys.readouterr().out
    assert accuracy >= 0.97
    assert f"test accuracy: {accuracy:.4f}" in printed
    assert "61,706" in printed
    assert seconds < 90  # 30 on a quiet machine
    pictures = {"curves", "first_filters", "feature_maps", "wrong_predictions", "confusion_matrix"}
    assert {path.stem for path in tmp_path.glob("*.png")} == pictures
    for name in pictures:
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
        assert min(pixels.shape) > 200
        assert len(np.unique(pixels)) > 20  # something is drawn
    model = LeNet5()
    model.load_weights(tmp_path / "lenet.safetensors")
    _, (x_test, y_test) = demo.load_digits()
    again = (model.predict(x_test, verbose=0).argmax(axis=1) == y_test).mean()
    assert again == pytest.approx(accuracy, abs=1e-9)


def test_command_line_runs_the_demo(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(demo, "run", lambda *arguments: calls.append(arguments))
    assert cli.main(["demo", "--output", str(tmp_path / "out"), "--epochs", "3", "--seed", "7"]) == 0
    assert cli.main(["demo"]) == 0
    assert calls[0] == (tmp_path / "out", 3, 7)
    assert calls[1][1:] == (demo.EPOCHS, 0)


@pytest.mark.parametrize("main", [demo.main, lambda argv: cli.main(["demo", *argv])], ids=["module", "command"])
def test_an_interrupted_demo_ends_in_a_line(main, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    assert main([]) == 130
    assert capsys.readouterr().err == "fastconv: interrupted\n"


def test_python_m_fastconv_demo_takes_the_arguments_of_the_command(tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(demo, "run", lambda *arguments: calls.append(arguments))
    assert demo.main(["--output", str(tmp_path), "--epochs", "1", "--seed", "7"]) == 0
    assert calls == [(tmp_path, 1, 7)]
    monkeypatch.setattr(sys, "argv", ["demo", "--epochs", "0"])
    with pytest.raises(SystemExit) as stop, pytest.warns(RuntimeWarning):
        runpy.run_module("fastconv.demo", run_name="__main__")
    assert stop.value.code == 2
    assert "must be at least 1, got 0" in capsys.readouterr().err


def test_command_line_shows_the_configuration(capsys):
    assert cli.main(["config"]) == 0
    assert fc.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["fly"], ["demo", "--epochs", "0"], ["demo", "--epochs", "many"]])
def test_command_line_refuses_nonsense(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: fastconv" in capsys.readouterr().err
