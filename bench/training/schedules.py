"""Annealed learning rates: a pure function of the step, so that a resumed run needs to remember nothing else."""

from __future__ import annotations

import math

import torch

from .recipe import Recipe


def factor(recipe: Recipe, step: int, steps: int) -> float:
    """What the recipe's rate is multiplied by at `step` of `steps` in all: warm-up, then the schedule."""
    warmup = min(round(recipe.warmup * steps / recipe.epochs), steps - 1)
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / (steps - warmup), 1.0)
    match recipe.schedule:
        case "step":
            return recipe.decay ** min(int(3 * progress), 2)
        case "exponential":
            return recipe.decay**progress
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case _:
            return 1.0


def build_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int, done: int = 0
) -> torch.optim.lr_scheduler.LambdaLR:
    """The scheduler for `steps` steps in all of which `done` were made."""
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(recipe, step, steps), last_epoch=done - 1)
