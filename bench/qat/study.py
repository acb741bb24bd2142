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
from edgenet.converter.quantize import quantize
from edgenet.graph import Graph

from . import hard

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

    module, normalization = _trained("", data, settings, images, labels, folder, report)
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
    even, _ = _trained("relu", data, settings, images, labels, folder, report)
    figures = Scores(scores, data.test_labels).figures()
    arrays = [part.numpy() for part in calibration]
    figures["hard"] = _spread_accuracy(convert(even, example), arrays, tests.numpy(), data.test_labels, seed)
    return {"seed": seed, "settings": asdict(settings), **figures}


def _trained(
    kind: str,
    data: datasets.Dataset,
    settings: Settings,
    images: Tensor,
    labels: Tensor,
    folder: Path | None,
    report: Progress,
) -> tuple[nn.Module, Normalization]:
    """The float network and its normalization; of `kind` "relu" without upper clamps."""
    recipe = settings.recipe
    module = zoo.build(
        settings.network,
        in_channels=1,
        num_classes=len(data.classes),
        resolution=datasets.SIDE,
        width=settings.width,
        stride=STRIDE,
    )
    name = f"{settings.network}-{settings.width}-seed{recipe.seed}.pth"
    if kind:
        module, name = hard.without_clamps(module), f"{kind}-{name}"
    start(module, recipe.initialization, recipe.batch_norm, recipe.seed)
    path = None if folder is None else folder / name
    _, normalization = train(module, (images, labels), recipe, path=path, progress=report)
    return module, normalization


def _spread_accuracy(
    graph: Graph, calibration: list[np.ndarray], tests: np.ndarray, labels: np.ndarray, seed: int
) -> dict[str, float]:
    """Percent right of a network with spread channels: in float32, in default int8, and in plain per-tensor int8."""
    spread = hard.spread(graph, seed)
    variants = {
        "float32": spread,
        "int8": quantize(spread, calibration),
        "per_tensor": quantize(hard.rounded_per_tensor(spread), calibration, options=hard.PLAIN),
    }
    right = {name: engine_scores(each, tests).argmax(1) == labels for name, each in variants.items()}
    return {name: 100 * float(found.mean()) for name, found in right.items()}


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
