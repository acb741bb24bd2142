"""The study behind `python -m edgenet.bench pi`: predicted latencies of networks, beside published ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from edgenet.commands.console import table
from edgenet.dtypes import BATCH
from edgenet.errors import InputError
from edgenet.graph import Graph
from edgenet.kernels.isa import by_name
from edgenet.prepare.plan import Plan
from edgenet.prepare.prepare import prepare

from . import mca
from .boards import BOARDS, PUBLISHED, Board
from .predict import listings, predict

NETWORKS = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_lite0")
PRECISIONS = ("float32", "int8")
THREADS = (1, 4)
NOTE = (
    "Predictions, not measurements: llvm-mca's cycles of the kernels' Arm code against the memory's speed, without "
    "cache misses, heat or other programs."
)

Progress = Callable[[str, int, int], None] | None


def _graphs(name: str, progress: Progress) -> dict[str, Graph]:
    """A zoo network with random weights, converted to each precision."""
    import torch

    from edgenet.converter import convert, zoo

    torch.manual_seed(0)
    size = zoo.info(name).input_size
    module = zoo.randomize_batchnorm(zoo.build(name), example=torch.randn(2, 3, 96, 96)).eval()
    example = torch.randn(1, *size)
    graphs = {}
    for done, precision in enumerate(PRECISIONS):
        if progress:
            progress(f"{name}: converting", done, len(PRECISIONS))
        calibration = [example.numpy()] if precision == "int8" else None
        graphs[precision] = convert(module, (example,), precision, calibration, arch=name, name=name)
    return graphs


def plan_for(graph: Graph, board: Board, threads: int) -> Plan:
    """The plan of a network for one picture on a board, without Winograd's algorithm, which is not predicted."""
    shapes = {
        name: tuple(1 if size == BATCH else int(size) for size in graph.tensors[name].shape) for name in graph.inputs
    }
    return prepare(graph, shapes, by_name(board.cpu), threads, winograd=False)


def study(names: Sequence[str], progress: Progress = None) -> Iterator[dict[str, Any]]:
    """Figures of each network (empty `names`: NETWORKS), precision, board and number of threads.

    Raises InputError for unknown networks and where llvm-mca is missing, EngineError when kernels do not compile.
    """
    from edgenet.converter import zoo

    mca.tool()
    unknown = [name for name in names if name not in zoo.names()]
    if unknown:
        raise InputError(f"There is no network {', '.join(unknown)}. Choose among {', '.join(zoo.names())}.")
    known: dict[str, dict[str, Any]] = {board.cpu: {} for board in BOARDS}
    for name in names or NETWORKS:
        for precision, graph in _graphs(name, progress).items():
            for done, board in enumerate(BOARDS):
                if progress:
                    progress(f"{name} {precision}: predicting", done, len(BOARDS))
                plans = {threads: plan_for(graph, board, threads) for threads in THREADS}
                needed = {step.kernel for plan in plans.values() for step in plan.steps} - set(known[board.cpu])
                known[board.cpu] |= listings(board.cpu, sorted(needed)) if needed else {}
                for threads, plan in plans.items():
                    steps = predict(plan, known[board.cpu], board)
                    yield {
                        "network": name,
                        "precision": precision,
                        "board": board.name,
                        "threads": threads,
                        "ms": sum(step.ms for step in steps),
                        "steps": [asdict(step) for step in steps],
                    }


def text(rows: Sequence[Mapping[str, Any]], layers: bool = False) -> str:
    """The table for a terminal; with `layers`, one of every network's steps before it."""
    parts = [_layers(row) for row in rows] if layers else []
    lines: dict[tuple[str, str, str], dict[int, float]] = {}
    for row in rows:
        lines.setdefault((row["board"], row["network"], row["precision"]), {})[row["threads"]] = row["ms"]
    headers = ("board", "network", "precision", *(f"{t} threads ms" for t in THREADS), "published, 1 / 4 threads")
    cells = [
        [*key, *(f"{found[threads]:.1f}" for threads in THREADS), PUBLISHED.get(key, "-")]
        for key, found in lines.items()
    ]
    boards = [
        f"{b.name}: {b.ghz} GHz, {b.memory_gbs} GB/s, llvm-mca's model of {b.model}, kernels for {by_name(b.cpu).name}"
        for b in BOARDS
    ]
    return "\n".join([*parts, table(headers, cells), *boards, NOTE])


def _layers(row: Mapping[str, Any]) -> str:
    cells = [
        [step["node"], step["kernel"], *(f"{step[key]:.3f}" for key in ("pipeline_ms", "memory_ms", "ms"))]
        for step in row["steps"]
    ]
    title = f"{row['network']} {row['precision']} on {row['board']}, {row['threads']} threads: {row['ms']:.1f} ms"
    return f"{title}\n{table(('step', 'kernel', 'pipelines ms', 'memory ms', 'ms'), cells)}\n"
