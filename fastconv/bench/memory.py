"""Peak memory of a network's training step: every contestant in a process of its own.

    python -m fastconv.bench.memory NETWORK CONTESTANT BATCH THREADS    one of them: the figures as JSON

Linux counts the most memory that a process ever held (VmHWM in /proc/self/status).
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import fastconv as fc
from fastconv import _kernels
from fastconv.bench import nets
from fastconv.bench.layers import UsageError
from fastconv.bench.rows import Options

STEPS = 3


def peaks(network: nets.Workload, batch: int | None, options: Options) -> dict[str, dict[str, int]]:
    """Contestant -> what :func:`peak_memory` says of it."""
    names, threads = nets.present("train", options), fc.get_num_threads()
    return {name: peak_memory(network.name, name, batch or network.batch, threads) for name in names}


def peak_memory(network: str, contestant: str, batch: int, threads: int) -> dict[str, int]:
    """``peak``: bytes at the most; ``imports``: bytes before the network was built."""
    command = [sys.executable, "-m", "fastconv.bench.memory", network, contestant, str(batch), str(threads)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UsageError(f"memory of {network} with {contestant}: {result.stderr.strip().splitlines()[-1]}")
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def _high_water_mark() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("this system does not count the peak of a process's memory (VmHWM)")


def main(arguments: list[str]) -> int:
    """Build, train a few steps, print the figures."""
    name, contestant, batch, threads = arguments
    fc.set_num_threads(int(threads))
    if contestant.startswith("torch"):
        import torch

        import fastconv.bench.twin  # noqa: F401

        torch.set_num_threads(int(threads))
    imports = _high_water_mark()
    run = nets.contestants(nets.find([name])[0], "train", int(batch), [contestant])[contestant].run
    gc.collect()
    _kernels.pool_trim()  # the weights that PyTorch's twin copied
    for _ in range(STEPS):
        run()
    print(json.dumps({"peak": _high_water_mark(), "imports": imports}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
