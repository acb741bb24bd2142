"""`edgenet run`, `profile`, `kernels`, `warmup`, `doctor` on a small network."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgenet
from edgenet import images, reference
from edgenet.dtypes import BATCH
from edgenet.format import save
from edgenet.graph import Graph, Node, Tensor
from edgenet.kernels.isa import host
from edgenet.kernels.table import kernels

from .conftest import CLASSES, SIZE

PRECISIONS = ["float32", "int8"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_labels_and_probabilities_are_the_reference_s(
    command: Callable, models: dict[str, Path], picture: Path, precision: str
) -> None:
    graph = edgenet.load(models[precision]).graph
    x = images.preprocess(str(picture), graph.metadata.preprocessing)
    expected = images.top(reference.run(graph, {"x": x})["y"][0], CLASSES, 4)
    found = command("run", models[precision], picture, "--top", 4, "--json").json
    assert [row["input"] for row in found] == [str(picture)]
    assert [row["label"] for row in found[0]["predictions"]] == [label for label, _ in expected]
    np.testing.assert_allclose([row["probability"] for row in found[0]["predictions"]], [p for _, p in expected], 1e-4)


def test_text_names_the_labels(command: Callable, models: dict[str, Path], picture: Path) -> None:
    result = command("run", models["float32"], picture, picture)
    assert result.code == 0
    assert all(result.out.count(label) == 2 for label in CLASSES)


def test_one_unreadable_picture_of_several(
    command: Callable, models: dict[str, Path], picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"nonsense")
    result = command("run", models["float32"], tmp_path / "bad.png", picture, tmp_path / "none.png", picture)
    assert result.code == 1
    assert result.out.count(f"{picture} (") == 2
    assert [line.split("/")[-1] for line in result.err.splitlines()] == [
        "bad.png is not a picture of a known kind.",
        "none.png does not exist.",
    ]
    result = command("run", models["float32"], tmp_path / "bad.png", picture, "--json")
    assert result.code == 1
    assert [row["input"] for row in result.json] == [str(picture)]
    assert "bad.png" in result.err


def test_first_time_counts_no_preparation(
    command: Callable, models: dict[str, Path], picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, slow = edgenet.Model._picture, [0.3]

    def prepare(self: edgenet.Model, image: object) -> np.ndarray:
        time.sleep(slow.pop() if slow else 0)
        return run(self, image)

    monkeypatch.setattr(edgenet.Model, "_picture", prepare)
    assert command("run", models["float32"], picture, "--json").json[0]["ms"] < 200


def test_an_archive_of_the_inputs(command: Callable, models: dict[str, Path], tmp_path: Path) -> None:
    x = np.random.default_rng(2).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    found = [command("run", models["float32"], tmp_path / name, "--json").json for name in ("x.npy", "x.npz")]
    assert found[0] == found[1]


def test_arrays_in_and_out(command: Callable, models: dict[str, Path], tmp_path: Path) -> None:
    x = np.random.default_rng(2).standard_normal((3, 3, SIZE, SIZE)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    found = command("run", models["float32"], tmp_path / "x.npy", "-o", tmp_path / "y.npz", "--json")
    expected = reference.run(edgenet.load(models["float32"]).graph, {"x": x})["y"]
    with np.load(tmp_path / "y.npz") as written:
        assert written.files == ["y"]
        np.testing.assert_allclose(written["y"], expected, rtol=1e-4, atol=1e-4)
    assert found.json["y"]["shape"] == [3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "y.npz"]


@pytest.mark.parametrize("name", ["../y", "/y", "a/../../y", "c:y", "a\\y", ".."])
def test_names_that_lead_out_of_a_folder_are_not_written(command: Callable, tmp_path: Path, name: str) -> None:
    graph = Graph(inputs=["x"], outputs=[name, "z/1"])
    graph.tensors |= {key: Tensor(key, (BATCH, 4)) for key in ("x", *graph.outputs)}
    for number, key in enumerate(graph.outputs):
        graph.nodes.append(Node("activation", f"node.{number}", {"x": "x"}, key, {"activation": {"kind": "sigmoid"}}))
    save(graph, tmp_path / "m.edgenet")
    np.save(tmp_path / "x.npy", np.ones((1, 4), np.float32))
    command("run", tmp_path / "m.edgenet", tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    with np.load(tmp_path / "y.npz") as written:
        assert written.files == ["output.0", "z/1"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_profile_has_a_row_for_every_layer(command: Callable, models: dict[str, Path], precision: str) -> None:
    found = command("profile", models[precision], "--repeats", 2, "--threads", 1, "--json").json
    steps = edgenet.load(models[precision], threads=1).plan_info()["steps"]
    assert [row["kernel"] for row in found["steps"]] == [step["kernel"] for step in steps]
    assert all(row["ms"] >= 0 for row in found["steps"])
    assert sum(row["share"] for row in found["steps"]) == pytest.approx(1)
    assert found["threads"] == 1


def test_profile_of_a_batch(command: Callable, models: dict[str, Path]) -> None:
    found = command("profile", models["float32"], "--repeats", 1, "--batch", 2, "--json").json
    assert all(row["shape"][0] == 2 for row in found["steps"])


def test_profile_as_text(command: Callable, models: dict[str, Path], picture: Path) -> None:
    result = command("profile", models["float32"], picture, "--repeats", 1)
    assert "ms in total" in result.out


def test_kernels_lists_the_table(command: Callable) -> None:
    found = command("kernels", "--json").json
    assert found["isa"] == host().name
    assert [row["name"] for row in found["kernels"]] == list(kernels(host()))
    assert "scalar" in command("kernels", "--target", "portable").out or "vector" in command("kernels").out


def test_kernels_of_an_unknown_instruction_set(refused: Callable) -> None:
    assert "avx9" in refused("kernels", "--target", "avx9")


def test_warmup_reports_the_cache(command: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The loop over all kernels is the engine's; here one kernel stands for it."""
    from edgenet.kernels import table

    monkeypatch.setenv("EDGENET_CACHE", str(tmp_path))
    real = table.kernels
    monkeypatch.setattr(table, "kernels", lambda target: {"execute": real(target)["execute"]})
    found = command("warmup", "--json").json
    assert found["kernels"] == 1
    assert found["folder"] == str(tmp_path)


def test_doctor_runs_a_network(command: Callable) -> None:
    found = command("doctor", "--json").json
    assert found["problems"] == []
    assert found["self_test"]["relative_difference"] < 1e-4
    assert found["instruction_set"] == host().name
    assert found["kernels"]["int8 conv2d"]
    assert {"cgroup_cpus", "temperature_celsius", "throttling", "governor", "advice", "features"} <= set(found)
    assert found["cache"]["kernels"] > 0
    assert "Everything works." in command("doctor").out


def test_doctor_counts_the_kernels_of_a_read_only_cache(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(dir: Path) -> None:
        raise OSError(30, "Read-only file system")

    command("doctor")
    monkeypatch.setattr("edgenet.commands.doctor.tempfile.NamedTemporaryFile", read_only)
    result = command("doctor", "--json")
    state = result.json["cache"]
    assert not state["writable"]
    assert 0 < state["kernels"] <= state["kernels_of"]
    assert any("Read-only file system" in text for text in result.json["problems"] + result.json["advice"])


def test_doctor_names_an_unusable_cache(command: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("EDGENET_CACHE", str(tmp_path / "file" / "cache"))
    result = command("doctor")
    assert result.code == 1
    assert "EDGENET_CACHE" in result.err
