"""Values for what no checkpoint provides: Kaiming weights, and batch-norm statistics that keep activations alive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


kaiming = partial(nn.init.kaiming_normal_, mode="fan_in", nonlinearity="relu")
"""Fills a weight with normal numbers of variance 2 / fan-in (He et al. 2015)."""


def initialize(module: nn.Module, seed: int = 0, fill: Callable[..., Any] = kaiming) -> None:
    """Weights by `fill(weight, generator=...)` and zero biases for convolutions and linear layers."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            fill(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@torch.no_grad()
def randomize_batchnorm(module: nn.Module, seed: int = 0, example: Tensor | None = None) -> nn.Module:
    """Give every batch norm random scale, shift and statistics, as after training, and return `module`.

    The statistics are those that `example` meets at each layer, perturbed per channel, so that activations neither
    vanish nor explode in depth. `example` [N, C, H, W] defaults to seeded noise of 160 x 160 pixels with the channels
    of the first convolution. Deterministic for a given `seed`; the module ends in the mode it had.
    """
    generator = torch.Generator().manual_seed(seed)
    layers = [layer for layer in module.modules() if isinstance(layer, BATCH_NORMS) and layer.track_running_stats]
    if not layers:
        return module
    if example is None:
        first = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
        example = torch.randn(2, first.in_channels, 160, 160, generator=generator)
    training = module.training
    module.eval()
    with _hooked(layers, generator):
        module(example)
    module.train(training)
    return module


@contextmanager
def _hooked(layers: Sequence[nn.Module], generator: torch.Generator) -> Iterator[None]:
    """While active, each batch norm first takes on statistics from its input."""

    def observe(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        axes = [axis for axis in range(x.dim()) if axis != 1]
        channels = x.shape[1]
        mean, variance = x.mean(axes), x.var(axes, unbiased=False)
        variance = variance.clamp_min(1e-2 * float(variance.mean()) + 1e-6)
        perturbation = torch.rand(4, channels, generator=generator)
        deviation = variance.sqrt()
        layer.running_mean.copy_(mean + (0.4 * perturbation[0] - 0.2) * deviation)
        layer.running_var.copy_(variance * (0.7 + 0.6 * perturbation[1]))
        layer.weight.copy_(0.6 + 0.8 * perturbation[2])
        layer.bias.copy_(0.8 * perturbation[3] - 0.2)

    handles = [layer.register_forward_pre_hook(observe) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
