"""`python -m edgenet.bench quantization`: the error of edgenet's int8 beside that of other runtimes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edgenet.bench.peers import command, environments
from edgenet.bench.peers.entry import Options
from edgenet.commands.console import progress, write_json

from . import photographs, report, study

EXPLANATION = """All calibrate with the same 32 images; none of them shows a photograph of the test. SQNR is that of the
network's output against PyTorch in float32, averaged in dB over the images. Runtimes that cannot be imported are
reported with the reason."""


def arguments_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m edgenet.bench quantization", description=__doc__, epilog=EXPLANATION
    )
    add = parser.add_argument
    add("--networks", nargs="+", default=study.NETWORKS, metavar="NAME", help="zoo networks (default: the trained two)")
    add("--peers", nargs="+", default=study.PEERS, choices=study.PEERS, metavar="PEER", help="default: all")
    add("--photographs", type=Path, metavar="FOLDER", help="pictures to test on (default: those of installed packages)")
    add("--calibration", type=Path, metavar="FOLDER", help="pictures to calibrate with (default: others of packages)")
    add("--crops", type=int, default=500, metavar="N", help="augmented crops of the test's photographs (default 500)")
    add("--limit", type=float, default=900, metavar="S", help="seconds that a conversion may take (default 900)")
    command.add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    return command.perform(_run, arguments_parser().parse_args(argv))


def _run(arguments: argparse.Namespace) -> None:
    command.check(arguments.networks, arguments.json)
    pictures = study.Pictures(
        _photographs(arguments.calibration, photographs.CALIBRATION),
        _photographs(arguments.photographs, photographs.TEST),
        max(arguments.crops, 0),
    )
    options = Options(arguments.networks, arguments.peers, (2,), ("int8",), limit=arguments.limit, untimed=True)
    found = environments.environments(arguments.venv)
    with ExitStack() as stack:
        folder = stack.enter_context(command.conversions(arguments.models))
        shown = stack.enter_context(progress()) or (lambda stage, done, total: None)
        rows = study.study(found, options, pictures, folder, shown)
    from edgenet.converter import zoo

    trained = {name: zoo.find_weights(name) is not None for name in arguments.networks}
    content = report.content(rows, {**_described(pictures), "trained_weights": trained})
    if arguments.json:
        write_json(arguments.json, content)
    print(report.text(content))


def _photographs(folder: Path | None, names: Sequence[str]) -> list[photographs.Photograph]:
    return photographs.packaged(names) if folder is None else photographs.in_folder(folder)


def _described(pictures: study.Pictures) -> dict[str, Any]:
    return {
        "calibration": [photograph.name for photograph in pictures.calibration],
        "calibration_images": study.CALIBRATION_IMAGES,
        "test": [photograph.name for photograph in pictures.test],
        "crops": pictures.crops,
    }


if __name__ == "__main__":
    sys.exit(main())
