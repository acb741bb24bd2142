"""`edgenet inspect`: contents, cost, kernels and their warnings, the golden pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgenet import format as file_format
from edgenet.commands import inspect
from edgenet.model import Model
from edgenet.ops import graph_cost

from .conftest import CLASSES

PRECISIONS = ["float32", "int8"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_contents(command: Callable, models: dict[str, Path], precision: str) -> None:
    found = command("inspect", models[precision], "--json").json
    assert found["precision"] == precision
    assert found["inputs"] == {"x": ["batch", 3, 12, 12]}
    assert found["labels"] == len(CLASSES)
    assert found["file_bytes"] == models[precision].stat().st_size
    assert all({"kernel", "vector"} <= set(step) for step in found["plan"]["steps"])
    assert 0 < found["plan"]["arena_bytes"] <= found["plan"]["naive_bytes"]
    assert 0 < found["arena_bytes"]["low"] <= found["arena_bytes"]["fast"] == found["plan"]["arena_bytes"]
    assert 'memory="low"' in command("inspect", models[precision]).out


def test_cost_is_that_of_the_operations(command: Callable, models: dict[str, Path]) -> None:
    found = command("inspect", models["float32"], "--cost", "--json").json
    costs = graph_cost(file_format.load(models["float32"]))
    assert [row["flops"] for row in found["cost"]] == [cost.flops for cost in costs.values()]
    assert found["macs"] == 6 * 6 * 8 * 27 + 288 * 4
    assert f"{found['flops']:,}" in command("inspect", models["float32"], "--cost").out


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("threads", [1, 2])
def test_golden_pair_is_replayed(command: Callable, models: dict[str, Path], precision: str, threads: int) -> None:
    found = command("inspect", models[precision], "--verify", "--threads", threads, "--json").json["verify"]
    assert found["passed"] is True
    assert found["rule"] == {"float32": "within 0.0001", "int8": "identical"}[precision]
    assert found["outputs"][0]["identical"] or precision == "float32"


@pytest.mark.parametrize(("precision", "change"), [("float32", 1e-2), ("int8", 1e-6)])
def test_wrong_golden_output_fails(
    command: Callable, models: dict[str, Path], tmp_path: Path, precision: str, change: float
) -> None:
    graph = file_format.load(models[precision])
    name = graph.metadata.golden_outputs["y"]
    graph.constants[name] = graph.constants[name] * np.float32(1 + change)
    graph.save(tmp_path / "changed.edgenet")
    result = command("inspect", tmp_path / "changed.edgenet", "--verify")
    assert result.code == 1
    assert "FAILED" in result.out
    assert "differ" in result.err


def test_file_without_golden_pair(refused: Callable, models: dict[str, Path], tmp_path: Path) -> None:
    graph = file_format.load(models["float32"])
    for name in (*graph.metadata.golden_inputs.values(), *graph.metadata.golden_outputs.values()):
        del graph.constants[name], graph.tensors[name]
    graph.metadata = replace(graph.metadata, golden_inputs={}, golden_outputs={})
    graph.save(tmp_path / "plain.edgenet")
    assert "golden" in refused("inspect", tmp_path / "plain.edgenet", "--verify")


def test_scalar_step_is_warned_about(
    command: Callable, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    info = Model.plan_info

    def with_scalar_step(self: Model) -> dict:
        found = info(self)
        found["steps"][0]["vector"] = False
        return found

    monkeypatch.setattr(Model, "plan_info", with_scalar_step)
    result = command("inspect", models["float32"], "--json")
    assert result.code == 0
    assert "warning" in result.err
    assert len(result.json["scalar_steps"]) == 1


def test_compact_storage_is_named(models: dict[str, Path]) -> None:
    from edgenet.converter.quantize import compress

    graph = file_format.load(models["float32"])
    assert inspect.precision(compress(graph, "float16")) == "float32, weights float16"
