"""`python -m edgenet.bench start`: from a new process to the first result, edgenet beside other runtimes.

Each measurement is a process of its own; the sides take turns, each round begins with another one. Runtimes that are
installed beside edgenet start from there, others from their own environment. For each environment a side that only
imports numpy and copies the input shows what is left when a runtime costs nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.bench.timing import describe, facts, full_speed
from edgenet.commands.console import positive, progress, table, write_json
from edgenet.errors import EdgenetError

from . import command, environments, network, process, registry
from .comparison import agreement, cores
from .conversion import convert_all
from .entry import Entry, Options
from .process import PeerFailure

PEERS = ("edgenet", "litert", "onnxruntime")
BASE = "numpy"

Measure = Callable[[], dict[str, Any]]


def arguments_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(prog="python -m edgenet.bench start", description=__doc__)
    add = parser.add_argument
    add("--network", default="mobilenet_v2", metavar="NAME", help="a zoo network or .pt2 file (default mobilenet_v2)")
    add("--precision", default="int8", choices=["float32", "int8"], help="default: int8")
    add("--peers", nargs="+", default=PEERS, choices=registry.NAMES, metavar="PEER", help=f"default: {' '.join(PEERS)}")
    add("--threads", type=positive, default=1, metavar="N", help="threads (default 1)")
    add("--rounds", type=positive, default=9, metavar="N", help="processes of each side (default 9)")
    command.add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    return command.perform(_run, arguments_parser().parse_args(argv))


def _run(arguments: argparse.Namespace) -> None:
    command.check([arguments.network], arguments.json)
    with ExitStack() as stack:
        folder = stack.enter_context(command.conversions(arguments.models))
        report = stack.enter_context(progress()) or (lambda stage, done, total: None)
        options = Options([arguments.network], arguments.peers, [arguments.threads], [arguments.precision])
        found = environments.environments(arguments.venv)
        job = network.prepare(arguments.network, folder)
        entries = convert_all(found, options, job, lambda done, total: report("converting", done, total))
        sides: dict[tuple[str, str], Measure] = {}
        bases: dict[tuple[str, str], tuple[str, str]] = {}
        failures = {}
        for entry in entries:
            key = (entry.peer.NAME, entry.variant.name)
            if entry.failure:
                failures[key] = entry.failure
                continue
            python = _python(entry, found[0])
            bases[key] = (BASE, "" if python == sys.executable else Path(python).parents[1].name)
            sides.setdefault(bases[key], _measure(python, BASE, "", "", job.input_file, arguments.threads))
            sides[key] = _measure(
                python, entry.module, entry.variant.name, entry.path, job.input_file, arguments.threads
            )
        rows = rows_of(rounds(sides, arguments.rounds, report), np.load(job.reference_file).ravel(), bases)
    figures = {
        "network": arguments.network,
        "precision": arguments.precision,
        "rounds": arguments.rounds,
        "rows": rows,
        "failures": [{"peer": peer, "variant": variant, "failure": why} for (peer, variant), why in failures.items()],
        "machine": facts(arguments.threads),
    }
    if arguments.json:
        write_json(arguments.json, figures)
    print(text(figures))


def _python(entry: Entry, beside: environments.Environment) -> str:
    """The interpreter that starts a peer."""
    assert entry.environment is not None
    return (beside if beside.modules.issuperset(entry.peer.RUNTIME) else entry.environment).python


def _measure(python: str, module: str, variant: str, path: str, x: Path, threads: int) -> Measure:
    return lambda: process.first(python, module, variant, path, x, threads, cores(threads))


def rounds(
    sides: dict[tuple[str, str], Measure], count: int, report: Callable[[str, int, int], None]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Measurements of each side, after one of each that does not count.

    Raises EdgenetError when a side fails or the CPU was throttled.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in sides}
    order = list(sides)
    with full_speed():
        for done in range(count + 1):
            report("starting processes", done, count + 1)
            for key in list(order):
                try:
                    measured = sides[key]()
                except PeerFailure as failure:
                    raise EdgenetError(f"{' '.join(key)} failed: {failure}") from None
                if done:
                    found[key].append(measured)
            order = order[1:] + order[:1]
    report("starting processes", count + 1, count + 1)
    return found


def rows_of(
    found: dict[tuple[str, str], list[dict[str, Any]]],
    reference: np.ndarray,
    bases: dict[tuple[str, str], tuple[str, str]],
) -> list[dict[str, Any]]:
    """Medians by side: total time, that beyond its base in the same round, parts, memory; cosine to PyTorch."""

    def median(values: Sequence[float]) -> float:
        return float(statistics.median(values))

    rows = []
    for (peer, variant), measured in found.items():
        totals = [each["total_ms"] for each in measured]
        base = [each["total_ms"] for each in found[bases.get((peer, variant), (peer, variant))]]
        row: dict[str, Any] = {
            "peer": peer,
            "variant": variant,
            "total_ms": median(totals),
            "minimum_ms": min(totals),
            "maximum_ms": max(totals),
            "beyond_numpy_ms": median([total - least for total, least in zip(totals, base, strict=True)]),
            "parts_ms": {
                name: median([each["parts_ms"][name] for each in measured]) for name in measured[0]["parts_ms"]
            },
            "rss_bytes": median([each["rss_bytes"] for each in measured]),
            "peak_rss_bytes": median([each["peak_rss_bytes"] for each in measured]),
        }
        if peer != BASE:
            row |= agreement(np.array(measured[-1]["output"]), reference)
        rows.append(row)
    return rows


def text(figures: dict[str, Any]) -> str:
    """The rows as a table, edgenet's parts, and what could not be measured."""
    headers = ("peer", "variant", "total ms", "min", "max", "beyond numpy ms", "RSS MB", "peak MB", "cosine")
    cells = [
        [
            row["peer"],
            row["variant"],
            *(f"{row[key]:.1f}" for key in ("total_ms", "minimum_ms", "maximum_ms", "beyond_numpy_ms")),
            f"{row['rss_bytes'] / 1e6:.1f}",
            f"{row['peak_rss_bytes'] / 1e6:.1f}",
            f"{row['cosine']:.4f}" if "cosine" in row else "-",
        ]
        for row in figures["rows"]
    ]
    lines = [
        f"{figures['network']}, {figures['precision']}: medians of {figures['rounds']} processes each, from before the "
        "process is made to its first result",
        table(headers, cells),
    ]
    for row in figures["rows"]:
        parts = ", ".join(f"{name} {ms:.1f}" for name, ms in row["parts_ms"].items())
        lines.append(f"{row['peer']} {row['variant']}".rstrip() + f": {parts}")
    lines += [f"{each['peer']} {each['variant']}: {each['failure']}" for each in figures["failures"]]
    return "\n".join([*lines, describe(figures["machine"])])


if __name__ == "__main__":
    sys.exit(main())
