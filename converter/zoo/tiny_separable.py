"""A small depthwise-separable network for pictures of MNIST or CIFAR size."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import conv_norm_act

BLOCKS = ((1, 1), (2, 2), (2, 1), (4, 2), (4, 1))
"""(width multiplier, stride) of each depthwise-separable block."""


class TinySeparable(nn.Module):
    """A 3x3 stem, five depthwise-separable blocks, a linear classifier. Input [N, in_channels, H, W], e.g. 32 x 32."""

    def __init__(self, in_channels: int = 3, num_classes: int = 10, width: int = 32):
        super().__init__()
        layers = [conv_norm_act(in_channels, width, 3)]
        channels = width
        for multiplier, stride in BLOCKS:
            layers.append(conv_norm_act(channels, channels, 3, stride, groups=channels))
            layers.append(conv_norm_act(channels, multiplier * width, 1))
            channels = multiplier * width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)).flatten(1))


def tiny_separable(in_channels: int = 3, num_classes: int = 10, width: int = 32) -> TinySeparable:
    """The small network; `width` is the channels of its stem."""
    return TinySeparable(in_channels, num_classes, width)
