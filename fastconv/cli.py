"""The command `fastconv`: `fastconv demo`, `fastconv config`, `fastconv bench`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .bench import cli as bench_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (by default that of the process); return the exit code."""
    arguments = _parser().parse_args(argv)
    return int(arguments.run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastconv", description="Convolutional networks on CPUs.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="train LeNet-5 on the embedded digits and draw what it learned")
    demo.add_argument("--output", type=Path, default=Path("demo_output"), help="folder to write to (%(default)s)")
    demo.add_argument("--epochs", type=_positive, default=12, help="passes through the digits (%(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="of the initial weights (%(default)s)")
    demo.set_defaults(run=_demo)
    config = commands.add_parser("config", help="show version, instruction set and threads")
    config.set_defaults(run=_config)
    bench_cli.add_parser(commands)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


# The commands import what they need, so that `fastconv --help` answers at once.


def _demo(arguments: argparse.Namespace) -> int:
    from . import demo

    demo.run(arguments.output, arguments.epochs, arguments.seed)
    return 0


def _config(arguments: argparse.Namespace) -> int:
    from . import show_config

    show_config()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
