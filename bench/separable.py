"""The saving of depthwise-separable convolution: predicted 1/D2 + 1/F^2 beside what is measured on this CPU.

The standard side is a direct implicit matrix product, as the separable side is. Where the engine would run it by
Winograd's algorithm, that stands beside it, with the speed that the FLOPs of the direct algorithm amount to. The
roofline predicts the ratio, too: that of the least times that the machine's limits allow (`edgenet.bench.roofline`).
A layer with a reduction is studied in the same way: a pointwise convolution to fewer channels before the standard one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edgenet.commands.console import table
from edgenet.engine.limits import Limits
from edgenet.kernels.isa import host

from .layers import Layer, build, layer_nodes
from .remarks import remark
from .roofline import bounds
from .stage import Stage
from .timing import Timing, describe, summarize

PRECISIONS = ("float32", "int8")
WINOGRAD = "winograd"
ALGORITHMS = {
    "standard": "direct implicit GEMM",
    WINOGRAD: "Winograd",
    "separable": "depthwise, then GEMM",
    "reduced": "GEMM, then direct implicit GEMM",
}
"""How each side of a study computes."""
WHOLE_SECONDS = 0.05
"""Passes longer than this are measured THOROUGH times at most, whatever `rounds` says."""
THOROUGH = 3
STEADY = 0.1
PATIENCE = 3
"""Rounds go on, up to PATIENCE times as many, while a side's spread exceeds STEADY."""


def cheaper(layer: Layer) -> str:
    """The kind of layer that replaces the standard convolution."""
    return "reduced" if layer.reduction else "separable"


def measure(layer: Layer, precision: str, limits: Limits, rounds: int = 9, winograd: bool = True) -> dict[str, Any]:
    """One row: the layer's law, measured and roofline ratio, both sides' figures, and a remark where they part.

    The sides are measured in turns on `limits.threads` threads; the time is that of the convolutions. `winograd` adds
    the side of Winograd's algorithm where the engine has a plan with it.
    """
    kinds = ("standard", cheaper(layer))
    graphs = {kind: build(layer, kind, precision) for kind in kinds}
    names = {kind: [node.name for node in layer_nodes(graph)] for kind, graph in graphs.items()}
    stages = {kind: Stage(graphs[kind], names[kind], limits.threads) for kind in kinds}
    if winograd:
        fast = Stage(graphs["standard"], names["standard"], limits.threads, winograd=True)
        if any("winograd" in step.kernel for step in fast.steps):
            stages[WINOGRAD] = fast
    times = _times(stages, rounds)
    least = {kind: bounds(graph, limits) for kind, graph in graphs.items()}
    sides = {}
    for side, stage in stages.items():
        allowed = least.get(side, least["standard"])
        sides[side] = _side(side, stage, summarize(times[side]), {name: asdict(b) for name, b in allowed.items()})
    standard, other = sides["standard"], sides[kinds[1]]
    row = {
        "layer": asdict(layer),
        "name": str(layer),
        "precision": precision,
        "threads": limits.threads,
        "isa": host().name,
        "law": layer.predicted,
        "measured": other["ms"] / standard["ms"],
        "roofline": other["expected_ms"] / standard["expected_ms"],
        WINOGRAD: other["ms"] / sides[WINOGRAD]["ms"] if WINOGRAD in sides else None,
        "sides": sides,
    }
    return row | {"remark": remark(row)}


def _times(stages: dict[str, Stage], rounds: int) -> dict[str, list[float]]:
    """Times of each side in ms, measured in turns: `rounds` of them, up to PATIENCE times as many while unsteady."""
    times: dict[str, list[float]] = {side: [] for side in stages}
    order, most = list(stages), rounds
    while True:
        for side in order:
            times[side].append(stages[side].milliseconds())
        order = order[1:] + order[:1]
        done = len(times[order[0]])
        if max(min(found) for found in times.values()) > WHOLE_SECONDS * 1e3:
            most = min(rounds, THOROUGH)
        unsteady = any(summarize(found).spread > STEADY for found in times.values())
        if done >= most * (PATIENCE if unsteady else 1):
            return times


