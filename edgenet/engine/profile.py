"""Profile: the measured time of each layer of a plan, and of each chain that threads compute by parts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edgenet.engine.limits import Limits, saved
from edgenet.engine.program import Context
from edgenet.engine.team import Team
from edgenet.kernels.table import kernel
from edgenet.prepare.describe import layer_info
from edgenet.prepare.plan import PARTS_KERNEL, Plan, Step

_AT_MATRIX_RATE = ("matrix_int8", "pairs_int8", "convolution_pairs_int8")
"""Modules of kernels whose products are made at `Limits.matrix_gops`."""


@dataclass
class Profile:
    """One row per layer: name, operation, kernel, shape, flops, ms, gflops (GFLOP/s), share of all time, roofline.

    A layer has one row of all its kernels and `bands` of rows. Several threads compute chains of layers by parts
    without meeting in between: such a chain has one row.

    `roofline` is the least time that the machine's limits allow (see `edgenet.engine.limits`) / the time taken; None
    where the limits have not been measured (`edgenet bench machine`). FLOPs are those of the definition: a layer that
    is computed by an algorithm with fewer, as Winograd's, may pass the limit.
    """

    rows: list[dict[str, Any]]
    total_ms: float
    threads: int
    isa: str

    def to_json(self) -> str:
        """The profile as JSON."""
        return json.dumps({"isa": self.isa, "threads": self.threads, "total_ms": self.total_ms, "steps": self.rows})

    def __str__(self) -> str:
        width = max(len(name) for name in ("layer", *(row["name"] for row in self.rows)))
        lines = [f"{'ms':>8} {'share':>6} {'GFLOP/s':>8} {'limit':>6}  {'output':16} {'layer':{width}} kernel"]
        for row in self.rows:
            shape = "x".join(map(str, row["shape"]))
            figures = f"{row['ms']:8.3f} {row['share']:6.1%} {row['gflops']:8.1f}"
            limit = "" if row["roofline"] is None else f"{row['roofline']:.0%}"
            lines.append(f"{figures} {limit:>6}  {shape:16} {row['name']:{width}} {row['kernel']}")
        lines.append(f"{self.total_ms:8.3f} ms in total, {self.threads} threads, {self.isa}")
        return "\n".join(lines)


def step_milliseconds(stamps: np.ndarray) -> np.ndarray:
    """Time of each step from the timespecs [steps + 1, 2] that the executor took; a step without units took none."""
    return np.diff(np.maximum.accumulate(stamps[:, 0] * 1e9 + stamps[:, 1])) / 1e6


def measure(context: Context, plan: Plan, team: Team, repeats: int) -> Profile:
    """Medians over `repeats` runs of a context of a plan, whose inputs and outputs are attached."""
    turns = plan.turns()
    stamps = np.zeros((len(turns) + 1, 2), np.int64)
    durations = []
    for _ in range(repeats + 1):
        context.run(team, stamps.ctypes.data)
        durations.append(step_milliseconds(stamps))
    rowed: dict[object, list[int]] = {}
    for number, turn in enumerate(turns):
        step = plan.steps[turn[0]]
        rowed.setdefault(step.layer[0] if step.chain is None else step.chain[:1], []).append(number)
    medians = [float(np.median(np.sum([run[row] for run in durations[1:]], axis=1))) for row in rowed.values()]
    total = sum(medians)
    limits = saved(plan.target.name, plan.threads)
    rows = []
    for row, ms in zip(rowed.values(), medians, strict=True):
        indices = [index for number in row for index in turns[number]]
        steps = [plan.steps[index] for index in indices]
        info = layer_info(plan, indices)
        if steps[0].chain is not None:
            first, last = (step.node or step.operation for step in (steps[0], steps[-1]))
            info |= {"name": f"{first} to {last}", "operation": "chain", "kernel": PARTS_KERNEL}
        rows.append(
            info
            | {
                "ms": ms,
                "gflops": info["flops"] / ms / 1e6 if ms > 0 else 0.0,
                "share": ms / total if total > 0 else 0.0,
                "roofline": _roofline(limits, plan, steps, ms),
            }
        )
    return Profile(rows, total, plan.threads, plan.target.name)


def _roofline(limits: Limits | None, plan: Plan, steps: list[Step], ms: float) -> float | None:
    flops, moved = sum(step.flops for step in steps), [(step.bytes_read, step.bytes_written) for step in steps]
    if limits is None or ms <= 0 or not any(map(any, moved)):
        return None
    int8 = any(step.kernel.startswith("s8") for step in steps)
    made = {step.output for step in steps if "weights" in step.slots and plan.tensors[step.output].dtype == "int8"}
    results = sum(prod(plan.tensors[name].shape) for name in made)
    matrix = any(kernel(step.kernel, plan.target).module in _AT_MATRIX_RATE for step in steps)
    return limits.attainable_ms(flops, moved, int8, results, matrix) / ms
