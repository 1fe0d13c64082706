"""The command `fastconv bench`: its arguments, and what each subcommand runs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..command import positive

if TYPE_CHECKING:
    from .rows import Measurement, Options

_PASSES = ("forward", "backward_data", "backward_weights", "backward")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `bench` and its subcommands to the parser of `fastconv`."""
    bench = commands.add_parser("bench", help="measure layers and networks on this machine, against PyTorch and others")
    kinds = bench.add_subparsers(title="what to measure", required=True, metavar="WHAT")
    conv = kinds.add_parser("conv", help="convolutions of known networks")
    _add_layers(conv)
    _add_passes(conv, _PASSES, ["forward", "backward"], "backward: data and weights")
    conv.add_argument("--algorithm", nargs="+", default=["auto"], metavar="NAME", help="ours, by name (default: auto)")
    conv.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(%(default)s)")
    _add_common(conv, ("torch", "onnxruntime", "openvino"))
    conv.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: for one thread on a busy machine (%(default)s)"
    )
    conv.set_defaults(bench=_conv)
    ops = kinds.add_parser("ops", help="max pooling and batch normalisation (training)")
    ops.add_argument("--kind", nargs="+", choices=("max_pool", "batch_norm"), default=["max_pool", "batch_norm"])
    _add_passes(ops, ("forward", "backward"), ["forward", "backward"])
    ops.add_argument("--batch", type=positive, help="images (default: the network's)")
    _add_common(ops)
    ops.set_defaults(bench=_ops)
    net = kinds.add_parser("net", help="training step and inference of whole networks")
    net.add_argument("--net", nargs="+", default=["all"], metavar="NAME", help="(default: all)")
    _add_passes(net, ("train", "infer"), ["train", "infer"])
    net.add_argument("--batch", type=positive, help="images (default: the network's)")
    net.add_argument("--memory", action="store_true", help="peak memory of a training step, in processes of their own")
    _add_common(net, ("torch", "onnxruntime", "openvino"), rounds=5)
    net.set_defaults(bench=_net)
    roofline = kinds.add_parser("roofline", help="the ceilings of this machine, and layers below them")
    _add_layers(roofline)
    _add_passes(roofline, _PASSES, ["forward"])
    _add_common(roofline)
    roofline.set_defaults(bench=_roofline)
    scaling = kinds.add_parser("scaling", help="layers with 1, 2, ... threads")
    _add_layers(scaling)
    _add_passes(scaling, _PASSES, ["forward"])
    _add_common(scaling)
    scaling.set_defaults(bench=_scaling)
    summary = kinds.add_parser("summary", help="the figures of the README, as its table; some minutes")
    summary.add_argument("--quick", action="store_true", help="small and rough: to see that it runs")
    summary.add_argument("--isa", help="instruction set (default: the one in use)")
    summary.add_argument("--threads", type=positive, help="for everybody (default: the number in use)")
    summary.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    summary.set_defaults(bench=_summary)
    bench.set_defaults(run=run)


def _add_layers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--net", default="typical",
        help="a network; typical: 18 layers of several; depthwise: MobileNet's (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--layer", help="one layer, or all whose name contains this")
    parser.add_argument("--batch", type=positive, help="images (default: the network's)")


def _add_passes(parser: argparse.ArgumentParser, known: tuple[str, ...], default: list[str], more: str = "") -> None:
    text = f"{', '.join(known)}, all (default: {' '.join(default)})" + (f"; {more}" if more else "")
    parser.add_argument(
        "--pass", dest="passes", nargs="+", default=default, choices=(*known, "all"), metavar="PASS", help=text
    )
    parser.set_defaults(known_passes=known)


def _add_common(parser: argparse.ArgumentParser, peers: tuple[str, ...] = ("torch",), rounds: int = 7) -> None:
    names = f"{', '.join(peers)}, all or none (default: torch)"
    parser.add_argument("--peer", nargs="+", default=["torch"], metavar="PEER", help=names)
    parser.set_defaults(known_peers=peers)
    parser.add_argument("--isa", help="instruction set (default: the one in use)")
    parser.add_argument("--threads", type=positive, help="for everybody (default: the number in use)")
    parser.add_argument("--rounds", type=positive, default=rounds, help="turns of each contestant (%(default)s)")
    parser.add_argument("--seconds", type=_seconds, default=0.015, help="that a turn takes, at least (%(default)s)")
    parser.add_argument(
        "--pause", type=_seconds, help="seconds before a turn, while others' threads spin (0.03; ONNX Runtime: 0.06)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as PNG, SVG or PDF")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e4:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, got {text}")
    return value


# The commands import what they need, so that `fastconv --help` answers at once.


