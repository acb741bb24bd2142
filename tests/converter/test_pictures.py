"""The preprocessing of a network: what is said of it, completed and held against the network's input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgenet import Preprocessing
from edgenet.converter.importer import import_module
from edgenet.converter.pictures import complete
from edgenet.converter.zoo import info
from edgenet.errors import ConversionError
from edgenet.graph import Graph

GREY = {"mean": (0.5,), "std": (0.5,), "color": "L"}


def graph(channels: int = 3, size: int = 16, pooled: bool = False) -> Graph:
    """A network that takes inputs of one size; where they are `pooled`, of any."""
    tail = [nn.AdaptiveAvgPool2d(2)] if pooled else []
    last = nn.Linear(4 * (4 if pooled else size * size), 5)
    module = nn.Sequential(nn.Conv2d(channels, 4, 3, 1, 1), *tail, nn.Flatten(), last)
    return import_module(module, (torch.zeros(1, channels, size, size),))


def test_the_crop_is_the_input_of_the_network():
    assert complete(graph(), {"resize": 16}, None) == Preprocessing(16, 16)
    assert complete(graph(), {"interpolation": "bicubic"}, None) == Preprocessing(18, 16, "bicubic")
    assert complete(graph(size=224), {"std": (1, 1, 1)}, None) == Preprocessing(256, 224, std=(1, 1, 1))


def test_grey_pictures_have_figures_of_one_channel():
    assert complete(graph(1), {"color": "L"}, None) == Preprocessing(18, 16, **GREY)
    assert complete(graph(1), {"resize": 20}, None) == Preprocessing(20, 16, **GREY)


def test_the_rest_is_what_the_zoo_knows():
    known = info("inception_v3", resolution=16).preprocessing
    found = complete(graph(pooled=True), {"crop": 32}, known)
    assert found == Preprocessing(36, 32, "bilinear", known.mean, known.std)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"crop": 24}, "A crop of 24 gives pictures of 24x24, and the network takes 3x16x16 alone"),
        (Preprocessing(256, 224), "A crop of 224"),
        ({"color": "L"}, "color L gives 1 channel, and the network's input is 3x16x16"),
        (Preprocessing(16, 16, **GREY), "color L gives 1 channel"),
        ({"mean": (128, 128, 128)}, r"mean 128, 128, 128 and std .* are not those of pixels in 0\.\.1"),
        ({"std": (255, 255, 255)}, r"pixels in 0\.\.1"),
        ({"mean": (0.5,)}, "Preprocessing mean needs one number for each channel of RGB"),
        ({"size": 3}, "Preprocessing has no size"),
    ],
)
def test_what_does_not_fit_is_refused(given, message):
    with pytest.raises(ConversionError, match=message):
        complete(graph(), given, None)


def test_networks_without_pictures():
    with pytest.raises(ConversionError, match="input 7 is no picture"):
        complete(import_module(nn.Linear(7, 3), (torch.zeros(1, 7),)), {"resize": 8}, None)
