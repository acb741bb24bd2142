"""`edgenet bench` and the studies behind it. Figures are checked for what they are made of, never for speed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgenet import load, reference
from edgenet.bench import models as model_table
from edgenet.bench import separable, timing
from edgenet.bench.layers import KINDS, Layer, build, parse_size
from edgenet.errors import InputError

LAYER = Layer(8, 8, 16, 32)


def test_latency_of_a_file(command: Callable, models: dict[str, Path]) -> None:
    found = command("bench", models["int8"], "--rounds", 2, "--batch", 3, "--threads", 1, "--json").json
    assert found["batch"] == 3
    assert found["rounds"] == 2
    assert found["machine"]["threads"] == 1
    assert found["samples_per_second"] == pytest.approx(3e3 / found["median_ms"])
    assert "samples/s" in command("bench", models["float32"], "--rounds", 1).out


def test_low_memory_tells_what_it_costs(command: Callable, models: dict[str, Path]) -> None:
    arguments = ("bench", models["int8"], "--rounds", 2, "--threads", 1, "--memory", "low")
    found = command(*arguments, "--json").json
    assert found["memory"] == "low"
    assert found["time_ratio"] == pytest.approx(found["median_ms"] / found["fast"]["median_ms"])
    assert found["arena_ratio"] == pytest.approx(found["arena_bytes"] / found["fast"]["arena_bytes"])
    assert found["arena_ratio"] <= 1
    assert "% time" in command(*arguments).out
    assert command("bench", models["int8"], "--memory", "tiny").code != 0


def test_separable_layer(command: Callable) -> None:
    arguments = ("bench", "separable", "--input", "8x8x16", "--filters", 32, "--rounds", 2)
    found = command(*arguments, "--json").json["layer"]
    assert found["predicted"] == pytest.approx(1 / 32 + 1 / 9)
    assert [row["precision"] for row in found["rows"]] == ["float32", "int8"]
    for row in found["rows"]:
        standard, pair = row["sides"]["standard"], row["sides"]["separable"]
        assert standard["flops"] > pair["flops"]
        assert standard["vector"]
        assert pair["vector"]
        assert row["measured"] == pytest.approx(pair["median_ms"] / standard["median_ms"])
        kind = {"float32": "f32_", "int8": "s8_"}[row["precision"]]
        assert any(kernel.startswith(kind) for kernel in standard["kernels"])
        assert len(pair["kernels"]) >= 2
    assert "predicted 1/32 + 1/3^2 = 0.1424" in command(*arguments).out


def test_winograd_stands_in_a_row_of_its_own() -> None:
    """The standard side is the direct algorithm, whatever the engine would choose."""
    found = separable.layer_study(Layer(16, 16, 32, 32), threads=1, rounds=1)
    row = found["rows"][0]
    assert list(row["sides"]) == ["standard", separable.WINOGRAD, "separable"]
    assert not any("winograd" in kernel for kernel in row["sides"]["standard"]["kernels"])
    assert any("winograd" in kernel for kernel in row["sides"][separable.WINOGRAD]["kernels"])
    assert separable.WINOGRAD in separable.text(found)


def test_networks_are_compared_as_wholes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small network in the place of MobileNetV1 and of its twin."""
    from edgenet.converter import zoo

    size = zoo.info("tiny_separable").input_size
    monkeypatch.setattr(separable, "NETWORKS", dict.fromkeys(separable.SIDES, "tiny_separable"))
    monkeypatch.setattr(separable, "INPUT", size)
    found = separable.network_study(threads=1, rounds=1)
    assert found["predicted"] == 1
    assert [row["precision"] for row in found["rows"]] == ["float32", "int8"]
    assert "tiny_separable" in separable.text(found)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("--input", "8x8"), "8x8"), (("--input", "0x8x8"), "below 1"), (("--input", "8x8x8", "--kernel", "4"), "odd")],
)
def test_unusable_layers(refused: Callable, arguments: tuple[str, ...], word: str) -> None:
    assert word in refused("bench", "separable", *arguments)


def test_size_is_height_width_channels() -> None:
    assert parse_size("14x7x512") == (14, 7, 512)
    with pytest.raises(InputError):
        parse_size("fourteen")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("layer", [LAYER, Layer(9, 7, 8, 24, 5, 2)], ids=str)
def test_layers_compute_what_the_reference_does(layer: Layer, precision: str, kind: str) -> None:
    graph = build(layer, kind, precision)
    model = load(graph, threads=1)
    x = next(iter(model.example_inputs().values()))
    expected = reference.run(graph, {"x": x})["y"]
    tolerance = 0 if precision == "int8" else 1e-4 * float(np.abs(expected).max())
    np.testing.assert_allclose(model.run(x), expected, rtol=0, atol=tolerance)


def test_flops_of_a_layer_are_those_of_the_formula() -> None:
    """2*D1*F^2*D2*H2*W2 for a standard convolution; depthwise and pointwise add up to 1/D2 + 1/F^2 of it."""
    standard, pair = (separable.flops(build(LAYER, kind)) for kind in ("standard", "separable"))
    formula = 2 * 16 * 9 * 32 * 64
    assert standard == formula
    assert pair / standard == pytest.approx(1 / 32 + 1 / 9)


def test_sides_take_turns() -> None:
    calls: list[str] = []
    sides = {name: lambda name=name: calls.append(name) for name in ("a", "b", "c")}
    found = timing.interleave(sides, rounds=3)
    assert set(found) == set(sides)
    assert all(row.rounds == 3 for row in found.values())
    runs = [name for i, name in enumerate(calls) if i == 0 or calls[i - 1] != name]
    assert runs[-9:] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_median_and_spread() -> None:
    found = timing.summarize([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (found.median_ms, found.minimum_ms, found.rounds) == (3.0, 1.0, 5)
    assert found.spread == pytest.approx((4 - 2) / 3)


def test_table_of_networks(tmp_path: Path) -> None:
    readme, figures = tmp_path / "README.md", tmp_path / "figures.json"
    readme.write_text(f"before\n{model_table.BEGIN}\nold\n{model_table.END}\nafter\n")
    command = [sys.executable, "-m", "edgenet.bench", "models", "tiny_separable", "--rounds", "2", "--threads", "1"]
    subprocess.run([*command, "--json", str(figures), "--readme", str(readme)], check=True, capture_output=True)
    (row,) = json.loads(figures.read_text())
    assert row["parameters"] > 30_000
    assert row["int8"]["file_bytes"] < row["float32"]["file_bytes"]
    assert row["int8"]["vector"]
    content = readme.read_text()
    assert content.startswith("before\n")
    assert content.endswith("\nafter\n")
    assert "| tiny_separable |" in content
    assert "old" not in content


def test_table_of_unknown_networks() -> None:
    with pytest.raises(InputError, match="perceptron"):
        next(model_table.study(["perceptron"], 1, 1))


def test_readme_without_marks(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(InputError, match="marks"):
        model_table.update_readme(tmp_path / "README.md", "table")
