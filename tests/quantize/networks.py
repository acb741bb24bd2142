"""Small networks that together use everything the quantizer handles, as optimised graphs with samples."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from edgenet.converter.importer import import_module
from edgenet.converter.passes import optimize
from edgenet.graph import Graph
from edgenet.ops import node_types, validate_node

SHAPE = (3, 12, 14)


class Separable(nn.Module):
    """Convolution, depthwise, pointwise, residual, mean, linear."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.expand = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.BatchNorm2d(16), nn.ReLU6())
        self.project = nn.Conv2d(16, 8, 1)
        self.classifier = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(self.depthwise(self.expand(x)))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Excited(nn.Module):
    """Squeeze and excitation, hardswish, SiLU, PReLU, GELU, constants by channel."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 6, 1)
        self.prelu = nn.PReLU(8)
        self.down, self.up = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.register_buffer("gamma", torch.linspace(0.5, 2, 8).reshape(1, 8, 1, 1))

    def forward(self, x):
        x = F.hardswish(self.a(x))
        gate = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))
        x = self.prelu(self.b(x * gate)) * self.gamma + 0.25
        return self.c(F.gelu(F.silu(x) - 0.5))


class Branches(nn.Module):
    """Concat, pools, resize, split, channel shuffle, pad, two outputs, one of them read inside as well."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(8, 8, 3)
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x):
        y = torch.cat([F.relu(self.a(x)), F.leaky_relu(self.b(x), 0.1)], 1)
        low, high = F.avg_pool2d(y, 2).chunk(2, 1)
        z = F.interpolate(torch.cat([high, low], 1), scale_factor=2.0, mode="bilinear")
        z = F.relu(self.c(F.pad(z, (1, 1, 1, 1))))
        up = F.interpolate(F.max_pool2d(y, 3, 2, 1), scale_factor=2.0, mode="nearest")
        return self.head(torch.cat([z, up], 1)), z


class Islands(nn.Module):
    """Operations without int8 arithmetic between layers that have it."""

    def __init__(self):
        super().__init__()
        self.a, self.up, self.b = nn.Conv2d(3, 6, 3), nn.ConvTranspose2d(6, 6, 2, 2), nn.Conv2d(6, 4, 3)
        self.norm = nn.LayerNorm(4)
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        x = F.relu(self.b(F.relu(self.up(F.relu(self.a(x))))))
        return self.linear(self.norm(x.permute(0, 2, 3, 1))).softmax(-1)


class Operands(nn.Module):
    """Constant operands of full size and numbers, an input that two branches read, outputs that are read inside."""

    def __init__(self):
        super().__init__()
        self.a, self.linear = nn.Conv2d(3, 4, 1), nn.Linear(4, 5)
        self.register_buffer("k", torch.randn(1, 1, *SHAPE[1:]))

    def forward(self, x):
        y = self.a(x) * self.k
        z = 1.0 - torch.sigmoid(y)
        return self.linear((z + x[:, :1]).flatten(2).transpose(1, 2)), z, y.mean((2, 3))


class Gated(nn.Module):
    """A chain of operations without int8 arithmetic between two layers."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 4, 3), nn.LocalResponseNorm(3), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        y = self.norm(self.a(x))
        return self.b(y * y.softmax(1) / 2.0 + torch.exp(-y.abs()) + torch.tanh(y))


NETWORKS = {
    "separable": Separable,
    "excited": Excited,
    "branches": Branches,
    "islands": Islands,
    "operands": Operands,
    "gated": Gated,
}


def build(name: str, seed: int = 0) -> Graph:
    """Optimised graph of a network with random weights and random batch norm statistics."""
    torch.manual_seed(seed)
    module = NETWORKS[name]().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.5, 2)
    return optimize(import_module(module, (torch.randn(1, *SHAPE),)))


def samples(count: int, seed: int = 0, batch: int = 2) -> list[np.ndarray]:
    """Smooth random inputs."""
    rng = np.random.default_rng(seed)
    noise = [rng.standard_normal((batch, 3, 5, 5)).astype(np.float32) for _ in range(count)]
    return [F.interpolate(torch.from_numpy(n), SHAPE[1:], mode="bicubic").numpy() for n in noise]


def validate(graph: Graph) -> None:
    """Every node passes the checks that a loader makes."""
    for node in graph.nodes:
        validate_node(node, node_types(graph, node), graph.tensors[node.output], graph.constants)


def sqnr(expected: np.ndarray, got: np.ndarray) -> float:
    """Signal-to-quantization-noise ratio in dB."""
    noise = np.square(expected.astype(np.float64) - got).sum()
    return float(10 * np.log10(np.square(expected.astype(np.float64)).sum() / max(noise, 1e-30)))
