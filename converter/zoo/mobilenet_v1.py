"""MobileNetV1 (Howard et al. 2017, arXiv:1704.04861), and the same network with standard convolutions.

State-dict keys are those of the widely used PyTorch port: `model.0.0.weight`, ..., `fc.weight`.
"""

from __future__ import annotations

from torch import Tensor, nn

from .layers import conv_norm_act, make_divisible

BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
"""(output channels at alpha 1, stride) of the thirteen depthwise-separable blocks."""


def separable(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Depthwise 3x3, batch norm, ReLU, pointwise, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


def standard(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """One standard 3x3 convolution with the shapes of `separable`, batch norm, ReLU."""
    return conv_norm_act(in_channels, out_channels, 3, stride, activation=nn.ReLU)


class MobileNetV1(nn.Module):
    """`alpha` scales every width; `block` is `separable` or `standard`. Input [N, in_channels, H, W]."""

    def __init__(self, alpha: float = 1.0, num_classes: int = 1000, in_channels: int = 3, block=separable):
        super().__init__()
        channels = make_divisible(32 * alpha)
        layers = [standard(in_channels, channels, 2)]
        for width, stride in BLOCKS:
            out_channels = make_divisible(width * alpha)
            layers.append(block(channels, out_channels, stride))
            channels = out_channels
        self.model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.model(x).flatten(1))


def mobilenet_v1(alpha: float = 1.0, num_classes: int = 1000, in_channels: int = 3) -> MobileNetV1:
    """Depthwise-separable MobileNetV1."""
    return MobileNetV1(alpha, num_classes, in_channels, separable)


def mobilenet_v1_std(alpha: float = 1.0, num_classes: int = 1000, in_channels: int = 3) -> MobileNetV1:
    """MobileNetV1 whose every depthwise + pointwise pair is one standard 3x3 convolution of the same shape."""
    return MobileNetV1(alpha, num_classes, in_channels, standard)
