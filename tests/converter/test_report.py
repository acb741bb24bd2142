"""What a conversion reports, what it refuses, and that force overrules that."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from edgenet.converter import Report, convert, zoo
from edgenet.converter.report import require_sound, suggestions
from edgenet.errors import ConversionError


def samples(count: int = 10) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.standard_normal((3, 32, 32)).astype(np.float32) for _ in range(count)]


@pytest.fixture(scope="module")
def module() -> nn.Module:
    return zoo.randomize_batchnorm(zoo.build("tiny_separable"))


def test_an_int8_conversion_ends_with_a_report(module: nn.Module) -> None:
    reports: list[Report] = []
    convert(module, precision="int8", calibration=samples(), on_report=reports.append)
    (report,) = reports
    assert report.sqnr is not None
    assert 20 < report.sqnr < 60
    assert len(report.worst) == 3
    shares = [row["share"] for row in report.worst]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) < 1
    text = str(report)
    assert f"SQNR {report.sqnr:.1f} dB" in text
    assert all(row["name"] in text for row in report.worst)
    assert json.loads(report.to_json())["worst"] == report.worst


def test_a_float32_conversion_has_nothing_to_report(module: nn.Module) -> None:
    reports: list[Report] = []
    convert(module, on_report=reports.append)
    assert (str(reports[0]), reports[0].precision) == ("", "float32")


def test_suggestions_follow_from_the_figures() -> None:
    worst = [{"name": "head", "share": 0.8}]
    assert any("--max-drop" in text for text in suggestions(5.0, worst, 32, False))
    assert any("prepare_qat" in text for text in suggestions(5.0, worst, 32, False))
    assert any("head makes 80%" in text for text in suggestions(30.0, worst, 32, False))
    assert any("more samples than 2" in text for text in suggestions(30.0, [], 2, False))
    assert suggestions(30.0, [{"name": "a", "share": 0.1}], 32, False) == []


class Dead(nn.Module):
    """Every output is the last bias: no input reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)
        with torch.no_grad():
            assert self.a.bias is not None
            self.a.bias.fill_(-1e3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.relu(self.a(x))).mean((2, 3))


@pytest.mark.parametrize("precision", ["float32", "weights_int8"])
def test_a_dead_network_is_refused_unless_forced(precision: str) -> None:
    example = (torch.zeros(1, 3, 8, 8),)
    with pytest.raises(ConversionError, match=r"same .* for different random inputs") as caught:
        convert(Dead(), example, precision=precision)
    assert "force" in str(caught.value)
    assert convert(Dead(), example, precision=precision, force=True).nodes


class Difference(nn.Module):
    """The small difference of two large values that vary: what int8 rounds away is all there is."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 2, 1, bias=False), nn.Conv2d(2, 3, 1, bias=False)
        with torch.no_grad():
            self.a.weight.copy_(torch.tensor([[1e4, 1, 0], [1e4, 0, 1]]).reshape(2, 3, 1, 1))
            self.b.weight.copy_(torch.tensor([[1.0, -1], [2, -2], [-1, 1]]).reshape(3, 2, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x))


def test_int8_with_more_error_than_signal_is_refused_unless_forced() -> None:
    generator = torch.Generator().manual_seed(1)
    samples = torch.randn(6, 3, 8, 8, generator=generator).split(1)
    arguments = (Difference(), (torch.zeros(1, 3, 8, 8),), "int8", samples)
    with pytest.raises(ConversionError, match=r"more error than signal|the same .* for every sample"):
        convert(*arguments)
    assert convert(*arguments, force=True).nodes


def test_outputs_of_no_use() -> None:
    good = [{"y": np.array([1.0, 2.0])}, {"y": np.array([2.0, 1.0])}]
    require_sound(good, good)
    with pytest.raises(ConversionError, match="NaN or infinite"):
        require_sound(good, [{"y": np.array([1.0, np.nan])}, good[1]])
    with pytest.raises(ConversionError, match="same y for every sample"):
        require_sound(good, [good[0], good[0]])
    with pytest.raises(ConversionError, match="more error than signal"):
        require_sound(good, [{"y": -sample["y"]} for sample in good])


class _Regressor(nn.Sequential):
    def __init__(self, bias: float, last: nn.Module):
        super().__init__(nn.Flatten(), nn.Linear(12, 1), last)
        with torch.no_grad():
            self[1].bias.fill_(bias)


@pytest.mark.parametrize("bias", [-100.0, 100.0])
@pytest.mark.parametrize("last", [nn.ReLU(), nn.ReLU6(), nn.Hardtanh(0, 1)])
def test_a_last_activation_may_be_at_its_bound(bias: float, last: nn.Module) -> None:
    example = (torch.zeros(1, 3, 2, 2),)
    assert convert(_Regressor(bias, last), example).nodes
    dead = _Regressor(bias, last)
    with torch.no_grad():
        dead[1].weight.zero_()
    with pytest.raises(ConversionError, match="the same 2 for different random inputs"):
        convert(dead, example)


def test_infinite_outputs_are_refused() -> None:
    module = _Regressor(0.0, nn.Identity())
    with torch.no_grad():
        module[1].weight.fill_(3e38)
    with pytest.raises(ConversionError, match="NaN or infinite"):
        convert(module, (torch.zeros(1, 3, 2, 2),))


def test_max_drop_is_for_int8(module: nn.Module) -> None:
    with pytest.raises(ConversionError, match="max_drop is for int8"):
        convert(module, max_drop=1)
