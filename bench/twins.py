"""MobileNetV1 against its twin with standard convolutions, as whole networks: size, memory, latency, energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from edgenet import load
from edgenet.commands.console import table
from edgenet.commands.inspect import totals
from edgenet.graph import Graph
from edgenet.model import Model

from .energy import Meter
from .models import file_size
from .separable import PRECISIONS, WINOGRAD
from .timing import Progress, describe, facts, interleave

NETWORKS = {"standard": "mobilenet_v1_std", "separable": "mobilenet_v1"}
INPUT = (3, 224, 224)
"""The networks' input: channels, height, width."""
ENERGY_SECONDS = 1.0
"""A side's energy is measured over so long."""


def study(
    threads: int | None = None,
    rounds: int = 9,
    progress: Progress = None,
    precisions: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Both networks in each precision (None: both), the standard one directly and, where it differs, by Winograd's too.

    Needs PyTorch.
    """
    parts = [
        measure(graphs(precision, progress), precision, threads, rounds, progress)
        for precision in precisions or PRECISIONS
    ]
    return {**parts[0], "rows": [row for part in parts for row in part["rows"]]}


def graphs(precision: str, progress: Progress = None) -> dict[str, Graph]:
    """The two networks, converted, by side; their weights are random."""
    from edgenet.converter import convert

    calibration = [_picture()] if precision == "int8" else None
    found = {}
    for done, (side, name) in enumerate(NETWORKS.items()):
        if progress:
            progress(f"converting to {precision}", done, len(NETWORKS))
        found[side] = convert(name, precision=precision, calibration=calibration)
    return found


def _picture() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, *INPUT)).astype(np.float32)


def measure(
    pair: dict[str, Graph], precision: str, threads: int | None = None, rounds: int = 9, progress: Progress = None
) -> dict[str, Any]:
    """Figures of both sides, measured in turns. Energy is None where the system does not show it (see `energy`)."""
    meter, x = Meter(), _picture()
    counts = {side: totals(graph) for side, graph in pair.items()}
    models = _models(pair, threads)
    timings = interleave({side: lambda m=model: m.run(x) for side, model in models.items()}, rounds, progress)
    direct, rows = timings["standard"].median_ms, []
    for side, model in models.items():
        kind = "separable" if side == "separable" else "standard"
        info = model.plan_info()
        rows.append(
            {
                "network": NETWORKS[kind],
                "precision": precision,
                "algorithm": {"standard": "direct", WINOGRAD: "Winograd"}.get(side, "separable"),
                **counts[kind],
                "file_bytes": file_size(pair[kind]),
                "arena_bytes": info["arena_bytes"],
                **asdict(timings[side]),
                "gflops": counts[kind]["flops"] / timings[side].median_ms / 1e6,
                "share": timings[side].median_ms / direct,
                "joules": meter.joules(lambda m=model: m.run(x), ENERGY_SECONDS),
                "kernels": sorted({step["kernel"] for step in info["steps"] if "conv2d" in step["operation"]}),
            }
        )
    machine = facts(models["standard"].threads)
    for model in models.values():
        model.close()
    law = counts["separable"]["flops"] / counts["standard"]["flops"]
    return {"networks": NETWORKS, "input": INPUT, "law": law, "machine": machine, "rows": rows}


def _models(graphs: dict[str, Graph], threads: int | None) -> dict[str, Model]:
    """A model of each side, direct, and one more where the standard side has a plan with Winograd's algorithm."""
    models = {"standard": load(graphs["standard"], threads=threads, winograd=False)}
    fast = load(graphs["standard"], threads=threads)
    if any("winograd" in step["kernel"] for step in fast.plan_info()["steps"]):
        models[WINOGRAD] = fast
    models["separable"] = load(graphs["separable"], threads=threads, winograd=False)
    return models


HEADERS = (
    "network", "type", "convolutions", "parameters", "MACs", "file MB", "arena MB", "ms", "+-", "GFLOP/s", "share",
    "faster", "mJ",
)  # fmt: skip


def cells(row: dict[str, Any]) -> list[str]:
    """A row as text; `share` is that of the time of direct convolution, `faster` its inverse."""
    return [
        row["network"],
        row["precision"],
        row["algorithm"],
        f"{row['parameters'] / 1e6:.2f} M",
        f"{row['macs'] / 1e6:.0f} M",
        f"{row['file_bytes'] / 1e6:.2f}",
        f"{row['arena_bytes'] / 1e6:.2f}",
        f"{row['median_ms']:.2f}",
        f"{row['spread'] / 2:.0%}",
        f"{row['gflops']:.0f}",
        f"{row['share']:.3f}",
        f"{1 / row['share']:.1f}x",
        "-" if row["joules"] is None else f"{row['joules'] * 1e3:.1f}",
    ]


def text(figures: dict[str, Any]) -> str:
    """The study as text."""
    rows = [cells(row) for row in figures["rows"]]
    law = f"the separable network needs {figures['law']:.4f} of the FLOPs: 1/{1 / figures['law']:.2f}"
    return "\n".join((table(HEADERS, rows), law, describe(figures["machine"])))
