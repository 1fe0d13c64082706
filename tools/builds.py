"""Builds of the extension beside the one in use, for the checks that want another compiler or other flags."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def build(name: str, **environment: str) -> Path:
    """Build under build/<name> with these environment variables; return the folder to import the package from."""
    base = ROOT / "build" / name
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(base)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=True)
    (package,) = base.glob(f"lib*-{sys.implementation.cache_tag}")
    return package
