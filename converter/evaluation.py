"""Images or inputs to judge a network by, with their classes where the data tells them; top-1 and top-5 accuracy."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.errors import ConversionError
from edgenet.graph import Graph, Preprocessing

from .samples import Samples, calibration_samples, make_sample, picture_files

LIMIT = 10_000
"""Images taken from a folder to judge by."""
LABELS_FILES = ("labels.csv", "labels.txt", "labels.tsv")
"""Beside the images of a folder: a line for each image, its name and its class, with a comma or blank between."""
CONFIDENCE = 1.959964
"""Standard deviations of a two-sided interval that holds the true value with 95 % probability."""


@dataclass(frozen=True)
class Evaluation:
    """`samples`, and for each of them the class numbers of its rows (None: the data has no labels)."""

    samples: Samples
    targets: Sequence[np.ndarray] | None


def evaluation(graph: Graph, data: Any, preprocessing: Preprocessing | None) -> Evaluation:
    """`data` as samples, with labels where it has them; it takes the forms that calibration data takes.

    A folder is labelled by class subfolders or by a labels file (`LABELS_FILES`); a list or iterable by a class number,
    or an array of them, behind the inputs of each of its items. Classes are named by the graph's labels, by their
    number, or by as many subfolders as there are classes, in order of name. Raises ConversionError.
    """
    if isinstance(data, str | os.PathLike):
        folder = Path(data)
        files = picture_files(folder, LIMIT)
        classes = _folder_classes(graph, folder, files)
        targets = None if classes is None else [np.array([number]) for number in classes]
        return Evaluation(Samples(files, lambda item: make_sample(graph, item, preprocessing)), targets)
    if isinstance(data, Iterable) and not isinstance(data, list | tuple | np.ndarray | Mapping):
        data = [data] if hasattr(data, "detach") else list(data)
    samples = calibration_samples(graph, data, preprocessing)
    return Evaluation(samples, _item_classes(graph, data))


def _item_classes(graph: Graph, items: Any) -> list[np.ndarray] | None:
    """The class numbers behind the inputs of each item; None unless every item has them."""
    if not isinstance(items, list | tuple):
        return None
    found = []
    for item in items:
        if not isinstance(item, list | tuple) or len(item) != len(graph.inputs) + 1:
            return None
        last = item[-1].detach().cpu().numpy() if hasattr(item[-1], "detach") else item[-1]
        numbers = np.atleast_1d(np.asarray(last))
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            return None
        found.append(numbers)
    return found or None


def _folder_classes(graph: Graph, folder: Path, files: Sequence[Path]) -> list[int] | None:
    """The class number of each image of a folder; None where neither a labels file nor subfolders tell."""
    for name in LABELS_FILES:
        if (folder / name).is_file():
            listed = _read_labels(folder / name)
            names = [listed.get(path.relative_to(folder).as_posix(), listed.get(path.name)) for path in files]
            missing = [path.name for path, found in zip(files, names, strict=True) if found is None]
            if missing:
                raise ConversionError(f"{folder / name} names no class for {missing[0]}. Give each image a line.")
            numbers = [_class_number(graph, str(found)) for found in names]
            if None in numbers:
                bad = names[numbers.index(None)]
                raise ConversionError(f"{folder / name} names the class {bad!r}, which is no label of the network.")
            return [number for number in numbers if number is not None]
    parts = [path.relative_to(folder).parts for path in files]
    if any(len(part) < 2 for part in parts):
        return None
    every = sorted(path.name for path in folder.iterdir() if path.is_dir())
    known = {name: _class_number(graph, name) for name in every}
    if any(number is None for number in known.values()):
        if any(number is not None for number in known.values()):
            bad = next(name for name, number in known.items() if number is None)
            raise ConversionError(f"The subfolder {bad} of {folder} is no label of the network, but others are.")
        if len(every) != class_count(graph):
            return None
        known = {name: index for index, name in enumerate(every)}
    return [int(known[part[0]] or 0) for part in parts]


def _read_labels(path: Path) -> dict[str, str]:
    """Class names by image name."""
    listed = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConversionError(f"{path} is no UTF-8 text; it holds an image and its class a line.") from None
    for line in text.splitlines():
        for separator in (",", "\t", " "):
            image, found, name = line.strip().partition(separator)
            if found:
                listed[image.strip()] = name.strip()
                break
    return listed


def class_count(graph: Graph) -> int:
    """Classes of a classifier: the size of axis 1 of its first output, 0 without one."""
    shape = graph.tensors[graph.outputs[0]].shape
    return shape[1] if len(shape) > 1 else 0


def _class_number(graph: Graph, name: str) -> int | None:
    """The class that a name stands for: a label, the first of a label's synonyms, or a number."""
    labels = [label.lower() for label in graph.metadata.labels or []]
    wanted = name.lower().replace("_", " ")
    for candidates in (labels, [label.split(",")[0].strip() for label in labels]):
        for form in (name.lower(), wanted):
            if candidates.count(form) == 1:
                return candidates.index(form)
    classes = class_count(graph)
    return int(name) if name.isdecimal() and int(name) < classes else None


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share of `hits` in `total` (Wilson 1927); (0, 1) of nothing."""
    if total == 0:
        return 0.0, 1.0
    z, share = CONFIDENCE, hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (0.0 if hits == 0 else low), (1.0 if hits == total else high)


class Accuracy:
    """Counts how often the right class is the most probable one, and among the five most probable."""

    def __init__(self) -> None:
        self.total = self.first = self.fifth = 0

    def add(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """Take in outputs [N, classes] and the right classes [N]. Raises ConversionError where they do not fit."""
        if outputs.ndim != 2 or len(outputs) != len(targets):
            raise ConversionError("Accuracy needs an output of one number a class, and one label for each sample.")
        if targets.min(initial=0) < 0 or targets.max(initial=0) >= outputs.shape[1]:
            raise ConversionError(f"The labels hold classes outside 0..{outputs.shape[1] - 1}.")
        right = outputs[np.arange(len(targets)), targets][:, None]
        earlier = np.arange(outputs.shape[1]) < targets[:, None]
        before = ((outputs > right) | ((outputs == right) & earlier)).sum(1)
        self.total += len(targets)
        self.first += int((before == 0).sum())
        self.fifth += int((before < 5).sum())

    def figures(self) -> dict[str, Any]:
        """Shares with their 95 % intervals."""
        share = (lambda hits: hits / self.total) if self.total else (lambda hits: 0.0)
        return {
            "samples": self.total,
            "top1": share(self.first),
            "top1_interval": list(wilson(self.first, self.total)),
            "top5": share(self.fifth),
            "top5_interval": list(wilson(self.fifth, self.total)),
        }
