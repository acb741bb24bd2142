"""`edgenet inspect`: what a file holds, the kernels of each layer, its cost, whether this machine computes it right."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.commands.console import add_json, add_running, emit, megabytes, open_model, refuse_unused, writable_target
from edgenet.commands.layers import cost_rows, emit_cost, module_graph
from edgenet.dtypes import BATCH
from edgenet.errors import EdgenetError, InputError
from edgenet.graph import Graph

TOLERANCE = 1e-4
"""float32 outputs agree when they differ by at most this part of the largest magnitude."""

MOVES = frozenset(
    ("quantize", "permute", "reshape", "flatten", "slice", "pad", "concat", "channel_shuffle", "pixel_shuffle")
)
"""Operations whose float32 results are the same bits on every machine."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="an .edgenet file; with --cost also a zoo network, package.module:factory or .pt2 file",
    )
    parser.add_argument("--cost", action="store_true", help="FLOPs, parameters and bytes of each operation")
    parser.add_argument("--csv", metavar="FILE", help="write the cost of each operation to this file, - for stdout")
    parser.add_argument("--input-size", metavar="CxHxW", help="input of a factory's module, such as 3x224x224")
    parser.add_argument("--verify", action="store_true", help="replay the file's golden input and compare the outputs")
    add_running(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.csv not in (None, "-"):
        writable_target(arguments.csv)
    if (arguments.cost or arguments.csv) and not is_edgenet(arguments.model):
        refuse_unused(arguments, ("verify", "threads", "kernels"), "for .edgenet files, which can be run")
        graph = module_graph(arguments.model, arguments.input_size)
        emit_cost(arguments, {**describe(graph), "cost": cost_rows(graph)}, [_contents(describe(graph))])
        return 0
    refuse_unused(arguments, ("input_size",), "for modules; an .edgenet file knows its input")
    model = open_model(arguments.model, arguments.threads)
    figures = describe(model.graph)
    figures["file_bytes"] = Path(arguments.model).stat().st_size
    figures["plan"] = model.plan_info()
    figures["scalar_steps"] = [step["name"] for step in figures["plan"]["steps"] if not step["vector"]]
    figures["arena_bytes"] = model.arena_bytes()
    blocks = [_contents(figures), model.summary() + "\n" + _low_memory(figures["arena_bytes"])]
    if arguments.verify:
        figures["verify"] = verify(model)
        blocks.append(_verdict(figures["verify"]))
    if arguments.cost or arguments.csv:
        figures["cost"] = cost_rows(model.graph)
        emit_cost(arguments, figures, blocks)
    else:
        emit(arguments, figures, "\n\n".join(blocks))
    for step in figures["plan"]["steps"]:
        if not step["vector"]:
            text = f"layer {step['name']} runs on {step['kernel']}, which is scalar and slow."
            print(f"edgenet: warning: {text}", file=sys.stderr)
    if arguments.verify and not figures["verify"]["passed"]:
        raise EdgenetError("The outputs on this machine differ from those in the file.")
    return 0


def _low_memory(arena: dict[str, int]) -> str:
    share = arena["low"] / arena["fast"]
    return f'arena with memory="low": {megabytes(arena["low"])}, {share:.0%} of {megabytes(arena["fast"])}'


def is_edgenet(path: str) -> bool:
    """Whether a path is to be opened as an .edgenet file."""
    return Path(path).suffix == ".edgenet" or (Path(path).is_file() and Path(path).suffix != ".pt2")


def precision(graph: Graph) -> str:
    """ "int8", "float32", or how compact float32 weights are stored: "float32, weights int8"."""
    if any(tensor.dtype == "int8" for name, tensor in graph.tensors.items() if name not in graph.constants):
        return "int8"
    stored = {array.dtype.name for array in graph.constants.values()} & {"int8", "float16"}
    return f"float32, weights {' and '.join(sorted(stored))}" if stored else "float32"


def totals(graph: Graph) -> dict[str, int]:
    """Parameters, and FLOPs and MACs of one sample, of the whole graph."""
    from edgenet.ops import graph_cost

    costs = graph_cost(graph).values()
    return {key: sum(getattr(cost, key) for cost in costs) for key in ("parameters", "macs", "flops")}


def describe(graph: Graph) -> dict[str, Any]:
    """Inputs, outputs, precision, totals and metadata of a graph."""
    metadata = graph.metadata

    def shapes(names: list[str]) -> dict[str, list[int | str]]:
        return {name: ["batch" if n == BATCH else n for n in graph.tensors[name].shape] for name in names}

    return {
        "precision": precision(graph),
        "inputs": shapes(graph.inputs),
        "outputs": shapes(graph.outputs),
        **totals(graph),
        "operations": len(graph.nodes),
        "labels": len(metadata.labels or []),
        "preprocessing": None if metadata.preprocessing is None else asdict(metadata.preprocessing),
        "provenance": dict(metadata.provenance),
    }


def _contents(figures: dict[str, Any]) -> str:
    def shapes(items: dict[str, list[int | str]]) -> str:
        return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in items.items())

    lines = [
        ("precision", figures["precision"]),
        ("inputs", shapes(figures["inputs"])),
        ("outputs", shapes(figures["outputs"])),
        ("parameters", f"{figures['parameters']:,}"),
        ("MACs", f"{figures['macs']:,} ({figures['flops']:,} FLOPs) for one sample"),
        ("labels", str(figures["labels"] or "none")),
        *([("file", megabytes(figures["file_bytes"]))] if "file_bytes" in figures else []),
    ]
    if figures["preprocessing"]:
        lines.append(("pictures", ", ".join(f"{key} {value}" for key, value in figures["preprocessing"].items())))
    hidden = ("precision", "equalization.")
    lines += [(key, value) for key, value in figures["provenance"].items() if value and not key.startswith(hidden)]
    return "\n".join(f"{key:13} {value}" for key, value in lines)


