"""Activations and arithmetic, against torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.importer.agreement import check
from tests.importer.modules import Apply, One, operations

ACTIVATIONS = {
    "relu": nn.ReLU(),
    "relu in place": nn.ReLU(inplace=True),
    "relu6": nn.ReLU6(),
    "relu6 in place": nn.ReLU6(inplace=True),
    "hardtanh": nn.Hardtanh(-2, 0.5),
    "leaky_relu": nn.LeakyReLU(0.2),
    "leaky_relu in place": nn.LeakyReLU(0.2, inplace=True),
    "prelu": nn.PReLU(),
    "prelu per channel": nn.PReLU(4),
    "elu": nn.ELU(0.7),
    "elu in place": nn.ELU(inplace=True),
    "celu": nn.CELU(),
    "celu with alpha": nn.CELU(0.6),
    "selu": nn.SELU(),
    "sigmoid": nn.Sigmoid(),
    "logsigmoid": nn.LogSigmoid(),
    "tanh": nn.Tanh(),
    "silu": nn.SiLU(),
    "silu in place": nn.SiLU(inplace=True),
    "hardsigmoid": nn.Hardsigmoid(),
    "hardswish": nn.Hardswish(),
    "hardswish in place": nn.Hardswish(inplace=True),
    "gelu": nn.GELU(),
    "gelu tanh": nn.GELU("tanh"),
    "softplus": nn.Softplus(),
    "softsign": nn.Softsign(),
    "mish": nn.Mish(),
    "identity": nn.Sequential(nn.Identity(), nn.ReLU()),
    "dropout": nn.Sequential(nn.Dropout(), nn.ReLU(), nn.Dropout2d(inplace=True)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_modules(name):
    check(nn.Sequential(nn.Conv2d(3, 4, 1), ACTIVATIONS[name]), (3, 5, 6))


FUNCTIONS = {
    "clamp": lambda x: x.clamp(-0.5, 1),
    "clamp min": lambda x: torch.clamp(x, min=0.1),
    "clamp max": lambda x: torch.clamp_max(x, 0.3),
    "clamp in place": lambda x: (x + 1).clamp_(0, 1.5),
    "functional relu": lambda x: F.relu(x),
    "relu method": lambda x: (x * 2).relu_(),
    "exp": lambda x: x.exp(),
    "sqrt": lambda x: (x.abs() + 1).sqrt(),
    "rsqrt": lambda x: (x.abs() + 1).rsqrt(),
    "square": lambda x: x**2 + x.square() + x.pow(2),
    "reciprocal": lambda x: 1 / (x.abs() + 1) + (x.abs() + 2).reciprocal(),
    "negative": lambda x: -x,
    "number first": lambda x: 3 - x,
    "number divided": lambda x: 2.5 / (x.abs() + 1),
    "scaled": lambda x: (x - 0.45) / 0.225,
    "manual hardswish": lambda x: x * F.relu6(x + 3) / 6,
    "manual swish": lambda x: x * torch.sigmoid(x),
    "add with alpha": lambda x: torch.add(x, x.relu(), alpha=0.5),
    "sub with alpha": lambda x: torch.sub(x, x.relu(), alpha=2),
    "in-place arithmetic": lambda x: x.mul(2).add_(1).mul_(3).sub_(0.5).div_(2),
    "augmented assignment": lambda x: _augmented(x),
    "maximum with itself": lambda x: x + x,
    "powers": lambda x: x**3 + x**4 + (x.abs() + 1) ** -0.5 + (x.abs() + 1) ** -2,
    "clamp to tensors": lambda x: torch.clamp(x, torch.tensor(-0.5), torch.tensor([1.0])),
    "logarithms": lambda x: (x.abs() + 1).log() + (x.abs() + 1).log2() + (x.abs() + 1).log10() + x.abs().log1p(),
    "exp less one": lambda x: torch.expm1(x * 3),
    "error function": lambda x: torch.erf(x * 2),
    "whole numbers": lambda x: (x * 4).floor() + (x * 4).ceil() * 10 + (x * 4).trunc() * 100,
    "remainders": lambda x: torch.remainder(x * 4, 3) + x * 4 // 3 + x * 4 % -1.5,
    "sign": lambda x: torch.sign(x) + torch.sign(x.relu()),
    "other powers": lambda x: x**5 + x**6 + (x.abs() + 0.1) ** 1.7 + (x.abs() + 0.1) ** -0.7 + 3**x,
    "interpolated": lambda x: torch.lerp(x, x.relu(), 0.3) + torch.lerp(x, x * 2, x.abs()),
    "log of a sum of exp": lambda x: x.logsumexp(1, keepdim=True) + (x * 200).logsumexp((2, 3))[:, :, None, None],
    "cosine": lambda x: F.cosine_similarity(x[:, :2], x[:, 2:], dim=1),
    "distance": lambda x: F.pairwise_distance(x, x.flip(2)) + F.pairwise_distance(x, x * 2, keepdim=True)[..., 0],
    "gated": lambda x: F.glu(x, 1),
    "gated rows": lambda x: F.glu(F.pad(x, (0, 0, 0, 1)), -2),
    "no-ops": lambda x: (x * 1).contiguous().clone().detach().to(torch.float32).float(),
}


def _augmented(x):
    y = x.relu()
    y += x
    y *= 0.5
    return y


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    check(One(FUNCTIONS[name]), (4, 5, 6))


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_arithmetic_of_every_rank(rank):
    check(One(lambda x: (x + 1) * x.sigmoid() - x / 2), (4, 5, 6, 3)[:rank])


CONSTANTS = {
    "one value": (1,),
    "channel": (4, 1, 1),
    "channel with batch axis": (1, 4, 1, 1),
    "row": (6,),
    "column": (5, 1),
    "picture": (5, 6),
    "everything": (4, 5, 6),
    "everything with batch axis": (1, 4, 5, 6),
    "channel and row": (4, 1, 6),
}


@pytest.mark.parametrize("name", CONSTANTS)
@pytest.mark.parametrize("operation", [torch.add, torch.div])
def test_broadcasting_with_constants(name, operation):
    constant = nn.Parameter(torch.rand(CONSTANTS[name]) + 0.5)
    check(Apply(lambda m, x: operation(x, m.constant), constant=constant), (4, 5, 6))


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 5, 6), (4, 5, 6), (1, 1, 6)])
def test_broadcasting_of_activations(shape):
    check(Apply(lambda m, x, y: (x - y) * (y + x)), (4, 5, 6), shape)


def test_squeeze_and_excitation():
    def forward(m, x):
        return x * torch.sigmoid(m.up(F.relu(m.down(x.mean((2, 3), keepdim=True)))))

    graph = check(Apply(forward, down=nn.Conv2d(8, 2, 1), up=nn.Conv2d(2, 8, 1)), (8, 5, 6))
    assert operations(graph).count("permute") == 2


def test_sums_of_products_and_quotients():
    def forward(m, x):
        y = torch.addcmul(m.bias, m.weight, x * x.mean(1, keepdim=True), value=0.5)
        return torch.addcdiv(y, x, m.weight) + torch.addcmul(x, m.bias, m.weight)

    parameters = {name: nn.Parameter(torch.rand(1, 3, 1, 1) + 0.5) for name in ("weight", "bias")}
    check(Apply(forward, **parameters), (3, 5, 4))


def test_arithmetic_before_an_expanded_tensor_meets_its_shape():
    def forward(m, x):
        w = torch.sigmoid(x.mean(1, keepdim=True)).expand(-1, 3, -1, -1)
        return x * (1 - 0.5 * w) + x

    check(Apply(forward), (3, 5, 4))
    check(One(lambda x: x * (x.mean((1, 2), keepdim=True).expand(-1, 3, -1, -1) + x[:, :, :, :1])), (3, 5, 4))
    check(One(lambda x: (x[:, :1, :1, :1].expand(-1, 3, -1, -1) * x).relu()), (3, 5, 4))


def test_squeeze_and_excitation_with_linear_layers_and_expand():
    def forward(m, x):
        n, c = x.shape[:2]
        s = m.up(F.relu(m.down(F.adaptive_avg_pool2d(x, 1).view(n, c)))).sigmoid().view(n, c, 1, 1)
        return x * s.expand_as(x)

    graph = check(Apply(forward, down=nn.Linear(8, 2), up=nn.Linear(2, 8)), (8, 5, 6))
    assert operations(graph).count("permute") == 2


def test_channel_scale_written_as_an_input_normalisation():
    mean, std = torch.rand(1, 3, 1, 1), torch.rand(1, 3, 1, 1) + 0.5
    module = Apply(lambda m, x: m.conv((x - m.mean) / m.std), conv=nn.Conv2d(3, 4, 3))
    module.register_buffer("mean", mean)
    module.register_buffer("std", std)
    check(module, (3, 6, 6))


def test_constants_made_from_parameters_are_told_apart():
    """One parameter in several forms, and parameters called as the exported program calls its operators."""

    def forward(m, x):
        x = torch.add(torch.tanh(x), m.add, alpha=2)
        x = torch.sub(torch.tanh(x), m.add, alpha=0.5)
        x = torch.rsub(m.add, torch.tanh(x), alpha=3)
        x = torch.addcmul(torch.tanh(x), m.add, m.other, value=0.3)
        x = torch.addcmul(torch.tanh(x), m.add, m.mul, value=0.7)
        x = torch.addcdiv(torch.tanh(x), m.add, m.mul, value=2)
        return torch.tanh(x) + m.other * 2 + m.mul

    parameters = {name: nn.Parameter(torch.rand(4, 1, 1) + 0.5) for name in ("mul", "add", "other")}
    check(Apply(forward, **parameters), (4, 5, 6))


def checkered(x):
    return (torch.arange(x.shape[-1]) + torch.arange(x.shape[-2])[:, None]) % 2 == 0


CHOICES = {
    "masked fill": lambda x: x.masked_fill(checkered(x), 2.5),
    "masked fill in place": lambda x: (x * 2).masked_fill_(checkered(x), -1.0),
    "causal scores": lambda x: x[..., :5].masked_fill(torch.ones(5, 5).triu(1) == 1, float("-inf")).softmax(-1),
    "filled with a tensor": lambda x: x.masked_fill(checkered(x), torch.tensor(0.5)),
    "nothing filled": lambda x: x.masked_fill(checkered(x) & ~checkered(x), 1.0) * 2,
    "where with two activations": lambda x: torch.where(checkered(x), x, x * 3),
    "where with a number": lambda x: torch.where(checkered(x), x, 0.5) + torch.where(checkered(x), -1.0, x),
    "where with a constant": lambda x: torch.where(checkered(x), torch.arange(6.0), x),
    "zeros": lambda x: torch.where(checkered(x), x, 0.0),
    "a channel each": lambda x: torch.where(torch.tensor([1, 0, 1])[:, None, None] > 0, x, -x),
    "in windows": lambda x: x.view(-1, 5, 6).masked_fill(checkered(x), 0.25).view(-1, 3, 5, 6),
    "in one axis with samples": lambda x: torch.where(checkered(x), x.view(-1, 5, 6), 1.0).view(-1, 3, 5, 6),
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices_by_a_constant_mask(name):
    check(One(CHOICES[name]), (3, 5, 6))
