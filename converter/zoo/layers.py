"""Building blocks that several families share."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def conv_norm_act(
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    activation: Callable[[], nn.Module] | None = nn.ReLU6,
    epsilon: float = 1e-5,
) -> nn.Sequential:
    """Convolution without bias ("same" padding for odd kernels), batch norm, and `activation` unless None."""
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels, eps=epsilon),
    ]
    if activation is not None:
        layers.append(activation())
    return nn.Sequential(*layers)


def make_divisible(value: float) -> int:
    """`value` rounded to a multiple of 8, never more than 10 % below it (the MobileNet rule)."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded
