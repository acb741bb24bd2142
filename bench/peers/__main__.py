"""`python -m edgenet.bench peers`: edgenet beside other runtimes on the same networks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict

from edgenet.bench.timing import facts
from edgenet.commands.console import positive, progress, write_json

from . import command, comparison, environments, network, registry, report
from .entry import Options

EXPLANATION = """Peers that cannot be imported are reported with the reason. Timings of a machine that does other work
mean nothing: leave it alone while this runs. A turn counts only if its processors compute at full pace before and
behind it, and are as far apart as usual: a virtual machine's host has other work for them at times. When the patience
is at an end, every turn counts, and with --patience 0 nothing is looked for."""


def arguments_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(prog="python -m edgenet.bench peers", description=__doc__, epilog=EXPLANATION)
    add = parser.add_argument
    add(
        "--networks",
        nargs="+",
        default=network.NAMES,
        metavar="NAME",
        help="of the zoo, or .pt2 files (default: seven)",
    )
    add("--peers", nargs="+", default=registry.NAMES, choices=registry.NAMES, metavar="PEER", help="default: all")
    add("--threads", nargs="+", type=positive, default=[1, 2], metavar="N", help="thread counts (default: 1 2)")
    add("--precision", nargs="+", default=["float32", "int8"], choices=["float32", "int8"], help="default: both")
    add("--rounds", type=positive, default=9, metavar="N", help="turns of each peer (default 9)")
    add("--seconds", type=float, default=0.2, metavar="S", help="length of a turn, 3 runs at least (default 0.2)")
    add("--limit", type=float, default=900, metavar="S", help="seconds that a conversion may take (default 900)")
    add(
        "--patience",
        type=float,
        default=600,
        metavar="S",
        help="seconds that waiting for an idle host may take in all (default 600)",
    )
    command.add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    return command.perform(_run, arguments_parser().parse_args(argv))


def _run(arguments: argparse.Namespace) -> None:
    command.check(arguments.networks, arguments.json)
    options = Options(
        arguments.networks,
        arguments.peers,
        arguments.threads,
        arguments.precision,
        arguments.rounds,
        arguments.seconds,
        arguments.limit,
        arguments.patience,
    )
    found = environments.environments(arguments.venv)
    with ExitStack() as stack:
        folder = stack.enter_context(command.conversions(arguments.models))
        rows = comparison.compare(found, options, folder, stack.enter_context(progress()))
    content = report.figures(rows, facts(max(arguments.threads)), asdict(options))
    if arguments.json:
        write_json(arguments.json, content)
    print(report.text(content))


if __name__ == "__main__":
    sys.exit(main())
