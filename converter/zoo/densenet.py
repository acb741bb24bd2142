"""DenseNet-121 (Huang et al. 2016, arXiv:1608.06993) with torchvision's state-dict keys."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

GROWTH = 32
BOTTLENECK = 4


class DenseLayer(nn.Module):
    """Batch norm, ReLU, 1x1, batch norm, ReLU, 3x3: adds GROWTH channels."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, BOTTLENECK * GROWTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * GROWTH)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(BOTTLENECK * GROWTH, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.relu2(self.norm2(self.conv1(self.relu1(self.norm1(x))))))


class DenseBlock(nn.ModuleDict):
    """Each layer reads everything before it."""

    def __init__(self, layers: int, in_channels: int):
        super().__init__({f"denselayer{i + 1}": DenseLayer(in_channels + i * GROWTH) for i in range(layers)})

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.values():
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, 1)


class Transition(nn.Sequential):
    """Halves channels and picture."""

    def __init__(self, in_channels: int):
        layers = [
            ("norm", nn.BatchNorm2d(in_channels)),
            ("relu", nn.ReLU()),
            ("conv", nn.Conv2d(in_channels, in_channels // 2, 1, bias=False)),
            ("pool", nn.AvgPool2d(2, 2)),
        ]
        super().__init__(OrderedDict(layers))


class DenseNet(nn.Module):
    """`depths`: layers of each block. Input [N, in_channels, H, W]."""

    def __init__(self, depths: tuple[int, ...], num_classes: int = 1000, in_channels: int = 3):
        super().__init__()
        layers: list[tuple[str, nn.Module]] = [
            ("conv0", nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)),
            ("norm0", nn.BatchNorm2d(64)),
            ("relu0", nn.ReLU()),
            ("pool0", nn.MaxPool2d(3, 2, 1)),
        ]
        channels = 64
        for index, depth in enumerate(depths, 1):
            layers.append((f"denseblock{index}", DenseBlock(depth, channels)))
            channels += depth * GROWTH
            if index < len(depths):
                layers.append((f"transition{index}", Transition(channels)))
                channels //= 2
        layers.append(("norm5", nn.BatchNorm2d(channels)))
        self.features = nn.Sequential(OrderedDict(layers))
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.features(x))
        x = nn.functional.adaptive_avg_pool2d(x, (1, 1))
        return self.classifier(x.flatten(1))


def densenet121(num_classes: int = 1000, in_channels: int = 3) -> DenseNet:
    """DenseNet-121."""
    return DenseNet((6, 12, 24, 16), num_classes, in_channels)
