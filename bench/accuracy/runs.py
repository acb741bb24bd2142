"""One run of the study: train a network from a seed, convert it to each precision, count what the engine gets right.

A run has a folder of its own. What is finished there is not done again, and an interrupted training goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgenet import load
from edgenet.bench import datasets
from edgenet.bench.training import Recipe
from edgenet.commands.console import write_json
from edgenet.errors import InputError
from edgenet.graph import Graph

PRECISIONS = ("float32", "int8")
STRIDE = 2
"""Stride of both twins' first layer, as in MobileNetV1."""

CALIBRATION_BATCHES, CALIBRATION_BATCH = 32, 8
"""Training pictures that int8 is calibrated on: as many batches as the quantizer keeps, of so many each."""

CURVE_IMAGES = 2000
"""Test pictures that the accuracy during training is taken from; the figures are those of all of them."""

EVALUATION_BATCH = 250

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Run:
    """What a run depends on."""

    dataset: str
    network: str
    width: int
    recipe: Recipe = field(default_factory=Recipe)
    images: int | None = None
    """Training pictures used, the first ones; None: all."""

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        some = "" if self.images is None else f"-images{self.images}"
        name = f"{self.dataset}-{self.network}-width{self.width}{some}"
        return f"{name}-epochs{self.recipe.epochs}-seed{self.recipe.seed}"

    def figures(self, folder: Path) -> Path:
        """What the finished run found."""
        return folder / self.name / "figures.json"

    def file(self, folder: Path, precision: str) -> Path:
        """The converted network."""
        return folder / self.name / f"{precision}.edgenet"


def perform(run: Run, folder: Path, data: str | None = None, progress: Progress | None = None) -> dict[str, float]:
    """The share of test pictures that PyTorch ("torch") and the engine ("float32", "int8") get right, and
    the number of those pictures ("tests").

    `folder` holds the runs' folders, `data` is the data set's. Training takes one thread. Raises InputError when the
    run's folder holds a run of other settings.
    """
    done = run.figures(folder)
    place = done.parent
    if done.is_file():
        saved = json.loads(done.read_text(encoding="utf-8"))
        if saved["run"] != asdict(run):
            raise InputError(f"{place} holds a run of other settings. Name another folder with --folder, or delete it.")
        return saved["accuracy"]
    place.mkdir(parents=True, exist_ok=True)
    found = _figures(run, place, datasets.load(run.dataset, data), progress)
    write_json(done, {"run": asdict(run), "accuracy": found})
    return found


def _figures(run: Run, place: Path, data: datasets.Dataset, progress: Progress | None) -> dict[str, float]:
    """Train, convert and evaluate."""
    import torch

    from edgenet.bench.training import accuracy, curves, start, train
    from edgenet.bench.training.normalization import scaled
    from edgenet.converter import convert, zoo

    torch.set_num_threads(1)
    module = zoo.build(
        run.network,
        in_channels=1,
        resolution=datasets.SIDE,
        num_classes=len(data.classes),
        width=run.width,
        stride=STRIDE,
    )
    start(module, run.recipe.initialization, run.recipe.batch_norm, run.recipe.seed)
    images, labels = (torch.from_numpy(part[: run.images].copy()) for part in (data.train_images, data.train_labels))
    tests, answers = torch.from_numpy(data.test_images.copy())[:, None], torch.from_numpy(data.test_labels)
    validation = (tests[:CURVE_IMAGES], answers[:CURVE_IMAGES])
    prefix = f"{run.network} {run.width}, seed {run.recipe.seed}: "

    def report(stage: str, done: int, total: int) -> None:
        if progress:
            progress(prefix + stage, done, total)

    history, normalization = train(
        module, (images[:, None], labels), run.recipe, validation, place / "training.pth", report
    )
    curves.draw({run.name: history}, place / "curves.png")
    found = {"tests": len(tests), "torch": accuracy(module, (tests, answers), normalization)}
    inputs = normalization(scaled(tests)).numpy()
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(run.recipe.seed))
    chosen = chosen[: CALIBRATION_BATCHES * CALIBRATION_BATCH]
    calibration = normalization(scaled(images[chosen][:, None])).numpy()
    for precision in PRECISIONS:
        graph = convert(
            module,
            (torch.zeros(1, 1, datasets.SIDE, datasets.SIDE),),
            precision,
            np.array_split(calibration, CALIBRATION_BATCHES) if precision == "int8" else None,
            preprocessing=normalization.preprocessing(),
            labels=data.classes,
            name=run.network,
            progress=report,
        )
        graph.save(place / f"{precision}.edgenet")
        found[precision] = engine_accuracy(graph, inputs, data.test_labels)
    return found


def engine_accuracy(graph: Graph, inputs: np.ndarray, labels: np.ndarray) -> float:
    """Share of the inputs [N, C, H, W] whose highest score from the engine is that of their label."""
    model = load(graph)
    right = 0
    for first in range(0, len(inputs), EVALUATION_BATCH):
        part: Any = slice(first, first + EVALUATION_BATCH)
        right += int((model.run(inputs[part]).argmax(1) == labels[part]).sum())
    model.close()
    return right / len(inputs)
