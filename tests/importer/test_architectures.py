"""Building blocks of networks as people write them: imported, optimised, and compared with torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgenet.converter import zoo
from edgenet.converter.passes import optimize
from tests.importer.agreement import agreement, check
from tests.importer.modules import operations


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: type = nn.SiLU):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        act(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([conv(3, 8, act=nn.ReLU), conv(8, 16, act=nn.ReLU)])
        self.middle = conv(16, 32, act=nn.ReLU)
        self.up = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.merge = nn.ModuleList([conv(32, 16, act=nn.ReLU), conv(16, 8, act=nn.ReLU)])
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        skips = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips), strict=True):
            x = merge(torch.cat([skip, up(x)], dim=1))
        return torch.sigmoid(self.head(x))


class SplitBlock(nn.Module):
    """C2f of YOLOv8: split, chain of bottlenecks, concatenation of all stages."""

    def __init__(self, channels: int):
        super().__init__()
        self.half = channels // 2
        self.first = conv(channels, channels, 1)
        self.blocks = nn.ModuleList(nn.Sequential(conv(self.half, self.half), conv(self.half, self.half)) for _ in "12")
        self.last = conv(4 * self.half, channels, 1)

    def forward(self, x):
        parts = list(self.first(x).split((self.half, self.half), 1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Detector(nn.Module):
    """SPPF, upsampling path and heads on two scales, flattened to [N, outputs, positions]."""

    def __init__(self):
        super().__init__()
        self.stem, self.deep = conv(3, 8, 3, 2), nn.Sequential(conv(8, 16, 3, 2), SplitBlock(16))
        self.pyramid, self.merge = conv(64, 16, 1), SplitBlock(24)
        self.heads = nn.ModuleList([nn.Conv2d(24, 7, 1), nn.Conv2d(16, 7, 1)])

    def forward(self, x):
        fine = self.stem(x)
        y = self.deep(fine)
        pooled = [y]
        for _ in range(3):
            pooled.append(F.max_pool2d(pooled[-1], 5, 1, 2))
        deep = self.pyramid(torch.cat(pooled, 1))
        merged = self.merge(torch.cat([F.interpolate(deep, scale_factor=2.0, mode="nearest"), fine], 1))
        flat = [head(z).view(z.shape[0], 7, -1) for head, z in zip(self.heads, (merged, deep), strict=True)]
        boxes, scores = torch.cat(flat, 2).split((4, 3), 1)
        return torch.cat([boxes * 2, scores.sigmoid()], 1)


class Atrous(nn.Module):
    """DeepLab's pyramid: dilated branches, image pooling resized back, result resized to the input."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 8, 3, 2, act=nn.ReLU)
        self.branches = nn.ModuleList(nn.Conv2d(8, 4, 3, padding=r, dilation=r) for r in (1, 2, 3))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU())
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, x):
        y = self.stem(x)
        pooled = F.interpolate(self.pool(y), size=y.shape[-2:], mode="bilinear", align_corners=False)
        y = self.head(torch.cat([*(branch(y) for branch in self.branches), pooled], 1))
        return F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


class FaceProposals(nn.Module):
    """MTCNN's first network: PReLU, pooling with ceil_mode, two heads, softmax over channels."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 10, 3), nn.PReLU(10), nn.MaxPool2d(2, 2, ceil_mode=True), nn.Conv2d(10, 16, 3), nn.PReLU(16)
        )
        self.faces, self.boxes = nn.Conv2d(16, 2, 1), nn.Conv2d(16, 4, 1)

    def forward(self, x):
        y = self.body(x)
        return self.boxes(y), F.softmax(self.faces(y), dim=1)


class FaceRefinement(nn.Module):
    """MTCNN's second network flattens in its own order."""

    def __init__(self):
        super().__init__()
        self.conv, self.prelu, self.dense = nn.Conv2d(3, 6, 3), nn.PReLU(6), nn.Linear(6 * 5 * 6, 4)

    def forward(self, x):
        y = self.prelu(self.conv(x)).permute(0, 3, 2, 1).contiguous()
        return self.dense(y.view(y.shape[0], -1))


