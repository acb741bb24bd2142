"""Latency of a file: median time of a run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edgenet.commands.inspect import totals
from edgenet.model import Model

from .timing import describe, facts, interleave


def measure(
    model: Model, batch: int = 1, rounds: int = 30, progress: Any = None, fast: Model | None = None
) -> dict[str, Any]:
    """Time of a run on a batch of random numbers, samples a second, GFLOP/s, and the memory of the plan.

    `fast`, the same network prepared for speed, is measured in turns with it, and tells what low memory costs.
    """
    inputs = model.example_inputs(batch)
    sides = {"run": lambda: model.run(inputs)}
    if fast is not None:
        sides["fast"] = lambda: fast.run(inputs)
    timings = interleave(sides, rounds, progress)
    timing, info = timings["run"], model.plan(inputs)
    cost = {}
    if fast is not None:
        other = fast.plan(inputs).arena_bytes
        cost["fast"] = asdict(timings["fast"]) | {"arena_bytes": other}
        cost["time_ratio"] = timing.median_ms / timings["fast"].median_ms
        cost["arena_ratio"] = info.arena_bytes / other
    return {
        **asdict(timing),
        "batch": batch,
        "samples_per_second": batch * 1e3 / timing.median_ms,
        "gflops": batch * totals(model.graph)["flops"] / timing.median_ms / 1e6,
        "arena_bytes": info.arena_bytes,
        "weights_bytes": info.weights_bytes,
        "memory": model.memory,
        **cost,
        "machine": facts(model.threads),
    }


def text(figures: dict[str, Any]) -> str:
    """`measure`'s figures as text."""
    lines = [
        f"{figures['median_ms']:.3f} ms (minimum {figures['minimum_ms']:.3f}, spread {figures['spread']:.0%}, "
        f"{figures['rounds']} rounds), batch {figures['batch']}: {figures['samples_per_second']:.1f} samples/s, "
        f"{figures['gflops']:.1f} GFLOP/s",
        f"arena {figures['arena_bytes'] / 1e6:.2f} MB, packed weights {figures['weights_bytes'] / 1e6:.2f} MB",
    ]
    if "fast" in figures:
        fast = figures["fast"]
        lines.append(
            f"memory low: {figures['arena_ratio']:.0%} of the arena of {fast['arena_bytes'] / 1e6:.2f} MB, "
            f"{figures['time_ratio'] - 1:+.1%} time (fast: {fast['median_ms']:.3f} ms, minimum "
            f"{fast['minimum_ms']:.3f})"
        )
    return "\n".join([*lines, describe(figures["machine"])])
