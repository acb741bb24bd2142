"""A plan as its user sees it: memory and layers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from edgenet.prepare.plan import Plan


def layer_info(plan: Plan, indices: list[int]) -> dict[str, Any]:
    """What the steps `indices` of a layer are: names, output shape, FLOPs, how many bands of rows they are."""
    steps = [plan.steps[index] for index in indices]
    own = [step for step in steps if step.layer[1] >= 0]
    return {
        "name": own[-1].node or own[-1].operation,
        "operation": own[-1].operation,
        "kernel": " + ".join(dict.fromkeys(step.kernel for step in steps)),
        "shape": list(plan.tensors[own[-1].output].shape),
        "bands": max(Counter(step.layer for step in own).values()),
        "flops": sum(step.flops for step in steps),
    }


def plan_info(plan: Plan) -> dict[str, Any]:
    """Memory and layers of a plan: bytes, and the kernels of each layer.

    A layer that is computed by bands of rows appears once, with the number of its `bands`.
    """
    return {
        "isa": plan.target.name,
        "threads": plan.threads,
        "arena_bytes": plan.arena_bytes,
        "naive_bytes": plan.naive_bytes,
        "weights_bytes": plan.weights_bytes,
        "steps": [
            layer_info(plan, layer) | {"vector": all(plan.steps[index].vector for index in layer)}
            for layer in plan.layers()
        ],
    }


def summary(plan: Plan) -> str:
    """Layers with their output shapes and kernels, and the memory they take, as text."""
    info = plan_info(plan)
    rows = [("layer", "output", "MFLOP", "kernel")]
    for step in info["steps"]:
        shape = "x".join(map(str, step["shape"]))
        rows.append((step["name"], shape, f"{step['flops'] / 1e6:.2f}", step["kernel"]))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append(
        f"{info['isa']}, {info['threads']} threads; arena {info['arena_bytes'] / 1e6:.2f} MB "
        f"(one buffer each: {info['naive_bytes'] / 1e6:.2f} MB), "
        f"packed weights {info['weights_bytes'] / 1e6:.2f} MB"
    )
    return "\n".join(lines)
