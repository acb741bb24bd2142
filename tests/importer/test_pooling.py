"""Pooling, means and resizing, against torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tests.importer.agreement import check
from tests.importer.modules import One, operations

POOLS = {
    "max": nn.MaxPool2d(2),
    "max overlapping": nn.MaxPool2d(3, 2, 1),
    "max ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "max ceil padded": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "max dilated": nn.MaxPool2d(2, 1, dilation=2),
    "max rectangular": nn.MaxPool2d((3, 2), (2, 1), (1, 0)),
    "average": nn.AvgPool2d(2),
    "average overlapping": nn.AvgPool2d(3, 2, 1),
    "average without padding": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "average ceil": nn.AvgPool2d(3, 2, ceil_mode=True),
    "average ceil padded": nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "average ceil without padding": nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "average with divisor": nn.AvgPool2d(3, 2, 1, divisor_override=5),
    "adaptive to one": nn.AdaptiveAvgPool2d(1),
    "adaptive to seven": nn.AdaptiveAvgPool2d(7),
    "adaptive rectangular": nn.AdaptiveAvgPool2d((3, 4)),
    "adaptive keeping an axis": nn.AdaptiveAvgPool2d((None, 1)),
    "adaptive maximum": nn.AdaptiveMaxPool2d((1, 5)),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools(name):
    check(POOLS[name], (3, 11, 10))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    average=st.booleans(),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    ceil=st.booleans(),
    include=st.booleans(),
)
def test_pools_of_any_geometry(average, kernel, stride, padding, ceil, include):
    assume(all(2 * p <= k for p, k in zip(padding, kernel, strict=True)))
    module = (
        nn.AvgPool2d(kernel, stride, padding, ceil, include)
        if average
        else nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
    )
    check(module, (2, 9, 8), batches=(2,))


POOLS_1D = {
    "max": nn.MaxPool1d(3, 2, 1),
    "max ceil": nn.MaxPool1d(3, 2, ceil_mode=True),
    "average": nn.AvgPool1d(3, 2, 1),
    "adaptive": nn.AdaptiveAvgPool1d(4),
    "adaptive to one": nn.AdaptiveAvgPool1d(1),
    "adaptive maximum": nn.AdaptiveMaxPool1d(7),
    "adaptive maximum to one": nn.AdaptiveMaxPool1d(1),
}


@pytest.mark.parametrize("name", POOLS_1D)
def test_pools_over_sequences(name):
    check(POOLS_1D[name], (3, 14))


MEANS = {
    "picture": lambda x: x.mean((2, 3)),
    "picture kept": lambda x: x.mean([-2, -1], keepdim=True),
    "one axis": lambda x: x.mean(2),
    "channels": lambda x: x.mean(1, keepdim=True),
    "channels dropped": lambda x: x.mean(1),
    "two steps": lambda x: x.mean(3).mean(2),
    "everything": lambda x: x.mean((1, 2, 3), keepdim=True),
    "sum": lambda x: x.sum((2, 3), keepdim=True) - x.sum(1, keepdim=True),
}


@pytest.mark.parametrize("name", MEANS)
def test_means(name):
    check(One(MEANS[name]), (4, 5, 6))


RESIZES = {
    "nearest by factor": nn.Upsample(scale_factor=2),
    "nearest by odd factor": nn.Upsample(scale_factor=1.7),
    "nearest to size": nn.Upsample(size=(9, 13)),
    "nearest exactly": nn.Upsample(scale_factor=3, mode="nearest-exact"),
    "nearest exactly, to size": nn.Upsample(size=(10, 6), mode="nearest-exact"),
    "bilinear by factor": nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear aligned": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "bilinear to size": nn.Upsample(size=(9, 13), mode="bilinear"),
    "bilinear smaller": nn.Upsample(size=(3, 4), mode="bilinear"),
    "upsampling layer": nn.UpsamplingBilinear2d(scale_factor=2),
}


RESIZES_1D = {
    "nearest": nn.Upsample(scale_factor=2),
    "nearest to size": nn.Upsample(size=13),
    "linear": nn.Upsample(scale_factor=2.5, mode="linear"),
    "linear to size, aligned": nn.Upsample(size=13, mode="linear", align_corners=True),
}


@pytest.mark.parametrize("name", RESIZES_1D)
def test_resizes_of_sequences(name):
    check(RESIZES_1D[name], (3, 7))


@pytest.mark.parametrize("name", RESIZES)
def test_resizes(name):
    assert "resize" in operations(check(RESIZES[name], (3, 5, 6)))


MATRICES = {
    "bicubic": nn.Upsample(scale_factor=2, mode="bicubic"),
    "bicubic, aligned": nn.Upsample(size=(9, 4), mode="bicubic", align_corners=True),
    "bicubic by fractions": One(lambda x: F.interpolate(x, scale_factor=(1.3, 0.7), mode="bicubic")),
    "bilinear without aliases": One(lambda x: F.interpolate(x, size=(3, 4), mode="bilinear", antialias=True)),
    "bicubic without aliases": One(lambda x: F.interpolate(x, size=(3, 9), mode="bicubic", antialias=True)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_resizes_by_matrices(name):
    assert operations(check(MATRICES[name], (3, 5, 6))).count("linear") == 2


WINDOWS = {
    "overlapping": lambda x: F.unfold(x, 3, padding=1),
    "strided, dilated": lambda x: F.unfold(x, (3, 2), padding=(2, 1), stride=(1, 2), dilation=(2, 1)),
    "overlapping and back": lambda x: F.fold(F.unfold(x, 3, padding=1).relu(), (7, 8), 3, padding=1),
    "along an axis": lambda x: x.unfold(2, 3, 2),
    "one after the other": lambda x: x.unfold(2, 5, 1).unfold(3, 4, 4) * 2,
    "one place": lambda x: x.unfold(-1, 1, 3),
    "back with a border": lambda x: F.fold(F.unfold(x, 3, stride=2), (7, 8), 3, stride=2),
    "dilated and back": lambda x: F.fold(F.unfold(x, 2, dilation=3, padding=1), (7, 8), 2, dilation=3, padding=1),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name):
    check(One(WINDOWS[name]), (3, 7, 8))


def test_interpolation_to_the_size_of_another_tensor():
    def forward(x):
        small = F.max_pool2d(x, 2)
        return x + F.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=False)

    check(One(forward), (3, 8, 10))


def test_interpolation_with_recomputed_scale():
    def forward(x):
        return F.interpolate(x, scale_factor=1.5, mode="bilinear", recompute_scale_factor=True)

    check(One(forward), (3, 5, 7))


def test_global_pool_flatten_needs_no_permute():
    graph = check(nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), (3, 5, 5))
    assert operations(graph) == ["permute", "conv2d", "mean", "flatten", "linear"]


def test_function_variants():
    check(One(lambda x: F.max_pool2d(x, 3) + F.avg_pool2d(x, 3) + F.adaptive_avg_pool2d(x, (3, 3))), (3, 9, 9))
    check(One(lambda x: torch.nn.functional.max_pool2d(x, [2, 2], [2, 2])), (3, 9, 9))


EXTREMES = {
    "greatest of the pixels": lambda x: x.amax((2, 3)),
    "greatest of the pixels, axes kept": lambda x: x - x.amax((2, 3), keepdim=True),
    "greatest of the channels": lambda x: x.amax(1, keepdim=True) * x,
    "greatest of rows and channels": lambda x: x.amax((1, 2)),
    "greatest of channels and columns": lambda x: x.amax((1, 3), keepdim=True) + x,
    "greatest of everything": lambda x: x.amax((1, 2, 3), keepdim=True) * x,
    "least of the channels": lambda x: x.amin(1),
    "values of a maximum": lambda x: x.max(1, keepdim=True)[0] + x,
    "values of a minimum": lambda x: x.min(dim=3).values,
    "maximum of two": lambda x: torch.maximum(x, x.transpose(2, 3)),
    "minimum of two": lambda x: torch.min(x[:, :2], x[:, 2:]),
    "maxout": lambda x: torch.max(*x.chunk(2, 1)),
    "attention over pixels": lambda x: torch.cat([x.max(1)[0].unsqueeze(1), x.mean(1).unsqueeze(1)], 1),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes(name):
    check(One(EXTREMES[name]), (4, 5, 5), tolerance=1e-6)


def test_extremes_of_features():
    check(One(lambda x: x.amax(1, keepdim=True)), (7,))
    check(One(lambda x: x.max(2)[0]), (3, 7))


def test_extremes_of_large_pictures():
    check(One(lambda x: x.amax((2, 3))), (1, 300, 310), batches=(1,))


STATISTICS = {
    "variance": lambda x: x.var(1, keepdim=True) + x,
    "variance of the pixels": lambda x: x.var((2, 3)),
    "variance of a population": lambda x: x.var((1, 2, 3), correction=0, keepdim=True) + x,
    "deviation": lambda x: x / x.std(dim=3, unbiased=False, keepdim=True),
    "length": lambda x: x.norm(dim=1),
    "length by linalg": lambda x: torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True) + x,
    "sum of magnitudes": lambda x: x.norm(p=1, dim=(1, 2), keepdim=True) + x,
    "unit length": lambda x: F.normalize(x, dim=1),
    "unit sum": lambda x: F.normalize(x, p=1, dim=3),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics(name):
    check(One(STATISTICS[name]), (4, 5, 6))


def test_embeddings_of_unit_length():
    check(nn.Sequential(nn.Linear(7, 5), One(F.normalize)), (7,))
