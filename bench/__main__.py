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

from edgenet.commands.console import positive, progress, require_torch, writable_target, write_json
from edgenet.commands.streams import escape_output
from edgenet.errors import EdgenetError

STUDIES = {
    "models": "every network of the zoo: PyTorch, float32, int8",
    "peers": "edgenet beside other runtimes",
    "start": "from a new process to its first result, beside other runtimes",
    "quantization": "the error of int8 beside that of other runtimes",
    "accuracy": "what separable convolution costs in accuracy",
    "qat": "accuracy of int8 after training, and after quantization-aware training",
    "training": "train a network of the zoo by a recipe",
    "pi": "predicted latencies on Raspberry Pi 4 and 5 (needs llvm-mca)",
}
"""Studies and what they do."""
OWN = {"start": "peers.start"} | {
    name: f"{name}.__main__" for name in ("peers", "quantization", "accuracy", "qat", "training")
}
"""Studies with a command line of their own, and the module that holds it."""


def main() -> int:
    escape_output()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        if name == "training":
            require_torch("Training", "bench")  # its modules import it
        if name in OWN:
            return importlib.import_module(f".{OWN[name]}", __package__).main(sys.argv[2:])
        arguments = build_parser().parse_args()
        require_torch("This study", "bench")
        {"models": _models, "pi": _pi}[arguments.study](arguments)
    except EdgenetError as error:
        print(f"edgenet.bench: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of every study; those with a command line of their own are only named."""
    parser = argparse.ArgumentParser(prog="python -m edgenet.bench", description="Studies of edgenet.")
    choices = parser.add_subparsers(dest="study", metavar="STUDY", required=True)
    studies = {name: choices.add_parser(name, help=text) for name, text in STUDIES.items()}
    models, pi = studies["models"], studies["pi"]
    models.add_argument("networks", nargs="*", metavar="NETWORK", help="zoo networks (default: all)")
    models.add_argument("--threads", type=positive, metavar="N", help="threads (default: physical cores, at most 4)")
    models.add_argument("--rounds", type=positive, default=9, metavar="N", help="measurements of each side (default 9)")
    models.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    models.add_argument("--readme", type=Path, metavar="FILE", help="put the table between the marks in this file")
    pi.add_argument("networks", nargs="*", metavar="NETWORK", help="zoo networks (default: four separable ones)")
    pi.add_argument("--layers", action="store_true", help="show every step")
    pi.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser


def _models(arguments: argparse.Namespace) -> None:
    from . import models

    if arguments.json:
        writable_target(str(arguments.json))
    if arguments.readme:  # before minutes of measuring
        models.around_table(arguments.readme)
        writable_target(str(arguments.readme))
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