class ChannelAttention(nn.Module):
    """ECA: a one-dimensional convolution over the channels' means."""

    def __init__(self):
        super().__init__()
        self.conv, self.mix = nn.Conv1d(1, 1, 3, padding=1, bias=False), conv(3, 8)

    def forward(self, x):
        x = self.mix(x)
        y = self.conv(F.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose(-1, -2))
        return x * torch.sigmoid(y.transpose(-1, -2).unsqueeze(-1)).expand_as(x)


class Ghost(nn.Module):
    """GhostNet: cheap depthwise features beside the primary ones, cut to the wanted number."""

    def __init__(self):
        super().__init__()
        self.primary, self.cheap = conv(3, 6, 1, act=nn.ReLU), conv(6, 6, 3, groups=6, act=nn.ReLU)

    def forward(self, x):
        first = self.primary(x)
        return torch.cat([first, self.cheap(first)], 1)[:, :11, :, :]


class Reparameterised(nn.Module):
    """RepVGG in training form: three branches with a batch norm each."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.point = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.identity = nn.BatchNorm2d(4)

    def forward(self, x):
        return F.relu(self.dense(x) + self.point(x) + self.identity(x))


class SuperResolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 12, 3, padding=1))
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x):
        return self.shuffle(self.body(x)) + F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class CoordinateAttention(nn.Module):
    """Means over rows and over columns, joined along one axis, then split again."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Sequential(nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4), nn.Hardswish())
        self.rows, self.columns = nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 1)

    def forward(self, x):
        h, w = x.shape[2:]
        rows, columns = F.adaptive_avg_pool2d(x, (None, 1)), F.adaptive_avg_pool2d(x, (1, None)).permute(0, 1, 3, 2)
        rows, columns = torch.split(self.mix(torch.cat([rows, columns], dim=2)), [h, w], dim=2)
        return x * self.rows(rows).sigmoid() * self.columns(columns.permute(0, 1, 3, 2)).sigmoid()


class Speech(nn.Module):
    """Keyword spotting on raw sound: strided one-dimensional convolutions, separable blocks, log-softmax."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 8, 16, 4),
            nn.BatchNorm1d(8),
            nn.ReLU(),
            nn.Conv1d(8, 8, 3, padding=1, groups=8),
            nn.Conv1d(8, 12, 1),
            nn.BatchNorm1d(12),
            nn.ReLU(),
            nn.MaxPool1d(4),
        )
        self.classify = nn.Linear(12, 5)

    def forward(self, x):
        y = self.body(x)
        y = F.avg_pool1d(y, y.shape[-1]).permute(0, 2, 1)
        return F.log_softmax(self.classify(y), dim=2)


class Patches(nn.Module):
    """ConvMixer: patch embedding, depthwise residuals, GELU before the batch norm."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.GELU(), nn.BatchNorm2d(8))
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 5, groups=8, padding="same"), nn.GELU(), nn.BatchNorm2d(8))
        self.point = nn.Sequential(nn.Conv2d(8, 8, 1), nn.GELU(), nn.BatchNorm2d(8))

    def forward(self, x):
        x = self.embed(x)
        return self.point(x + self.depthwise(x)).mean([-1, -2])


NETWORKS = {
    "U-Net": (UNet, (3, 16, 12), 2),
    "detector": (Detector, (3, 16, 24), 2),
    "DeepLab": (Atrous, (3, 13, 15), 2),
    "MTCNN proposals": (FaceProposals, (3, 17, 15), 3),
    "MTCNN refinement": (FaceRefinement, (3, 8, 7), 1),
    "ECA": (ChannelAttention, (3, 7, 6), 4),
    "GhostNet": (Ghost, (3, 7, 6), 2),
    "RepVGG": (Reparameterised, (4, 7, 6), 2),
    "super resolution": (SuperResolution, (3, 6, 7), 2),
    "coordinate attention": (CoordinateAttention, (6, 5, 7), 4),
    "keyword spotting": (Speech, (1, 400), 2),
    "ConvMixer": (Patches, (3, 16, 16), 1),
}
"""Network, input without the batch, and the most permutes that its optimised graph may hold."""


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name):
    factory, shape, permutes = NETWORKS[name]
    torch.manual_seed(1)
    module = factory().eval()
    zoo.randomize_batchnorm(module, example=torch.randn(2, *shape))
    graph = optimize(check(module, shape))
    assert agreement(graph, module, (torch.randn(2, *shape),)) < 1e-4
    assert operations(graph).count("permute") <= permutes, operations(graph)
