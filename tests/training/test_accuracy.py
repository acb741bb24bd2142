"""The study of accuracy: from data to tables on a small set, finished runs kept, tables and plot of known rows."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from edgenet import load
from edgenet.bench.accuracy import plot, report, runs, study
from edgenet.bench.accuracy.__main__ import main
from edgenet.bench.training import Recipe
from edgenet.errors import InputError

from .pictures import examples
from .test_datasets import idx


def write_set(folder: Path) -> None:
    """IDX files of 28x28 pictures of the tests' task."""
    for part, count, seed in (("train", 192, 0), ("t10k", 60, 1)):
        images, labels = examples(count, seed, 28)
        for name, array in (("images-idx3-ubyte", images[:, 0]), ("labels-idx1-ubyte", labels)):
            content = idx(array.numpy().astype(np.uint8))
            (folder / f"{part}-{name}.gz").write_bytes(gzip.compress(content))


def test_study_from_data_to_tables(tmp_path, capsys):
    data, folder = tmp_path / "data", tmp_path / "runs"
    data.mkdir()
    write_set(data)
    words = ["--data", str(data), "--folder", str(folder), "--widths", "8", "--epochs", "2", "--seeds", "0"]
    outputs = {name: tmp_path / f"out.{name}" for name in ("json", "plot", "markdown")}
    words += [word for name, path in outputs.items() for word in (f"--{name}", str(path))]
    words += ["--threads", "1", "--rounds", "2"]
    assert main([*words, "--jobs", "2"]) == 0
    rows = json.loads(outputs["json"].read_text())
    assert [(row["network"], row["precision"]) for row in rows] == [
        (network, precision) for network in (study.SEPARABLE, study.STANDARD) for precision in ("float32", "int8")
    ]
    for row in rows:
        assert row["accuracy_mean"] == row["accuracies"][0]
        assert row["test_images"] == 60
        assert row["ms"] > 0
        assert row["ms_direct"] > 0
        name = f"fashion-mnist-{row['network']}-width8-epochs2-seed0"
        path = folder / name / f"{row['precision']}.edgenet"
        assert row["file_bytes"] == path.stat().st_size
        assert (folder / name / "curves.png").is_file()
        assert load(path).graph.metadata.labels[9] == "Ankle boot"
    separable, standard = rows[0], rows[2]
    assert separable["accuracy_mean"] == separable["torch_accuracy_mean"]
    assert separable["macs"] < standard["macs"] / 4
    assert separable["parameters"] < standard["parameters"] / 4
    assert rows[1]["file_bytes"] < separable["file_bytes"]
    assert f"1/{standard['macs'] / separable['macs']:.1f}" in outputs["markdown"].read_text()
    assert "python -m edgenet.bench accuracy --data" in outputs["markdown"].read_text()
    assert outputs["plot"].read_bytes()[:4] == b"\x89PNG"

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    again = json.loads(outputs["json"].read_text())
    assert [row["accuracies"] for row in again] == [row["accuracies"] for row in rows]
    run = runs.Run("fashion-mnist", study.SEPARABLE, 8, Recipe(epochs=2, rate=0.3))
    with pytest.raises(InputError, match="holds a run of other settings"):
        runs.perform(run, folder, str(data))
    capsys.readouterr()


def test_missing_data_is_said_before_training(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--folder", str(tmp_path / "runs")]) == 1
    assert "apt-get install dataset-fashion-mnist" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_twins_share_everything_but_the_network():
    base = runs.Run("mnist", study.SEPARABLE, 32, Recipe(epochs=3))
    planned = study.plan(base, [8, 16], [0, 5])
    assert len(planned) == 8
    pairs = {(run.width, run.recipe) for run in planned}
    assert len(pairs) == 4
    assert not any(run.recipe.flip for run in planned)
    assert {run.network for run in planned} == {study.SEPARABLE, study.STANDARD}
    with pytest.raises(InputError, match="must all differ"):
        study.plan(base, [8, 8], [0])


def row(network: str, precision: str, accuracies: list[float], scale: float) -> dict:
    """A row of the study with costs in proportion to `scale`."""
    return {
        "dataset": "fashion-mnist",
        "network": network,
        "width": 32,
        "precision": precision,
        "seeds": [0, 1, 2],
        "accuracies": accuracies,
        "accuracy_mean": float(np.mean(accuracies)),
        "accuracy_spread": float(np.std(accuracies, ddof=1)),
        "parameters": round(1000 * scale),
        "macs": round(10000 * scale),
        "file_bytes": round(4000 * scale),
        "ms": 0.1 * scale,
        "ms_direct": 0.2 * scale,
        "epochs": 5,
        "test_images": 10000,
        "timing": {"rounds": 9, "spread": 0.05},
        "machine": {
            "cpu": "A CPU",
            "cpus": 2,
            "instruction_set": "avx2",
            "threads": 1,
            "governor": "fixed",
            "load": 0.0,
        },
    }


ROWS = [
    row(study.SEPARABLE, "float32", [0.88, 0.89, 0.90], 1),
    row(study.STANDARD, "float32", [0.90, 0.90, 0.93], 8),
]


def test_savings_pair_the_twins_by_seed():
    (found,) = report.savings(ROWS)
    assert found["accuracy_mean"] == pytest.approx(-0.02)
    assert found["accuracy_spread"] == pytest.approx(0.01)
    assert [found[key] for key in ("macs", "parameters", "file_bytes", "ms", "ms_direct")] == pytest.approx([1 / 8] * 5)
    assert report.savings(ROWS[:1]) == []
    table = report.markdown(ROWS, "the command")
    assert "| tiny_separable (width 32) | float32 | 89.00 ± 1.00 | 0.01 M | 1.0 k | 4.0 | 0.1000 | 0.2000 |" in table
    assert "| 32 | float32 | -2.00 ± 1.00 | 1/8.0 | 1/8.0 | 1/8.0 | 1/8.0 | 1/8.0 |" in table
    assert "3 seeds" in table
    assert "Made by `the command`." in table


def test_plot_is_a_picture(tmp_path):
    plot.draw(ROWS, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
