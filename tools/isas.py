"""The instruction sets of the kernels, by machine, from the oldest to the best, and the compiler flags of each.

This is the only place that gives a compiler ``-m`` flags; csrc/isa has the widths that belong to a set, csrc/dispatch.c
asks the CPU whether it has it.
"""

import platform

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


def machine() -> str:
    """Return the name that ``ISAS`` has for this machine."""
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


def flags_of(machine: str) -> dict[str, list[str]]:
    """Return the flags of each instruction set of a machine; of one that is not listed, what any C compiler makes."""
    return ISAS.get(machine, {"baseline": []})
