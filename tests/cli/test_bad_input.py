"""What users do wrong: one clear sentence, exit code 1, nothing half-written."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from edgenet.format import CHECKSUM_AT, MAJOR
from edgenet.kernels.isa import host

from .conftest import SIZE


def test_missing_model(refused: Callable, picture: Path, tmp_path: Path) -> None:
    for name in ("run", "profile", "inspect", "bench"):
        inputs = [picture] if name == "run" else []
        assert "nowhere.edgenet" in refused(name, tmp_path / "nowhere.edgenet", *inputs)


def test_missing_picture(refused: Callable, models: dict[str, Path], tmp_path: Path) -> None:
    assert "nowhere.png" in refused("run", models["float32"], tmp_path / "nowhere.png")
    assert "nowhere.npy" in refused("run", models["float32"], tmp_path / "nowhere.npy")


@pytest.mark.parametrize("keep", [0.5, 0.05, 0.0])
def test_truncated_picture(refused: Callable, models: dict[str, Path], picture: Path, keep: float) -> None:
    content = picture.read_bytes()
    picture.write_bytes(content[: int(len(content) * keep)])
    assert "picture.png" in refused("run", models["float32"], picture)


@pytest.mark.parametrize("keep", [0.9, 0.3, 0.0])
def test_truncated_array(refused: Callable, models: dict[str, Path], tmp_path: Path, keep: float) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((1, 3, SIZE, SIZE), np.float32))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    assert "x.npy" in refused("run", models["float32"], path)


def test_array_that_is_a_pickle(refused: Callable, models: dict[str, Path], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([print], dtype=object), allow_pickle=True)
    assert "x.npy" in refused("run", models["float32"], tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((3, SIZE, SIZE), np.float32), "shape"),
        (np.zeros((1, 4, SIZE, SIZE), np.float32), "4 channels"),
        (np.zeros((1, 3, SIZE, SIZE), np.int64), "int64"),
        (np.full((1, 3, SIZE, SIZE), np.nan, np.float32), "NaN"),
        (np.zeros((0, 3, SIZE, SIZE), np.float32), "empty"),
    ],
)
def test_wrong_arrays(refused: Callable, models: dict[str, Path], tmp_path: Path, array: np.ndarray, word: str) -> None:
    np.save(tmp_path / "x.npy", array)
    assert word in refused("run", models["float32"], tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_wrong_number_of_inputs(refused: Callable, models: dict[str, Path], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3, SIZE, SIZE), np.float32))
    assert "1 input " in refused("run", models["float32"], tmp_path / "x.npy", tmp_path / "x.npy")


def test_output_that_cannot_be_written(
    refused: Callable, models: dict[str, Path], picture: Path, tmp_path: Path
) -> None:
    assert "no folder" in refused("run", models["float32"], picture, "-o", tmp_path / "nowhere" / "y.npz")
    assert ".npz" in refused("run", models["float32"], picture, "-o", tmp_path / "y.txt")
    assert "no folder" in refused("convert", "tiny_separable", "-o", tmp_path / "nowhere" / "m.edgenet")
    assert "is a folder" in refused("convert", "tiny_separable", "-o", tmp_path)


def test_full_disk_leaves_nothing(
    refused: Callable, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = refused("inspect", models["float32"], "--cost", "--csv", tmp_path / "cost.csv")
    assert message == f"edgenet: {tmp_path / 'cost.csv'} cannot be written: No space left on device.\n"
    np.save(tmp_path / "x.npy", np.zeros((1, 3, SIZE, SIZE), np.float32))
    assert "y.npz" in refused("run", models["float32"], tmp_path / "x.npy", "-o", tmp_path / "y.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_archives_that_do_not_fit(refused: Callable, models: dict[str, Path], tmp_path: Path) -> None:
    x, path = np.zeros((1, 3, SIZE, SIZE), np.float32), tmp_path / "x.npz"
    np.savez(path, y=x)
    assert "must hold the network's inputs (x); it holds y" in refused("run", models["float32"], path)
    assert "stand alone" in refused("profile", models["float32"], path.rename(tmp_path / "x.npy"))
    path.write_bytes((tmp_path / "x.npy").read_bytes()[:-40])
    assert "x.npz is not a readable .npz file" in refused("run", models["float32"], path)


def test_options_that_would_do_nothing(
    refused: Callable, models: dict[str, Path], picture: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3, SIZE, SIZE), np.float32))
    model = models["float32"]
    assert "--top is for the labels" in refused("run", model, tmp_path / "x.npy", "--top", 3)
    assert "--batch is for random numbers" in refused("profile", model, picture, "--batch", 4)
    assert "--input-size is for" in refused("inspect", model, "--cost", "--input-size", "3x12x12")
    assert "--verify is for" in refused("inspect", "tiny_separable", "--cost", "--verify")


def test_file_from_a_newer_version(refused: Callable, models: dict[str, Path], picture: Path, tmp_path: Path) -> None:
    content = bytearray(models["float32"].read_bytes())
    content[8:10] = (MAJOR + 1).to_bytes(2, "little")
    (tmp_path / "new.edgenet").write_bytes(content)
    assert "newer" in refused("run", tmp_path / "new.edgenet", picture)


def test_damaged_file(refused: Callable, models: dict[str, Path], picture: Path, tmp_path: Path) -> None:
    content = bytearray(models["float32"].read_bytes())
    content[CHECKSUM_AT + 400] ^= 1
    (tmp_path / "bad.edgenet").write_bytes(content)
    assert "damaged" in refused("run", tmp_path / "bad.edgenet", picture)
    assert "bad.edgenet" in refused("inspect", picture.rename(tmp_path / "bad.edgenet"))


class Evil:
    """Unpickling it would write a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_checkpoint_that_is_code(refused: Callable, tmp_path: Path) -> None:
    path, written = tmp_path / "evil.pth", tmp_path / "written"
    torch.save({"weight": Evil(written)}, path)
    message = refused("convert", path, "--arch", "tiny_separable", "-o", tmp_path / "m.edgenet")
    assert "evil.pth" in message
    path.write_bytes(pickle.dumps(Evil(written)))
    refused("convert", path, "--arch", "tiny_separable", "-o", tmp_path / "m.edgenet")
    assert [entry.name for entry in tmp_path.iterdir()] == ["evil.pth"]


