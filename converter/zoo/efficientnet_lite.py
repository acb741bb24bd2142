"""EfficientNet-Lite0 to Lite4 with the state-dict keys of efficientnet_lite_pytorch 0.1.0.

EfficientNet (Tan & Le 2019, arXiv:1905.11946) without squeeze-and-excitation, ReLU6 instead of swish, and a stem and
head that do not scale. Padding is TensorFlow's SAME, computed for the network's nominal resolution.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from .layers import make_divisible

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""(repeats, kernel, stride of the first, expansion, channels) at width and depth 1."""

VARIANTS = {0: (1.0, 1.0, 224, 0.2), 1: (1.0, 1.1, 240, 0.2), 2: (1.1, 1.2, 260, 0.3), 3: (1.2, 1.4, 280, 0.3),
            4: (1.4, 1.8, 300, 0.3)}  # fmt: skip
"""(width, depth, resolution, dropout) by variant."""

EPSILON = 1e-3


class SameConv2d(nn.Conv2d):
    """Convolution without bias, zero-padded as TensorFlow's SAME for a square input of `size` pixels."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, size: int, groups: int = 1):
        super().__init__(in_channels, out_channels, kernel, stride, groups=groups, bias=False)
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        before, after = total // 2, total - total // 2
        self.static_padding = nn.ZeroPad2d((before, after, before, after)) if total else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.static_padding(x))


class MBConvBlock(nn.Module):
    """Inverted residual: expand 1x1, depthwise, project 1x1; a residual where the shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int, size: int):
        super().__init__()
        hidden = in_channels * expansion
        if expansion != 1:
            self._expand_conv = SameConv2d(in_channels, hidden, 1, 1, size)
            self._bn0 = nn.BatchNorm2d(hidden, eps=EPSILON)
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, size, groups=hidden)
        self._bn1 = nn.BatchNorm2d(hidden, eps=EPSILON)
        self._project_conv = SameConv2d(hidden, out_channels, 1, 1, size)
        self._bn2 = nn.BatchNorm2d(out_channels, eps=EPSILON)
        self._swish = nn.ReLU6()
        self.expand = expansion != 1
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, inputs: Tensor) -> Tensor:
        x = inputs
        if self.expand:
            x = self._swish(self._bn0(self._expand_conv(x)))
        x = self._swish(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return x + inputs if self.residual else x


class EfficientNetLite(nn.Module):
    """Variants 0 to 4. Input [N, in_channels, H, W]; the padding is exact at the variant's resolution."""

    def __init__(self, variant: int, num_classes: int = 1000, in_channels: int = 3):
        super().__init__()
        width, depth, size, dropout = VARIANTS[variant]
        self._conv_stem = SameConv2d(in_channels, 32, 3, 2, size)
        self._bn0 = nn.BatchNorm2d(32, eps=EPSILON)
        size = math.ceil(size / 2)
        self._blocks = nn.ModuleList()
        channels = 32
        for stage, (repeats, kernel, first_stride, expansion, base) in enumerate(STAGES):
            out_channels = make_divisible(base * width)
            if stage not in (0, len(STAGES) - 1):
                repeats = math.ceil(depth * repeats)
            for index in range(repeats):
                stride = first_stride if index == 0 else 1
                self._blocks.append(MBConvBlock(channels, out_channels, kernel, stride, expansion, size))
                size = math.ceil(size / stride)
                channels = out_channels
        self._conv_head = SameConv2d(channels, 1280, 1, 1, size)
        self._bn1 = nn.BatchNorm2d(1280, eps=EPSILON)
        self._avg_pooling = nn.AdaptiveAvgPool2d(1)
        self._dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(1280, num_classes)
        self._swish = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        x = self._swish(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = self._swish(self._bn1(self._conv_head(x)))
        return self._fc(self._dropout(self._avg_pooling(x).flatten(1)))
