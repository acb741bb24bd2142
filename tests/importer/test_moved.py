"""Samples that a module moves from axis 0 or folds with other axes, against torch."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from edgenet.converter.importer import import_module
from edgenet.converter.importer.moved import distribute
from edgenet.converter.passes import optimize
from tests.importer.agreement import agreement, check
from tests.importer.modules import Apply, One, operations
from tests.importer.test_unsupported import refused

weight, bias = torch.randn(4, 8), torch.randn(6, 1)


def kernels(*shape):
    return torch.arange(1.0, 1 + math.prod(shape)).sin().view(shape)


FUNCTIONS = {
    "sequence first": lambda x: (x.transpose(0, 1) * 2).transpose(0, 1),
    "samples in the middle": lambda x: F.relu(x.permute(1, 0, 2)).permute(1, 2, 0),
    "rows as samples": lambda x: F.linear(x.reshape(-1, 8), weight).reshape(-1, 6, 4),
    "all rows of all samples": lambda x: F.linear(x.flatten(0, 1), weight).unflatten(0, (-1, 6)),
    "columns as samples": lambda x: x.transpose(1, 2).reshape(-1, 6).softmax(-1).view(-1, 8, 6),
    "halves as samples": lambda x: F.layer_norm(x.view(-1, 3, 8), (8,)).view(-1, 2, 3, 8),
    "split and joined otherwise": lambda x: (
        x.view(-1, 2, 3, 8).transpose(1, 2).reshape(-1, 2, 8).neg().reshape(-1, 6, 8)
    ),
    "sum along another axis": lambda x: (x.transpose(0, 1) + x.transpose(0, 1).abs()).transpose(0, 1),
    "constant for each row": lambda x: (x.transpose(0, 1) * bias.view(6, 1, 1)).transpose(0, 1),
    "constant before": lambda x: (1 - x.transpose(0, 1)).transpose(0, 1),
    "constant for each window": lambda x: (
        x.reshape(-1, 3, 8) + torch.arange(2.0).view(1, 2, 1, 1).expand(x.shape[0], 2, 3, 1).reshape(-1, 3, 1)
    ).view(-1, 6, 8),
    "slice": lambda x: x.transpose(0, 1)[1:5].transpose(0, 1),
    "narrow": lambda x: x.transpose(0, 1).narrow(2, 2, 3).transpose(0, 1),
    "row": lambda x: x.transpose(0, 1)[2] * 2,
    "rows": lambda x: x.transpose(0, 1).unbind(0)[-1],
    "parts": lambda x: torch.cat(x.transpose(0, 1).split([2, 3, 1])[::-1]).transpose(0, 1),
    "halves": lambda x: x.view(-1, 3, 8).chunk(2, -1)[1].reshape(-1, 6, 4),
    "joined": lambda x: torch.cat([x.transpose(0, 1), x.transpose(0, 1) + 1], 0).transpose(0, 1),
    "joined behind": lambda x: torch.cat([x.view(-1, 3, 8), x.view(-1, 3, 8) + 1], 2).view(-1, 6, 16),
    "first axis of size 1": lambda x: x.unsqueeze(0).transpose(0, 2).squeeze(2).transpose(0, 1),
    "stacked before": lambda x: x.reshape(-1, 6, 2, 4).permute(2, 0, 1, 3)[1],
    "mean of rows": lambda x: x.view(-1, 3, 8).mean(1).view(-1, 2, 8),
    "mean of all but one": lambda x: x.transpose(0, 1).mean((0, 2)).unsqueeze(1),
    "sum kept": lambda x: (x.view(-1, 3, 8) - x.view(-1, 3, 8).sum(2, keepdim=True)).view(-1, 6, 8),
    "greatest": lambda x: x.view(-1, 3, 8).amax(1).view(-1, 2, 8),
    "unit length": lambda x: F.normalize(x.view(-1, 3, 8), dim=-1).view(-1, 6, 8),
    "all of an axis": lambda x: x.transpose(0, 1)[:, :, 2:].transpose(0, 1),
    "stacked first": lambda x: torch.stack([x[:, 0], x[:, 1] * 2], 0).transpose(0, 1),
    "padded": lambda x: F.pad(x.view(-1, 3, 8), (1, 2, 0, 1)).view(-1, 2, 4, 11),
    "expanded": lambda x: x.view(-1, 3, 1, 8).expand(-1, 3, 5, 8).transpose(1, 2).reshape(-1, 2, 120),
    "expanded often": lambda x: x.view(-1, 3, 8, 1).expand(-1, 3, 8, 12).permute(0, 3, 1, 2).reshape(-1, 2, 288),
    "clamped": lambda x: x.view(-1, 3, 8).clamp(-0.5, 0.5).view(-1, 6, 8),
    "product": lambda x: (x.view(-1, 3, 8) @ x.view(-1, 8, 3)).view(-1, 6, 3),
    "product of what lies behind samples": lambda x: torch.matmul(
        x.reshape(-1, 2, 3, 8).transpose(0, 1), x.reshape(-1, 2, 8, 3).transpose(0, 1)
    ).transpose(0, 1),
    "product with a matrix": lambda x: (x.view(-1, 3, 8) @ weight.T).view(-1, 6, 4),
    "attention": lambda x: F.scaled_dot_product_attention(*[x.view(-1, 3, 8)] * 3).view(-1, 6, 8),
    "masked attention": lambda x: F.scaled_dot_product_attention(
        *[x.view(-1, 3, 8)] * 3, attn_mask=torch.arange(9.0).view(3, 3)
    ).view(-1, 6, 8),
    "windows side by side": lambda x: F.unfold(x.view(-1, 2, 4, 6), 2, stride=2),
    "windows with a rest": lambda x: F.unfold(x.view(-1, 1, 6, 8), (4, 3), stride=(4, 3)),
    "convolution of windows": lambda x: F.conv2d(x.view(-1, 2, 3, 8), kernels(4, 2, 1, 1)).view(-1, 4 * 3, 8),
    "padded convolution of windows": lambda x: F.conv2d(
        x.view(-1, 3, 2, 4, 2).transpose(1, 2).reshape(-1, 3, 4, 2), kernels(3, 1, 3, 3), torch.ones(3), 1, 1, 1, 3
    ).reshape(-1, 2, 3, 8),
    "normalized convolution of windows": lambda x: F.batch_norm(
        F.conv2d(x.view(-1, 3, 2, 4, 2).transpose(1, 2).reshape(-1, 3, 4, 2), kernels(5, 3, 1, 1)),
        torch.zeros(5),
        torch.arange(1.0, 6),
        torch.arange(5.0),
    ).reshape(-1, 10, 8),
    "strided convolution of windows": lambda x: F.conv2d(
        x.view(-1, 1, 6, 4), kernels(5, 1, 3, 2), None, (2, 3), (1, 2)
    ).reshape(x.shape[0], -1),
    "dilated convolution of windows": lambda x: F.conv2d(
        x.view(-1, 1, 6, 4), kernels(5, 1, 2, 3), None, 1, "same", (2, 1)
    ).reshape(x.shape[0], -1),
    "compared": lambda x: (x.transpose(0, 1) > 0.2).float().transpose(0, 1),
    "chosen": lambda x: torch.where(x.view(-1, 3, 8) > x.view(-1, 3, 8).mean(2, True), 1.0, x.view(-1, 3, 8)).view(
        -1, 6, 8
    ),
    "columns by number": lambda x: x.view(-1, 3, 8)[:, :, [4, 0, 1]].view(-1, 2, 9),
    "rows by number": lambda x: x.transpose(0, 1).index_select(0, torch.tensor([5, 1])).transpose(0, 1),
    "windows and back": lambda x: F.fold(F.unfold(x.view(-1, 2, 4, 6), 2, stride=2).relu(), (4, 6), 2, stride=2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_moved_samples(name):
    function = FUNCTIONS[name]
    graph = optimize(check(One(function), (6, 8)))
    x = torch.randn(4, 6, 8)
    assert agreement(graph, One(function), (x,)) < 1e-4


REFUSED = {
    "samples are summed": (lambda x: x.transpose(0, 1).sum(1), "keep samples independent"),
    "softmax over samples": (lambda x: x.transpose(0, 1).softmax(1).transpose(0, 1), "keep samples independent"),
    "linear over samples": (lambda x: F.linear(x.permute(1, 2, 0), torch.ones(3, 1)), "keep"),
    "one of the samples": (lambda x: x.transpose(0, 1)[:, 0], "keep samples independent"),
    "samples as output": (lambda x: x.transpose(0, 1) * 2, "keep samples on axis 0"),
    "windows of moved samples": (lambda x: F.unfold(x.view(-1, 6, 1, 8).transpose(0, 1), 1), "keep samples"),
    "normalized over samples": (lambda x: F.layer_norm(x.transpose(0, 1), (x.shape[0], 8)), "samples"),
    "padded with samples": (lambda x: F.pad(x.transpose(0, 1), (0, 0, 1, 0)), "samples"),
    "mean of everything": (lambda x: x.transpose(0, 1).mean() * x, "give the axes"),
    "convolution over samples": (lambda x: F.conv1d(x.transpose(0, 1), torch.ones(1, 1, 1)), "keep samples"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_mixes_samples_is_refused(name):
    function, message = REFUSED[name]
    assert message in refused(One(function), (6, 8))


def test_batch_norm_over_the_rows_of_all_samples():
    def forward(m, x):
        return m.norm(m.linear(x).flatten(0, 1)).reshape_as(m.linear(x))

    norm = nn.BatchNorm1d(5)
    norm.running_mean, norm.running_var = torch.randn(5), torch.rand(5) + 0.5
    module = Apply(forward, linear=nn.Linear(8, 5, bias=False), norm=norm)
    assert operations(optimize(check(module, (6, 8)))) == ["linear"]


def test_prelu_of_windows():
    module = Apply(lambda m, x: m.act(x.view(-1, 3, 8)).view(-1, 6, 8), act=nn.PReLU(3))
    torch.nn.init.uniform_(module.act.weight)
    check(module, (6, 8))


@pytest.mark.parametrize("first", [True, False], ids=["batch first", "sequence first"])
@pytest.mark.parametrize("weights", [True, False])
def test_multi_head_attention(first, weights):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 4, batch_first=first)

        def forward(self, x):
            x = x if first else x.transpose(0, 1)
            y = self.attention(x, x * 2, x + 1, need_weights=weights)[0]
            return y if first else y.transpose(0, 1)

    check(Block(), (7, 16))


def test_transformer_layers():
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 2, 24, batch_first=True), 2, enable_nested_tensor=False
    )
    check(encoder, (5, 16))
    check(nn.TransformerDecoderLayer(16, 2, 24, batch_first=True, norm_first=True), (5, 16), (7, 16))


@pytest.mark.parametrize("batch", [1, 2])
def test_a_program_with_a_fixed_number_of_samples(batch):
    module = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True).eval()
    x = torch.randn(batch, 5, 16)
    graph = import_module(torch.export.export(module, (x,)))  # type: ignore[arg-type]  # a program
    assert agreement(graph, module, (x,)) < 1e-4


class Windows(nn.Module):
    """Swin's attention: inside windows, which are moved by half a window and masked where they wrap around."""

    def __init__(self, channels: int, heads: int, size: int):
        super().__init__()
        self.heads, self.size = heads, size
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.randn(heads, size**2, size**2))

    def forward(self, x):
        n, h, w, c = x.shape
        s, count = self.size, (h // self.size) * (w // self.size)
        mask = (torch.arange(count * s**4) % 7 == 0).view(count, s**2, s**2) * -100.0
        x = torch.roll(x, (-s // 2, -s // 2), (1, 2))
        y = x.view(n, h // s, s, w // s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, s * s, c)
        q, k, v = self.qkv(y).reshape(-1, s * s, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(c / self.heads) + self.bias
        scores = scores.view(n, count, self.heads, s * s, s * s) + mask[None, :, None]
        y = scores.view(-1, self.heads, s * s, s * s).softmax(-1) @ v
        y = self.out(y.transpose(1, 2).reshape(-1, s * s, c))
        y = y.view(n, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return torch.roll(y, (s // 2, s // 2), (1, 2))


class Patches(nn.Module):
    """MobileViT's: the pixels at the same place of every patch attend to each other."""

    def __init__(self, channels: int, patch: int):
        super().__init__()
        self.patch, self.conv = patch, nn.Conv2d(3, channels, 3, padding=1)
        self.layer = nn.TransformerEncoderLayer(channels, 2, 2 * channels, batch_first=True)

    def forward(self, x):
        x, p = self.conv(x), self.patch
        n, c, h, w = x.shape
        y = x.reshape(n * c * h // p, p, w // p, p).transpose(1, 2).reshape(n, c, h * w // p**2, p * p)
        y = self.layer(y.transpose(1, 3).reshape(n * p * p, h * w // p**2, c))
        y = y.contiguous().view(n, p * p, h * w // p**2, c).transpose(1, 3)
        y = y.reshape(n * c * h // p, w // p, p, p).transpose(1, 2)
        return x + y.reshape(n, c, h, w)


@pytest.mark.parametrize(
    ("module", "shape"), [(Windows(16, 2, 4), (8, 12, 16)), (Patches(16, 2), (3, 8, 6))], ids=["windows", "patches"]
)
def test_windows_and_patches_as_samples(module, shape):
    graph = optimize(check(module, shape))
    assert agreement(graph, module, (torch.randn(2, *shape),)) < 1e-4


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_pieces_are_those_of_a_row_major_reshape(data):
    """They make up every size of the target, keep the order of the axes, and use all of each."""
    sizes = data.draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=3))
    axes = [(axis, size) for axis, size in enumerate(sizes, start=1)]
    axes.insert(data.draw(st.integers(0, len(sizes))), (0, 7))
    prime = {1: [1], 2: [2], 3: [3], 4: [2, 2], 6: [2, 3], 7: [7]}
    factors = [factor for _, size in axes for factor in prime[size]]
    borders = [0, *sorted(data.draw(st.lists(st.integers(0, len(factors)), max_size=4))), len(factors)]
    target = [math.prod(factors[first:last]) for first, last in pairwise(borders)]
    pieces = distribute(axes, target)
    if pieces is None:
        return
    assert [math.prod(size for _, size in group) for group in pieces] == target
    flat = [piece for group in pieces for piece in group]
    assert [axis for axis, _ in flat] == sorted((axis for axis, _ in flat), key=[axis for axis, _ in axes].index)
    for axis, size in axes:
        assert math.prod(s for a, s in flat if a == axis) == size
