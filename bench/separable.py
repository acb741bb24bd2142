"""The saving of depthwise-separable convolution: predicted 1/D2 + 1/F^2 beside what is measured on this CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from edgenet import load
from edgenet.commands.console import table
from edgenet.graph import Graph
from edgenet.model import Model
from edgenet.ops import graph_cost

from .layers import Layer, build
from .timing import Timing, describe, facts, interleave, summarize

PRECISIONS = ("float32", "int8")
SIDES = ("standard", "separable")
NETWORKS = {"standard": "mobilenet_v1_std", "separable": "mobilenet_v1"}
INPUT = (3, 224, 224)
"""The networks' input: channels, height, width."""

Progress = Callable[[str, int, int], None] | None


def flops(graph: Graph) -> int:
    """FLOPs of a graph's convolutions and linear layers for one sample: multiply and add both counted."""
    costs = graph_cost(graph)
    return sum(costs[node.output].flops for node in graph.nodes if node.operation in ("conv2d", "linear"))


def layer_study(
    layer: Layer, threads: int | None = None, rounds: int = 15, progress: Progress = None
) -> dict[str, Any]:
    """One layer, standard against depthwise + pointwise, in float32 and int8; the time is that of the convolutions."""
    figures: dict[str, Any] = {
        "layer": asdict(layer),
        "predicted": 1 / layer.filters + 1 / layer.kernel**2,
        "rows": [],
    }
    for precision in PRECISIONS:
        models = {side: load(build(layer, side, precision), threads=threads) for side in SIDES}
        figures["machine"] = facts(next(iter(models.values())).threads)
        times: dict[str, list[float]] = {side: [] for side in SIDES}
        for done in range(rounds):
            for side in SIDES if done % 2 else SIDES[::-1]:
                rows = models[side].profile(repeats=5).rows
                times[side].append(sum(row["ms"] for row in rows if row["name"] in (*SIDES, "depthwise", "pointwise")))
            if progress:
                progress(f"{layer} {precision}", done + 1, rounds)
        timings = {side: summarize(times[side]) for side in SIDES}
        work = {side: flops(build(layer, side)) for side in SIDES}
        figures["rows"].append(_row(precision, models, timings, work))
    return figures


def network_study(threads: int | None = None, rounds: int = 9, progress: Progress = None) -> dict[str, Any]:
    """MobileNetV1 against its twin with standard convolutions, in float32 and int8; the time is that of a whole run."""
    from edgenet.converter import convert

    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, *INPUT)).astype(np.float32)
    figures: dict[str, Any] = {"networks": NETWORKS, "rows": []}
    for precision in PRECISIONS:
        graphs = {}
        for done, (side, name) in enumerate(NETWORKS.items()):
            if progress:
                progress(f"converting to {precision}", done, len(NETWORKS))
            calibration = [x] if precision == "int8" else None
            graphs[side] = convert(name, precision=precision, calibration=calibration)
        if precision == "float32":
            work = {side: flops(graph) for side, graph in graphs.items()}
            figures["predicted"] = work["separable"] / work["standard"]
        models = {side: load(graph, threads=threads) for side, graph in graphs.items()}
        figures["machine"] = facts(next(iter(models.values())).threads)
        timings = interleave({side: lambda m=model: m.run(x) for side, model in models.items()}, rounds, progress)
        figures["rows"].append(_row(precision, models, timings, work))
        for model in models.values():
            model.close()
    return figures


def _row(precision: str, models: dict[str, Model], timings: dict[str, Timing], work: dict[str, int]) -> dict[str, Any]:
    """Measured ratio separable / standard, and for each side its time, speed and convolution kernels."""
    row: dict[str, Any] = {
        "precision": precision,
        "measured": timings["separable"].median_ms / timings["standard"].median_ms,
    }
    for side, timing in timings.items():
        steps = models[side].plan_info()["steps"]
        row[side] = {
            **asdict(timing),
            "flops": work[side],
            "gflops": work[side] / timing.median_ms / 1e6,
            "kernels": sorted({step["kernel"] for step in steps if step["flops"] and "conv2d" in step["operation"]}),
            "vector": all(step["vector"] for step in steps),
        }
    return row


def text(figures: dict[str, Any]) -> str:
    """A study as text: predicted and measured share of the time, and the speed of each side."""
    if "layer" in figures:
        layer = Layer(**figures["layer"])
        title = f"layer {layer}: predicted 1/{layer.filters} + 1/{layer.kernel}^2 = {figures['predicted']:.4f}"
    else:
        names = figures["networks"]
        title = f"{names['separable']} / {names['standard']}: predicted {figures['predicted']:.4f} of the FLOPs"
    rows = []
    for row in figures["rows"]:
        for side in SIDES:
            found = row[side]
            share = f"{row['measured']:.4f}" if side == "separable" else "1"
            rows.append(
                [
                    row["precision"],
                    side,
                    f"{found['median_ms']:.3f}",
                    f"{found['spread']:.0%}",
                    f"{found['gflops']:.1f}",
                    f"{figures['predicted']:.4f}" if side == "separable" else "1",
                    share,
                    " ".join(found["kernels"]),
                ]
            )
    headers = ["precision", "convolution", "ms", "spread", "GFLOP/s", "predicted", "measured", "kernels"]
    return "\n".join((title, table(headers, rows), describe(figures["machine"])))
