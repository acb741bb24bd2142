"""The optimizers by name, with weight decay on weights alone and a rate of its own for a backbone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .recipe import Recipe
from .transfer import head


def build_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """torch.optim's optimizer for `recipe`, at its highest learning rate (times `backbone_rate` outside the head)."""
    groups = _groups(module, recipe)
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, recipe.rate)
        case "momentum":
            return torch.optim.SGD(groups, recipe.rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
        case "adagrad":
            return torch.optim.Adagrad(groups, recipe.rate)
        case "rmsprop":
            return torch.optim.RMSprop(groups, recipe.rate, alpha=0.9)
        case _:
            return torch.optim.Adam(groups, recipe.rate)


def _groups(module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters by (is a weight, is in the head): the two things that decide decay and rate."""
    in_head = {id(parameter) for parameter in head(module)[1].parameters()}
    sorted_in: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        sorted_in.setdefault((parameter.dim() > 1, id(parameter) in in_head), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": recipe.rate * (1.0 if last else recipe.backbone_rate),
            "weight_decay": recipe.weight_decay if weights else 0.0,
        }
        for (weights, last), parameters in sorted_in.items()
    ]
