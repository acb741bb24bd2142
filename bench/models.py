"""The table of networks: PyTorch eager against edgenet in float32 and int8, with file sizes and memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgenet import load
from edgenet.commands.console import table
from edgenet.commands.inspect import totals
from edgenet.errors import InputError
from edgenet.graph import Graph
from edgenet.output import write_text

from .timing import describe, facts, interleave

PRECISIONS = ("float32", "int8")
BEGIN, END = "<!-- models: begin -->", "<!-- models: end -->"
"""Marks in the README between which the table lies."""

Progress = Callable[[str, int, int], None] | None


def measure(name: str, threads: int | None = None, rounds: int = 9, progress: Progress = None) -> dict[str, Any]:
    """Figures of one zoo network at batch 1, on its trained weights where a package brings them.

    PyTorch runs eagerly in inference mode on the same number of threads; the sides are measured in turns.
    """
    import torch

    from edgenet.converter import convert, zoo

    module = zoo.build(name, weights=zoo.find_weights(name))
    size = zoo.info(name).input_size
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, *size)).astype(np.float32)
    graphs: dict[str, Graph] = {}
    for done, precision in enumerate(PRECISIONS):
        if progress:
            progress(f"{name}: converting", done, len(PRECISIONS))
        calibration = [x] if precision == "int8" else None
        example = (torch.zeros(1, *size),)
        graphs[precision] = convert(module, example, precision, calibration, arch=name, name=name)
    models = {precision: load(graph, threads=threads) for precision, graph in graphs.items()}
    count = models["float32"].threads
    torch.set_num_threads(count)
    tensor = torch.from_numpy(x)
    sides: dict[str, Callable[[], Any]] = {"torch": lambda: module(tensor)}
    sides |= {precision: lambda m=model: m.run(x) for precision, model in models.items()}
    with torch.inference_mode():
        timings = interleave(sides, rounds, None)
    figures: dict[str, Any] = {"network": name, **totals(graphs["float32"])}
    figures |= {side: asdict(timing) for side, timing in timings.items()}
    for precision, model in models.items():
        info = model.plan_info()
        figures[precision] |= {
            "file_bytes": file_size(graphs[precision]),
            "arena_bytes": info["arena_bytes"],
            "vector": all(step["vector"] for step in info["steps"]),
        }
        model.close()
    figures["machine"] = facts(count)
    return figures


def file_size(graph: Graph) -> int:
    """Bytes of the graph's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.edgenet"
        graph.save(path)
        return path.stat().st_size


def study(
    names: Sequence[str], threads: int | None, rounds: int, progress: Progress = None
) -> Iterator[dict[str, Any]]:
    """`measure` of each network in turn (empty `names`: all of the zoo). Raises InputError for unknown names."""
    from edgenet.converter import zoo

    unknown = [name for name in names if name not in zoo.names()]
    if unknown:
        raise InputError(f"There is no network {', '.join(unknown)}. Choose among {', '.join(zoo.names())}.")
    chosen = list(names or zoo.names())
    for done, name in enumerate(chosen):
        if progress:
            progress("networks", done, len(chosen))
        yield measure(name, threads, rounds, progress)


HEADERS = (
    "network",
    "parameters",
    "MACs",
    "PyTorch ms",
    "float32 ms",
    "int8 ms",
    "file MB (float32 / int8)",
    "arena peak MB (float32 / int8)",
)


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table as text."""

    def both(key: str) -> str:
        return " / ".join(f"{row[precision][key] / 1e6:.2f}" for precision in PRECISIONS)

    times = [f"{row[side]['median_ms']:.2f}" for side in ("torch", *PRECISIONS)]
    return [
        row["network"],
        f"{row['parameters'] / 1e6:.2f} M",
        f"{row['macs'] / 1e6:.0f} M",
        *times,
        both("file_bytes"),
        both("arena_bytes"),
    ]


def text(rows: Sequence[dict[str, Any]]) -> str:
    """The table for a terminal."""
    return "\n".join((table(HEADERS, [cells(row) for row in rows]), describe(rows[-1]["machine"])))


def markdown(rows: Sequence[dict[str, Any]], command: str) -> str:
    """The table for the README, with the machine and the command that made it."""
    lines = ["| " + " | ".join(HEADERS) + " |", "|---|" + "---:|" * (len(HEADERS) - 1)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    spread = max(row[side]["spread"] for row in rows for side in ("torch", *PRECISIONS))
    lines += [
        "",
        f"Batch 1, medians of {rows[0]['float32']['rounds']} rounds in which the three sides take turns (interquartile "
        f"range at most {spread:.0%} of the median). {describe(rows[-1]['machine'])}. Made by `{command}`.",
    ]
    return "\n".join(lines)


def around_table(path: Path) -> tuple[str, str]:
    """What stands in a file before the table and behind it, marks included.

    Raises InputError where the file cannot be read, and where marks are missing.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if content.count(BEGIN) != 1 or content.count(END) != 1 or content.index(END) < content.index(BEGIN):
        raise InputError(f"{path} must hold the marks {BEGIN} and {END} once each, in this order.")
    head, rest = content.split(BEGIN)
    return head + BEGIN, END + rest.split(END)[1]


def update_readme(path: Path, body: str) -> None:
    """Replace what lies between the marks in a file. Raises InputError as `around_table` does."""
    head, tail = around_table(path)
    write_text(path, f"{head}\n{body}\n{tail}")
