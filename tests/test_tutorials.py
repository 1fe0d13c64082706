"""Every tutorial runs from top to bottom, as a student would run it."""

import re
import runpy
import time
from pathlib import Path

import matplotlib
import pytest

TUTORIALS = Path(__file__).parents[1] / "tutorials"


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


@pytest.mark.parametrize("path", sorted(TUTORIALS.glob("*.py")), ids=lambda path: path.stem)
def test_cells_and_exercises(path):
    source = path.read_text()
    assert source.startswith("# %% [markdown]\n# # ")
    assert source.count("\n# %%") > 10
    assert "## Exercises" in source
