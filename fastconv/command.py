"""What the commands share: a type of their arguments, and how an interrupted one ends."""

from __future__ import annotations

import argparse
import sys


def positive(text: str) -> int:
    """Read a whole number of at least 1; the type of an argument."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def run_command(arguments: argparse.Namespace) -> int:
    """Call ``arguments.run(arguments)``; return its exit code, or a shell's for an interrupted command."""
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("fastconv: interrupted", file=sys.stderr)
        return 130  # as a shell says it
