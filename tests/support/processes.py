"""Programs in processes of their own, with the fastconv of this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fastconv as fc

#: Installed or not, the same fastconv; idle threads sleep, they do not spin.
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(fc.__file__).parents[1]),
    "OMP_WAIT_POLICY": "passive",
    "OPENBLAS_NUM_THREADS": "1",
}


def run_python(code: str, **environment: str | None) -> str:
    """Return what a program prints, which must end well; ``name=None`` unsets a variable of its environment."""
    changed = {**ENVIRONMENT, **environment}
    variables = {name: value for name, value in changed.items() if value is not None}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=variables, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, (result.returncode, result.stderr)
    return result.stdout.strip()