def exact(graph: Graph) -> bool:
    """Whether the outputs are the same bits on every machine: no float32 arithmetic but what moves or quantizes."""
    first = [(node.operation, graph.tensors[next(iter(node.inputs.values()))].dtype) for node in graph.nodes]
    return all(dtype != "float32" or operation in MOVES for operation, dtype in first)


def verify(model: Any) -> dict[str, Any]:
    """Run the golden input of a model's file and compare with the golden outputs, bit for bit or within TOLERANCE."""
    graph: Graph = model.graph
    golden = graph.metadata
    if not golden.golden_inputs or not golden.golden_outputs:
        raise InputError("The file holds no golden input and output to verify; convert it again.")
    result = model.run({name: graph.constants[constant] for name, constant in golden.golden_inputs.items()})
    arrays = result if isinstance(result, tuple) else (result,)
    bits = exact(graph)
    rows = []
    for name, found in zip(graph.outputs, arrays, strict=True):
        expected = graph.constants[golden.golden_outputs[name]]
        if found.shape != expected.shape:
            raise EdgenetError(f"Output {name} has shape {found.shape}; the file's golden output has {expected.shape}.")
        scale = max(float(np.abs(expected).max(initial=0.0)), 1e-30)
        difference = float(np.abs(found.astype(np.float64) - expected).max(initial=0.0)) / scale
        same = found.tobytes() == expected.tobytes()
        passed = same if bits else bool(difference <= TOLERANCE)
        rows.append({"output": name, "identical": same, "relative_difference": difference, "passed": passed})
    return {
        "rule": "identical" if bits else f"within {TOLERANCE:g}",
        "outputs": rows,
        "passed": all(r["passed"] for r in rows),
    }


def _verdict(found: dict[str, Any]) -> str:
    lines = []
    for row in found["outputs"]:
        distance = (
            "identical to the last bit" if row["identical"] else f"relative difference {row['relative_difference']:.2g}"
        )
        lines.append(
            f"golden output {row['output']}: {distance}; {'passed' if row['passed'] else 'FAILED'} ({found['rule']})"
        )
    return "\n".join(lines)
