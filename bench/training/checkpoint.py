"""A training run on disk: after each epoch, all it takes to go on with the same bits. Reading runs no code."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from edgenet.errors import InputError

from .recipe import Recipe


@dataclass
class History:
    """Figures of each epoch: mean loss in training, share of validation pictures that are right, last learning rate."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return len(self.loss)


def subject(module: torch.nn.Module, examples: tuple[torch.Tensor, torch.Tensor]) -> dict[str, str]:
    """Digests of what a run trains, but for its weights, and of what it trains on."""
    shapes = [(name, tuple(tensor.shape)) for name, tensor in module.state_dict().items()]
    pictures = hashlib.sha256()
    for tensor in examples:
        pictures.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        pictures.update(tensor.contiguous().numpy().data)
    return {"network": hashlib.sha256(f"{module} {shapes}".encode()).hexdigest(), "pictures": pictures.hexdigest()}


def save(
    path: Path,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    of: dict[str, str],
    run: History,
) -> None:
    """Write the run's state; an interrupted write leaves the file of the epoch before. `of`: its `subject`."""
    content = {
        "subject": of,
        "state_dict": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "recipe": asdict(recipe),
        "history": asdict(run),
    }
    partial = path.with_name(path.name + ".partial")
    torch.save(content, partial)
    os.replace(partial, path)


def read(path: Path, recipe: Recipe, of: dict[str, str]) -> dict[str, Any]:
    """What `save` wrote. Raises InputError for another file, or one of a run of another recipe or `subject`."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises exceptions of every kind for what is no checkpoint
        raise InputError(f"{path} is not a readable checkpoint. Delete it to train anew.") from error
    if not isinstance(content, dict) or set(content) != {"subject", "state_dict", "optimizer", "recipe", "history"}:
        raise InputError(f"{path} is not a checkpoint of a training run. Name another file.")
    saved, wanted = content["recipe"] | content["subject"], asdict(recipe) | of
    differing = [key for key, value in wanted.items() if saved.get(key) != value]
    if differing:
        raise InputError(
            f"{path} was trained with another {', '.join(differing)}. Delete it, or name another file to train anew."
        )
    return content
