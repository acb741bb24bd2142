"""`python -m edgenet.bench accuracy`: what depthwise-separable convolution costs in accuracy, beside what it saves.

Trains a small network and its twin of standard convolutions by one recipe, converts both to float32 and int8, and lets
the engine classify all test pictures. Runs that are finished are kept and not repeated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edgenet.bench import datasets
from edgenet.commands.console import add_threads, positive, progress, require_torch, writable_target, write_json
from edgenet.engine.machine import usable_threads
from edgenet.errors import EdgenetError
from edgenet.output import write_text

EPOCHS = {"fashion-mnist": 5, "mnist": 30}
QUICK_EPOCHS = {"fashion-mnist": 2, "mnist": 12}
WIDTHS, QUICK_WIDTHS = (16, 32), (16,)
SEEDS = (0, 1, 2)
CROP = 1
"""Pixels that training pictures are shifted by at most: objects fill these pictures."""


def main(words: Sequence[str]) -> int:
    """Run the command line. Returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m edgenet.bench accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", choices=tuple(datasets.CLASSES), default="fashion-mnist")
    parser.add_argument("--data", metavar="DIR", help="the data set's folder (default: where its package puts it)")
    parser.add_argument("--quick", action="store_true", help="narrower networks and fewer epochs: minutes")
    parser.add_argument("--widths", type=positive, nargs="+", metavar="N", help="channels of the stem (default 16 32)")
    parser.add_argument("--epochs", type=positive, metavar="N", help="passes over the data (default 5, MNIST 30)")
    parser.add_argument("--seeds", type=_seed, nargs="+", default=SEEDS, metavar="N", help="seeds (default 0 1 2)")
    parser.add_argument("--images", type=positive, metavar="N", help="train on the first N pictures only")
    parser.add_argument("--jobs", type=positive, metavar="N", help="runs at a time (default: the physical cores)")
    parser.add_argument("--rounds", type=positive, default=31, metavar="N", help="measurements of time (default 31)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where runs are kept (default: edgenet's cache)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw accuracy against MACs and time as PNG")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown")
    add_threads(parser)
    arguments = parser.parse_args(words)
    try:
        _study(arguments, " ".join(("python -m edgenet.bench accuracy", *words)))
    except EdgenetError as error:
        print(f"edgenet.bench: {error}", file=sys.stderr)
        return 1
    return 0


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


_seed.__name__ = "seed"


def _study(arguments: argparse.Namespace, command: str) -> None:
    for path in (arguments.json, arguments.plot, arguments.markdown):
        if path:
            writable_target(str(path))
    require_torch("Training", "bench")
    from edgenet.bench.training import Recipe
    from edgenet.engine.cache import folder as cache

    from . import plot, report, study
    from .runs import Run

    quick = arguments.quick
    epochs = arguments.epochs or (QUICK_EPOCHS if quick else EPOCHS)[arguments.dataset]
    widths = arguments.widths or (QUICK_WIDTHS if quick else WIDTHS)
    base = Run(arguments.dataset, study.SEPARABLE, widths[0], Recipe(epochs=epochs, crop=CROP), arguments.images)
    runs = study.plan(base, widths, arguments.seeds)
    folder = arguments.folder or cache() / "accuracy"
    with progress() as show:
        found = study.perform_all(runs, folder, arguments.data, arguments.jobs or usable_threads(), show)
        rows = study.rows(runs, found, folder, arguments.threads, arguments.rounds, show)
    print(report.text(rows))
    if arguments.json:
        write_json(arguments.json, rows)
    if arguments.plot:
        plot.draw(rows, arguments.plot)
    if arguments.markdown:
        write_text(arguments.markdown, report.markdown(rows, command))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
