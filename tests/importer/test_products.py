"""Products of two activations and attention, against torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgenet.converter.passes import optimize
from tests.importer.agreement import agreement, check
from tests.importer.modules import Apply, One, operations
from tests.importer.test_unsupported import refused

FUNCTIONS = {
    "with its transpose": lambda x: x @ x.transpose(1, 2),
    "transpose first": lambda x: x.mT @ x,
    "bmm": lambda x: torch.bmm(x, x.transpose(1, 2)),
    "of pictures": lambda x: x.view(-1, 2, 3, 8) @ x.view(-1, 2, 8, 3),
    "scaled and added": lambda x: torch.baddbmm(torch.ones(6, 6), x, x.transpose(1, 2), beta=0.5, alpha=0.25),
    "scaled alone": lambda x: torch.baddbmm(torch.empty(6, 6), x, x.transpose(1, 2), beta=0, alpha=0.25),
    "added to an activation": lambda x: torch.baddbmm(x @ x.mT, x, x.mT, beta=2),
    "one head of keys": lambda x: x.view(-1, 3, 2, 8) @ x[:, :1].transpose(1, 2).unsqueeze(1),
    "one head of queries": lambda x: x[:, :1].unsqueeze(1) @ x.view(-1, 3, 2, 8).mT,
    "one head on either side": lambda x: x.view(-1, 3, 1, 2, 8) @ x.view(-1, 1, 3, 2, 8).mT,
    "one head between others": lambda x: x.view(-1, 3, 2, 4, 2) @ x.view(-1, 3, 2, 4, 2)[:, :, :1].mT,
    "multi-query attention": lambda x: F.scaled_dot_product_attention(
        x.view(-1, 6, 2, 4).transpose(1, 2), x[:, None, :, :4], x[:, None, :, 4:]
    ),
    "matrix from the left": lambda x: torch.arange(12.0).view(2, 6) @ x,
    "matrix from the right": lambda x: x @ torch.arange(16.0).view(8, 2),
    "matrix of one sample": lambda x: x @ torch.arange(16.0).view(1, 8, 2),
    "attention": lambda x: F.scaled_dot_product_attention(x, x * 2, x + 1),
    "attention with a scale": lambda x: F.scaled_dot_product_attention(x, x, x, scale=0.1),
    "causal attention": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "attention with a bias": lambda x: F.scaled_dot_product_attention(x, x, x, torch.arange(36.0).view(6, 6)),
    "attention with a mask": lambda x: F.scaled_dot_product_attention(x, x, x, torch.ones(6, 6).tril() > 0),
    "attention with a mask of infinities": lambda x: F.scaled_dot_product_attention(
        x, x, x, torch.full((6, 6), float("-inf")).triu(1)
    ),
    "attention with nothing masked": lambda x: F.scaled_dot_product_attention(x, x, x, torch.ones(6, 6) > 0),
    "attention to what is computed": lambda x: F.scaled_dot_product_attention(x, x, x, x @ x.mT),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_products(name):
    check(One(FUNCTIONS[name]), (6, 8))


def test_nothing_is_added_where_nothing_is_masked():
    found = operations(check(One(FUNCTIONS["attention with nothing masked"]), (6, 8)))
    assert "add" not in found


def test_a_product_of_two_inputs():
    check(Apply(lambda _, x, y: x @ y), (3, 4, 5), (3, 5, 2))


EQUATIONS = {
    "heads": lambda x: torch.einsum("bhid,bhjd->bhij", x, x * 2),
    "heads behind": lambda x: torch.einsum("bihd,bjhd->bhij", x, x.abs()),
    "values": lambda x: torch.einsum("bhij,bhjd->bihd", x @ x.mT, x),
    "two axes summed": lambda x: torch.einsum("bhid,bhjd->bij", x, x + 1),
    "outer": lambda x: torch.einsum("bh,bi->bhi", x[:, :, 0, 0], x[:, 1, :, 1]),
    "no axis left": lambda x: torch.einsum("bhid,bhid->b", x, x)[:, None] * 2,
    "weights": lambda x: torch.einsum("bhid,hdo->bio", x, torch.arange(40.0).view(2, 4, 5)),
    "weights first": lambda x: torch.einsum("ji,bhid->bhjd", torch.arange(6.0).view(2, 3), x),
    "permuted": lambda x: torch.einsum("bhid->bihd", x) + 1,
    "without result": lambda x: torch.einsum("bij,jk", x[:, 0], torch.arange(8.0).view(4, 2)),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_equations(name):
    check(One(EQUATIONS[name]), (2, 3, 4))


REFUSED_EQUATIONS = {
    "diagonal": (lambda x: torch.einsum("bhii->bhi", x @ x.mT), "a letter twice"),
    "dots": (lambda x: torch.einsum("b...d,b...d->b...", x, x), "without dots"),
    "samples summed": (lambda x: torch.einsum("bhid,bhid->hid", x, x), "samples must be the first"),
    "summed alone": (lambda x: torch.einsum("bhid,bhj->bhi", x, x[..., 0]), "is summed over"),
    "weights for each head": (lambda x: torch.einsum("bhid,hd->bhi", x, torch.ones(2, 4)), "use a product instead"),
    "three operands": (lambda x: torch.einsum("bhi,bhi,bhi->bhi", x[..., 0], x[..., 1], x[..., 2]), "two operands"),
}


@pytest.mark.parametrize("name", REFUSED_EQUATIONS)
def test_equations_that_cannot_be_converted(name):
    function, message = REFUSED_EQUATIONS[name]
    assert message in refused(One(function), (2, 3, 4))


REFUSED = {
    "constant for each head": (lambda x: x.view(-1, 2, 3, 8) @ torch.ones(2, 8, 3), "one matrix for all samples"),
    "constant keys": (lambda x: F.scaled_dot_product_attention(x, torch.ones(1, 6, 8), x), "is a constant"),
    "grouped queries": (
        lambda x: F.scaled_dot_product_attention(
            x.view(-1, 6, 4, 2), x.view(-1, 6, 4, 2)[:, :2], x.view(-1, 6, 4, 2)[:, :2], enable_gqa=True
        ),
        "repeat the keys and values",
    ),
    "axes that differ": (lambda x: x.view(-1, 2, 3, 8) @ x.transpose(1, 2), "unsqueeze one"),
    "dropout": (lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5), "dropout"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_products_that_cannot_be_converted(name):
    function, message = REFUSED[name]
    assert message in refused(One(function), (6, 8))


class LinearAttention(nn.Module):
    """EfficientViT's: the products are taken in the other order, so that their cost grows with the pixels alone."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads, self.qkv = heads, nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.spread = nn.Conv2d(3 * channels, 3 * channels, 5, padding=2, groups=3 * channels, bias=False)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        n, c, h, w = x.shape
        y = self.spread(self.qkv(x)).reshape(n, self.heads, 3 * c // self.heads, h * w)
        q, k, v = y.chunk(3, 2)
        q, k = F.relu(q), F.relu(k)
        y = F.pad(v, (0, 0, 0, 1), value=1.0) @ k.transpose(-1, -2) @ q
        return self.out((y[:, :, :-1] / (y[:, :, -1:] + 1e-6)).reshape(n, c, h, w))


class AxialAttention(nn.Module):
    """Along the rows of a picture, then along its columns."""

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        x = x + F.scaled_dot_product_attention(x, x, x)
        x = x.transpose(1, 2)
        return (x + F.scaled_dot_product_attention(x, x, x)).permute(0, 3, 2, 1)


class Attention2d(nn.Module):
    """Pixels attend to pixels, heads are groups of channels: the layer of hybrid MobileNets."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads, self.qkv = heads, nn.Conv2d(channels, 3 * channels, 1)

    def forward(self, x):
        n, c, h, w = x.shape
        q, k, v = self.qkv(x).reshape(n, 3, self.heads, c // self.heads, h * w).unbind(1)
        scores = (q.transpose(-2, -1) @ k) * (c // self.heads) ** -0.5
        return x + (v @ scores.softmax(-1).transpose(-2, -1)).reshape(n, c, h, w)


BLOCKS = {
    "linear attention": (lambda: LinearAttention(16, 4), (16, 5, 6)),
    "axial attention": (AxialAttention, (8, 5, 6)),
    "attention over pixels": (lambda: Attention2d(16, 2), (16, 5, 6)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks(name):
    make, shape = BLOCKS[name]
    module = make()
    graph = optimize(check(module, shape))
    x = torch.randn(2, *shape)
    assert agreement(graph, module, (x,)) < 1e-4
