"""Normalisations and softmax, against torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgenet.converter import zoo
from edgenet.converter.passes import optimize
from tests.importer.agreement import agreement, check
from tests.importer.modules import Apply, One, operations


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.BatchNorm1d(5), (5,)),
        (nn.BatchNorm1d(5), (5, 7)),
        (nn.BatchNorm2d(5), (5, 7, 6)),
        (nn.BatchNorm2d(5, affine=False), (5, 7, 6)),
        (nn.BatchNorm2d(5, eps=1e-2), (5, 7, 6)),
    ],
)
def test_batch_norm(norm, shape):
    with torch.no_grad():
        norm.running_mean.copy_(torch.randn(5))
        norm.running_var.copy_(torch.rand(5) + 0.5)
        if norm.affine:
            norm.weight.copy_(torch.randn(5))
            norm.bias.copy_(torch.randn(5))
    check(norm, shape)


def test_batch_norm_of_a_program_exported_with_decompositions():
    module = zoo.randomize_batchnorm(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval())
    program = torch.export.export(module, (torch.randn(1, 3, 8, 8),)).run_decompositions()
    from edgenet.converter.importer import import_module

    graph = import_module(program)
    assert agreement(graph, module, (torch.randn(1, 3, 8, 8),)) < 1e-5


@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm_over_features(affine):
    check(nn.LayerNorm(6, elementwise_affine=affine), (4, 6))
    check(nn.LayerNorm(6, eps=1e-3), (6,))


@pytest.mark.parametrize("epsilon", [None, 1e-3])
@pytest.mark.parametrize("axes", [1, 2])
def test_norm_by_mean_squares(axes, epsilon):
    norm = nn.RMSNorm((4, 5, 6)[-axes:], eps=epsilon)
    nn.init.normal_(norm.weight)
    check(norm, (4, 5, 6))
    check(nn.RMSNorm(6, elementwise_affine=False), (6,))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_layer_norm_over_several_axes(affine, axes):
    norm = nn.LayerNorm((4, 5, 6)[-axes:], elementwise_affine=affine)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    check(norm, (4, 5, 6))


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((6,), 1), ((6,), 2), ((6, 7), 2), ((6, 7, 5), 1), ((6, 7, 5), 2), ((6, 7, 5), 6), ((6, 1, 1), 2)],
)
@pytest.mark.parametrize("affine", [True, False])
def test_group_norm(shape, groups, affine):
    norm = nn.GroupNorm(groups, 6, eps=1e-3, affine=affine)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    check(norm, shape)


@pytest.mark.parametrize("settings", [{}, {"affine": True}, {"track_running_stats": True}, {"eps": 0.1}])
def test_instance_norm(settings):
    for norm, shape in ((nn.InstanceNorm1d(6, **settings), (6, 7)), (nn.InstanceNorm2d(6, **settings), (6, 7, 5))):
        if norm.affine:
            nn.init.normal_(norm.weight)
        if norm.track_running_stats:
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.normal_(norm.running_mean)
        check(norm, shape)


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.LayerNorm((4, 6, 6))])
def test_norms_of_a_program_exported_with_decompositions(norm):
    from edgenet.converter.importer import import_module

    module = nn.Sequential(nn.Conv2d(3, 4, 3), norm).eval()
    program = torch.export.export(module, (torch.randn(1, 3, 8, 8),)).run_decompositions()
    assert agreement(import_module(program), module, (torch.randn(1, 3, 8, 8),)) < 1e-5


def test_layer_norm_over_channels_as_in_convnext():
    def forward(m, x):
        y = F.layer_norm(m.depthwise(x).permute(0, 2, 3, 1), (6,), m.norm.weight, m.norm.bias, 1e-6)
        y = m.reduce(F.gelu(m.expand(y)))
        return x + (m.gamma * y).permute(0, 3, 1, 2)

    module = Apply(
        forward,
        depthwise=nn.Conv2d(6, 6, 7, padding=3, groups=6),
        norm=nn.LayerNorm(6),
        expand=nn.Linear(6, 24),
        reduce=nn.Linear(24, 6),
        gamma=nn.Parameter(torch.randn(6)),
    )
    graph = check(module, (6, 9, 8))
    assert operations(graph).count("permute") == 2
    optimized = optimize(graph)
    assert operations(optimized) == ["permute", "conv2d", "layer_norm", "linear", "activation", "linear", "permute"]
    assert agreement(optimized, module, (torch.randn(2, 6, 9, 8),)) < 1e-4


def test_layer_norm_over_channels_written_out():
    def forward(m, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        return m.weight[:, None, None] * ((x - mean) / torch.sqrt(variance + 1e-6)) + m.bias[:, None, None]

    check(Apply(forward, weight=nn.Parameter(torch.randn(6)), bias=nn.Parameter(torch.randn(6))), (6, 5, 4))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_local_response_norm(size):
    graph = check(nn.LocalResponseNorm(size, alpha=0.1, beta=0.6, k=1.5), (7, 5, 4))
    assert operations(graph) == ["permute", "local_response_norm", "permute"]


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
@pytest.mark.parametrize("dim", [1, -1])
def test_softmax(function, dim):
    check(One(lambda x: function(x, dim)), (5,))
    check(One(lambda x: function(x, dim)), (5, 4, 3))
