"""The saving of depthwise-separable convolution: predicted 1/D2 + 1/F^2 beside what is measured on this CPU.

The standard side is a direct implicit matrix product, as the separable side is. Where the engine would run it by
Winograd's algorithm, that stands in a row of its own, with the speed that the FLOPs of the direct algorithm amount to.
"""

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
WINOGRAD = "standard (Winograd)"
NETWORKS = {"standard": "mobilenet_v1_std", "separable": "mobilenet_v1"}
INPUT = (3, 224, 224)
"""The networks' input: channels, height, width."""

Progress = Callable[[str, int, int], None] | None


def flops(graph: Graph) -> int:
    """FLOPs of a graph's convolutions and linear layers for one sample: multiply and add both counted."""
    costs = graph_cost(graph)
    return sum(costs[node.output].flops for node in graph.nodes if node.operation in ("conv2d", "linear"))


def _load(graphs: dict[str, Graph], threads: int | None) -> dict[str, Model]:
    """A model of each side, and one more where the standard side has a plan with Winograd's algorithm."""
    models = {"standard": load(graphs["standard"], threads=threads, winograd=False)}
    fast = load(graphs["standard"], threads=threads)
    if any("winograd" in step["kernel"] for step in fast.plan_info()["steps"]):
        models[WINOGRAD] = fast
    models["separable"] = load(graphs["separable"], threads=threads)
    return models


def layer_study(
    layer: Layer, threads: int | None = None, rounds: int = 15, progress: Progress = None
) -> dict[str, Any]:
    """One layer, standard against depthwise + pointwise, in float32 and int8; the time is that of the convolutions."""
    figures: dict[str, Any] = {
        "layer": asdict(layer),
        "predicted": 1 / layer.filters + 1 / layer.kernel**2,
        "rows": [],
    }
    work = {side: flops(build(layer, side)) for side in SIDES}
    for precision in PRECISIONS:
        models = _load({side: build(layer, side, precision) for side in SIDES}, threads)
        figures["machine"] = facts(models["standard"].threads)
        times: dict[str, list[float]] = {side: [] for side in models}
        order = list(models)
        for done in range(rounds):
            for side in order:
                rows = models[side].profile(repeats=5).rows
                times[side].append(sum(row["ms"] for row in rows if row["name"] in (*SIDES, "depthwise", "pointwise")))
            order = order[1:] + order[:1]
            if progress:
                progress(f"{layer} {precision}", done + 1, rounds)
        figures["rows"].append(_row(precision, models, {side: summarize(found) for side, found in times.items()}, work))
    return figures


def network_study(threads: int | None = None, rounds: int = 9, progress: Progress = None) -> dict[str, Any]:
    """MobileNetV1 against its twin with standard convolutions, in float32 and int8; the time is that of a whole run."""
    from edgenet.converter import convert

    x = np.random.default_rng(0).standard_normal((1, *INPUT)).astype(np.float32)
    figures: dict[str, Any] = {"networks": NETWORKS, "rows": []}
    work: dict[str, int] = {}
    for precision in PRECISIONS:
        graphs = {}
        for done, (side, name) in enumerate(NETWORKS.items()):
            if progress:
                progress(f"converting to {precision}", done, len(NETWORKS))
            graphs[side] = convert(name, precision=precision, calibration=[x] if precision == "int8" else None)
        work = work or {side: flops(graph) for side, graph in graphs.items()}
        models = _load(graphs, threads)
        figures["machine"] = facts(models["standard"].threads)
        timings = interleave({side: lambda m=model: m.run(x) for side, model in models.items()}, rounds, progress)
        figures["rows"].append(_row(precision, models, timings, work))
        for model in models.values():
            model.close()
    figures["predicted"] = work["separable"] / work["standard"]
    return figures


def _row(precision: str, models: dict[str, Model], timings: dict[str, Timing], work: dict[str, int]) -> dict[str, Any]:
    """The share of the standard side's time that each side takes, its time, speed and convolution kernels."""
    sides = {}
    for side, timing in timings.items():
        steps = models[side].plan_info()["steps"]
        nominal = work["separable" if side == "separable" else "standard"]
        sides[side] = {
            **asdict(timing),
            "share": timing.median_ms / timings["standard"].median_ms,
            "flops": nominal,
            "gflops": nominal / timing.median_ms / 1e6,
            "kernels": sorted({step["kernel"] for step in steps if "conv2d" in step["operation"]}),
            "vector": all(step["vector"] for step in steps),
        }
    return {"precision": precision, "measured": sides["separable"]["share"], "sides": sides}


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
        for side, found in row["sides"].items():
            rows.append(
                [
                    row["precision"],
                    side,
                    f"{found['median_ms']:.3f}",
                    f"{found['spread']:.0%}",
                    f"{found['gflops']:.1f}",
                    f"{figures['predicted']:.4f}" if side == "separable" else "1",
                    f"{found['share']:.4f}",
                    " ".join(found["kernels"]),
                ]
            )
    headers = ["precision", "convolution", "ms", "spread", "GFLOP/s", "predicted", "measured", "kernels"]
    return "\n".join((title, table(headers, rows), describe(figures["machine"])))