def run(arguments: argparse.Namespace) -> int:
    """Set threads and instruction set, run a subcommand.

    A wrong name ends with a line and exit code 2, results of a peer that disagree with ours with exit code 1.
    """
    from .layers import UsageError
    from .machine import set_isa, set_threads
    from .rows import DisagreementError

    try:
        set_isa(arguments.isa)
        set_threads(arguments.threads)
        return int(arguments.bench(arguments))
    except (UsageError, DisagreementError) as error:
        print(f"fastconv bench: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _options(arguments: argparse.Namespace) -> Options:
    from .. import get_num_threads
    from .layers import UsageError
    from .peers import installed
    from .rows import Options, pause_for

    present, missing = installed(arguments.peer, arguments.known_peers)
    for line in missing:
        print(line, file=sys.stderr)
    clock = time.process_time if getattr(arguments, "clock", "wall") == "cpu" else time.perf_counter
    if clock is time.process_time and get_num_threads() > 1:
        raise UsageError("--clock cpu adds up the time of all threads: it wants --threads 1")
    names = getattr(arguments, "algorithm", ["auto"])
    dtype = getattr(arguments, "dtype", "float32")
    pause = pause_for(present) if arguments.pause is None else arguments.pause
    return Options(present, names, dtype, arguments.rounds, arguments.seconds, pause, clock)


def _passes(arguments: argparse.Namespace) -> list[str]:
    return [name for name in arguments.known_passes if name in arguments.passes or "all" in arguments.passes]


def _collected(rows: Iterable[Measurement]) -> list[Measurement]:
    """The rows, with a count that the next one overwrites where somebody watches."""
    found: list[Measurement] = []
    for row in rows:
        found.append(row)
        if sys.stderr.isatty():
            print(f"{len(found)} measured: {row.title:60}\r", end="", file=sys.stderr, flush=True)
    return found


def _verdict(rows: list[Measurement]) -> int:
    """The exit code: 1 if somebody computed something else."""
    return int(any(row.wrong for row in rows))


def _heading(dtype: str = "float32") -> None:
    from .machine import describe
    from .report import heading

    print(heading(describe(), dtype) + "\n")


def _write(arguments: argparse.Namespace, command: str, rows: list[Measurement], **content: Any) -> None:
    from .report import row_json, summary, write_json

    if arguments.json:
        rows_json = [row_json(row) for row in rows]
        write_json(arguments.json, command, **content, rows=rows_json, summary=summary(rows))


def _draw(arguments: argparse.Namespace, name: str, *what: Any) -> None:
    if arguments.plot:
        from . import plot

        plot.save(getattr(plot, name)(*what), arguments.plot)


def _conv(arguments: argparse.Namespace) -> int:
    from . import conv, machine, networks, report

    found = [layer.with_batch(arguments.batch) for layer in networks.find(arguments.net, arguments.layer)]
    conv.check_algorithms(arguments.algorithm)
    options = _options(arguments)
    peak = machine.Peak(options.dtype, clock=options.clock)
    _heading(options.dtype)
    skipped: list[str] = []
    rows = _collected(conv.compare(found, _passes(arguments), options, peak, skipped))
    report.print_rows(rows, peak.flops)
    print("".join(f"{line}\n" for line in skipped), end="")
    _write(arguments, "conv", rows, fma_peak=peak.flops, dtype=options.dtype, skipped=skipped)
    if rows:
        _draw(arguments, "bars", rows, peak.flops)
    return _verdict(rows)


def _ops(arguments: argparse.Namespace) -> int:
    from . import machine, ops, report

    options = _options(arguments)
    memory = machine.memory_bandwidth()
    _heading()
    rows = _collected(ops.compare(arguments.kind, _passes(arguments), arguments.batch, options))
    report.print_rows(rows, memory)
    _write(arguments, "ops", rows, memory_bandwidth=memory)
    _draw(arguments, "bars", rows, memory)
    return _verdict(rows)


def _net(arguments: argparse.Namespace) -> int:
    from . import memory, nets, report

    chosen = nets.find(arguments.net)
    options = _options(arguments)
    _heading()
    if arguments.memory:
        peaks = {network.name: memory.peaks(network, arguments.batch, options) for network in chosen}
        report.print_memory(peaks)
        _write(arguments, "net", [], memory=peaks)
        return 0
    rows = _collected(nets.compare(chosen, _passes(arguments), arguments.batch, options))
    report.print_nets(rows)
    _write(arguments, "net", rows)
    _draw(arguments, "bars", rows)
    return _verdict(rows)


def _roofline(arguments: argparse.Namespace) -> int:
    from . import conv, machine, networks, report, roofline

    found = [layer.with_batch(arguments.batch) for layer in networks.find(arguments.net, arguments.layer)]
    options = _options(arguments)
    peak = machine.Peak()
    _heading()
    rows = _collected(conv.compare(found, _passes(arguments), options, peak))
    ceilings = roofline.measure_ceilings(peak.flops)
    report.print_roofline(rows, ceilings)
    _write(arguments, "roofline", rows, ceilings=vars(ceilings))
    _draw(arguments, "roof", rows, ceilings)
    return _verdict(rows)


def _scaling(arguments: argparse.Namespace) -> int:
    import fastconv as fc

    from . import networks, report, scaling

    found = [layer.with_batch(arguments.batch) for layer in networks.find(arguments.net, arguments.layer)]
    options = _options(arguments)
    counts = scaling.thread_counts(fc.get_num_threads())
    _heading()
    rows = _collected(scaling.compare(found, _passes(arguments), counts, options))
    report.print_scaling(rows)
    _write(arguments, "scaling", rows, threads=counts)
    _draw(arguments, "scaling", rows)
    return _verdict(rows)


def _summary(arguments: argparse.Namespace) -> int:
    from . import report, summary

    _heading()
    figures = summary.measure_all(arguments.quick)
    print(summary.markdown(figures))
    if arguments.json:
        report.write_json(arguments.json, "summary", figures=[vars(figure) for figure in figures])
    return 0
