"""The command `fastconv bench`: its arguments, and what each subcommand runs."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

PASSES = ("forward", "backward_data", "backward_weights", "backward")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `bench` and its subcommands to the parser of `fastconv`."""
    bench = commands.add_parser("bench", help="measure this machine: layers, networks, peers")
    kinds = bench.add_subparsers(title="what to measure", required=True, metavar="WHAT")
    conv = kinds.add_parser("conv", help="convolutions, against PyTorch and others")
    _add_layers(conv)
    conv.add_argument(
        "--pass", dest="passes", nargs="+", default=["forward", "backward"], choices=(*PASSES, "all"), metavar="PASS",
        help=f"{', '.join(PASSES)} (data and weights) or all (default: forward backward)",
    )  # fmt: skip
    conv.add_argument("--algorithm", nargs="+", default=["auto"], metavar="NAME", help="ours, by name (%(default)s)")
    conv.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(%(default)s)")
    conv.add_argument(
        "--peer", nargs="+", default=["torch"], metavar="PEER",
        help="torch, onnxruntime, openvino (inference only), all or none (%(default)s)",
    )  # fmt: skip
    _add_common(conv)
    conv.set_defaults(bench=_conv)
    bench.set_defaults(run=run)


def _add_layers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--net", default="typical", help="a network, `depthwise` (MobileNet's) or `typical`: 18 layers (%(default)s)"
    )
    parser.add_argument("--layer", help="one layer, or all whose name contains this")
    parser.add_argument("--batch", type=_positive, help="images (default: the network's)")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--isa", help="instruction set (default: the one in use)")
    parser.add_argument("--threads", type=_positive, help="for everybody (default: the number in use)")
    parser.add_argument("--rounds", type=_positive, default=7, help="turns of each contestant (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.015, help="that a turn takes, at least (%(default)s)")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: for one thread on a busy machine (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as PNG, SVG or PDF")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


# The commands import what they need, so that `fastconv --help` answers at once.


def run(arguments: argparse.Namespace) -> int:
    """Set threads and instruction set, run a subcommand; a wrong name ends with a line and exit code 2."""
    from .layers import UsageError
    from .machine import set_isa

    try:
        set_isa(arguments.isa)
        _set_threads(arguments.threads)
        return int(arguments.bench(arguments))
    except UsageError as error:
        print(f"fastconv bench: {error}", file=sys.stderr)
        return 2


def _set_threads(threads: int | None) -> None:
    import fastconv as fc

    from .peers import installed

    if threads is not None:
        fc.set_num_threads(threads)
    if installed(["torch"])[0]:
        import torch

        torch.set_num_threads(fc.get_num_threads())


def _progress(text: str) -> None:
    """A line that the next one overwrites, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r{text:30}\r", end="", file=sys.stderr, flush=True)


def _conv(arguments: argparse.Namespace) -> int:
    from . import conv, layers, machine, report
    from .peers import installed

    found = layers.find(arguments.net, arguments.layer)
    conv.check_algorithms(arguments.algorithm)
    present, missing = installed(arguments.peer)
    for line in missing:
        print(line, file=sys.stderr)
    passes = PASSES if "all" in arguments.passes else arguments.passes
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    options = conv.Options(
        present, arguments.algorithm, arguments.dtype, arguments.rounds, arguments.seconds, clock=clock
    )
    peak = machine.Peak(arguments.dtype)
    print(report.heading(machine.describe(), arguments.dtype))
    rows = []
    for row in conv.compare((layer.with_batch(arguments.batch) for layer in found), passes, options, peak):
        rows.append(row)
        _progress(f"{len(rows)} measured")
    _progress("")
    report.print_conv(rows, peak.flops)
    if arguments.json:
        content = {"rows": [report.row_json(row) for row in rows], "summary": dict(report.conv_summary(rows))}
        report.write_json(arguments.json, "conv", fma_peak=peak.flops, dtype=arguments.dtype, **content)
    return 0
