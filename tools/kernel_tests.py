"""Runs the tests of the kernels once for every instruction set of this machine, side by side.

python tools/kernel_tests.py              those that the test suite itself does not run on: all but the best
python tools/kernel_tests.py --sanitize   all, in a build of its own under AddressSanitizer and
                                          UndefinedBehaviorSanitizer, after showing that these do catch errors;
                                          then a minute of the campaign in tests/fuzz on each
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from builds import ROOT, build

TESTS = (
    "ops/test_ops_*.py",
    "ops/test_properties.py",
    "kernels/test_determinism.py",
    "kernels/test_memory.py",
    "layers/test_layers_gradcheck.py",
)
#: What says something of other processes or of memory, and so nothing more on another instruction set.
ELSEWHERE = "not instruction_set and not fork and not torch_in_the_same_process and not zoo and not gives_memory_back"
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"

#: Each must end the process: a write behind an array (but inside the pool's block), a read behind one, a read of one
#: that is gone, an offset beyond int64. The first argument: (batch, rows, cols, four strides).
CANARIES = {
    "heap-buffer-overflow|use-after-poison": [
        "k.transpose((1, 301, 1, 0, 0, 1, 301), np.zeros(301, 'f4'), k.empty((300,), 'f4'))",
        "k.transpose((1, 301, 1, 0, 0, 1, 301), k.empty((300,), 'f4'), np.zeros(301, 'f4'))",
        "x = k.empty((300,), 'f4'); y = np.frombuffer((c.c_float * 300).from_address(x.ctypes.data), 'f4'); del x; "
        "k.transpose((1, 300, 1, 0, 0, 1, 300), y, np.zeros(300, 'f4'))",
    ],
    "runtime error: .* overflow": ["k.transpose((8, 1, 1, 2**62, 0, 1, 1), np.zeros(1, 'f4'), np.zeros(1, 'f4'))"],
}


def build_sanitized() -> dict[str, str]:
    """Build under build/sanitize, beside the normal build; return the environment that runs it."""
    compiler = os.environ.get("CC", sysconfig.get_config_var("CC")).split()[0]
    # Python's own flags have -fwrapv, under which no signed overflow is an error.
    flags = f"{os.environ.get('CFLAGS', '')} -fno-wrapv"
    # At -O3 the checks in the unrolled transforms of Winograd take gcc minutes a file; at -O1 seconds.
    package = build("sanitize", CC=f"{compiler} {SANITIZE}", CFLAGS=flags, FASTCONV_CFLAGS="-O1 -g1")
    libraries = [
        subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    return {
        "PYTHONPATH": str(package),
        "LD_PRELOAD": " ".join(libraries),  # CPython itself was built without
        "PYTHONMALLOC": "malloc",  # NumPy's arrays and Python's objects get ends that can be watched
        # CPython never frees some of what it has. 0xff...ff is NaN: what is read before it is written shows.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1:"
        "max_malloc_fill_size=1073741824:malloc_fill_byte=255",
        "UBSAN_OPTIONS": "print_stacktrace=1:abort_on_error=1",
    }


def run_python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd="/", env={**os.environ, **environment}, capture_output=True, text=True
    )


def show_that_errors_are_caught(environment: dict[str, str]) -> None:
    for report, codes in CANARIES.items():
        for code in codes:
            run = run_python(
                f"import ctypes as c; import numpy as np; from fastconv import _kernels as k; {code}", environment
            )
            if run.returncode == 0 or not re.search(report, run.stderr):
                sys.exit(f"the sanitizers do not see this error:\n    {code}\n{run.stderr}")
    print(f"the sanitizers see {sum(map(len, CANARIES.values()))} errors made on purpose", flush=True)


def fuzz(environment: dict[str, str], isa: str, *options: str) -> int:
    """Run the campaign under the sanitizers; return its exit code."""
    command = [sys.executable, str(ROOT / "tests" / "fuzz"), *options]
    # Their shadow memory admits no limit of the address space, which a campaign without them sets; a huge array that a
    # case asks for would then be filled until the system kills the process.
    finite = environment["ASAN_OPTIONS"] + ":max_allocation_size_mb=2048"
    given = {**environment, "ASAN_OPTIONS": finite, "FASTCONV_ISA": isa, "FUZZ_COMMAND": "make sanitize"}
    return subprocess.run(command, env={**os.environ, **given}).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--case", help="with --sanitize: this case of tests/fuzz alone, part:seed")
    parser.add_argument("pytest", nargs="*", help="further arguments, for pytest")
    arguments = parser.parse_args()
    if arguments.case and not arguments.sanitize:
        parser.error("--case goes with --sanitize; without sanitizers: make fuzz CASE=part:seed")
    environment = {"PYTHONPATH": str(ROOT)}
    if arguments.sanitize:
        environment = build_sanitized()
        show_that_errors_are_caught(environment)
    if arguments.case:
        return fuzz(environment, os.environ.get("FASTCONV_ISA", ""), "--case", arguments.case)
    found = run_python("from fastconv import _kernels as k; print(*k.available_isas())", environment)
    if found.returncode:
        sys.exit(found.stderr)
    isas = found.stdout.split() if arguments.sanitize else found.stdout.split()[:-1]
    if missing := [pattern for pattern in TESTS if not any((ROOT / "tests").glob(pattern))]:
        sys.exit(f"no tests/{missing[0]}: it has moved")
    files = [str(path) for pattern in TESTS for path in sorted((ROOT / "tests").glob(pattern))]
    # A sanitizer's report goes to the file descriptor, which pytest must not hold back.
    pytest = [str(Path(sys.executable).with_name("pytest")), "-q", "--capture=sys", "-p", "no:cacheprovider"]
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for isa in isas:
            with Path(folder, isa).open("w") as log:
                command = [*pytest, "-k", ELSEWHERE, *arguments.pytest, *files]
                isa_environment = {**os.environ, **environment, "FASTCONV_ISA": isa}
                runs[isa] = subprocess.Popen(command, cwd=ROOT, env=isa_environment, stdout=log, stderr=log)
        for isa, run in runs.items():
            if run.wait() != 0:
                failed.append(isa)
            print(f"== {isa}{' under the sanitizers' if arguments.sanitize else ''}")
            print(Path(folder, isa).read_text(), flush=True)
    if arguments.sanitize and not arguments.pytest:
        failed += [isa for isa in isas if fuzz(environment, isa, "--seconds", "60", "--parts", "valid,hostile,files")]
    if failed:
        print(f"FAILED on {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
