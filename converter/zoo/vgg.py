"""VGG-11 (Simonyan & Zisserman 2014, arXiv:1409.1556) with torchvision's state-dict keys."""

from __future__ import annotations

from torch import Tensor, nn

VGG11 = (64, None, 128, None, 256, 256, None, 512, 512, None, 512, 512, None)
"""Channels of each 3x3 convolution; None is 2x2 max pooling."""


class VGG(nn.Module):
    """Input [N, in_channels, H, W], at least 32 x 32."""

    def __init__(self, plan: tuple[int | None, ...], num_classes: int = 1000, in_channels: int = 3):
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for width in plan:
            if width is None:
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def vgg11(num_classes: int = 1000, in_channels: int = 3) -> VGG:
    """VGG-11 without batch norm."""
    return VGG(VGG11, num_classes, in_channels)
