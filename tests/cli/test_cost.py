"""`edgenet cost` for a layer, `edgenet inspect --cost` for a network, before and after conversion."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

LAYERS = {
    "conv": ("--input", "32x32x3", "--filters", 10, "--kernel", 5),
    "depthwise": ("--input", "14x14x8", "--padding", 1),
    "pointwise": ("--input", "14x14x8", "--filters", 4),
    "separable": ("--input", "14x14x512", "--filters", 512, "--padding", 1),
    "linear": ("--input", "1024", "--filters", 1000, "--precision", "int8"),
    "batch_norm": ("--input", "28x28x10"),
    "max_pool": ("--input", "28x28x10", "--kernel", 2),
    "avg_pool": ("--input", "28x28x10", "--kernel", 3, "--stride", 2, "--padding", 1),
    "softmax": ("--input", "1000"),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_kind_of_layer(command: Callable, layer: str) -> None:
    rows = command("cost", layer, *LAYERS[layer], "--json").json["layers"]
    text = command("cost", layer, *LAYERS[layer]).out
    for row in rows:
        assert f"{row['flops']:,}" in text
        assert "x".join(map(str, row["output"])) in text


def test_worked_example_on_the_command_line(command: Callable) -> None:
    (row,) = command("cost", "conv", *LAYERS["conv"], "--json").json["layers"]
    assert (row["parameters"], row["output"], row["flops"]) == (760, [28, 28, 10], 1_176_000)


def test_separable_stands_beside_standard(command: Callable) -> None:
    found = command("cost", "separable", *LAYERS["separable"], "--json").json
    assert [row["name"] for row in found["layers"]] == ["depthwise", "pointwise", "separable", "standard"]
    assert found["ratio"] == pytest.approx(1 / 512 + 1 / 9)
    assert "1/512 + 1/3^2 = 0.1131" in command("cost", "separable", *LAYERS["separable"]).out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("conv", "--input", "8x8x8"), "--filters"),
        (("conv", "--input", "eight", "--filters", 1), "eight"),
        (("depthwise", "--input", "0x8x8"), "at least 1"),
        (("depthwise", "--input", "8x8x8", "--padding", -1), "at least 0"),
        (("conv", "--input", "8x8", "--filters", 1), "height x width x channels"),
        (("depthwise", "--input", "8x8x8", "--filters", 128), "--filters is not for depthwise"),
        (("pointwise", "--input", "8x8x8", "--filters", 1, "--kernel", 3), "--kernel is not for pointwise"),
        (("softmax", "--input", "8", "--kernel", 3, "--no-bias"), "--kernel and --no-bias are not for softmax"),
        (("max_pool", "--input", "8x8x8", "--filters", 1), "--filters is not for max_pool"),
        (("conv", "--input", "8x8x8", "--filters", 1, "--precision", "int8", "--no-bias"), "always has a bias"),
    ],
)
def test_layers_that_do_not_exist(refused: Callable, arguments: tuple, word: str) -> None:
    assert word in refused("cost", *arguments)


def test_file_as_csv(command: Callable, models: dict[str, Path], tmp_path: Path) -> None:
    found = command("inspect", models["float32"], "--cost", "--json").json["cost"]
    printed = command("inspect", models["float32"], "--csv", "-").out
    command("inspect", models["float32"], "--csv", tmp_path / "cost.csv")
    assert (tmp_path / "cost.csv").read_text() == printed
    *rows, total = csv.DictReader(io.StringIO(printed))
    assert [int(row["flops"]) for row in rows] == [row["flops"] for row in found]
    assert int(total["flops"]) == sum(row["flops"] for row in found)
    assert [row["kind"] for row in found if row["operation"] == "conv2d"] == ["standard"]


def test_csv_into_a_missing_folder(refused: Callable, models: dict[str, Path], tmp_path: Path) -> None:
    assert "folder" in refused("inspect", models["float32"], "--csv", tmp_path / "none" / "cost.csv")


def test_module_before_conversion(command: Callable) -> None:
    """As its modules define it: batch norms are layers of their own, and count what they count."""
    found = command("inspect", "tiny_separable", "--cost", "--json").json
    kinds = [row["kind"] for row in found["cost"]]
    assert kinds.count("batch norm") == kinds.count("standard") + kinds.count("depthwise") + kinds.count("pointwise")
    scale = next(row for row in found["cost"] if row["kind"] == "batch norm")
    assert scale["flops"] == 2 * 32 * 32 * 32
    factory = ("inspect", "edgenet.converter.zoo.tiny_separable:tiny_separable", "--input-size", "3x32x32", "--cost")
    assert f"{found['flops']:,}" in command(*factory).out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("perceptron", "--cost"), "perceptron"),
        (("tiny_separable", "--cost", "--input-size", "3xx"), "3xx"),
        (("tiny_separable",), "does not exist"),
        (("no.module:net", "--cost"), "no.module"),
    ],
)
def test_unknown_networks(refused: Callable, arguments: tuple[str, ...], word: str) -> None:
    assert word in refused("inspect", *arguments)
