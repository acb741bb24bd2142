"""A small separable network, trained in seconds on drawn shapes, and made hard to quantize without changing it."""

from __future__ import annotations

import functools
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from edgenet.converter.importer import import_module
from edgenet.converter.passes import optimize
from edgenet.graph import Graph

CLASSES, SIZE = 6, 16


class Separable(nn.Module):
    """Stem, two depthwise and pointwise pairs, classifier. `kind`: ReLU, whose channels may be rescaled, or SiLU."""

    def __init__(self, kind: type[nn.Module]):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), kind())
        self.depthwise1 = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16), kind())
        self.pointwise1 = nn.Sequential(nn.Conv2d(16, 24, 1), kind())
        self.depthwise2 = nn.Sequential(nn.Conv2d(24, 24, 3, 2, 1, groups=24), kind())
        self.pointwise2 = nn.Sequential(nn.Conv2d(24, 24, 1), kind())
        self.classifier = nn.Linear(24, CLASSES)

    def forward(self, x):
        x = self.pointwise1(self.depthwise1(self.stem(x)))
        x = self.pointwise2(self.depthwise2(x))
        return self.classifier(x.mean((2, 3)))


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 [count, 1, 16, 16] and classes: blurred gratings of six directions under noise."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, CLASSES, count)
    angle = classes * np.pi / CLASSES + rng.normal(0, 0.1, count)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    phase, frequency = rng.uniform(0, 2 * np.pi, count), rng.uniform(2, 4, count)
    wave = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y
    drawn = np.sin(2 * np.pi * frequency[:, None, None] * wave + phase[:, None, None])
    return (drawn + rng.normal(0, 0.7, drawn.shape)).astype(np.float32)[:, None], classes


@functools.cache
def trained(smooth: bool) -> nn.Module:
    """The network after a few seconds of training, with ReLU or SiLU."""
    torch.manual_seed(0)
    module = Separable(nn.SiLU if smooth else nn.ReLU)
    optimizer = torch.optim.Adam(module.parameters(), 5e-3)
    x, classes = (torch.from_numpy(array) for array in pictures(1536, seed=1))
    for step in range(160):
        batch = torch.arange(step * 128, step * 128 + 128) % len(x)
        optimizer.zero_grad()
        F.cross_entropy(module(x[batch]), classes[batch]).backward()
        optimizer.step()
    return module.eval()


def spread(module: nn.Module, seed: int = 3) -> nn.Module:
    """Multiply the channels between the layers by 1 to 1000 and divide behind: with ReLU the same function."""
    rng = np.random.default_rng(seed)
    parts = [p for p in module.modules() if isinstance(p, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for first, second in pairwise(parts):
            factors = 10.0 ** rng.permutation(np.linspace(-3, 0, first.weight.shape[0]))
            scale = torch.from_numpy(factors.astype(np.float32))
            first.weight *= scale.reshape(-1, *[1] * (first.weight.dim() - 1))
            assert first.bias is not None
            first.bias *= scale
            if isinstance(second, nn.Conv2d) and second.groups > 1:
                second.weight /= scale.reshape(-1, 1, 1, 1)
            else:
                second.weight /= scale.reshape(1, -1, *[1] * (second.weight.dim() - 2))
    return module


def exported(module: nn.Module) -> Graph:
    """The optimised float32 graph."""
    return optimize(import_module(module, (torch.zeros(1, 1, SIZE, SIZE),)))
