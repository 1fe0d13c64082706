"""The way from ``fit`` to the multiply-add, as CONTRIBUTING writes it down, is the way that calls take."""

import re
import traceback
from pathlib import Path

import numpy as np

from fastconv import _kernels, layers
from fastconv.models import Sequential

ROOT = Path(__file__).parents[2]
HOPS = re.findall(r"^\d+\. `([^`]+)`: `([^`]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
PYTHON = [hop for hop in HOPS if hop[0].endswith(".py")]
BELOW = [hop for hop in HOPS if not hop[0].endswith(".py")]


def test_they_are_all_there():
    assert [name for _, name in HOPS][:1] == ["fit"]
    assert len(PYTHON) == 9
    assert len(BELOW) == 5
    assert all((ROOT / path).is_file() for path, _ in HOPS)


def test_the_stack_when_a_convolution_runs(monkeypatch):
    stacks = []
    real = _kernels.conv2d_forward

    def watched(*arguments):
        stacks.append(traceback.extract_stack()[:-1])
        return real(*arguments)

    monkeypatch.setattr(_kernels, "conv2d_forward", watched)
    model = Sequential([layers.Conv2D(2, 3, activation="relu", input_shape=(6, 6, 1)), layers.GlobalAvgPool2D()])
    model.compile("sgd", loss="mse")
    model.fit(np.zeros((2, 6, 6, 1), np.float32), np.zeros((2, 2), np.float32), verbose=0)
    package = str(Path(_kernels.__file__).parents[1])
    frames = [(frame.filename.removeprefix(f"{package}/"), frame.name) for frame in stacks[0]]
    frames = frames[frames.index(PYTHON[0]) :]
    for hop, following in zip(PYTHON, [*PYTHON[1:], None], strict=True):
        assert frames.pop(0) == hop
        while frames and frames[0] != following:
            assert frames.pop(0)[0] == hop[0], f"between {hop} and {following} stands another file"
    assert not frames


def test_below_python():
    """Each file defines its hop, and names what the next one is reached by."""
    defined = {
        "conv2d_forward": r"^def conv2d_forward\(",
        "fc_conv2d_forward": r"^fc_status fc_conv2d_forward\(",
        "conv2d_forward_implicit_gemm": r"^fc_status FC\(conv2d_forward_implicit_gemm\)\(",
        "tap_product_run": r"^fc_status FC\(tap_product_run\)\(",
        "rows": r"^FC_INLINE void rows\(",
    }
    named = {
        "conv2d_forward": "fc_conv2d_forward(&d",
        "fc_conv2d_forward": "DIRECT(implicit_gemm)",
        "conv2d_forward_implicit_gemm": "FC(tap_product_run)(",
        "tap_product_run": "FC(tile_rows)[",
        "rows": "add_depths(mr, nv",
    }
    assert [name for _, name in BELOW] == list(defined)
    for path, name in BELOW:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(defined[name], text, re.MULTILINE), f"{path} does not define {name}"
        assert named[name] in text, f"{path} does not call on"
