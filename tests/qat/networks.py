"""Small networks and what tests of quantization-aware training ask of them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import edgenet
from edgenet import reference
from edgenet.converter import zoo
from edgenet.graph import Graph
from tests.quantize.networks import NETWORKS as PIECES
from tests.quantize.networks import SHAPE


class Residual(nn.Module):
    """Standard convolutions with batch norm, residual additions before an activation, a strided shortcut."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.a = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.b = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8))
        self.c = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12))
        self.shortcut = nn.Sequential(nn.Conv2d(8, 12, 1, 2, bias=False), nn.BatchNorm2d(12))
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.stem(x)
        x = F.relu(x + self.b(self.a(x)))
        x = F.relu(self.shortcut(x) + self.c(x))
        return self.head(x.mean((2, 3)))


ZOO = {
    "tiny_separable": ("tiny_separable", {"width": 8}),
    "mobilenet_v2": ("mobilenet_v2", {"width": 0.25, "num_classes": 10}),
    "mobilenet_v3": ("mobilenet_v3_small", {"num_classes": 10}),
    "concat": ("squeezenet1_1", {"num_classes": 10}),
}


def build(name: str, seed: int = 1) -> tuple[nn.Module, torch.Tensor]:
    """(network in eval mode with random weights and statistics, a batch of inputs)."""
    torch.manual_seed(seed)
    if name in ZOO:
        network, options = ZOO[name]
        module, size = zoo.build(network, **options), (3, 32, 32)
    else:
        module, size = (Residual() if name == "residual" else PIECES[name]()).eval(), SHAPE
    x = torch.randn(3, *size)
    return zoo.randomize_batchnorm(module, seed, x), x


def outputs(module: nn.Module, x: torch.Tensor) -> list[np.ndarray]:
    """What a module computes in eval mode."""
    module.eval()
    with torch.no_grad():
        found = module(x)
    return [value.numpy() for value in (found if isinstance(found, tuple) else (found,))]


def oracle(graph: Graph, x: torch.Tensor) -> list[np.ndarray]:
    """What the reference computes."""
    found = reference.run(graph, {graph.inputs[0]: x.numpy()})
    return [found[name] for name in graph.outputs]


def engine(graph: Graph, x: torch.Tensor, threads: int) -> list[np.ndarray]:
    """What the engine computes."""
    model = edgenet.load(graph, threads=threads)
    found = model.run(x.numpy())
    model.close()
    return list(found) if isinstance(found, tuple | list) else [found]


def train(module: nn.Module, x: torch.Tensor, steps: int, optimizer=None, fit: torch.Tensor | None = None) -> None:
    """Train for the labels 0, 1, 2, ..., or to give `fit`."""
    module.train()
    optimizer = optimizer or torch.optim.Adam(module.parameters(), 1e-3)
    for _ in range(steps):
        found = module(x)
        found = found[0] if isinstance(found, tuple) else found
        target = torch.arange(len(x)) if fit is None else fit
        loss = F.cross_entropy(found.flatten(1), target) if fit is None else F.mse_loss(found, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
