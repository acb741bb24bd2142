"""One seed: train in float32, quantize after training and by quantization-aware training, count what is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgenet import load
from edgenet.bench import datasets
from edgenet.bench.training import Recipe, start, train
from edgenet.bench.training.augmentation import augment
from edgenet.bench.training.normalization import Normalization, scaled
from edgenet.converter import convert, prepare_qat, zoo
from edgenet.graph import Graph

STRIDE = 2
"""Stride of the network's first layer."""

CALIBRATION_BATCHES, CALIBRATION_BATCH = 32, 8
"""Training pictures that ranges are chosen on."""

BATCH = 500
"""Test pictures run at once."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """What a seed's figures depend on: the network, its training in float32, and the fine-tuning in int8.

    `steps` batches of `batch` training pictures, Adam, learning rate from `rate` to 0 along a cosine. The target is the
    float network's probabilities, not the labels: the int8 network learns to be the float one, and nothing more.
    """

    network: str = "tiny_separable"
    width: int = 16
    recipe: Recipe = field(default_factory=Recipe)
    steps: int = 400
    batch: int = 128
    rate: float = 3e-4
    images: int | None = None
    """Training pictures used, the first ones; None: all."""


@dataclass(frozen=True)
class Scores:
    """Scores [N, classes] for the test pictures by variant: "float32", "ptq", "qat" from the engine, "module" from the
    module that was trained for int8; and the labels [N].
    """

    scores: dict[str, np.ndarray]
    labels: np.ndarray

    def figures(self) -> dict[str, Any]:
        """Percent of the pictures that are right, predictions that differ from float32's, and whether qat == module."""
        chosen = {name: found.argmax(1) for name, found in self.scores.items()}
        variants = ("float32", "ptq", "qat")
        return {
            "tests": len(self.labels),
            "accuracy": {name: 100 * float((chosen[name] == self.labels).mean()) for name in variants},
            "changed": {name: int((chosen[name] != chosen["float32"]).sum()) for name in variants[1:]},
            "identical": bool(np.array_equal(self.scores["qat"], self.scores["module"])),
        }


def perform(
    data: datasets.Dataset, settings: Settings, folder: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """The figures of the recipe's seed. With `folder`, the float network is kept there and used again."""
    images = torch.from_numpy(data.train_images[: settings.images].copy())[:, None]
    labels = torch.from_numpy(data.train_labels[: settings.images].copy())
    seed = settings.recipe.seed

    def report(stage: str, done: int, total: int) -> None:
        if progress:
            progress(f"seed {seed}: {stage}", done, total)

    module = zoo.build(
        settings.network,
        in_channels=1,
        num_classes=len(data.classes),
        resolution=datasets.SIDE,
        width=settings.width,
        stride=STRIDE,
    )
    start(module, settings.recipe.initialization, settings.recipe.batch_norm, seed)
    path = None if folder is None else folder / f"{settings.network}-{settings.width}-seed{seed}.pth"
    _, normalization = train(module, (images, labels), settings.recipe, path=path, progress=report)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(images), generator=generator)[: CALIBRATION_BATCHES * CALIBRATION_BATCH]
    calibration = list(normalization(scaled(images[chosen])).split(CALIBRATION_BATCH))
    example = (calibration[0],)
    tests = normalization(scaled(torch.from_numpy(data.test_images.copy())[:, None]))
    qat = prepare_qat(module, example, calibration)
    fine_tune(qat, module, images, normalization, settings, generator, report)
    graphs = {
        "float32": convert(module, example),
        "ptq": convert(module, example, "int8", calibration),
        "qat": convert(qat),
    }
    scores = {name: engine_scores(graph, tests.numpy()) for name, graph in graphs.items()}
    with torch.no_grad():
        scores["module"] = torch.cat([qat(part) for part in tests.split(BATCH)]).numpy()
    return {"seed": seed, "settings": asdict(settings), **Scores(scores, data.test_labels).figures()}


def fine_tune(
    student: nn.Module,
    teacher: nn.Module,
    images: Tensor,
    normalization: Normalization,
    settings: Settings,
    generator: torch.Generator,
    progress: Progress | None = None,
) -> None:
    """Train `student` to give the probabilities that `teacher` gives (cross-entropy), on augmented pictures."""
    optimizer = torch.optim.Adam(student.parameters(), settings.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    student.train()
    for step in range(settings.steps):
        chosen = torch.randint(len(images), (settings.batch,), generator=generator)
        inputs = normalization(augment(scaled(images[chosen]), settings.recipe, generator))
        with torch.no_grad():
            target = teacher(inputs).softmax(1)
        loss = functional.cross_entropy(student(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress and (step % 10 == 0 or step + 1 == settings.steps):
            progress("fine-tuning for int8", step + 1, settings.steps)
    student.eval()


def engine_scores(graph: Graph, inputs: np.ndarray) -> np.ndarray:
    """The engine's outputs [N, classes]."""
    model = load(graph)
    parts = [model.run(inputs[first : first + BATCH]) for first in range(0, len(inputs), BATCH)]
    model.close()
    return np.concatenate(parts)
