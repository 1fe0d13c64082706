"""Every tutorial runs from top to bottom, as a student would run it."""

import re
import runpy
import time
from pathlib import Path

import matplotlib
import pytest

TUTORIALS = Path(__file__).parents[2] / "tutorials"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a tutorial in an empty folder; return its variables."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    return lambda name: runpy.run_path(str(TUTORIALS / name))


def test_lenet(run, tmp_path, capsys):
    started = time.perf_counter()
    variables = run("01_lenet.py")
    assert time.perf_counter() - started < 120  # 60 on a quiet machine
    assert variables["accuracy"] >= 0.96
    assert variables["model"].count_params() == 61_706
    assert variables["report"].passed
    assert not variables["wrong_report"].passed
    source = (TUTORIALS / "01_lenet.py").read_text()
    wanted = set(re.findall(r'"(\d+_\w+)"\)', source))
    written = {path.stem for path in (tmp_path / "tutorial_output").glob("*.png")}
    assert len(wanted) == 12
    assert written == wanted


def test_how_fast(run, tmp_path, monkeypatch, capsys):
    """On a small image. Each rung is checked by the tutorial itself; speeds are this machine's business."""
    monkeypatch.setenv("TUTORIAL_PIXELS", "10")
    variables = run("02_how_fast.py")
    names = [rung["name"] for rung in variables["ladder"]]
    assert len(names) == 7
    output = capsys.readouterr().out
    for number, name in enumerate(names, 1):
        assert re.search(rf"^{number}\. {re.escape(name)}: [\d.e+-]+ GFLOP/s", output, re.MULTILINE), name
    assert variables["speeds"][5] > 20 * variables["speeds"][0]
    for name, error in variables["errors"].items():
        assert 0 < error < (1e-5 if name.startswith("winograd") else 2e-6), name
    written = {path.stem for path in (tmp_path / "tutorial_output").glob("*.png")}
    assert written == {"1_caches", "2_tiles", "3_errors", "4_ladder", "5_roofline"}


@pytest.mark.parametrize("path", sorted(TUTORIALS.glob("*.py")), ids=lambda path: path.stem)
def test_cells_and_exercises(path):
    source = path.read_text()
    assert source.startswith("# %% [markdown]\n# # ")
    assert source.count("\n# %%") > 10
    assert "## Exercises" in source
