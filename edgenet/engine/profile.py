"""Profile: the measured time of each layer of a plan, and of each chain that threads compute by parts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgenet.engine.limits import Limits, saved
from edgenet.engine.program import Context
from edgenet.engine.team import Team
from edgenet.prepare.plan import PARTS_KERNEL, Plan, Step


@dataclass
class Profile:
    """One row per layer: name, operation, kernel, shape, flops, ms, gflops (GFLOP/s), share of all time, roofline.

    A layer that is computed by bands of rows has one row, of all its `bands`. Several threads compute chains of layers
    by parts without meeting in between: such a chain has one row.

    `roofline` is the least time that the machine's limits allow (see `edgenet.engine.limits`) / the time taken; None
    where the limits have not been measured (`edgenet bench machine`).
    """

    rows: list[dict[str, Any]]
    total_ms: float
    threads: int
    isa: str

    def to_json(self) -> str:
        """The profile as JSON."""
        return json.dumps({"isa": self.isa, "threads": self.threads, "total_ms": self.total_ms, "steps": self.rows})

    def __str__(self) -> str:
        lines = [f"{'ms':>8} {'share':>6} {'GFLOP/s':>8} {'limit':>6}  {'kernel':24} {'output':16} step"]
        for row in self.rows:
            shape = "x".join(map(str, row["shape"]))
            figures = f"{row['ms']:8.3f} {row['share']:6.1%} {row['gflops']:8.1f}"
            limit = "" if row["roofline"] is None else f"{row['roofline']:.0%}"
            lines.append(f"{figures} {limit:>6}  {row['kernel']:24} {shape:16} {row['name']}")
        lines.append(f"{self.total_ms:8.3f} ms in total, {self.threads} threads, {self.isa}")
        return "\n".join(lines)


def measure(context: Context, plan: Plan, team: Team, repeats: int) -> Profile:
    """Medians over `repeats` runs of a context of a plan, whose inputs and outputs are attached."""
    turns = plan.turns()
    stamps = np.zeros((len(turns) + 1, 2), np.int64)
    durations = []
    for _ in range(repeats + 1):
        context.run(team, stamps.ctypes.data)
        durations.append(np.diff(stamps[:, 0] * 1e9 + stamps[:, 1]) / 1e6)
    rowed: dict[object, list[int]] = {}
    for number, turn in enumerate(turns):
        step = plan.steps[turn[0]]
        rowed.setdefault(step.layer if step.chain is None else (step.chain[0],), []).append(number)
    medians = [float(np.median(np.sum([run[row] for run in durations[1:]], axis=1))) for row in rowed.values()]
    total = sum(medians)
    limits = saved(plan.target.name, plan.threads)
    rows = []
    for row, ms in zip(rowed.values(), medians, strict=True):
        steps = [plan.steps[index] for number in row for index in turns[number]]
        flops = sum(step.flops for step in steps)
        chain = steps[0].chain is not None
        names = [step.node or step.operation for step in steps]
        rows.append(
            {
                "name": f"{names[0]} to {names[-1]}" if chain else names[0],
                "operation": "chain" if chain else steps[0].operation,
                "kernel": PARTS_KERNEL if chain else steps[0].kernel,
                "shape": list(plan.tensors[steps[-1].output].shape),
                "bands": len([step for step in steps if step.layer == steps[0].layer]),
                "flops": flops,
                "ms": ms,
                "gflops": flops / ms / 1e6 if ms > 0 else 0.0,
                "share": ms / total if total > 0 else 0.0,
                "roofline": _roofline(limits, steps, ms),
            }
        )
    return Profile(rows, total, plan.threads, plan.target.name)


def _roofline(limits: Limits | None, steps: list[Step], ms: float) -> float | None:
    flops, moved = sum(step.flops for step in steps), sum(step.bytes_moved for step in steps)
    if limits is None or ms <= 0 or moved == 0:
        return None
    return limits.attainable_ms(flops, moved, 0, steps[0].kernel.startswith("s8")) / ms
