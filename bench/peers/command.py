"""What the commands that compare edgenet with other runtimes share: options, checks, the folder of conversions."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgenet.commands.console import require_torch, writable_target
from edgenet.errors import ConversionError, EdgenetError

from .network import FILE_SUFFIX


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every such command has."""
    add = parser.add_argument
    add("--json", type=Path, metavar="FILE", help="write the figures to this file")
    add("--models", type=Path, metavar="FOLDER", help="keep conversions here and use them again")
    add(
        "--venv",
        action="extend",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="virtual environments that hold peers; may be given several times",
    )


def perform(run: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Run a command; its exit status. Errors that a user can cause are one line on stderr."""
    try:
        run(arguments)
    except EdgenetError as error:
        print(f"edgenet.bench: {error}", file=sys.stderr)
        return 1
    return 0


def check(networks: Sequence[str], json: Path | None) -> None:
    """Raises ConversionError without torch or for a network that is neither of the zoo nor a file, InputError for a bad
    --json.
    """
    if json:
        writable_target(str(json))
    require_torch("The comparison")
    from edgenet.converter import zoo

    for name in networks:
        if not name.endswith(FILE_SUFFIX):
            zoo.info(name)
        elif not Path(name).is_file():
            raise ConversionError(f"There is no file {name}.")
    names = [Path(name).stem for name in networks]
    if len(set(names)) < len(names):
        raise ConversionError("Two of the networks have one name. Give their files names of their own.")


@contextmanager
def conversions(kept: Path | None) -> Iterator[Path]:
    """The folder named by --models, or one that is removed at the end."""
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="edgenet-peers-") as folder:
            yield Path(folder).resolve()
    else:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