def test_keys_that_do_not_fit(refused: Callable, tmp_path: Path) -> None:
    torch.save({"wheels.weight": torch.zeros(3)}, tmp_path / "car.pth")
    message = refused("convert", tmp_path / "car.pth", "--arch", "tiny_separable", "-o", tmp_path / "m.edgenet")
    assert "wheels.weight" in message
    assert not (tmp_path / "m.edgenet").exists()


def test_weights_without_architecture(refused: Callable, tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "a.pth")
    assert "arch" in refused("convert", tmp_path / "a.pth")


def test_calibration_without_pictures(refused: Callable, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    target = tmp_path / "m.edgenet"
    convert = ("convert", "tiny_separable", "--precision", "int8", "-o", target)
    assert "calibration" in refused(*convert)
    assert "empty" in refused(*convert, "--calibration", tmp_path / "empty")
    assert "nowhere" in refused(*convert, "--calibration", tmp_path / "nowhere")
    assert not target.exists()


def test_labels_that_do_not_fit(refused: Callable, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    target = tmp_path / "m.edgenet"
    assert "classes" in refused("convert", "tiny_separable", "--labels", tmp_path / "labels.txt", "-o", target)
    assert "nowhere" in refused("convert", "tiny_separable", "--labels", tmp_path / "nowhere", "-o", target)
    assert not target.exists()


def test_converting_without_torch(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from edgenet.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["convert", "tiny_separable", "-o", str(tmp_path / "m.edgenet")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "edgenet: Converting needs PyTorch: pip install 'edgenet[convert]'.\n"


def test_unknown_instruction_set(
    refused: Callable, models: dict[str, Path], picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGENET_ISA", "mmx")
    assert "mmx" in refused("run", models["float32"], picture)
    assert "mmx" in refused("kernels")


def test_an_instruction_set_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    name = host().name
    monkeypatch.setenv("EDGENET_ISA", f" {name.upper()} ")
    assert host().name == name
