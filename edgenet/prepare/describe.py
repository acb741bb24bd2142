"""A plan as its user sees it: memory and steps."""

from __future__ import annotations

from typing import Any

from edgenet.prepare.plan import Plan


def plan_info(plan: Plan) -> dict[str, Any]:
    """Memory and steps of a plan: bytes, and the kernel of each step.

    A step that runs once for each band of rows appears once, with the number of its `bands`.
    """
    return {
        "isa": plan.target.name,
        "threads": plan.threads,
        "arena_bytes": plan.arena_bytes,
        "naive_bytes": plan.naive_bytes,
        "weights_bytes": plan.weights_bytes,
        "steps": [
            {
                "name": plan.steps[layer[0]].node,
                "operation": plan.steps[layer[0]].operation,
                "kernel": plan.steps[layer[0]].kernel,
                "vector": plan.steps[layer[0]].vector,
                "shape": list(plan.tensors[plan.steps[layer[0]].output].shape),
                "bands": len(layer),
                "flops": sum(plan.steps[index].flops for index in layer),
            }
            for layer in plan.layers()
        ],
    }


def summary(plan: Plan) -> str:
    """Steps with their kernels and output shapes, and the memory they take, as text."""
    info = plan_info(plan)
    rows = [("step", "kernel", "output", "MFLOP")]
    for step in info["steps"]:
        shape = "x".join(map(str, step["shape"]))
        rows.append((step["name"] or step["operation"], step["kernel"], shape, f"{step['flops'] / 1e6:.2f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append(
        f"{info['isa']}, {info['threads']} threads; arena {info['arena_bytes'] / 1e6:.2f} MB "
        f"(one buffer each: {info['naive_bytes'] / 1e6:.2f} MB), "
        f"packed weights {info['weights_bytes'] / 1e6:.2f} MB"
    )
    return "\n".join(lines)
