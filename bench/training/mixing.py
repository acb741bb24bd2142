"""Changes to a batch that mix pictures and labels: mixup and cutmix. Labels are probabilities [N, classes]."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .recipe import Recipe


def mix(inputs: Tensor, targets: Tensor, recipe: Recipe, generator: Generator) -> tuple[Tensor, Tensor]:
    """The recipe's mixing; where it names both, each batch gets one of them at random."""
    if recipe.mixup and recipe.cutmix:
        chosen = mixup if float(torch.rand((), generator=generator)) < 0.5 else cutmix
        return chosen(inputs, targets, recipe.mixup if chosen is mixup else recipe.cutmix, generator)
    if recipe.mixup:
        return mixup(inputs, targets, recipe.mixup, generator)
    if recipe.cutmix:
        return cutmix(inputs, targets, recipe.cutmix, generator)
    return inputs, targets


def mixup(inputs: Tensor, targets: Tensor, alpha: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Each picture and its label averaged with another of the batch (Zhang et al. 2018); the weight is one for all."""
    share = beta(alpha, generator)
    other = torch.randperm(len(inputs), generator=generator)
    return share * inputs + (1 - share) * inputs[other], share * targets + (1 - share) * targets[other]


def cutmix(inputs: Tensor, targets: Tensor, alpha: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """A rectangle of each picture replaced by another's (Yun et al. 2019); labels are mixed by the pixels of each."""
    height, width = inputs.shape[-2:]
    side = (1 - beta(alpha, generator)) ** 0.5
    bounds = []
    for length in (height, width):
        centre = int(torch.randint(0, length, (), generator=generator))
        half = side * length / 2
        bounds.append((max(0, round(centre - half)), min(length, round(centre + half))))
    (top, bottom), (left, right) = bounds
    other = torch.randperm(len(inputs), generator=generator)
    mixed = inputs.clone()
    mixed[:, :, top:bottom, left:right] = inputs[other, :, top:bottom, left:right]
    share = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, share * targets + (1 - share) * targets[other]


def beta(alpha: float, generator: Generator) -> float:
    """A number from the distribution Beta(alpha, alpha)."""
    shape = torch.full((2,), alpha, dtype=torch.float64)
    # torch.distributions takes no generator
    first, second = torch._standard_gamma(shape, generator).tolist()  # pyright: ignore[reportPrivateImportUsage]
    total = first + second
    return first / total if total > 0 else 0.5
