"""What cannot be converted is reported all at once, with operator, module path, source line and what to do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgenet.converter.importer import import_module
from edgenet.errors import ConversionError
from tests.importer.agreement import check
from tests.importer.modules import Apply, One


def every_other(x):
    y = x * 2
    y[:, ::2] += x[:, ::2]
    return y


class Rows(nn.Module):
    def forward(self, x):
        return torch.cumsum(x, 2).cosh()  # this line is named


def refused(module: nn.Module, *shapes: tuple[int, ...]) -> str:
    with pytest.raises(ConversionError) as caught:
        import_module(module, tuple(torch.randn(1, *shape) for shape in shapes))
    return str(caught.value)


def test_every_problem_is_listed_with_its_place():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveMaxPool2d(5), nn.Sequential(Rows()), One(torch.sin))
    message = refused(module, (3, 6, 6))
    lines = message.splitlines()
    assert lines[0] == "4 operations cannot be converted. Change these lines:"
    assert len(lines) == 5
    sizes, sums, cosines, products = lines[1:]
    assert "aten.adaptive_max_pool2d" in sizes
    assert "in 1" in sizes
    assert "aten.cumsum.default (in 2.0, test_unsupported.py:" in sums
    assert "return torch.cumsum(x, 2).cosh()" in sums
    assert "replace it with supported operators" in sums
    assert "aten.cosh.default" in cosines
    assert "(in 3" in products


def test_what_follows_a_problem_is_not_reported_again():
    module = nn.Sequential(Rows(), nn.ReLU(), nn.Conv2d(3, 4, 1), Rows())
    assert refused(module, (3, 5, 5)).splitlines()[0].startswith("4 operations")


ARGUMENTS = {
    "batch flattened": (lambda x: x.flatten(0, 1), "keep samples on axis 0"),
    "batch moved": (lambda x: x.transpose(0, 1) * 2, "keep samples on axis 0"),
    "mean over samples": (lambda x: x.mean(0), "keep samples independent"),
    "mean over everything": (lambda x: x.mean(), "give the axes"),
    "softmax over samples": (lambda x: x.softmax(0), "keep samples independent"),
    "first sample": (lambda x: x[0], "keep samples independent"),
    "unknown power": (lambda x: x**-3, "whole exponents from 1 to 64"),
    "rounded division": (lambda x: torch.div(x, 2, rounding_mode="trunc"), "that round down"),
    "places of the greatest": (lambda x: x.max(1)[1].float(), "only the first result"),
    "greatest of everything": (lambda x: x * x.amax(), "give the axes"),
    "greatest over samples": (lambda x: x.amax(0, keepdim=True) * x, "keep samples independent"),
    "every other channel changed": (every_other, "concatenate instead"),
    "norm of another order": (lambda x: x.norm(p=3, dim=1), "only norms of order 1 and 2"),
    "variance of one value": (lambda x: x[:, :1].var(1), "has no value"),
    "variance over samples": (lambda x: x / x.var(0, keepdim=True), "keep samples independent"),
    "variance of everything": (lambda x: x / x.var(), "give the axes"),
    "infinite power": (lambda x: x ** float("inf"), "a finite number"),
    "power of an activation": (lambda x: x ** x.abs(), "the exponent is a tensor"),
    "power of a negative number": (lambda x: torch.pow(-2, x), "for a positive number only"),
    "constant as large as the batch": (
        lambda x: torch.ones(1, 4, 5, 5).repeat_interleave(x.shape[0], 0) + x,
        "a constant as large as the batch",
    ),
    "samples by number": (lambda x: x[[0, 0]], "along the batch axis"),
    "channels by mask": (lambda x: x[:, torch.arange(4) > 1], "use numbers"),
    "two axes by number": (lambda x: x[:, [0, 1], [2, 3]], "index one after the other"),
    "many pieces": (lambda x: x.repeat(1, 40, 1, 1)[:, list(range(0, 160, 2))], "order the weights instead"),
    "roll over everything": (lambda x: x.roll(1), "name the axes"),
    "repeated by a tensor": (lambda x: x.repeat_interleave(torch.tensor([1, 2, 1, 3]), 1), "aten.repeat_interleave"),
    "bounds that differ": (lambda x: torch.clamp(x, torch.zeros(5), torch.ones(5)), "a tensor of several values"),
    "enlarged by a fraction": (
        lambda x: nn.functional.interpolate(x, scale_factor=1.5, mode="nearest-exact"),
        "use the mode nearest",
    ),
    "number as a truth value": (lambda x: torch.logical_and(x, x > 0) * x, "no truth value"),
    "places where something holds": (lambda x: torch.where(x > 0)[1].float(), "not fixed"),
    "rows of samples": (lambda x: x[:, 0, 0].triu(), "keep samples independent"),
    "distance of another order": (lambda x: nn.functional.pairwise_distance(x, x * 2, p=1), "order 2"),
    "random slopes": (lambda x: nn.functional.rrelu(x, training=True), "eval mode"),
    "uneven windows": (lambda x: nn.functional.adaptive_max_pool2d(x, 3), "choose an output size that divides"),
    "double precision": (lambda x: x.double() * 2, "leaves float32"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_cannot_be_converted(name):
    function, message = ARGUMENTS[name]
    assert message in refused(One(function), (4, 5, 5))


@pytest.mark.parametrize("draw", [torch.rand, torch.randn])
def test_random_numbers_are_not_drawn_once_for_all(draw):
    message = refused(nn.Sequential(nn.Linear(8, 8), One(lambda x: x + draw(8))), (8,))
    assert f"aten.{draw.__name__}.default (in 1" in message
    assert "random" in message


def test_volumes():
    assert "aten.conv3d" in refused(nn.Conv3d(2, 3, 1), (2, 4, 4, 4))


def test_control_flow_on_values():
    def forward(x):
        return x * 2 if x.sum() > 0 else x

    assert "torch.export cannot trace this module" in refused(One(forward), (4, 5, 5))


def test_inputs_must_be_float_batches():
    with pytest.raises(ConversionError, match="must be float32"):
        import_module(nn.Embedding(5, 3), (torch.zeros(1, 2, dtype=torch.long),))
    with pytest.raises(ConversionError, match="samples on axis 0"):
        import_module(One(lambda x: x * 2), (torch.zeros(3),))
    with pytest.raises(ConversionError, match="same number of samples"):
        import_module(Apply(lambda m, x, y: x * 2 + y), (torch.zeros(2, 3), torch.zeros(1, 3)))


def test_modules_in_double_precision():
    with pytest.raises(ConversionError, match="float32"):
        import_module(nn.Linear(3, 2).double(), (torch.zeros(1, 3, dtype=torch.float64),))


def test_training_state_is_kept_and_ignored():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    module[1].eval()
    import_module(module, (torch.randn(1, 3, 5, 5),))
    assert [part.training for part in module] == [True, False, True]
    check(module, (3, 5, 5))


def test_a_batch_that_is_fixed_by_the_module_is_taken_as_it_is():
    def forward(x):
        return x.reshape(2, 12)

    with pytest.raises(ConversionError):
        import_module(One(forward), (torch.randn(1, 4, 6),))
