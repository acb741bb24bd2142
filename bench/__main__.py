"""`python -m edgenet.bench models`: the README's table of networks. `... peers`: edgenet beside other runtimes.

`... start`: from a new process to its first result, edgenet beside other runtimes. `... quantization`: the error of
int8 beside that of other runtimes. `... qat`: accuracy of int8 after training, and after quantization-aware training.
`... accuracy`: what separable convolution costs in accuracy. `... training`: train a network of the zoo by a recipe.
`... pi`: predicted latencies on Raspberry Pis.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from edgenet.commands.console import positive, progress, writable_target, write_json
from edgenet.errors import EdgenetError

PACKAGES = ("peers", "accuracy", "training", "quantization", "qat")
"""Studies that are packages with a command line of their own."""


def main() -> int:
    if sys.argv[1:2] and sys.argv[1] in PACKAGES:
        return importlib.import_module(f".{sys.argv[1]}.__main__", __package__).main(sys.argv[2:])
    if sys.argv[1:2] == ["start"]:
        from .peers.start import main as start

        return start(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m edgenet.bench", description=__doc__)
    studies = parser.add_subparsers(dest="study", required=True)
    models = studies.add_parser("models", help="every network of the zoo: PyTorch, float32, int8")
    models.add_argument("networks", nargs="*", metavar="NETWORK", help="zoo networks (default: all)")
    models.add_argument("--threads", type=positive, metavar="N", help="threads (default: physical cores, at most 4)")
    models.add_argument("--rounds", type=positive, default=9, metavar="N", help="measurements of each side (default 9)")
    models.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    models.add_argument("--readme", type=Path, metavar="FILE", help="put the table between the marks in this file")
    pi = studies.add_parser("pi", help="predicted latencies on Raspberry Pi 4 and 5 (needs llvm-mca)")
    pi.add_argument("networks", nargs="*", metavar="NETWORK", help="zoo networks (default: four separable ones)")
    pi.add_argument("--layers", action="store_true", help="show every step")
    pi.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    arguments = parser.parse_args()
    try:
        {"models": _models, "pi": _pi}[arguments.study](arguments)
    except EdgenetError as error:
        print(f"edgenet.bench: {error}", file=sys.stderr)
        return 1
    return 0


def _models(arguments: argparse.Namespace) -> None:
    from . import models

    if arguments.json:
        writable_target(str(arguments.json))
    rows = []
    with progress() as report:
        for row in models.study(arguments.networks, arguments.threads, arguments.rounds, report):
            rows.append(row)
            if arguments.json:  # after each network: what was measured outlives what stops the next
                write_json(arguments.json, rows)
    print(models.text(rows))
    if arguments.readme:
        command = " ".join(["python -m edgenet.bench", *(word for word in sys.argv[1:])])
        models.update_readme(arguments.readme, models.markdown(rows, command))


def _pi(arguments: argparse.Namespace) -> None:
    from .pi import study

    if arguments.json:
        writable_target(str(arguments.json))
    with progress() as report:
        rows = list(study.study(arguments.networks, report))
    if arguments.json:
        write_json(arguments.json, rows)
    print(study.text(rows, arguments.layers))


if __name__ == "__main__":
    sys.exit(main())
