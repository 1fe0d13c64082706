"""``python tests/fuzz``: see ``--help``, or the Makefile's ``fuzz``."""

import os
import sys
from pathlib import Path

# Like tests/conftest.py: threads that spin while they wait would starve each other on a few cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(TESTS), str(TESTS / "support")]

from fuzz.driver import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
