"""A small depthwise-separable network for pictures of MNIST or CIFAR size, and its twin of standard convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import conv_norm_act

BLOCKS = ((1, 1), (2, 2), (2, 1), (4, 2), (4, 1))
"""(width multiplier, stride) of each depthwise-separable block."""


def separable(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    """Depthwise 3x3 and pointwise convolution, each with batch norm and ReLU6."""
    return [
        conv_norm_act(in_channels, in_channels, 3, stride, groups=in_channels),
        conv_norm_act(in_channels, out_channels, 1),
    ]


def standard(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    """One standard 3x3 convolution with the shapes of `separable`, batch norm, ReLU6."""
    return [conv_norm_act(in_channels, out_channels, 3, stride)]


class TinySeparable(nn.Module):
    """A 3x3 stem, five blocks (`separable` or `standard`), a linear classifier. Input [N, in_channels, H, W], e.g.
    32 x 32; `stride` is the stem's."""

    def __init__(self, in_channels: int = 3, num_classes: int = 10, width: int = 32, stride: int = 1, block=separable):
        super().__init__()
        layers: list[nn.Module] = [conv_norm_act(in_channels, width, 3, stride)]
        channels = width
        for multiplier, step in BLOCKS:
            layers += block(channels, multiplier * width, step)
            channels = multiplier * width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)).flatten(1))


def tiny_separable(in_channels: int = 3, num_classes: int = 10, width: int = 32, stride: int = 1) -> TinySeparable:
    """The small network; `width` is the channels of its stem."""
    return TinySeparable(in_channels, num_classes, width, stride)


def tiny_standard(in_channels: int = 3, num_classes: int = 10, width: int = 32, stride: int = 1) -> TinySeparable:
    """The small network whose every depthwise + pointwise pair is one standard 3x3 convolution of the same shape."""
    return TinySeparable(in_channels, num_classes, width, stride, standard)
