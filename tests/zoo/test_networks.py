"""Every network of the zoo: published size, output shape, options, errors."""

import itertools

import pytest
import torch

from edgenet.converter import zoo
from edgenet.converter.zoo import mobilenet_v1, tiny_separable
from edgenet.converter.zoo.registry import ENTRIES
from edgenet.errors import ConversionError

# Published parameter counts: torchvision's model pages (auxiliary classifiers left out), Keras' trainable count for
# MobileNetV1, timm's for EfficientNet-Lite.
PARAMETERS = {
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_small": 2_542_856,
    "mobilenet_v3_large": 5_483_032,
    "efficientnet_lite0": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "shufflenet_v2_x0_5": 1_366_792,
    "shufflenet_v2_x1_0": 2_278_604,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
    "mnasnet1_0": 4_383_312,
    "googlenet": 6_624_904,
    "inception_v3": 23_834_568,
    "densenet121": 7_978_856,
    "alexnet": 61_100_840,
    "vgg11": 132_863_336,
}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_published_number(name):
    with torch.device("meta"):
        assert count(ENTRIES[name].factory()) == PARAMETERS[name]


def test_every_network_but_our_own_has_a_published_number():
    assert set(zoo.names()) - set(PARAMETERS) == {"mobilenet_v1_std", "tiny_separable", "tiny_standard"}


@pytest.mark.parametrize("name", zoo.names())
def test_forward_gives_one_score_per_class(name):
    """On the meta device: shapes are computed, numbers are not."""
    with torch.device("meta"):
        module = ENTRIES[name].factory(num_classes=7).eval()
        assert module(torch.empty(2, *zoo.info(name).input_size)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "twin", "widths"),
    [
        ("mobilenet_v1", "mobilenet_v1_std", [32, *(width for width, _ in mobilenet_v1.BLOCKS)]),
        ("tiny_separable", "tiny_standard", [32, *(32 * times for times, _ in tiny_separable.BLOCKS)]),
    ],
)
def test_standard_twin_differs_by_its_blocks_only(name, twin, widths):
    """Depthwise 3x3 + batch norm + pointwise 1x1 against a standard 3x3 of the same input and output widths."""
    with torch.device("meta"):
        separable, standard = ENTRIES[name].factory(), ENTRIES[twin].factory()
    saved = sum(9 * i * o - (9 * i + 2 * i + i * o) for i, o in itertools.pairwise(widths))
    assert count(standard) - count(separable) == saved


def test_options_change_the_network_and_its_input():
    module = zoo.build("mobilenet_v1", alpha=0.25, num_classes=5, in_channels=1, resolution=64)
    assert module.input_size == (1, 64, 64)
    assert not module.training
    with torch.no_grad():
        assert module(torch.zeros(1, 1, 64, 64)).shape == (1, 5)
    described = zoo.info("mobilenet_v1", in_channels=1, resolution=112)
    assert (described.preprocessing.resize, described.preprocessing.crop, described.preprocessing.color) == (
        128,
        112,
        "L",
    )


def test_seed_decides_the_weights():
    first, again, other = (zoo.build("tiny_separable", seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_randomized_batchnorm_keeps_activations_alive():
    module = zoo.randomize_batchnorm(zoo.build("mobilenet_v3_small"), seed=1)
    with torch.no_grad():
        y = module(torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(0)))
    assert torch.isfinite(y).all()
    assert 0.05 < float(y.std()) < 100
    assert float((y[0] - y[1]).abs().max()) > 1e-3 * float(y.abs().max())


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ConversionError, match=r"no network named mobilnet.*mobilenet_v2"):
        zoo.build("mobilnet")


def test_unknown_option_lists_the_known_ones():
    with pytest.raises(ConversionError, match=r"resnet18 has no option alpha.*num_classes"):
        zoo.build("resnet18", alpha=0.5)
