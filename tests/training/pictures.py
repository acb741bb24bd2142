"""Classification tasks small enough for tests: where in the picture a bright square lies, and how bright it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def examples(count: int, seed: int = 0, side: int = 12) -> tuple[Tensor, Tensor]:
    """Noisy pictures uint8 [count, 1, side, side] and, as labels 0..3, the quarter that holds a bright square."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    pictures = torch.randint(0, 120, (count, 1, side, side), generator=generator)
    half = side // 2
    for index, label in enumerate(labels.tolist()):
        top, left = (label // 2) * half, (label % 2) * half
        pictures[index, 0, top + 1 : top + half - 1, left + 1 : left + half - 1] = 220
    return pictures.to(torch.uint8), labels


def shades(count: int, side: int = 12) -> tuple[Tensor, Tensor]:
    """Noisy pictures uint8 [count, 1, side, side] and, as labels 0..3, how bright they are."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (count,), generator=generator)
    noise = torch.randint(0, 60, (count, 1, side, side), generator=generator)
    return (60 * labels.view(-1, 1, 1, 1) + noise).to(torch.uint8), labels


def network(classes: int = 4) -> nn.Sequential:
    """Two convolutions with batch norm, and a linear head."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(72, classes),
    )
