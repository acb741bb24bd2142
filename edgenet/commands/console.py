"""What the commands share: common arguments, progress on a terminal, tables, JSON, inputs from files."""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenet.errors import ConversionError, InputError
from edgenet.output import write_text

if TYPE_CHECKING:
    from edgenet.model import Model

Progress = Callable[[str, int, int], None]
ARRAYS = (".npy", ".npz")
"""Endings of files that hold NumPy arrays."""
NO_PREPROCESSING = "The model has no preprocessing for pictures; convert it with --mean and --std, or pass a .npy file."


def positive(text: str) -> int:
    """An argument that is an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


positive.__name__ = "positive integer"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 thread", "2 threads"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def refuse_unused(arguments: argparse.Namespace, names: Sequence[str], reason: str) -> None:
    """InputError where one of the options `names` was given, which is `reason`: "for random numbers", say.

    An option that was not given is None or False.
    """
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name) not in (None, False)]
    if given:
        raise InputError(f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} {reason}.")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def add_kernels(parser: argparse.ArgumentParser) -> None:
    """Add --kernels, which `use_kernels` obeys."""
    parser.add_argument(
        "--kernels", metavar="FILE", help="bundle of compiled kernels from `edgenet warmup -o` (see EDGENET_KERNELS)"
    )


def use_kernels(path: str) -> None:
    """Take kernels from a bundle first. Raises EngineError."""
    from edgenet.engine import bundle

    bundle.use(path)


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add --threads."""
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="threads (default: the physical cores available, at most 4)"
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add --threads and --kernels."""
    add_threads(parser)
    add_kernels(parser)


def emit(arguments: argparse.Namespace, figures: Any, text: str) -> None:
    """Print `figures` as JSON where --json was given, else `text`."""
    print(json.dumps(figures, indent=2, default=_plain) if arguments.json else text)


def write_json(path: Path, figures: Any) -> None:
    """Write `figures` as JSON, all of it or nothing. Raises InputError."""
    write_text(path, json.dumps(figures, indent=1) + "\n")


def _plain(value: Any) -> Any:
    """NumPy numbers and arrays for json."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as aligned text: columns of numbers to the right, others to the left."""
    cells = [list(map(str, row)) for row in (headers, *rows)]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [len(column) > 1 and all(_numeric(cell) for cell in column[1:]) for column in columns]
    lines = []
    for row in cells:
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _numeric(text: str) -> bool:
    return text in ("", "-") or text.lstrip("-+")[:1].isdigit()


def megabytes(count: int) -> str:
    """Bytes as text in MB (10^6 bytes)."""
    return f"{count / 1e6:.2f} MB"


@contextmanager
def progress() -> Iterator[Progress | None]:
    """A callback progress(stage, done, total) that shows progress on stderr; None without a terminal.

    Draws bars where rich is installed, which is imported at the first call, and else writes a line.
    """
    if not sys.stderr.isatty():
        yield None
        return
    with ExitStack() as stack:
        reports: list[Progress] = []

        def report(stage: str, done: int, total: int) -> None:
            if not reports:
                reports.append(_bars(stack))
            reports[0](stage, done, total)

        yield report


def _bars(stack: ExitStack) -> Progress:
    """A callback that draws bars until `stack` is closed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars
    except ImportError:
        from edgenet.engine.cache import progress_line

        return progress_line
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = stack.enter_context(Bars(*columns, console=Console(stderr=True), transient=True))
    tasks: dict[str, Any] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total or None)
        bars.update(tasks[stage], completed=done, total=total or None)

    return report


def require_torch(purpose: str, extra: str = "convert") -> None:
    """ConversionError without PyTorch, which `purpose` needs ("Converting", say) and `extra` brings.

    What torch itself logs of an error is not shown: the error's message says it.
    """
    import logging

    try:
        import torch  # noqa: F401  # says at once that it is missing
    except ImportError:
        raise ConversionError(f"{purpose} needs PyTorch: pip install 'edgenet[{extra}]'.") from None
    for handler in logging.getLogger("torch").handlers:
        handler.setLevel(logging.CRITICAL)


def open_model(path: str, threads: int | None = None, memory: str = "fast") -> Model:
    """The model in a file, prepared for its declared input; missing kernels are compiled with progress shown."""
    import edgenet

    model = edgenet.load(path, threads=threads, memory=memory)
    with progress() as report:
        model.warm(progress=report)
    return model


def read_inputs(model: Model, paths: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Inputs for a model from files: one .npz file that names them all, or for each a NumPy array (.npy) or a picture.

    Raises InputError.
    """
    names = model.graph.inputs
    if len(paths) == 1 and Path(paths[0]).suffix == ".npz":
        arrays = read_arrays(paths[0])
        if set(arrays) != set(names):
            held = ", ".join(arrays) or "nothing"
            raise InputError(f"{paths[0]} must hold the network's inputs ({', '.join(names)}); it holds {held}.")
        return tuple(arrays[name] for name in names)
    if len(paths) != len(names):
        raise InputError(f"The network takes {counted(len(names), 'input')} ({', '.join(names)}), not {len(paths)}.")
    return tuple(read_array(path) if Path(path).suffix in ARRAYS else read_picture(model, path) for path in paths)


def read_array(path: str) -> np.ndarray:
    """The array in a .npy file. Raises InputError; nothing in the file is executed."""
    array = _load(path)
    if isinstance(array, np.ndarray):
        return array
    array.close()
    raise InputError(f"{path} holds several arrays; an .npz file must hold all inputs, and stand alone.")


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays in an .npz file by name. Raises InputError; nothing in the file is executed."""
    found = _load(path)
    if isinstance(found, np.ndarray):
        raise InputError(f"{path} is a single array, not an .npz file.")
    try:
        with found:
            return {name: found[name] for name in found.files}
    except _UNREADABLE as error:
        raise InputError(f"{path} is not a readable .npz file; it may be truncated.") from error


_UNREADABLE = (OSError, ValueError, EOFError, SyntaxError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error)


def _load(path: str) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except _UNREADABLE as error:
        raise InputError(f"{path} is not a readable {Path(path).suffix} file; it may be truncated.") from error


def read_picture(model: Model, path: str) -> np.ndarray:
    """A picture as the network's input."""
    from edgenet import images

    preprocessing = model.graph.metadata.preprocessing
    if preprocessing is None:
        raise InputError(NO_PREPROCESSING)
    return images.preprocess(images.load_image(path), preprocessing)


def writable_target(path: str) -> None:
    """InputError unless a file can be written at `path`: found out before the work, not after it."""
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise InputError(f"{path} is a folder. Name a file in it.")
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder} to write {target.name} into.")
