"""Convolutions of every kind and linear layers, against torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tests.importer.agreement import check
from tests.importer.modules import Apply, operations

CONVOLUTIONS = {
    "plain": (nn.Conv2d(3, 5, 3), (3, 8, 9)),
    "without bias": (nn.Conv2d(3, 5, 3, bias=False), (3, 8, 9)),
    "pointwise": (nn.Conv2d(4, 6, 1), (4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 4, 3, padding=1, groups=4), (4, 7, 7)),
    "depthwise with multiplier": (nn.Conv2d(4, 8, 3, padding=1, groups=4), (4, 7, 7)),
    "grouped": (nn.Conv2d(6, 4, 3, groups=2), (6, 7, 7)),
    "rectangular": (nn.Conv2d(3, 4, (3, 5), (1, 2), (1, 2)), (3, 9, 11)),
    "dilated": (nn.Conv2d(3, 4, 3, padding=2, dilation=2), (3, 9, 9)),
    "same, odd": (nn.Conv2d(3, 4, 3, padding="same"), (3, 8, 8)),
    "same, even": (nn.Conv2d(3, 4, (2, 4), padding="same"), (3, 8, 8)),
    "same, dilated": (nn.Conv2d(3, 4, 4, padding="same", dilation=2), (3, 9, 9)),
    "valid": (nn.Conv2d(3, 4, 3, padding="valid"), (3, 8, 8)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv2d(name):
    module, shape = CONVOLUTIONS[name]
    assert operations(check(module, shape)) == ["permute", "conv2d", "permute"]


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    groups=st.integers(1, 3),
    depth=st.integers(1, 3),
    filters=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.integers(1, 2),
)
def test_conv2d_of_any_geometry(groups, depth, filters, kernel, stride, padding, dilation):
    module = nn.Conv2d(groups * depth, groups * filters, kernel, stride, padding, dilation, groups)
    check(module, (groups * depth, 9, 8), batches=(2,))


@pytest.mark.parametrize("padding", [(0, 1, 0, 1), (1, 2, 3, 0)])
def test_asymmetric_padding(padding):
    check(nn.Sequential(nn.ZeroPad2d(padding), nn.Conv2d(3, 4, 3, 2)), (3, 9, 8))


CONVOLUTIONS_1D = {
    "plain": nn.Conv1d(3, 5, 3),
    "strided": nn.Conv1d(3, 6, 4, 2, 3, groups=3),
    "dilated": nn.Conv1d(3, 4, 3, padding=2, dilation=2),
    "same": nn.Conv1d(3, 4, 4, padding="same"),
    "transposed": nn.ConvTranspose1d(3, 4, 4, 2, 1, 1),
}


@pytest.mark.parametrize("name", CONVOLUTIONS_1D)
def test_conv1d(name):
    check(CONVOLUTIONS_1D[name], (3, 17))


TRANSPOSED = {
    "plain": nn.ConvTranspose2d(3, 5, 3),
    "upsampling": nn.ConvTranspose2d(3, 4, 4, 2, 1),
    "output padding": nn.ConvTranspose2d(3, 4, 3, (2, 3), 1, (1, 2)),
    "dilated": nn.ConvTranspose2d(3, 4, 3, 2, 1, 0, dilation=2),
    "grouped": nn.ConvTranspose2d(6, 4, 3, 2, 1, groups=2),
    "depthwise without bias": nn.ConvTranspose2d(3, 3, 4, 2, 1, groups=3, bias=False),
}


@pytest.mark.parametrize("name", TRANSPOSED)
def test_conv_transpose2d(name):
    module = TRANSPOSED[name]
    assert "conv_transpose2d" in operations(check(module, (module.in_channels, 5, 6)))


def test_linear():
    assert operations(check(nn.Linear(7, 5), (7,))) == ["linear"]
    assert operations(check(nn.Linear(7, 5, bias=False), (7,))) == ["linear"]


def test_linear_on_the_last_axis_of_a_sequence():
    assert operations(check(nn.Linear(7, 5), (4, 7))) == ["linear"]


def test_matrix_products_with_parameters():
    weight, bias = nn.Parameter(torch.randn(7, 5)), nn.Parameter(torch.randn(5))
    for function in (
        lambda m, x: x @ m.w,
        lambda m, x: torch.mm(x, m.w),
        lambda m, x: torch.addmm(m.b, x, m.w),
        lambda m, x: F.linear(x, m.w.t(), m.b),
    ):
        assert operations(check(Apply(function, w=weight, b=bias), (7,)))[-1] == "linear"


def test_one_layer_called_twice_keeps_one_weight():
    layer = nn.Conv2d(4, 4, 3, padding=1)
    graph = check(Apply(lambda m, x: m.layer(m.layer(x)), layer=layer), (4, 6, 6))
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    assert sum(array.ndim == 4 for array in graph.constants.values()) == 1


def test_functional_convolution_with_a_computed_weight():
    def scaled(m, x):
        return F.conv2d(x, m.weight * m.gain.view(-1, 1, 1, 1), stride=2)

    check(Apply(scaled, weight=nn.Parameter(torch.randn(4, 3, 3, 3)), gain=nn.Parameter(torch.rand(4))), (3, 8, 8))


def test_weight_normalisation():
    module = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    check(module, (3, 8, 8))
