"""The cost of each layer of a network, as a table, CSV and JSON, from a graph or from a PyTorch module."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edgenet.commands.console import emit, require_torch, table
from edgenet.dtypes import BATCH
from edgenet.errors import InputError
from edgenet.graph import Graph, Node
from edgenet.output import write_text

SUMS = ("flops", "macs", "parameters", "bytes_read", "bytes_written")
COLUMNS: tuple[str, ...] = ("name", "operation", "kind", "output", *SUMS, "intensity")
"""Columns of the CSV; the last row is the total."""


def kind(graph: Graph, node: Node) -> str:
    """What a conv2d is: standard, grouped, pointwise, depthwise, or batch norm (a depthwise 1x1); others are ""."""
    if node.operation != "conv2d":
        return ""
    filters, height, width, depth = graph.tensors[node.inputs["weight"]].shape
    groups = node.attributes.get("groups", 1)
    if groups > 1:
        if depth > 1 or filters != groups:
            return "grouped"
        return "batch norm" if (height, width) == (1, 1) else "depthwise"
    return "pointwise" if (height, width) == (1, 1) else "standard"


def cost_rows(graph: Graph) -> list[dict[str, Any]]:
    """Cost of each operation for one sample, in execution order; `intensity` is FLOPs for each byte moved."""
    from edgenet.ops import graph_cost

    costs = graph_cost(graph)
    rows = []
    for node in graph.nodes:
        cost = asdict(costs[node.output])
        shape = "x".join("batch" if size == BATCH else str(size) for size in graph.tensors[node.output].shape)
        head = {"name": node.name, "operation": node.operation, "kind": kind(graph, node), "output": shape}
        rows.append({**head, **cost, "intensity": _intensity(cost)})
    return rows


def total_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sum of cost rows."""
    sums = {key: sum(row[key] for row in rows) for key in SUMS}
    return {"name": "total", "operation": "", "kind": "", "output": "", **sums, "intensity": _intensity(sums)}


def _intensity(cost: dict[str, Any]) -> float:
    return cost["flops"] / max(cost["bytes_read"] + cost["bytes_written"], 1)


def emit_cost(arguments: argparse.Namespace, figures: dict[str, Any], blocks: list[str]) -> None:
    """Print figures that hold cost rows ("cost") as --json, --csv and neither ask for it; `blocks` is text before it.

    CSV for stdout replaces everything else there.
    """
    if arguments.csv is not None:
        text = cost_csv(figures["cost"])
        if arguments.csv == "-":
            sys.stdout.write(text)
            return
        write_text(arguments.csv, text)
    emit(arguments, figures, "\n\n".join((*blocks, cost_table(figures["cost"]))))


def cost_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Cost rows and their total as CSV."""
    target = io.StringIO()
    writer = csv.DictWriter(target, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows((*rows, total_row(rows)))
    return target.getvalue()


def cost_table(rows: Sequence[dict[str, Any]]) -> str:
    """Cost rows and their total as text."""
    body = []
    for row in (*rows, total_row(rows)):
        label = f"{row['operation']} {row['kind']}".strip() or row["name"]
        counts = [f"{row[key]:,}" for key in SUMS]
        body.append([label, row["output"], *counts, f"{row['intensity']:.2f}", row["name"] if row["operation"] else ""])
    headers = [
        "operation",
        "output",
        "FLOPs",
        "MACs",
        "parameters",
        "bytes read",
        "bytes written",
        "FLOPs/byte",
        "name",
    ]
    return table(headers, body)


def module_graph(source: str, input_size: str | None) -> Graph:
    """The graph of a PyTorch network as its modules define it, nothing folded or fused.

    `source`: a zoo name, package.module:factory or a .pt2 file. `input_size` "CxHxW" is needed where the module has no
    `input_size`. Raises InputError, ConversionError.
    """
    require_torch("The cost of a module")
    import torch

    from edgenet.converter.checkpoint import build_factory, import_checkpoint, open_checkpoint

    example = None
    if input_size is not None:
        try:
            example = (torch.zeros(1, *(int(part) for part in input_size.lower().split("x"))),)
        except (ValueError, RuntimeError):
            raise InputError(f"{input_size!r} is not a size such as 3x224x224.") from None
    module = build_factory(source).eval() if ":" in source else source
    return import_checkpoint(open_checkpoint(module, example_inputs=example))
