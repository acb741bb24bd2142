"""Labels from folders, files and pairs; accuracy and its interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgenet.converter.evaluation import Accuracy, evaluation, wilson
from edgenet.dtypes import BATCH
from edgenet.errors import ConversionError
from edgenet.graph import Graph, Preprocessing, Tensor

PREPROCESSING = Preprocessing(resize=8, crop=8, mean=(0, 0, 0), std=(1, 1, 1))
LABELS = ["cat", "dog, hound", "sea lion"]


def graph(labels: list[str] | None = LABELS) -> Graph:
    """A graph of which only inputs, outputs and labels matter here."""
    tensors = {"x": Tensor("x", (BATCH, 3, 8, 8)), "y": Tensor("y", (BATCH, 3))}
    found = Graph(tensors, {}, [], ["x"], ["y"])
    found.metadata.labels = labels
    return found


def folder(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (10, 20, 30)).save(root / name)
    return root


def classes(data: object, labels: list[str] | None = LABELS) -> list[list[int]] | None:
    found = evaluation(graph(labels), data, PREPROCESSING)
    return None if found.targets is None else [target.tolist() for target in found.targets]


def test_subfolders_are_classes(tmp_path: Path) -> None:
    data = folder(tmp_path, "Dog/a.png", "cat/deep/b.png", "sea_lion/c.png", "cat/d.png")
    assert classes(data) == [[1], [0], [0], [2]]
    assert evaluation(graph(), data, PREPROCESSING).samples[0]["x"].shape == (1, 3, 8, 8)


def test_subfolders_are_numbers_or_in_order(tmp_path: Path) -> None:
    assert classes(folder(tmp_path / "a", "2/a.png", "0/b.png"), None) == [[0], [2]]
    assert classes(folder(tmp_path / "b", "n02/a.png", "n01/b.png", "n03/c.png"), None) == [[0], [1], [2]]


def test_a_labels_file(tmp_path: Path) -> None:
    data = folder(tmp_path, "a.png", "sub/b.png")
    (tmp_path / "labels.csv").write_text("a.png,dog\nsub/b.png,2\n")
    assert classes(data) == [[1], [2]]
    (tmp_path / "labels.csv").write_text("a.png,dog\nsub/b.png,2\n", encoding="utf-8-sig")
    assert classes(data) == [[1], [2]]
    (tmp_path / "labels.csv").write_text("a.png,dog\nb.png,wolf\n")
    with pytest.raises(ConversionError, match="'wolf', which is no label"):
        classes(data)
    (tmp_path / "labels.csv").write_text("a.png,dog\n")
    with pytest.raises(ConversionError, match=r"no class for b\.png"):
        classes(data)
    (tmp_path / "labels.csv").write_bytes(b"a.png,ca\xf1\n")
    with pytest.raises(ConversionError, match=r"labels\.csv is no UTF-8 text"):
        classes(data)


def test_folders_without_labels(tmp_path: Path) -> None:
    assert classes(folder(tmp_path / "a", "a.png", "cat/b.png")) is None
    assert classes(folder(tmp_path / "b", "first/a.png", "second/b.png")) is None
    with pytest.raises(ConversionError, match="subfolder second"):
        classes(folder(tmp_path / "c", "cat/a.png", "second/b.png"))


def test_pairs_and_loaders() -> None:
    x = torch.rand(5, 3, 8, 8)
    assert classes([(part, 2) for part in x]) == [[2]] * 5
    pairs = [(part, i % 3) for i, part in enumerate(x)]
    assert classes(torch.utils.data.DataLoader(pairs, batch_size=3)) == [[0, 1, 2], [0, 1]]  # type: ignore[arg-type]  # any sized sequence
    assert classes([(x, torch.rand(5))]) is None, "regression targets are no classes"
    assert classes(x) is None
    assert classes(list(x)) is None


def test_wilson_interval() -> None:
    low, high = wilson(90, 100)
    assert (round(low, 4), round(high, 4)) == (0.8256, 0.9448)
    assert wilson(0, 50)[0] == 0
    assert 0.05 < wilson(0, 50)[1] < 0.08
    assert wilson(50, 50)[1] == 1
    assert wilson(0, 0) == (0, 1)


def test_accuracy_counts_ranks_and_breaks_ties_by_number() -> None:
    accuracy = Accuracy()
    outputs = np.array([[3, 2, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0], [7, 6, 5, 4, 3, 2, 1]], np.float32)
    accuracy.add(outputs, np.array([0, 1, 5]))
    figures = accuracy.figures()
    assert (figures["samples"], figures["top1"], figures["top5"]) == (3, 1 / 3, 2 / 3)
    assert figures["top1_interval"][0] < 1 / 3 < figures["top1_interval"][1]
    with pytest.raises(ConversionError, match=r"outside 0\.\.6"):
        accuracy.add(outputs, np.array([0, 1, 7]))
    with pytest.raises(ConversionError, match="one label for each"):
        accuracy.add(outputs, np.array([0]))
