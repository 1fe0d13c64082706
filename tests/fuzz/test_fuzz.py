"""The campaign of tests/fuzz: a minute of it, and that it finds what was planted."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv as fc
from fastconv import layers, ops
from fastconv.interop import load_weights
from fuzz import good_files, hostile_layers, hostile_ops
from fuzz.networks import tiny
from fuzz.worker import case_seed

ROOT = Path(__file__).parents[2]

#: What a planted part does in every seventh case, and what the report says of it.
DEFECTS = {
    "raises": ("raise KeyError('planted')", r"KeyError at .*raises\.py:5"),
    "aborts": ("os.abort()", r"SIGABRT at .*aborts\.py:5"),
    "segfaults": ("ctypes.string_at(0)", r"SIGSEGV at "),
    "exits": ("os._exit(7)", r"exit code 7"),
    "hangs": ("time.sleep(1000)", r"no end after 2 seconds at .*hangs\.py:5"),
    "grows": ("bytearray(3 * 2**30)", r"MemoryError at .*grows\.py:5"),
}
PART = """import ctypes, os, time
MEMORY = 1
def run(seed):
    if seed % 7 == 3:
        {}
    time.sleep(0.002)
"""

#: What a part of the campaign must notice: a change of the library, made before it runs.
BLIND_SPOTS = {
    "valid": (
        "from fastconv import ops\nright = ops.avg_pool2d\n"
        "def wrong(*arguments, **options):\n"
        "    y = right(*arguments, **options)\n"
        "    y[..., -1:] *= 1.001\n"
        "    return y\n"
        "ops.avg_pool2d = wrong",
        "AssertionError: result 0: ",
    ),
    "hostile": (
        "from fastconv.ops import _checks\nright = _checks.array\n"
        "def wrong(value, *arguments, **options):\n"
        "    value.shape\n"
        "    return right(value, *arguments, **options)\n"
        "_checks.array = wrong",
        'hostile.py", line 4, in wrong',
    ),
    "files": (
        "import fastconv.interop.files as module\nright = module.load_torch_weights\n"
        "def wrong(model, path):\n"
        "    model.parameters[0].assign(model.parameters[0].value + 1)\n"
        "    right(model, path)\n"
        "module.load_torch_weights = wrong",
        "the file was refused, but the model has changed",
    ),
    "threads": (
        "from fastconv.layers import Conv2D\nright = Conv2D._kernel_for\n"
        "def wrong(self, x):\n"
        "    return self.__dict__.setdefault('first', right(self, x))\n"
        "Conv2D._kernel_for = wrong",
        "differs from that of a twin",
    ),
    "interrupts": (
        "import os, time\nfrom fastconv.models import Model\nright = Model.save\n"
        "def wrong(self, path):\n"
        "    open(f'{path}.tmp', 'w').close()\n"
        "    time.sleep(0.02)\n"
        "    right(self, path)\n"
        "    os.unlink(f'{path}.tmp')\n"
        "Model.save = wrong",
        "left behind: m.safetensors.tmp",
    ),
}


@pytest.fixture
def campaign(tmp_path):
    """Run the campaign with parts from ``tmp_path / "planted"``; return exit code and output."""
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "__init__.py").touch()
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"

    def run(*arguments, patience=20):
        command = [sys.executable, str(ROOT / "tests" / "fuzz"), *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": path, "FUZZ_PATIENCE": str(patience)}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return result.returncode, result.stdout + result.stderr

    return run


def plant(tmp_path, name, source):
    (tmp_path / "planted" / f"{name}.py").write_text(source)
    return f"planted.{name}"


def test_a_minute_of_it(campaign):
    """Always the same cases: a suite that turned red by chance would blame who changed something else.

    `make fuzz` tries new ones.
    """
    code, output = campaign("--seconds", 60, "--seed", 9)
    assert code == 0, output
    assert output.count("\n") < 20, output


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_found_and_attributed(campaign, tmp_path, name):
    defect, message = DEFECTS[name]
    part = plant(tmp_path, name, PART.format(defect))
    code, output = campaign("--parts", part, "--seconds", 1, "--seed", 1, patience=2)
    assert code == 1
    assert re.search(message, output), output
    (case,) = re.findall(r"-- once more: FASTCONV_ISA=\w+ make fuzz CASE=(\S+)", output)
    assert int(case.rpartition(":")[2]) % 7 == 3
    assert f"== {case} failed: " in output
    assert "alone the case passes" not in output
    assert re.search(r"seed 1: 1 kinds of failure", output)
    alone, _ = campaign("--case", case, patience=2)
    assert alone != 0
    other, output = campaign("--case", f"{part}:0", patience=2)
    assert other == 0
    assert f"{part}:0 passes" in output


def test_the_other_parts_go_on(campaign, tmp_path):
    parts = [plant(tmp_path, name, PART.format(action)) for name, action in [("dies", "os.abort()"), ("fine", "0")]]
    parts.append(plant(tmp_path, "broken", "import nothing_of_this_name"))
    code, output = campaign("--parts", ",".join(parts), "--seconds", 3)
    assert code == 1
    (cases,) = re.findall(r"^planted.fine +([\d,]+) .* 0 +0$", output, re.MULTILINE)
    assert int(cases.replace(",", "")) > 10
    (failures,) = re.findall(r"^planted.dies .* (\d+) +1$", output, re.MULTILINE)
    assert int(failures) > 1  # it was started again
    assert "== planted.broken does not run" in output
    assert "nothing_of_this_name" in output


def test_a_failure_that_the_seed_does_not_explain_is_called_that(campaign, tmp_path):
    part = plant(tmp_path, "later", "cases = []\ndef run(seed):\n    cases.append(seed)\n    assert len(cases) < 10\n")
    code, output = campaign("--parts", part, "--seconds", 1)
    assert code == 1
    assert "alone the case passes" in output


def test_cases_follow_from_the_seed(campaign, tmp_path):
    log = tmp_path / "log"
    source = f"import time\ndef run(seed):\n    time.sleep(.01)\n    print(seed, file=open({str(log)!r}, 'a'))\n"
    part = plant(tmp_path, "logs", source)
    runs = []
    for seed in (5, 5, 6):
        log.write_text("")
        assert campaign("--parts", part, "--seconds", 1, "--seed", seed)[0] == 0
        runs.append([int(line) for line in log.read_text().split()][:20])
    assert runs[0] == runs[1] == [case_seed(5, part, number) for number in range(len(runs[0]))]
    assert runs[0] != runs[2]
    assert len(set(runs[0])) == len(runs[0]) > 5


@pytest.mark.parametrize("name", BLIND_SPOTS)
def test_every_part_notices_what_it_is_for(campaign, tmp_path, name):
    change, message = BLIND_SPOTS[name]
    part = plant(tmp_path, name, f"{change}\nfrom fuzz.{name} import *\n")
    code, output = campaign("--parts", part, "--seconds", 4, "--seed", 3)
    assert code == 1
    assert message in output


def test_the_ready_command_is_understood_by_make():
    command = ["make", "-n", "--no-print-directory", "fuzz", "CASE=valid:12"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"python tests/fuzz .*--case[ =]'?valid:12", run.stdout.splitlines()[-1])


# ---- what the cases start from ----


def test_hostile_calls_start_from_valid_ones_of_every_op():
    for dtype in ("float32", "float64"):
        for channels in hostile_ops.CHANNELS:
            table = hostile_ops.op_arguments(dtype, channels)
            assert {*table, *hostile_ops.LEFT_OUT} == {*ops.__all__}
            for name, arguments in table.items():
                getattr(ops, name)(**arguments)


@pytest.mark.filterwarnings("ignore:these predictions")
def test_hostile_uses_start_from_valid_ones_of_every_layer():
    classes = {getattr(layers, name).__name__ for name in layers.__all__}
    assert classes - {*hostile_layers.targets()} == {"Layer", "InputLayer", "Parameter", "MaxUnpool2D"}
    for function, arguments in hostile_layers.targets().values():
        function(**arguments)


@pytest.mark.parametrize("name", good_files.weight_files())
def test_weight_files_are_good_before_they_are_damaged(tmp_path, name):
    (tmp_path / name).write_bytes(good_files.weight_files()[name])
    model, expected = tiny(), tiny().get_weights()
    model.set_weights([np.zeros_like(w) for w in expected])
    load_weights(model, tmp_path / name)
    if name == "model.safetensors":  # trained a step
        expected = fc.models.load_model(tmp_path / name).get_weights()
    for got, want in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("write", [good_files.pth_zip, good_files.pth_old])
def test_pytorch_reads_its_files_that_were_made_by_hand(write):
    torch = pytest.importorskip("torch")
    state = torch.load(io.BytesIO(write()))
    expected = good_files.torch_state()
    assert list(state) == list(expected)
    for name, tensor in state.items():
        np.testing.assert_array_equal(tensor.numpy(), expected[name])


@pytest.mark.parametrize("name", good_files.pictures())
def test_pictures_are_good_before_they_are_damaged(tmp_path, name):
    (tmp_path / name).write_bytes(good_files.pictures()[name])
    assert sorted(fc.preprocessing.load_image(tmp_path / name).shape) == [3, 13, 20]
