"""Builds the C core: every kernel once per instruction set and dtype, linked into one extension.

The table ISAS is the only place that gives a compiler ``-m`` flags; all other code is compiled for the baseline, so no
illegal instruction can leak out of a kernel that the CPU check guards.
"""

import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ISAS = {
    "x86_64": {
        "baseline": [],
        "avx2": ["-mavx2", "-mfma"],
        "avx512": [
            *("-mavx2", "-mfma", "-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw"),
            "-mprefer-vector-width=512",
        ],
    },
    "aarch64": {"neon": []},
}
DTYPES = {"f32": 0, "f64": 1}
# gnu11, not c11: plain c11 switches FMA contraction off in gcc. No -ffast-math: it flushes denormals and breaks NaN.
CFLAGS = ["-std=gnu11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden", "-fPIC"]
CFLAGS += ["-Wall", "-Wextra", "-Wno-psabi"]
HERE = Path(__file__).parent
CSRC = Path("csrc")
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


def machine() -> str:
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


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
        for isa, flags in ISAS.get(machine, {"baseline": []}).items()
        for dtype, double in DTYPES.items()
        for source in sorted(CSRC.glob("kernels/*.c"))
    ]
    return [(source, variant, [*flags, f"-DFC_SUFFIX={variant}"]) for source, variant, flags in generic + kernels]


class BuildKernels(build_ext):
    """Compiles csrc/kernels for every ISA and dtype, then the extension."""

    def build_extensions(self) -> None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder, "empty.c")
                source.write_text("int main(void) { return 0; }\n")
                self.compiler.compile([str(source)], output_dir=folder)
        except Exception:
            sys.exit(NO_COMPILER)
        self.openmp, libraries = probe_openmp(self.compiler)
        for extension in self.extensions:
            extension.extra_compile_args += self.openmp
            extension.extra_link_args += libraries
            extension.extra_objects += self.compile_core()
        super().build_extensions()

    def compile_core(self) -> list[str]:
        """Compile what is older than its source or any header; return every object."""
        headers = max(path.stat().st_mtime for path in [*CSRC.rglob("*.h"), HERE / "setup.py"])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda job: self.compile_one(*job, headers), core_jobs(machine())))

    def compile_one(self, source: Path, variant: str, flags: list[str], headers: float) -> str:
        target = Path(self.build_temp, variant, source.stem + ".o")
        if not target.exists() or target.stat().st_mtime < max(source.stat().st_mtime, headers):
            target.parent.mkdir(parents=True, exist_ok=True)
            last = os.environ.get("FASTCONV_CFLAGS", "").split()  # overrides what is above
            compiler = [*self.compiler.compiler_so, *CFLAGS, *self.openmp, *flags, *last]
            self.spawn([*compiler, "-c", str(source), "-o", str(target)])
        return str(target)


if __name__ == "__main__":  # tools/kernel_check.py reads the table
    extension = Extension(
        "fastconv._kernels",
        ["fastconv/_kernels.pyx"],
        include_dirs=["csrc", np.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=["-O2", "-std=gnu11"],
        extra_link_args=["-lm"],
        depends=[str(path) for path in [*CSRC.rglob("*.[ch]"), *Path("fastconv/binding").glob("*.pxi")]],
    )
    setup(
        ext_modules=cythonize([extension], language_level=3, compiler_directives={"embedsignature": False}),
        cmdclass={"build_ext": BuildKernels},
    )
