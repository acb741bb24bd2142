"""`python -m edgenet.bench qat` on made-up pictures."""

import json

import numpy as np
import torch

from edgenet.bench.datasets import SIDE, Dataset
from edgenet.bench.qat import __main__ as command
from edgenet.bench.qat.study import Scores


def scores(*classes):
    return np.eye(4, dtype=np.float32)[list(classes)]


def test_figures():
    found = {"float32": scores(0, 1, 2, 3), "ptq": scores(0, 1, 1, 1), "qat": scores(0, 1, 2, 1)}
    figures = Scores({**found, "module": found["qat"]}, np.array([0, 1, 2, 2])).figures()
    assert figures["accuracy"] == {"float32": 75.0, "ptq": 50.0, "qat": 75.0}
    assert figures["changed"] == {"ptq": 2, "qat": 1}
    assert figures["identical"]
    other = found["qat"] + np.float32(1e-7)
    assert not Scores({**found, "module": other}, np.array([0, 1, 2, 2])).figures()["identical"]


def test_command(monkeypatch, tmp_path, capsys):
    generator = np.random.default_rng(0)

    def pictures(count):
        labels = generator.integers(0, 3, count)
        images = generator.integers(0, 60, (count, SIDE, SIDE))
        for image, label in zip(images, labels, strict=True):
            image[8 * label : 8 * label + 8] += 120
        return images.astype(np.uint8), labels.astype(np.int64)

    data = Dataset("mnist", ("a", "b", "c"), *pictures(300), *pictures(60))
    monkeypatch.setattr("edgenet.bench.datasets.load", lambda name, folder: data)
    arguments = ["--seeds", "0", "1", "--width", "4", "--epochs", "1", "--steps", "3"]
    threads = torch.get_num_threads()
    assert command.main([*arguments, "--folder", str(tmp_path), "--json", str(tmp_path / "figures.json")]) == 0
    assert torch.get_num_threads() == threads
    rows = json.loads((tmp_path / "figures.json").read_text())
    assert [row["seed"] for row in rows] == [0, 1]
    assert all(row["identical"] and row["tests"] == 60 for row in rows)
    text = capsys.readouterr().out
    assert "mean" in text
    assert text.count(" yes") == 2
    assert len(list(tmp_path.glob("*.pth"))) == 2
