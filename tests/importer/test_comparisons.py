"""Comparisons, logic, and choices by masks that are computed, against PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import edgenet
from edgenet.converter import convert
from edgenet.errors import ConversionError
from tests.importer.agreement import check
from tests.importer.modules import One

COMPARISONS = {
    "greater": lambda x: (x > 0.1).float() + (x > x.mean(1, keepdim=True)) * 2.0,
    "less": lambda x: (x < 0.1).float() + (x < x.mean(1, keepdim=True)) * 2.0,
    "not less": lambda x: (x >= 0.1).float() + (x.relu() >= x) * 2.0,
    "not greater": lambda x: (x <= 0.1).float() + (x.relu() <= x) * 2.0,
    "equal": lambda x: ((x * 3).floor() == 1).float() + (x.relu() == x) * 2.0,
    "not equal": lambda x: ((x * 3).floor() != 1).float() + (x.relu() != x) * 2.0,
    "by other names": lambda x: (
        (
            torch.greater_equal(x, 0.1).float()
            + torch.less_equal(x, 0.2).float() * 2
            + torch.greater(x, x.relu()).float()
        )
        * torch.not_equal(x.relu(), 0).float()
        * torch.less(x, 1).float()
    ),
    "with zero": lambda x: (x > 0) * x + (x < 0) * 2.0,
    "with a constant": lambda x: x * (x > torch.linspace(-1, 1, 6)) + (torch.linspace(-1, 1, 6) > x) * 2.0,
    "logic": lambda x: (((x > 0) & (x < 0.5)) | ~(x < 1) ^ (x > -0.2)).float(),
    "logical functions": lambda x: torch.logical_and(x > 0, torch.logical_not(x > 0.3)) * x,
    "any and all": lambda x: (x > 0.5).any(1).float() + (x > -1).all(2).float().mean(1, keepdim=True),
}
CHOICES = {
    "where": lambda x: torch.where(x > 0, x, x * 0.1),
    "where with numbers": lambda x: torch.where(x > 0.2, 1.5, x) + torch.where(x > 0.2, x, 0.0),
    "where of two numbers": lambda x: torch.where(x > 0.2, 1.5, -2.0) + torch.where(x > 0.2, 0.0, 0.0),
    "where with a constant": lambda x: torch.where(x > 0.2, torch.arange(6.0), x),
    "broadcast": lambda x: torch.where(x.mean(1, keepdim=True) > 0, x, -x),
    "what is not chosen does not count": lambda x: torch.where(x > 0.001, x.log(), x),
    "masked fill": lambda x: x.masked_fill(x < 0, -3.0),
    "scores": lambda x: x.masked_fill(x < x.mean(3, keepdim=True), float("-inf")).softmax(-1),
    "threshold": lambda x: F.threshold(x, 0.2, -1.0) + nn.Threshold(0.1, 20)(x),
    "shrunk": lambda x: F.hardshrink(x, 0.3) + F.softshrink(x, 0.2) + F.rrelu(x, 0.1, 0.3),
    "greatest of a constant": lambda x: torch.maximum(x, torch.linspace(-1, 1, 6)),
    "least of another shape": lambda x: torch.minimum(x, x.mean((2, 3), keepdim=True)),
    "greatest of another shape": lambda x: torch.max(x, x.mean((2, 3), keepdim=True)),
    "triangles": lambda x: x.triu() + x.tril(1) * 2 + x.tril(-1) * 3,
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(name):
    check(One(COMPARISONS[name]), (4, 5, 6))


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name):
    check(One(CHOICES[name]), (4, 5, 6))


def test_equal_infinities_and_zeros_of_both_signs():
    module = One(lambda x: torch.stack([x > 1e38, x >= x.relu(), x == -x, x != x.abs()], 1).float())
    x = np.array([[0.0, -0.0, 3.4e38, -3.4e38, 1e-44, -1e-44]], np.float32)
    graph = convert(module, (torch.randn(1, 6),))
    with torch.no_grad():
        want = module(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(edgenet.Model(graph).run(x), want)


def test_int8_networks_compare_in_float32():
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), One(lambda x: torch.where(x > 0.2, x, x * 0.1)), nn.Conv2d(8, 8, 1)
    ).eval()
    images = np.random.default_rng(0).normal(0, 1, (8, 3, 12, 12)).astype(np.float32)
    graph = convert(module, (torch.zeros(1, 3, 12, 12),), precision="int8", calibration=list(images[:, None]))
    with torch.no_grad():
        want = module(torch.from_numpy(images)).numpy()
    error = edgenet.Model(graph).run(images) - want
    assert 20 * np.log10(np.linalg.norm(want) / np.linalg.norm(error)) > 25


def test_a_truth_value_is_no_output():
    with pytest.raises(ConversionError, match=r"truth value; return it with \.float"):
        convert(One(lambda x: x > 0), (torch.zeros(1, 3, 4, 4),))
