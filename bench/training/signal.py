"""What an initialization does to a deep network: the signal in each layer, the gradient, and whether training starts.

The network is a plain chain of 3x3 convolutions and ReLUs without shortcuts. A normal distribution of deviation 0.01
shrinks the signal in every layer by the same factor: after twenty, outputs are those of the last bias, and gradients so
small that not even Adam, which divides by their size, gets anywhere. Kaiming's variance keeps both; batch norm repairs
what the initialization got wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgenet.commands.console import table

from .initialization import start
from .normalization import fit, scaled

VARIANTS = (("kaiming", False), ("xavier", False), ("gaussian", False), ("gaussian", True))
"""(initialization, batch norm) of the columns."""


@dataclass(frozen=True)
class Signal:
    """`activations`: deviation of each convolution's output before training; `gradients`: root mean square of the
    gradient of each one's weights; `first_loss` and `last_loss`: of the first step and the mean of the last five."""

    scheme: str
    batch_norm: bool
    activations: list[float]
    gradients: list[float]
    first_loss: float
    last_loss: float


def chain(depth: int, width: int, classes: int, channels: int = 1) -> nn.Sequential:
    """`depth` times 3x3 convolution (the first and third of stride 2), batch norm and ReLU; pooling; a classifier."""
    layers: list[nn.Module] = []
    for index in range(depth):
        stride = 2 if index in (0, 2) else 1
        layers += [nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def measure(
    examples: tuple[Tensor, Tensor],
    scheme: str,
    batch_norm: bool,
    depth: int = 20,
    width: int = 16,
    steps: int = 100,
    rate: float = 0.001,
    seed: int = 0,
) -> Signal:
    """The signal in a fresh chain, and its loss over `steps` steps of Adam on batches of 64 examples.

    `examples` are pictures uint8 [N, C, H, W] and labels int64 [N].
    """
    images, labels = examples
    normalization = fit(images, "channel")
    module = start(chain(depth, width, int(labels.max()) + 1, images.shape[1]), scheme, batch_norm, seed)
    generator = torch.Generator().manual_seed(seed)
    activations: list[float] = []
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    handles = [
        layer.register_forward_hook(lambda _layer, _inputs, output: activations.append(output.std().item()))
        for layer in convolutions
    ]
    gradients: list[float] = []
    losses = []
    optimizer = torch.optim.Adam(module.parameters(), rate)
    for step in range(steps):
        chosen = torch.randint(len(images), (min(64, len(images)),), generator=generator)
        optimizer.zero_grad()
        loss = functional.cross_entropy(module(normalization(scaled(images[chosen]))), labels[chosen])
        loss.backward()
        if step == 0:
            gradients = [_root_mean_square(layer.weight.grad) for layer in convolutions]
            for handle in handles:
                handle.remove()
        optimizer.step()
        losses.append(float(loss.detach()))
    last = losses[-5:]
    return Signal(scheme, batch_norm, activations, gradients, losses[0], sum(last) / len(last))


def _root_mean_square(gradient: Tensor | None) -> float:
    return 0.0 if gradient is None else float(gradient.double().square().mean().sqrt())


def text(signals: Sequence[Signal]) -> str:
    """The signals side by side: some layers, first to last, and the loss."""
    depth = len(signals[0].activations)
    shown = sorted({0, *range(4, depth, 5), depth - 1})
    headers = ["", *(f"{each.scheme}{' + batch norm' if each.batch_norm else ''}" for each in signals)]
    rows = [[f"deviation after layer {i + 1}", *(f"{each.activations[i]:.1e}" for each in signals)] for i in shown]
    rows += [[f"gradient of layer {i + 1}", *(f"{each.gradients[i]:.1e}" for each in signals)] for i in shown]
    rows += [
        ["first loss", *(f"{each.first_loss:.3f}" for each in signals)],
        ["last loss", *(f"{each.last_loss:.3f}" for each in signals)],
    ]
    return table(headers, rows)
