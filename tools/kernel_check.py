"""Builds tests/c with the kernels of one machine, as setup.py compiles them, and runs it.

    python tools/kernel_check.py            this machine, each instruction set that its CPU has
    python tools/kernel_check.py aarch64    cross-compiled, run by an emulator: on Debian and Ubuntu
                                            apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

Exits with 77 where a compiler or the emulator is missing.
"""

from __future__ import annotations

import os
import platform
import runpy
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from isas import ISAS
from isas import machine as this_machine

ROOT = Path(__file__).resolve().parents[1]
MISSING = 77


def newer(target: Path, sources: list[Path]) -> bool:
    return target.exists() and target.stat().st_mtime > max(path.stat().st_mtime for path in sources)


def build(setup: dict, machine: str, compiler: list[str]) -> Path:
    """Compile what is older than its source or any header, under build/kernel_check; return the program."""
    folder = Path("build", "kernel_check", machine)
    headers = [*Path("csrc").rglob("*.h"), *Path("tests", "c").glob("*.h"), Path("setup.py"), Path("tools", "isas.py")]
    flags = [*compiler, *setup["CFLAGS"], "-fopenmp"]
    checks = [(source, "checks", []) for source in sorted(Path("tests", "c").glob("*.c"))]

    def compile_one(job: tuple[Path, str, list[str]]) -> str:
        source, variant, own = job
        target = folder / variant / f"{setup['object_name'](source)}.o"
        if not newer(target, [source, *headers]):
            target.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([*flags, *own, "-c", str(source), "-o", str(target)], check=True)
        return str(target)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, checks + setup["core_jobs"](machine)))
    for path in set(folder.glob("*/*.o")) - set(map(Path, objects)):  # of sources that are gone
        path.unlink()
    program = folder / "kernel_check"
    subprocess.run([*compiler, *objects, "-fopenmp", "-lm", "-o", str(program)], check=True)
    return program


def main() -> int:
    os.chdir(ROOT)
    native = this_machine()
    machine = sys.argv[1] if len(sys.argv) > 1 else native
    if machine not in ISAS:
        sys.exit(f"tools/isas.py knows no {machine!r}, only {', '.join(ISAS)}")
    compiler, emulator = shlex.split(os.environ.get("CC", "cc")), []
    if machine != native:
        compiler, emulator = [f"{machine}-linux-gnu-gcc"], [f"qemu-{machine}", "-L", f"/usr/{machine}-linux-gnu"]
    for tool in (compiler[:1], emulator[:1]):
        if tool and not shutil.which(tool[0]):
            print(f"NOT TESTED: kernels on {machine}: {tool[0]} is not installed", file=sys.stderr)
            return MISSING
    program = build(runpy.run_path("setup.py", run_name="build"), machine, compiler)
    statuses = []
    for isa in ISAS[machine]:
        statuses.append(subprocess.run([*emulator, str(program), isa]).returncode)
        if statuses[-1] == 2:
            print(f"NOT TESTED: instruction set {isa}: the CPU of this {platform.machine()} lacks it", file=sys.stderr)
    return int(any(status not in (0, 2) for status in statuses))


if __name__ == "__main__":
    sys.exit(main())
