"""The kernels as C sees them: checked without Python, and no instruction outside the set that its guard asked for."""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastconv import _kernels

ROOT = Path(__file__).parents[2]
OBJECTS = ROOT / "build" / "kernel_check" / platform.machine()

#: What the x86-64 of 2003 lacks: AVX, AVX-512, BMI; SSE3 to SSE4.2. (tzcnt runs everywhere, as bsf.)
NEWER = re.compile(
    r"%[yz]mm|%k[0-7]|\tv[a-z]|\t(?:andn|bextr|bls[a-z]+|[sr][ah]rx|shlx|mulx|pdep|pext|rorx|popcnt|lzcnt|crc32|movbe"
    r"|pshufb|palignr|pabs[bwd]|ph(?:add|sub)|pmaddubsw|pmulhrsw|psign|h(?:add|sub)p|addsubp|movddup|movs[lh]dup|lddqu"
    r"|round[ps][sd]|blendv?p|pblend|dpp[sd]|insertps|extractps|pinsr[bdq]|pextr[bdq]|pm(?:in|ax)(?:s[bd]|u[wd])|pmull?d"
    r"|ptest|pmov[sz]x|pcmp(?:eq|gt)q|packusdw|mpsadbw)"
)


@pytest.fixture(scope="module")
def checked():
    """Builds and runs tests/c on every instruction set of this machine."""
    run = subprocess.run([sys.executable, str(ROOT / "tools" / "kernel_check.py")], capture_output=True, text=True)
    if run.returncode == 77:
        pytest.skip(run.stderr.strip())
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture
def disassemble():
    """The instructions of an object, by function."""
    if platform.machine() != "x86_64":
        pytest.skip("NOT TESTED: every aarch64 machine has the instructions of its build")
    if not shutil.which("objdump"):
        pytest.skip("NOT TESTED: objdump is not installed (Debian: apt install binutils)")

    def run(path):
        text = subprocess.check_output(["objdump", "-d", "--no-show-raw-insn", str(path)], text=True)
        parts = re.split(r"^[0-9a-f]+ <(.+)>:$", text, flags=re.MULTILINE)
        return list(zip(parts[1::2], parts[2::2], strict=True))

    return run


def newer_instructions(functions):
    return [f"{name}: {line.strip()}" for name, code in functions for line in code.splitlines() if NEWER.search(line)]


def test_kernels_without_python(checked):
    for isa in _kernels.available_isas():
        (compared,) = re.findall(rf"^{isa}: (\d+) results compared, 0 wrong$", checked, re.MULTILINE)
        assert int(compared) > 4000


def test_generic_objects_hold_no_newer_instruction(checked, disassemble):
    objects = [*OBJECTS.glob("generic/*.o"), *OBJECTS.glob("baseline_f*/*.o")]
    assert {path.stem for path in OBJECTS.glob("generic/*.o")} == {path.stem for path in (ROOT / "csrc").glob("*.c")}
    kernels = ROOT / "csrc" / "kernels"
    assert {path.stem for path in OBJECTS.glob("baseline_f32/*.o")} == {
        "_".join(path.relative_to(kernels).with_suffix("").parts) for path in kernels.glob("**/*.c")
    }
    for path in objects:
        assert newer_instructions(disassemble(path)) == [], path
    for isa in ("avx2", "avx512"):  # the pattern does find them
        assert len(newer_instructions(disassemble(OBJECTS / f"{isa}_f32" / "base_tile.o"))) > 1000


def test_the_extension_holds_newer_instructions_in_kernels_only(disassemble):
    """By name: Cython's functions, and the C core's public ones but for those of a newer instruction set."""
    functions = disassemble(_kernels.__file__)
    generic = [(name, code) for name, code in functions if re.match(r"__pyx|PyInit|fc_", name)]
    generic = [(name, code) for name, code in generic if not re.search(r"_avx(2|512)_f(32|64)\b", name)]
    if len(generic) < 100:
        pytest.skip("NOT TESTED: the extension's symbols are stripped")
    assert newer_instructions(generic) == []
