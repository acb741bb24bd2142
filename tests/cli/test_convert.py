"""`edgenet convert` and `edgenet compare` on a small network, from every kind of checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import edgenet
from edgenet.converter import zoo

NETWORK = "tiny_separable"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pth"
    torch.save(zoo.build(NETWORK, seed=3).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


def test_state_dict_to_float32(command: Callable, checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.edgenet"
    found = command("convert", checkpoint, "--arch", NETWORK, "-o", target, "--name", "mine", "--json").json
    assert found["bytes"] == target.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["m.edgenet"]
    model = edgenet.load(target)
    assert model.graph.metadata.provenance["name"] == "mine"
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = zoo.build(NETWORK, weights=checkpoint)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model.run(x), expected, atol=1e-4 * float(np.abs(expected).max()))


def test_output_is_named_after_the_checkpoint(
    command: Callable, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "tiny.edgenet" in command("convert", checkpoint, "--arch", NETWORK).out
    assert (tmp_path / "tiny.edgenet").is_file()


def test_exported_program(command: Callable, tmp_path: Path) -> None:
    module = zoo.build(NETWORK)
    torch.export.save(torch.export.export(module, (torch.zeros(1, 3, 32, 32),)), tmp_path / "m.pt2")
    assert command("convert", tmp_path / "m.pt2", "-o", tmp_path / "m.edgenet").code == 0
    found = command("compare", tmp_path / "m.pt2", tmp_path / "m.edgenet", "--samples", 1, "--json").json
    assert max(row["max_error"] for row in found["rows"]) < 1e-3


def test_int8_with_pictures_labels_and_preprocessing(
    command: Callable, checkpoint: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(f"class {i}" for i in range(10)), encoding="utf-8-sig")
    target = tmp_path / "m.edgenet"
    options = ["--precision", "int8", "--calibration", pictures, "--labels", tmp_path / "labels.txt", "--resize", 36]
    assert command("convert", checkpoint, "--arch", NETWORK, *options, "-o", target).code == 0
    graph = edgenet.load(target).graph
    assert graph.metadata.labels is not None
    assert graph.metadata.labels[0] == "class 0"
    assert graph.metadata.preprocessing is not None
    assert graph.metadata.preprocessing.resize == 36
    assert graph.metadata.preprocessing.crop == zoo.info(NETWORK).preprocessing.crop
    found = command("run", target, pictures / "0.png", "--top", 1, "--json").json
    assert found[0]["predictions"][0]["label"].startswith("class ")
    assert command("inspect", target, "--verify", "--json").json["verify"]["passed"] is True
    compared = command("compare", checkpoint, target, "--arch", NETWORK, "--images", pictures, "--json").json
    assert compared["samples"] == 3
    assert {"features.0.0", "classifier"} <= {row["name"] for row in compared["rows"]}


def test_compare_as_text(command: Callable, checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.edgenet"
    command("convert", checkpoint, "--arch", NETWORK, "-o", target)
    result = command("compare", checkpoint, target, "--arch", NETWORK)
    assert result.code == 0
    assert "worst first" in result.out


def test_compare_with_another_network(refused: Callable, models: dict[str, Path]) -> None:
    assert refused("compare", NETWORK, models["float32"])


def test_compare_without_its_files(refused: Callable, models: dict[str, Path], tmp_path: Path) -> None:
    assert "nowhere" in refused("compare", NETWORK, tmp_path / "nowhere.edgenet")
    assert "nowhere" in refused("compare", tmp_path / "nowhere.pth", models["float32"])


def test_own_network_by_factory(
    command: Callable, refused: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mynetwork.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 5))\n"
    )
    monkeypatch.chdir(tmp_path)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(512, 5)
    )
    torch.save(module.state_dict(), tmp_path / "m.pth")
    convert = ("convert", "m.pth", "--arch", "mynetwork:build")
    assert "--input-size" in refused(*convert)
    assert "does not take an input of 1x128" in refused(*convert, "--input-size", 128)
    result = command(*convert, "--input-size", "3x16x16", "--resize", 16, "--json")
    assert result.json["parameters"] == sum(p.numel() for p in module.parameters())
    assert result.err == ""
    assert edgenet.load("m.edgenet").graph.metadata.preprocessing == edgenet.Preprocessing(16, 16)
    compared = command("compare", "m.pth", "m.edgenet", "--arch", "mynetwork:build", "--samples", 1)
    assert "1 sample, 4 layers, worst first" in compared.out
    message = refused("compare", "m.pth", "m.edgenet", "--arch", "mynetwork:build", "--images", "nodir")
    assert message == "edgenet: There is no folder nodir.\n"


def test_random_weights_are_warned_about(command: Callable, refused: Callable, tmp_path: Path) -> None:
    result = command("convert", NETWORK, "-o", tmp_path / "m.edgenet")
    assert result.err.startswith(f"edgenet: warning: No weights of {NETWORK} are installed")
    assert "random" in command("convert", "--help").out


def test_options_that_a_program_knows(refused: Callable, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"")
    assert "--input-size is for modules" in refused("convert", tmp_path / "m.pt2", "--input-size", "3x8x8")
    assert "--arch is for weights" in refused("convert", tmp_path / "m.pt2", "--arch", "package:network")


def test_a_budget_on_labelled_pictures(command: Callable, refused: Callable, checkpoint: Path, tmp_path: Path) -> None:
    for seed in range(8):
        folder = tmp_path / "pictures" / str(seed % 4)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    words = ["convert", checkpoint, "--arch", NETWORK, "--calibration", tmp_path / "pictures", "--max-drop", 0]
    target = tmp_path / "m.edgenet"
    found = command(*words, "--precision", "int8", "-o", target, "--json").json["report"]
    assert found["budget"]["unit"] == "points"
    assert found["budget"]["found"] >= found["budget"]["float32"]
    assert len(found["worst"]) == 3
    assert "calibration is for int8" in refused(*words, "-o", target)
    page = tmp_path / "page.html"
    compare = ["compare", checkpoint, target, "--arch", NETWORK, "--images", tmp_path / "pictures", "--html", page]
    result = command(*compare)
    assert result.code == 0
    assert "edgenet int8: top-1" in result.out
    assert page.read_text().startswith("<!doctype html>")
    assert "equalization" not in command("inspect", target).out
