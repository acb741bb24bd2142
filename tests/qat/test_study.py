"""`python -m edgenet.bench qat` on made-up pictures."""

import json

import numpy as np
import torch

from edgenet.bench.datasets import SIDE, Dataset
from edgenet.bench.qat import __main__ as command
from edgenet.bench.qat import hard
from edgenet.bench.qat.study import Scores
from edgenet.converter import convert, zoo
from edgenet.converter.quantize.executor import Executor


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
    assert len(list(tmp_path.glob("*.pth"))) == 4
    assert all(row["hard"].keys() == {"float32", "int8", "per_tensor"} for row in rows)


def test_spread_channels_compute_the_same():
    torch.manual_seed(0)
    module = hard.without_clamps(zoo.build("tiny_separable", width=8)).eval()
    x = torch.randn(2, 3, 32, 32)
    graph = convert(module, (x,))
    spread = hard.spread(graph, seed=1)
    layers = [node.inputs["weight"] for node in graph.nodes if node.operation == "conv2d"]
    ratios = [np.abs(spread.constants[name]).reshape(len(spread.constants[name]), -1).max(1) for name in layers]
    assert max(found.max() / found.min() for found in ratios) > 300
    (expected,), (found,) = (Executor(each).run({graph.inputs[0]: x.numpy()}).values() for each in (graph, spread))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    for name in layers:
        rounded = hard.rounded_per_tensor(graph).constants[name]
        assert len(np.unique(np.rint(rounded / np.abs(rounded).max() * 127))) == len(np.unique(rounded)) <= 255
