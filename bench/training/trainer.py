"""Trains a classifier by a recipe. The same recipe, data and thread count give the same bits, resumed or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgenet.errors import InputError

from . import checkpoint, transfer
from .augmentation import augment, cutout
from .checkpoint import History
from .mixing import mix
from .normalization import Normalization, fit, scaled
from .optimizers import build_optimizer
from .recipe import Recipe
from .schedules import build_schedule

Progress = Callable[[str, int, int], None]

Examples = tuple[Tensor, Tensor]
"""Pictures uint8 [N, C, H, W] and labels int64 [N]."""

EVALUATION_BATCH = 500
REPORTED_STEPS = 10
"""Steps between two reports of progress."""


def train(
    module: nn.Module,
    examples: Examples,
    recipe: Recipe,
    validation: Examples | None = None,
    path: Path | None = None,
    progress: Progress | None = None,
) -> tuple[History, Normalization]:
    """Train `module` as it stands, in place: loss is the softmax cross-entropy with the recipe's label smoothing.

    With `path`, the run's state is written there after each epoch, and a run that is found there goes on.
    Leaves the module in eval mode. Raises InputError for a checkpoint of another recipe, network or
    data set, or a loss that is not finite.
    """
    images = examples[0]
    normalization = fit(images, recipe.normalization)
    steps = max(1, len(images) // recipe.batch)
    module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # an overload torch leaves untyped
    transfer.freeze(module, recipe.frozen)
    optimizer = build_optimizer(module, recipe)
    history = History()
    subject = checkpoint.subject(module, examples)
    if path is not None and path.is_file():
        state = checkpoint.read(path, recipe, subject)
        module.load_state_dict(state["state_dict"])
        optimizer.load_state_dict(state["optimizer"])
        history = History(**state["history"])
    schedule = build_schedule(optimizer, recipe, steps * recipe.epochs, steps * history.epochs)
    for epoch in range(history.epochs, recipe.epochs):
        with torch.random.fork_rng(devices=[]):
            loss = _epoch(module, examples, recipe, normalization, (optimizer, schedule), epoch, progress)
        history.loss.append(loss)
        history.rate.append(float(schedule.get_last_lr()[-1]))
        module.eval()
        if validation is not None:
            history.accuracy.append(accuracy(module, validation, normalization))
        if path is not None:
            checkpoint.save(path, module, optimizer, recipe, subject, history)
    module.eval()
    return history, normalization


def _epoch(
    module: nn.Module,
    examples: Examples,
    recipe: Recipe,
    normalization: Normalization,
    updates: tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler],
    epoch: int,
    progress: Progress | None,
) -> float:
    """One pass over the examples in random order (less an incomplete batch); the mean loss.

    All that is random depends on the recipe's seed and the epoch alone: an interrupted run repeats it.
    """
    images, labels = examples
    optimizer, schedule = updates
    seed = recipe.seed * 1_000_003 + epoch
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout
    transfer.freeze(module, 0 if 0 < recipe.thaw <= epoch else recipe.frozen)
    transfer.train_mode(module)
    classes = transfer.head(module)[1].weight.shape[0]
    order = torch.randperm(len(images), generator=generator)
    steps = max(1, len(images) // recipe.batch)
    losses = torch.zeros(steps)
    for step in range(steps):
        chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
        inputs = normalization(augment(scaled(images[chosen]), recipe, generator))
        if recipe.cutout:
            inputs = cutout(inputs, recipe.cutout, generator)
        targets = functional.one_hot(labels[chosen], classes).float()
        inputs, targets = mix(inputs, targets, recipe, generator)
        optimizer.zero_grad()
        scores = module(inputs.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(scores, targets, label_smoothing=recipe.label_smoothing)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses[step] = loss.detach()
        if progress and (step % REPORTED_STEPS == 0 or step + 1 == steps):
            progress(f"epoch {epoch + 1} of {recipe.epochs}", step + 1, steps)
    mean = float(losses.mean())
    if not torch.isfinite(losses).all():
        raise InputError(f"The loss of epoch {epoch + 1} is not finite. Try a smaller rate or a longer warmup.")
    return mean


@torch.inference_mode()
def accuracy(module: nn.Module, examples: Examples, normalization: Normalization) -> float:
    """Share of the examples whose highest score is that of their label."""
    images, labels = examples
    right = 0
    for first in range(0, len(images), EVALUATION_BATCH):
        part = slice(first, first + EVALUATION_BATCH)
        inputs = normalization(scaled(images[part])).contiguous(memory_format=torch.channels_last)
        right += int((module(inputs).argmax(1) == labels[part]).sum())
    return right / len(images)