def _side(side: str, stage: Stage, timing: Timing, allowed: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Time, speed, kernels and share of the roofline of one side, and of each of its nodes."""
    nodes = {}
    for name, share in stage.shares().items():
        bound = allowed[name]
        nodes[name] = {
            "ms": share * timing.median_ms,
            "bound_ms": bound["ms"],
            "expected_ms": bound["expected_ms"],
            "share": bound["ms"] / (share * timing.median_ms),
            "limit": bound["limit"],
            "requantizing": bound["requantizing"],
            "flops": bound["cost"]["flops"],
            "bytes": bound["cost"]["bytes_read"] + bound["cost"]["bytes_written"],
            "kernels": [step.kernel for step in stage.steps if step.node == name],
        }
    sums = {key: sum(node[key] for node in nodes.values()) for key in ("flops", "bound_ms", "expected_ms")}
    return {
        "algorithm": ALGORITHMS[side],
        "ms": timing.median_ms,
        "minimum_ms": timing.minimum_ms,
        "spread": timing.spread,
        "rounds": timing.rounds,
        **sums,
        "gflops": sums["flops"] / timing.median_ms / 1e6,
        "share": sums["bound_ms"] / timing.median_ms,
        "nodes": nodes,
    }


HEADERS = (
    "layer", "type", "threads", "law", "measured", "roofline", "vs Winograd", "standard ms", "GFLOP/s", "of limit",
    "ms", "GFLOP/s", "of limit", "remark",
)  # fmt: skip


def cells(row: dict[str, Any]) -> list[str]:
    """A row as text: the standard side's figures, then those of the cheaper one."""
    shown = [row["name"], row["precision"], str(row["threads"])]
    shown += [f"{row[key]:.4f}" for key in ("law", "measured", "roofline")]
    shown.append("-" if row[WINOGRAD] is None else f"{row[WINOGRAD]:.4f}")
    for side, found in row["sides"].items():
        if side != WINOGRAD:
            shown += [f"{found['ms']:.4g}", f"{found['gflops']:.1f}", f"{found['share']:.0%}"]
    return [*shown, row["remark"]]


def text(rows: Sequence[dict[str, Any]], machine: dict[str, Any]) -> str:
    """A study as text: the law's, the measured and the roofline's share of the time, and the speed of each side."""
    lines = [table(HEADERS, [cells(row) for row in rows])]
    kernels = {
        side: sorted(
            {k for row in rows for n in row["sides"].get(side, {}).get("nodes", {}).values() for k in n["kernels"]}
        )
        for side in ALGORITHMS
    }
    lines += [f"{side} ({ALGORITHMS[side]}): {', '.join(found)}" for side, found in kernels.items() if found]
    lines.append(
        "share of the standard convolution's time: law 1/D2 + 1/F^2 of the FLOPs, measured, roofline's prediction"
    )
    return "\n".join((*lines, describe(machine)))


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How far law, measurement and roofline agree.

    `core`: float32 rows of D2 >= 64 and H >= 14. `law`: part of them measured within 1.25 of the law; `limits`: part of
    them with both sides at 80 % of their limits. `roofline`: part of all rows where its prediction is within 15 %.
    """
    core = [
        row for row in rows
        if row["precision"] == "float32" and row["layer"]["filters"] >= 64 and row["layer"]["height"] >= 14
    ]  # fmt: skip

    def part(values: Sequence[bool]) -> float | None:
        return sum(values) / len(values) if values else None

    return {
        "rows": len(rows),
        "core": len(core),
        "law": part([1 / 1.25 <= row["measured"] / row["law"] <= 1.25 for row in core]),
        "not_slower": part([row["measured"] / row["law"] <= 1.25 for row in core]),
        "limits": part([all(s["share"] >= 0.8 for n, s in row["sides"].items() if n != WINOGRAD) for row in core]),
        "roofline": part([abs(row["roofline"] / row["measured"] - 1) <= 0.15 for row in rows]),
    }


def verdict(found: dict[str, Any], left: int = 0) -> str:
    """`summary` as text."""

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.0%}"

    lines = [
        f"{found['rows']} rows" + (f", {left} left to measure" if left else ""),
        f"float32, D2 >= 64, H >= 14 ({found['core']} rows): within 1.25x of the law {percent(found['law'])}, "
        f"not slower than that {percent(found['not_slower'])}, both sides at 80 % of their limits "
        f"{percent(found['limits'])}",
        f"all rows: roofline's prediction within 15 % of the measured ratio {percent(found['roofline'])}",
    ]
    return "\n".join(lines)
