"""Where training starts: Kaiming, Xavier or plain Gaussian weights, with batch norm or without it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from edgenet.converter.zoo.initialization import BATCH_NORMS, initialize, kaiming

GAUSSIAN_DEVIATION = 0.01

SCHEMES: dict[str, Callable[..., Any]] = {
    "kaiming": kaiming,
    "xavier": nn.init.xavier_normal_,
    "gaussian": partial(nn.init.normal_, std=GAUSSIAN_DEVIATION),
}
"""By name, what fills a weight: He et al. 2015 (variance 2 / fan-in), Glorot and Bengio 2010 (2 / (fan-in + fan-out)),
and a normal distribution of fixed deviation, whose signal shrinks or grows with depth."""


def start(module: nn.Module, scheme: str, batch_norm: bool, seed: int) -> nn.Module:
    """Give `module` fresh weights by `scheme`, drawn from `seed`, without its batch norms unless `batch_norm`."""
    if not batch_norm:
        remove_batchnorm(module)
    initialize(module, seed, SCHEMES[scheme])
    return module


def remove_batchnorm(module: nn.Module) -> None:
    """Replace each batch norm by an identity; the convolution or linear layer before it gets a bias of zero instead.

    "Before" is the order in which layers are registered, as it is the order they run in for networks of the zoo.
    """
    previous: Any = None
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                previous = layer
            elif isinstance(layer, BATCH_NORMS):
                setattr(parent, name, nn.Identity())
                if previous is not None and previous.bias is None:
                    previous.bias = nn.Parameter(previous.weight.new_zeros(previous.weight.shape[0]))
