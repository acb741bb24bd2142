"""Settings: optimizers, schedules, normalization, initialization, batch norm on and off, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from edgenet.bench.training import Recipe, signal, start
from edgenet.bench.training.initialization import remove_batchnorm
from edgenet.bench.training.normalization import fit, scaled
from edgenet.bench.training.optimizers import build_optimizer
from edgenet.bench.training.recipe import INITIALIZATIONS, OPTIMIZERS
from edgenet.bench.training.schedules import build_schedule, factor
from edgenet.converter import zoo
from edgenet.errors import InputError

from .pictures import network, shades


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "lion"}, "optimizer must be one of sgd, momentum"),
        ({"initialization": "zeros"}, "initialization must be one of"),
        ({"epochs": 0}, "epochs must lie between"),
        ({"rate": 0.0}, "rate must lie between"),
        ({"label_smoothing": 1.0}, "label_smoothing must lie between"),
        ({"rate": math.nan}, "rate must lie between"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Recipe(**settings)


def one_step(optimizer: str, gradients: list[float], **settings: float) -> list[float]:
    """A weight's value after each step with these gradients, from 1 on."""
    module = nn.Sequential(nn.Linear(1, 1, bias=False))
    nn.init.ones_(module[0].weight)
    built = build_optimizer(module, Recipe(optimizer=optimizer, rate=0.1, weight_decay=0.0, **settings))
    values = []
    for gradient in gradients:
        module[0].weight.grad = torch.full((1, 1), gradient)
        built.step()
        values.append(module[0].weight.item())
    return values


def test_optimizers_step_by_their_formulas():
    assert one_step("sgd", [2.0, 1.0]) == pytest.approx([0.8, 0.7])
    # Nesterov: v = 0.9 v + g, step 0.1 (g + 0.9 v)
    assert one_step("momentum", [2.0, 1.0], momentum=0.9) == pytest.approx([1 - 0.38, 1 - 0.38 - 0.352])
    assert one_step("adagrad", [2.0, 1.0]) == pytest.approx([0.9, 0.9 - 0.1 / math.sqrt(5)], rel=1e-5)
    mean = 0.1 * 4
    first = 1 - 0.2 / math.sqrt(mean)
    assert one_step("rmsprop", [2.0, 1.0]) == pytest.approx(
        [first, first - 0.1 / math.sqrt(0.9 * mean + 0.1)], rel=1e-5
    )
    assert one_step("adam", [2.0])[0] == pytest.approx(0.9, rel=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_spares_biases_and_batch_norm(name):
    optimizer = build_optimizer(network(), Recipe(optimizer=name, weight_decay=0.01, backbone_rate=0.1))
    for group in optimizer.param_groups:
        assert {parameter.dim() > 1 for parameter in group["params"]} == {group["weight_decay"] > 0}
    rates = {tuple(group["params"][0].shape): group["lr"] for group in optimizer.param_groups}
    assert rates[4, 72] == pytest.approx(0.1)
    assert rates[8, 1, 3, 3] == pytest.approx(0.01)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network().parameters()))


def test_schedules_anneal():
    def curve(schedule: str, **settings: float) -> list[float]:
        recipe = Recipe(epochs=10, schedule=schedule, **{"warmup": 0.0, **settings})
        return [factor(recipe, step, 100) for step in range(100)]

    assert curve("constant") == [1.0] * 100
    assert sorted(set(curve("step", decay=0.1)), reverse=True) == pytest.approx([1.0, 0.1, 0.01])
    assert curve("step").index(0.1) == 34
    assert curve("exponential", decay=0.01)[50] == pytest.approx(0.1)
    cosine = curve("cosine")
    assert cosine[0] == 1.0
    assert cosine[50] == pytest.approx(0.5)
    assert cosine[99] < 0.001
    assert cosine == sorted(cosine, reverse=True)
    warm = curve("cosine", warmup=2.0)
    assert warm[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert warm[20] == 1.0


def test_schedule_goes_on_where_it_stopped():
    recipe = Recipe(epochs=2, schedule="exponential", warmup=0.3)

    def rates(done: int, count: int) -> list[float]:
        optimizer = build_optimizer(network(), recipe)
        schedule = build_schedule(optimizer, recipe, 20, done)
        found = []
        for _ in range(count):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return found

    assert rates(0, 20)[12:] == rates(12, 8)


def test_normalization_gives_mean_zero_and_deviation_one():
    images = (
        torch.rand(50, 3, 6, 6, generator=torch.Generator().manual_seed(0))
        * torch.tensor([[[[50.0]], [[200]], [[255]]]])
    ).byte()
    channel = fit(images, "channel")
    y = channel(scaled(images)).double()
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var((0, 2, 3), unbiased=False), torch.ones(3, dtype=torch.float64), atol=1e-5, rtol=0)
    said = channel.preprocessing()
    assert said is not None
    assert said.mean == pytest.approx(channel.mean.flatten().tolist())
    image = fit(images, "mean-image")
    y = image(scaled(images)).double()
    assert image.mean.shape == (1, 3, 6, 6)
    assert float(y.mean(0).abs().max()) < 1e-5
    torch.testing.assert_close(y.var((0, 2, 3), unbiased=False), torch.ones(3, dtype=torch.float64), atol=1e-5, rtol=0)
    assert image.preprocessing() is None


@pytest.mark.parametrize("scheme", INITIALIZATIONS)
def test_initializations_have_their_deviation(scheme):
    module = start(nn.Sequential(nn.Conv2d(32, 64, 3), nn.Linear(64, 4)), scheme, True, 1)
    fan_in, fan_out = 32 * 9, 64 * 9
    wanted = {"kaiming": (2 / fan_in) ** 0.5, "xavier": (2 / (fan_in + fan_out)) ** 0.5, "gaussian": 0.01}[scheme]
    assert float(module[0].weight.std()) == pytest.approx(wanted, rel=0.02)
    assert not module[0].bias.any()
    again = start(nn.Sequential(nn.Conv2d(32, 64, 3), nn.Linear(64, 4)), scheme, True, 1)
    assert torch.equal(module[0].weight, again[0].weight)


def test_batch_norm_off_leaves_biases_in_its_place():
    module = zoo.build("tiny_separable", in_channels=1)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    remove_batchnorm(module)
    assert len(norms) == 11
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    assert all(layer.bias is not None and len(layer.bias) == layer.out_channels for layer in convolutions)
    assert module(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_small_gaussian_weights_stall_a_deep_network():
    """Deviation 0.01 loses the signal and the gradient within twenty layers; Kaiming and batch norm keep both."""
    found = {
        (scheme, norm): signal.measure(shades(256), scheme, norm, depth=16, width=8, steps=30, rate=0.003)
        for scheme, norm in signal.VARIANTS
    }
    stalled, kaiming, repaired = (found[key] for key in (("gaussian", False), ("kaiming", False), ("gaussian", True)))
    assert stalled.activations[-1] < 1e-10 * stalled.activations[0]
    assert max(stalled.gradients) < 1e-6
    assert stalled.last_loss == pytest.approx(math.log(4), abs=0.02)
    assert kaiming.activations[-1] > 1e-3 * kaiming.activations[0]
    assert min(kaiming.gradients) > 1e-4
    assert kaiming.last_loss < 0.9 * math.log(4)
    assert repaired.last_loss < 0.9 * math.log(4)
    table = signal.text(list(found.values()))
    assert "gaussian + batch norm" in table
    assert "deviation after layer 16" in table
