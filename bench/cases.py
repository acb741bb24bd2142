"""Benchmark cases for every kernel of the kernel table, from the plain data file kernels.csv beside this one.

A row names an operation, its precision, its inputs and constants (`role:shape`, sizes with x between them) and its
attributes as JSON, beside which `zero_point` may be that of an int8 result. `before` "planes" lets a channels-first
picture (N, C, H, W) be permuted for the operation first; the shape of x is then that of the picture. The shapes are
those of layers of the zoo's networks.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from edgenet.graph import Graph, Node, Quantization, Tensor
from edgenet.ops import infer_shapes

Shapes = Mapping[str, tuple[int, ...]]

_NHWC = [0, 2, 3, 1]
_SCALE = 1 / 16
_NAMING = ("weight", "table")
"""Constants whose shapes are part of a case's name."""


@dataclass(frozen=True)
class Case:
    """One operation on one shape."""

    operation: str
    precision: str
    inputs: Shapes
    constants: Shapes
    attributes: Mapping[str, Any]
    before: str

    def __str__(self) -> str:
        a = self.attributes
        kind = a.get("activation", {}).get("kind") or a.get("mode") or ("rectified" if "zero_point" in a else "")
        window = "".join(f"{key[0]}{a[key][0]}" for key in ("stride", "dilation") if a.get(key, [1])[0] > 1)
        shapes = [*self.inputs.values(), *(self.constants[role] for role in _NAMING if role in self.constants)]
        text = ",".join("x".join(map(str, shape)) for shape in shapes)
        return "-".join(part for part in (self.operation, kind, self.precision, self.before, text, window) if part)


def read_cases() -> list[Case]:
    """The cases of kernels.csv."""
    text = (resources.files("edgenet.bench") / "kernels.csv").read_text(encoding="utf-8")
    return [
        Case(
            row["operation"],
            row["precision"],
            _shapes(row["inputs"]),
            _shapes(row["constants"]),
            json.loads(row["attributes"] or "{}"),
            row["before"],
        )
        for row in csv.DictReader(text.splitlines())
    ]


def _shapes(text: str) -> dict[str, tuple[int, ...]]:
    pairs = (part.split(":") for part in text.split())
    return {role: tuple(int(size) for size in shape.split("x")) for role, shape in pairs}


def build_case(case: Case) -> Graph:
    """The graph of a case: its operation as node "layer", behind a permute named "planes" where the case has one."""
    rng = np.random.default_rng(0)
    graph = Graph(outputs=["y"])
    stored = "float32" if case.operation == "quantize" else case.precision
    names: dict[str, str] = {}
    for role, shape in case.inputs.items():
        graph.tensors[role] = _tensor(role, shape, stored)
        graph.inputs.append(role)
        names[role] = role
    if case.before == "planes":
        graph.tensors["image"] = _tensor("image", (), stored)
        graph.nodes.append(Node("permute", "planes", {"x": "x"}, "image", {"order": _NHWC}))
        names["x"] = "image"
    for role, shape in case.constants.items():
        names[role] = graph.add_constant(role, *_constant(rng, role, shape, case.precision))
    attributes = dict(case.attributes)
    zero_point = attributes.pop("zero_point", 0)
    graph.tensors["y"] = _tensor("y", (), "float32" if case.operation == "dequantize" else case.precision, zero_point)
    graph.nodes.append(Node(case.operation, "layer", names, "y", attributes))
    graph.tensors |= infer_shapes(graph)
    return graph


def _tensor(name: str, shape: tuple[int, ...], dtype: str, zero_point: int = 0) -> Tensor:
    return Tensor(name, shape, dtype, Quantization((_SCALE,), zero_point) if dtype == "int8" else None)


def _constant(
    rng: np.random.Generator, role: str, shape: tuple[int, ...], precision: str
) -> tuple[np.ndarray, Quantization | None]:
    if role == "multiplier":
        return (rng.random(shape) * 1e-3 + 1e-4).astype(np.float32), None
    if precision == "float32":
        scale = float(np.sqrt(2 / max(1, np.prod(shape[1:]))))
        return np.abs(rng.standard_normal(shape) * scale).astype(np.float32), None
    if role == "bias":
        return rng.integers(-1000, 1000, shape).astype(np.int32), None
    quantization = None if role == "table" else Quantization((_SCALE,) * shape[0], 0, 0)
    return rng.integers(-127, 128, shape).astype(np.int8), quantization
