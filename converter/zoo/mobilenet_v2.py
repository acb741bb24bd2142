"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) with torchvision's state-dict keys."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import conv_norm_act, make_divisible

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""(expansion, channels, repeats, stride of the first)."""


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 without activation, with a residual where the shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int):
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [conv_norm_act(in_channels, hidden, 1)]
        layers += [
            conv_norm_act(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """`width` scales every layer. Input [N, in_channels, H, W]."""

    def __init__(self, width: float = 1.0, num_classes: int = 1000, in_channels: int = 3):
        super().__init__()
        channels = make_divisible(32 * width)
        layers: list[nn.Module] = [conv_norm_act(in_channels, channels, 3, 2)]
        for expansion, stage_channels, repeats, first_stride in STAGES:
            out_channels = make_divisible(stage_channels * width)
            for index in range(repeats):
                layers.append(InvertedResidual(channels, out_channels, first_stride if index == 0 else 1, expansion))
                channels = out_channels
        last = make_divisible(1280 * max(1.0, width))
        layers.append(conv_norm_act(channels, last, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(x.flatten(1))


def mobilenet_v2(width: float = 1.0, num_classes: int = 1000, in_channels: int = 3) -> MobileNetV2:
    """MobileNetV2."""
    return MobileNetV2(width, num_classes, in_channels)
