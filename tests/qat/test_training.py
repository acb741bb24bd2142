"""Gradients, ranges, learned scales, state: what a training loop relies on."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgenet.converter import convert, prepare_qat
from edgenet.converter.qat.ranges import Extremes, MovingRanges
from edgenet.converter.quantize.ranges import quantization
from edgenet.errors import ConversionError, InputError
from tests.qat.networks import Residual, build, oracle, outputs, train


class Curved(nn.Module):
    """Curved activations keep equalization away, so that weights are those of the module."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.tanh(self.b(torch.tanh(self.a(x))))
        x = F.hardswish(self.c(x))
        return self.head(F.silu(x).mean((2, 3)))


def test_gradients_are_those_of_the_float_network():
    torch.manual_seed(0)
    module, x = Curved().eval(), torch.randn(8, 3, 10, 10)
    qat = prepare_qat(module, (x,))
    for each in (module, qat):
        F.cross_entropy(each(x), torch.arange(8) % 4).backward()
    for name, parameter in module.named_parameters():
        want, found = parameter.grad, qat.weights[name.replace(".", "/")].grad
        found = found.permute(0, 3, 1, 2) if found.dim() == 4 else found
        assert F.cosine_similarity(want.flatten(), found.flatten(), 0) > 0.98, name
        assert 0.9 < float(found.norm() / want.norm()) < 1.1, name


@pytest.mark.parametrize("learn_scales", [False, True])
def test_training_brings_the_int8_network_closer(learn_scales):
    """Ranges start eight times too wide."""
    module, x = build("residual")
    with torch.no_grad():
        target = module(x)
    qat = prepare_qat(module, (x,), [8 * x], averaging=0.2, learn_scales=learn_scales)
    before = F.mse_loss(torch.from_numpy(outputs(qat, x)[0]), target)
    groups = [{"params": list(qat.weights.parameters()), "lr": 3e-4}]
    if learn_scales:
        groups.append({"params": [qat.log_scales], "lr": 0.1})
    train(qat, x, steps=40, optimizer=torch.optim.Adam(groups), fit=target)
    after = F.mse_loss(torch.from_numpy(outputs(qat, x)[0]), target)
    assert after < 0.3 * before
    assert np.array_equal(oracle(convert(qat), x)[0], outputs(qat, x)[0])


def test_every_parameter_is_trained():
    module, x = build("excited")
    qat = prepare_qat(module, (x,), learn_scales=True)
    sum(value.square().mean() for value in [qat.train()(x)]).backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in qat.parameters())
    assert sum(bool(p.grad.any()) for p in qat.parameters()) == len(list(qat.parameters()))
    assert "prelu/weight" in qat.weights


def input_scale(qat):
    graph = convert(qat)
    return next(graph.tensors[n.output].quantization.scale[0] for n in graph.nodes if n.operation == "quantize")


def test_ranges_follow_the_network_until_they_are_frozen():
    module, x = build("residual")
    qat = prepare_qat(module, (x,), averaging=0.5, freeze_after=5).train()
    first = input_scale(qat)
    qat(x)
    assert input_scale(qat) == pytest.approx(first, rel=1e-6), "the same values leave the ranges alone"
    for _ in range(4):
        qat(3 * x)
    grown = input_scale(qat)
    assert 2.5 * first < grown < 3 * first
    qat(9 * x)
    assert input_scale(qat) == grown, "frozen after five passes"
    early = prepare_qat(module, (x,), averaging=0.5).train()
    early.freeze()
    early(3 * x)
    early.eval()(3 * x)
    assert input_scale(early) == first
    evaluated = prepare_qat(module, (x,), averaging=0.5).eval()
    evaluated(3 * x)
    assert input_scale(evaluated) == first, "evaluation leaves the ranges alone"


def test_extremes_do_not_depend_on_the_size_of_a_batch():
    x, whole, single = torch.randn(6, 4, 5), Extremes(), Extremes()
    whole.add(x)
    for part in x.split(1):
        single.add(part)
    assert whole.mean() == pytest.approx(single.mean())
    assert whole.mean() == pytest.approx((float(x.amin((1, 2)).mean()), float(x.amax((1, 2)).mean())))


def test_moving_ranges():
    chosen = {"a": quantization(-1.0, 2.0), "b": quantization(0.0, 5.0), "c": quantization(0.0, 0.0)}
    ranges = MovingRanges({"a": (-2.0, 2.0), "b": (0.0, 4.0), "c": (0.0, 0.0)}, chosen, averaging=0.5)
    assert ranges.quantizations()["a"] == chosen["a"]
    assert ranges.quantizations()["b"] == chosen["b"]
    ranges.see("a", torch.tensor([[-40.0, 0.0], [0.0, 40.0]]), 0.1, None, None)
    ranges.see("a", torch.tensor([[0.0, 60.0], [-40.0, 0.0]]), 0.1, None, None)
    ranges.see("b", torch.tensor([[-10.0, 80.0]]), 0.1, 0.0, 6.0)
    ranges.see("c", torch.tensor([[math.nan, 1.0]]), 0.1, None, None)
    ranges.update()
    ends = dict(zip(ranges.rows, ranges.ends.tolist(), strict=True))
    assert ends["a"] == pytest.approx([-3.0, 3.5]), "halfway to -4 and (6 + 4) / 2, the samples' own extremes"
    assert ends["b"] == pytest.approx([0.0, 5.0]), "halfway to what the activation leaves, 6"
    assert ends["c"] == [0.0, 0.0], "a value that is not finite moves nothing"
    low, high = (float(v) for v in (ranges.ends * ranges.shares)[0])
    assert (low, high) == pytest.approx((-1.5, 3.5), rel=0.01), "the chosen shares of the extremes stay"


@pytest.mark.parametrize("learn_scales", [False, True])
def test_state_and_copies(learn_scales):
    module, x = build("residual")
    qat = prepare_qat(module, (x,), averaging=0.5, learn_scales=learn_scales)
    train(qat, 2 * x, steps=3)
    fresh = prepare_qat(module, (x,), learn_scales=learn_scales)
    fresh.load_state_dict(qat.state_dict())
    for other in (fresh, copy.deepcopy(qat)):
        assert np.array_equal(outputs(other, x)[0], outputs(qat, x)[0])
        assert np.array_equal(oracle(convert(other), x)[0], outputs(qat, x)[0])


def test_the_float_module_is_left_alone():
    module, x = build("residual")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    train(prepare_qat(module, (x,)), x, steps=1)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_conversion():
    module, x = build("residual")
    qat = prepare_qat(module, (x,))
    graph = convert(qat, labels=list("abcde"), name="mine")
    provenance = graph.metadata.provenance
    assert (provenance["precision"], provenance["arch"], provenance["name"]) == ("int8", "Residual", "mine")
    assert graph.metadata.labels == list("abcde")
    assert graph.metadata.golden_outputs
    for arguments in ({"precision": "float32"}, {"calibration": [x]}):
        with pytest.raises(ConversionError, match="quantized already"):
            convert(qat, **arguments)


def test_errors():
    module, x = build("residual")
    with pytest.raises(ConversionError, match="example_inputs"):
        prepare_qat(Residual())
    with pytest.raises(ConversionError, match="averaging"):
        prepare_qat(module, (x,), averaging=0.0)
    with pytest.raises(ConversionError, match="empty"):
        prepare_qat(module, (x,), [])
    with pytest.raises(InputError, match="1 inputs"):
        prepare_qat(module, (x,))(x, x)
