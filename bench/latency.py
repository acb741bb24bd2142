"""Latency of a file: median time of a run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edgenet.commands.inspect import totals
from edgenet.model import Model

from .timing import describe, facts, interleave


def measure(model: Model, batch: int = 1, rounds: int = 30, progress: Any = None) -> dict[str, Any]:
    """Time of a run on a batch of random numbers, samples a second, GFLOP/s, and the memory of the plan."""
    inputs = model.example_inputs(batch)
    timing = interleave({"run": lambda: model.run(inputs)}, rounds, progress)["run"]
    info = model.plan(inputs)
    return {
        **asdict(timing),
        "batch": batch,
        "samples_per_second": batch * 1e3 / timing.median_ms,
        "gflops": batch * totals(model.graph)["flops"] / timing.median_ms / 1e6,
        "arena_bytes": info.arena_bytes,
        "weights_bytes": info.weights_bytes,
        "machine": facts(model.threads),
    }


def text(figures: dict[str, Any]) -> str:
    """`measure`'s figures as text."""
    return (
        f"{figures['median_ms']:.3f} ms (minimum {figures['minimum_ms']:.3f}, spread {figures['spread']:.0%}, "
        f"{figures['rounds']} rounds), batch {figures['batch']}: {figures['samples_per_second']:.1f} samples/s, "
        f"{figures['gflops']:.1f} GFLOP/s\narena {figures['arena_bytes'] / 1e6:.2f} MB, "
        f"packed weights {figures['weights_bytes'] / 1e6:.2f} MB\n{describe(figures['machine'])}"
    )
