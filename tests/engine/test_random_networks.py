"""Networks drawn at random, from PyTorch to the engine: float32 against PyTorch, int8 against the oracle."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from edgenet import reference
from edgenet.converter import convert
from edgenet.graph import Graph
from edgenet.model import Model

SEEDS = 40
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.LeakyReLU, nn.ELU, nn.Identity,
)  # fmt: skip
CHANNELS = (1, 3, 4, 7, 8, 12, 16, 17, 24, 32, 33, 48, 64, 72)


class Residual(nn.Module):
    """x + body(x), and an activation."""

    def __init__(self, body: nn.Module, activation: nn.Module):
        super().__init__()
        self.body, self.activation = body, activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(x + self.body(x))


class Branches(nn.Module):
    """Two branches side by side."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.first(x), self.second(x)], 1)


class Scaled(nn.Module):
    """x times a constant that differs along one axis."""

    def __init__(self, axis: int):
        super().__init__()
        self.axis = axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = x.shape[self.axis]
        return x * torch.linspace(0.5, 1.5, size).reshape(size, *[1] * (3 - self.axis))


class Excite(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 4)
        self.squeeze, self.excite = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


class Gate(nn.Module):
    """Attention over pixels (CBAM, arXiv 1807.06521): a convolution of the channels' greatest values and means."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, 3, padding=1, padding_mode="reflect")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.convolution(both))


class Drawn:
    """A network that grows by drawn blocks; `channels` are those of its output so far."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.channels = self.input_channels = self.pick(1, 3, 4)
        torch.manual_seed(seed)
        blocks: tuple[Callable[[], nn.Module], ...] = (
            self.convolution, self.depthwise, self.depthwise, self.pointwise, self.pointwise, self.separable,
            self.inverted, self.residual, self.branches, self.grouped, self.transposed, self.pooling, self.upsampling,
            lambda: Excite(self.channels), lambda: Scaled(self.pick(1, 2, 3)), Gate, self.padding,
            lambda: nn.GroupNorm(self.pick(1, self.channels), self.channels),
        )  # fmt: skip
        layers = [self.pick(*blocks)() for _ in range(self.random.randint(1, 6))]
        if self.pick(True, False):
            layers += [nn.AdaptiveAvgPool2d(self.pick(1, 2)), nn.Flatten()]
        self.module = nn.Sequential(*layers).eval()
        for part in self.module.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.running_mean, 0, 0.3)  # type: ignore[arg-type]  # tracked by default
                nn.init.uniform_(part.running_var, 0.3, 2)  # type: ignore[arg-type]  # tracked by default
                nn.init.normal_(part.weight, 1, 0.3)

    def pick(self, *choices):
        return self.random.choice(choices)

    def finished(self, convolution: nn.Module) -> nn.Module:
        """The convolution, perhaps a batch norm, and an activation."""
        self.channels = int(convolution.out_channels)  # type: ignore[arg-type]  # a convolution
        norm = nn.BatchNorm2d(self.channels) if self.pick(True, False) else nn.Identity()
        return nn.Sequential(convolution, norm, self.pick(*ACTIVATIONS)())

    def convolution(self) -> nn.Module:
        kernel, dilation = self.pick((1, 1), (2, 1), (3, 1), (3, 1), (3, 2), (5, 1), (7, 1))
        padding, stride = self.pick(0, kernel // 2 * dilation), self.pick(1, 1, 2)
        return self.finished(nn.Conv2d(self.channels, self.pick(*CHANNELS), kernel, stride, padding, dilation))

    def depthwise(self) -> nn.Module:
        kernel = self.pick((3, 3), (3, 3), (5, 5), (7, 7), (2, 2), (3, 1), (1, 3))
        padding = (kernel[0] // 2, kernel[1] // 2)
        stride = self.pick(1, 1, 2)
        return self.finished(
            nn.Conv2d(
                self.channels, self.channels, kernel, stride, padding, groups=self.channels, bias=self.pick(True, False)
            )
        )

    def pointwise(self) -> nn.Module:
        return self.finished(nn.Conv2d(self.channels, self.pick(*CHANNELS), 1, self.pick(1, 1, 1, 2)))

    def separable(self) -> nn.Module:
        return nn.Sequential(self.depthwise(), self.pointwise())

    def inverted(self) -> nn.Module:
        entry, inner = self.channels, min(6 * self.channels, 144)
        expand = self.finished(nn.Conv2d(entry, inner, 1, bias=False))
        deepen = self.finished(nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False))
        self.channels = entry
        project = nn.Sequential(nn.Conv2d(inner, entry, 1, bias=False), nn.BatchNorm2d(entry))
        return Residual(nn.Sequential(expand, deepen, Excite(inner), project), nn.Identity())

    def residual(self) -> nn.Module:
        body = self.finished(nn.Conv2d(self.channels, self.channels, 3, padding=1))
        return Residual(body, self.pick(*ACTIVATIONS)())

    def branches(self) -> nn.Module:
        entry = self.channels
        first = self.finished(nn.Conv2d(entry, self.pick(*CHANNELS), 1))
        beside = self.channels
        self.channels = entry
        second = self.pick(nn.Identity, lambda: self.finished(nn.Conv2d(entry, 8, 3, padding=1)))()
        self.channels += beside
        return Branches(first, second)

    def grouped(self) -> nn.Module:
        groups = next((n for n in (4, 3, 2) if self.channels % n == 0), 1)
        return self.finished(nn.Conv2d(self.channels, groups * self.pick(1, 5, 8), 3, padding=1, groups=groups))

    def transposed(self) -> nn.Module:
        return self.finished(nn.ConvTranspose2d(self.channels, self.pick(*CHANNELS), 2, 2))

    def pooling(self) -> nn.Module:
        return self.pick(nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.AvgPool2d(3, 1, 1))

    def padding(self) -> nn.Module:
        return self.pick(nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d, nn.ZeroPad2d)((1, 2, 0, 1))

    def upsampling(self) -> nn.Module:
        return nn.Upsample(scale_factor=2, mode=self.pick("nearest", "bilinear"))


def quantizes_only_inputs(graph: Graph) -> bool:
    """Whether int8 values depend on inputs and int8 values alone: engine and oracle agree on such to the bit."""
    made = graph.producers()
    sources = [made.get(node.inputs["x"]) for node in graph.nodes if node.operation == "quantize"]
    return all(node is None or node.operation == "permute" for node in sources)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_drawn_network_computes_what_it_should(seed: int) -> None:
    """On one or two threads, in fast and in low memory, for one image and for two.

    Conversion is forced: some of these networks give the same output for every input.
    """
    drawn = Drawn(seed)
    size = (drawn.input_channels, drawn.random.randint(16, 40), drawn.random.randint(16, 40))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(drawn.pick(1, 2), *size, generator=generator)
    samples = torch.randn(4, *size, generator=generator)
    with torch.no_grad():
        expected = drawn.module(x).numpy()
    calibration = [one[None] for one in samples.numpy()]
    real = convert(drawn.module, (x[:1],), force=True)
    quantized = convert(drawn.module, (x[:1],), precision="int8", calibration=calibration, force=True)
    oracle = reference.run(quantized, {quantized.inputs[0]: x.numpy()})[quantized.outputs[0]]
    exact = quantizes_only_inputs(quantized)
    for memory in ("fast", "low"):
        threads = drawn.pick(1, 2)
        found = Model(real, threads=threads, memory=memory).run(x.numpy())
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        found = Model(quantized, threads=threads, memory=memory).run(x.numpy())
        tolerance = 3e-6 if exact else 1e-2
        np.testing.assert_allclose(found, oracle, rtol=0, atol=tolerance * np.abs(oracle).max())
