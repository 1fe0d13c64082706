"""Builds the C core: every kernel once per instruction set and dtype, linked into one extension.

The table in tools/isas.py is the only place that gives a compiler ``-m`` flags; all other code is compiled for the
baseline, so no illegal instruction can leak out of a kernel that the CPU check guards.

Objects wait in build/objects, by compiler and flags, for the next build. Builds in one folder take turns, and every
file appears under its name only when it is whole: whoever loads the extension meanwhile has the old one or the new one.
"""

import contextlib
import hashlib
import os
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

DTYPES = {"f32": 0, "f64": 1}
# gnu11, not c11: plain c11 switches FMA contraction off in gcc. No -ffast-math: it flushes denormals and breaks NaN.
CFLAGS = ["-std=gnu11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden", "-fPIC"]
CFLAGS += ["-Wall", "-Wextra", "-Wno-psabi", "-g0"]  # -g0: CPython's own flags may say -g, 25 MB of the extension
HERE = Path(__file__).parent
TABLE = runpy.run_path(str(HERE / "tools" / "isas.py"))  # a build does not look for modules beside setup.py
CSRC = Path("csrc")
BUILD = Path("build")
NO_COMPILER = (
    "fastconv needs a C compiler to build (gcc or clang; on Debian or Ubuntu: apt install build-essential; "
    "on macOS: xcode-select --install)."
)
OPENMP_PROBE = """
#include <omp.h>
int main(void) {
  int n = 0;
#pragma omp parallel num_threads(2) reduction(+ : n)
  n += 1;
  return n == 2 ? 0 : 1;
}
"""


def probe_openmp(compiler) -> tuple[list[str], list[str]]:
    """Compile, link and run a parallel program; return (compile flags, link flags), empty if nothing works."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(OPENMP_PROBE)
        for flags, libraries in ((["-fopenmp"], ["-fopenmp"]), (["-Xpreprocessor", "-fopenmp"], ["-lomp"])):
            try:
                objects = compiler.compile([str(source)], output_dir=folder, extra_postargs=flags)
                compiler.link_executable(objects, str(Path(folder, "probe")), extra_postargs=libraries)
                subprocess.run([Path(folder, "probe")], check=True, timeout=60)
            except Exception as error:  # any failure means the same: not with these flags
                print(f"OpenMP probe with {' '.join(flags)} failed: {error}", file=sys.stderr)
            else:
                return flags, libraries
    print("fastconv: no working OpenMP found; building a serial version.", file=sys.stderr)
    return [], []


def core_jobs(machine: str) -> list[tuple[Path, str, list[str]]]:
    """(source, variant, flags besides CFLAGS) of every object of the C core on this machine."""
    generic = [(source, "generic", []) for source in sorted(CSRC.glob("*.c"))]
    kernels = [
        (source, f"{isa}_{dtype}", [*flags, "-include", f"csrc/isa/{isa}.h", f"-DFC_DOUBLE={double}"])
        for isa, flags in TABLE["flags_of"](machine).items()
        for dtype, double in DTYPES.items()
        for source in sorted(CSRC.glob("kernels/**/*.c"))
    ]
    return [
        (source, variant, [*flags, f"-I{CSRC}", f"-DFC_SUFFIX={variant}"])
        for source, variant, flags in generic + kernels
    ]


def object_name(source: Path) -> str:
    """csrc/kernels/conv/direct/naive.c -> conv_direct_naive: files in different folders may have one name."""
    kernels = CSRC / "kernels"
    return "_".join(source.relative_to(kernels).with_suffix("").parts) if kernels in source.parents else source.stem


class Build(build):
    """Collects what it installs in a folder of its own, which no build that was interrupted can have left half full."""

    def finalize_options(self) -> None:
        if self.build_base == "build":  # nobody asked for another
            self.folder = tempfile.TemporaryDirectory(prefix="run-", dir=BUILD)
            self.build_base = self.folder.name
        super().finalize_options()


class BuildKernels(build_ext):
    """Compiles csrc/kernels for every ISA and dtype and the binding, then links the extension."""

    def build_extensions(self) -> None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder, "empty.c")
                source.write_text("int main(void) { return 0; }\n")
                self.compiler.compile([str(source)], output_dir=folder)
        except Exception:
            sys.exit(NO_COMPILER)
        openmp, libraries = probe_openmp(self.compiler)
        self.command = [*self.compiler.compiler_so, *CFLAGS, *openmp]
        last = shlex.split(os.environ.get("FASTCONV_CFLAGS", ""))  # overrides what is above
        for extension in self.extensions:
            extension.extra_link_args += libraries
            extension.extra_objects += self.compile_all(last)
            extension.depends = extension.extra_objects  # link again when one of them is new
        super().build_extensions()

    def compile_all(self, last: list[str]) -> list[str]:
        """Compile what is older than its source or any header; return every object."""
        headers = max(path.stat().st_mtime for path in CSRC.rglob("*.h"))
        includes = [f"-I{folder}" for folder in ("csrc", np.get_include(), sysconfig.get_path("include"))]
        flags = ["-O2", "-w", "-DNPY_NO_DEPRECATED_API=NPY_1_7_API_VERSION", *includes]
        tag = f"{sys.implementation.cache_tag}_numpy-{np.__version__}"
        binding = (BUILD / "cython/fastconv/_kernels.c", tag, flags)
        jobs = [binding, *core_jobs(TABLE["machine"]())]
        jobs = [(source, variant, [*flags, *last]) for source, variant, flags in jobs]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda job: self.compile_one(*job, headers), jobs))

    def compile_one(self, source: Path, variant: str, flags: list[str], headers: float) -> str:
        command = [*self.command, *flags]
        # Where headers lie says nothing of them: pip puts NumPy's elsewhere at every build.
        key = shlex.join(word for word in command if not word.startswith("-I"))
        folder = BUILD / "objects" / hashlib.sha256(key.encode()).hexdigest()[:12]
        target = folder / f"{object_name(source)}_{variant}.o"
        if not target.exists() or target.stat().st_mtime < max(source.stat().st_mtime, headers):
            folder.mkdir(parents=True, exist_ok=True)
            with placed(target) as unfinished:
                self.spawn([*command, "-c", str(source), "-o", str(unfinished)])
        return str(target)

    def copy_extensions_to_source(self) -> None:
        """For `pip install -e`: over an extension that processes may have loaded, so never into the old file."""
        build_py = self.get_finalized_command("build_py")
        for extension in self.extensions:
            target, finished = self._get_inplace_equivalent(build_py, extension)
            with placed(Path(target)) as unfinished:
                shutil.copy2(finished, unfinished)


@contextlib.contextmanager
def placed(target: Path) -> Iterator[Path]:
    """A name to write to, which becomes ``target`` in one step when all is written."""
    unfinished = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Builds in this folder wait for one another; the system ends the turn of one that dies."""
    import fcntl

    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":  # tools/kernel_check.py reads what stands above
    os.chdir(HERE)
    with turn():
        cythonize(["fastconv/_kernels.pyx"], build_dir=str(BUILD / "cython"), language_level=3)
        # Everything is an object of compile_all.
        extension = Extension("fastconv._kernels", [], extra_link_args=["-lm"])
        setup(ext_modules=[extension], cmdclass={"build": Build, "build_ext": BuildKernels})
