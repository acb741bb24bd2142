"""Operators that move, cut and join elements, against torch; and how few permutes they leave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgenet import reference
from edgenet.converter.importer import import_module
from edgenet.converter.importer.registry import Unsupported
from edgenet.converter.importer.regroup import groups
from edgenet.converter.passes import optimize
from edgenet.converter.quantize import quantize
from edgenet.errors import ConversionError
from tests.importer.agreement import agreement, check
from tests.importer.modules import Apply, One, operations


def shuffle(x, count):
    n, c, h, w = x.shape
    return x.view(n, count, c // count, h, w).transpose(1, 2).reshape(n, c, h, w)


def coordinates():
    return torch.linspace(-1, 1, 5).reshape(1, 1, 1, 5)


FUNCTIONS = {
    "repeated often": lambda x: torch.cat([x[:, :1].repeat(1, 8, 1, 1), x[:, :, :1].repeat(1, 1, 6, 1)], 1),
    "repeated often along two axes": lambda x: x.mean((2, 3))[:, None].repeat(1, 20, 1).flatten(1),
    "repeated in arithmetic": lambda x: x[:, :, :1].repeat(1, 1, 6, 1) * x,
    "two axes repeated": lambda x: x[:, :1, :1].repeat(1, 8, 2, 1) - x[:, :, :2],
    "each element often": lambda x: x.repeat_interleave(12, 3),
    "flatten": lambda x: x.flatten(1),
    "flatten picture": lambda x: torch.flatten(x, 2),
    "flatten channels and rows": lambda x: torch.flatten(x, 1, 2),
    "view": lambda x: x.view(x.shape[0], -1),
    "view split channels": lambda x: x.view(x.shape[0], 2, 4, 6, 5),
    "reshape picture": lambda x: x.reshape(-1, 8, 30),
    "reshape across axes": lambda x: x.reshape(x.size(0), 4, 12, 5),
    "unflatten": lambda x: x.unflatten(1, (2, 4)),
    "squeeze": lambda x: x.mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1),
    "unsqueeze": lambda x: x.mean(2).unsqueeze(2) * x,
    "indexing with None": lambda x: x.mean((2, 3))[:, :, None, None] * x,
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "permute there and back": lambda x: x.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2),
    "transpose": lambda x: x.transpose(1, 3),
    "movedim": lambda x: x.movedim(1, -1),
    "slice": lambda x: x[:, 2:6, 1:, ::2],
    "slice from the end": lambda x: x[:, -3:, :-1],
    "slice with ellipsis": lambda x: x[..., 1:3],
    "narrow": lambda x: x.narrow(1, 2, 3),
    "select": lambda x: x[:, 3],
    "select row": lambda x: x[:, :, -1],
    "unbind": lambda x: x.unbind(1)[2] + x.unbind(1)[0],
    "split": lambda x: torch.cat(x.split(3, 1)[::-1], 1),
    "split with sizes": lambda x: x.split([2, 5, 1], 1)[1],
    "chunk": lambda x: torch.cat([x.chunk(2, 1)[1].relu(), x.chunk(2, 1)[0]], 1),
    "chunk rows": lambda x: x.chunk(3, 2)[1],
    "concatenate rows": lambda x: torch.cat([x, x.relu()], 2),
    "concatenate last": lambda x: torch.cat([x, x.relu(), x], -1),
    "stack": lambda x: torch.stack([x, x.relu()], 1),
    "stack last": lambda x: torch.stack([x, x.relu()], -1),
    "zero padding": lambda x: F.pad(x, (1, 2, 3, 0)),
    "constant padding": lambda x: F.pad(x, (1, 1), value=0.5),
    "channel padding": lambda x: F.pad(x, (0, 0, 0, 0, 2, 1)),
    "padding nothing": lambda x: F.pad(x, (0, 0)) + 1,
    "negative padding": lambda x: F.pad(x, (-1, 2, 1, -2)),
    "negative padding alone": lambda x: F.pad(x, (-1, -2)),
    "reflected padding": lambda x: F.pad(x, (2, 1, 0, 3), mode="reflect"),
    "replicated padding": lambda x: F.pad(x, (2, 1, 0, 3), mode="replicate"),
    "circular padding": lambda x: F.pad(x, (2, 1, 0, 3), mode="circular"),
    "reflected and cropped": lambda x: F.pad(x, (2, -1, -1, 1), mode="reflect"),
    "pixel shuffle": lambda x: F.pixel_shuffle(x, 2),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "tile": lambda x: x.tile(2, 1),
    "pixel unshuffle": lambda x: F.pixel_unshuffle(x[:, :, :, :4], 2),
    "channel shuffle": lambda x: shuffle(x, 2),
    "channel shuffle in four": lambda x: shuffle(x, 4),
    "channel shuffle layer": nn.ChannelShuffle(2),
    "no change": lambda x: x[:, :],
    "channels by number": lambda x: x[:, [5, 0, 1, 2, 7, -3]],
    "one channel by number": lambda x: x[:, [5]],
    "rows by number": lambda x: x.index_select(2, torch.tensor([3, 1, 2])),
    "flip": lambda x: x.flip(1, 3) * 2,
    "roll": lambda x: x.roll((2, -1), (1, 3)),
    "roll nothing": lambda x: x.roll(6, 2) + 1,
    "repeated channels": lambda x: x.repeat_interleave(3, 1),
    "repeated columns": lambda x: x.repeat_interleave(2, -1),
    "broadcast pixels": lambda x: torch.cat([x, x.mean((2, 3), keepdim=True).expand(-1, -1, 6, 5)], 1),
    "broadcast rows": lambda x: x.mean(2, keepdim=True).expand_as(x).relu(),
    "broadcast channels": lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1, -1),
    "broadcast features": lambda x: x.mean((2, 3)).mean(1, keepdim=True).expand(-1, 3),
    "zeros beside": lambda x: torch.cat([x, torch.zeros_like(x)], 1),
    "zeros between": lambda x: torch.cat([x, x.new_zeros(x.shape[0], 2, 6, 5), x.relu()], 1),
    "ones before": lambda x: torch.cat([torch.ones(x.size(0), 1, 6, 5), x], 1),
    "numbers around": lambda x: torch.cat([torch.full_like(x, 0.25), x, torch.full((x.size(0), 8, 6, 1), 2.0), x], -1),
    "coordinates": lambda x: torch.cat([x, coordinates().expand(x.shape[0], -1, 6, -1)], 1),
    "repeated coordinates": lambda x: torch.cat([coordinates().repeat(x.shape[0], 2, 6, 1), x], 1),
    "repeated features": lambda x: x * torch.arange(8.0).repeat(x.shape[0], 1).view(-1, 8, 1, 1),
    "constants in arithmetic": lambda x: x * torch.ones_like(x) + torch.full_like(x, 0.5),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    module = One(FUNCTIONS[name])
    graph = check(module, (8, 6, 5))
    assert agreement(optimize(graph), module, (torch.randn(2, 8, 6, 5),)) < 1e-5


def test_writing_into_a_slice():
    def inside(m, x):
        y = x * 2
        y[:, 1:3] += x[:, :2]
        y[..., 1:] = x[..., :-1]
        return y

    def ghost(m, x):
        y = torch.cat([x, x.relu()], 1)[:, :8]
        y += x
        return y

    check(Apply(inside), (4, 5, 6))
    check(Apply(ghost), (8, 5, 6))


PADDING = {
    "zero": nn.ZeroPad2d((1, 0, 2, 1)),
    "constant": nn.ConstantPad2d(1, 0.3),
    "reflection": nn.ReflectionPad2d(2),
    "replication": nn.ReplicationPad2d((3, 0, 1, 2)),
    "circular": nn.CircularPad2d(1),
    "reflecting convolution": nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
}


@pytest.mark.parametrize("name", PADDING)
def test_padding_layers(name):
    check(PADDING[name], (3, 5, 5))


def test_padding_layers_of_sequences():
    check(nn.ReflectionPad1d((2, 1)), (3, 5))
    check(nn.ReplicationPad1d((0, 3)), (3, 5))


def test_sequence_layouts():
    check(One(lambda x: x.transpose(1, 2).relu().reshape(x.shape[0], -1)), (4, 6))
    check(nn.Sequential(nn.Conv1d(4, 6, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(18, 3)), (4, 8))


def test_flatten_in_torch_order_before_a_linear_layer():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 3, 5))
    graph = optimize(check(module, (3, 6, 5)))
    assert operations(graph) == ["permute", "conv2d", "flatten", "linear"]
    assert agreement(graph, module, (torch.randn(2, 3, 6, 5),)) < 1e-5


def test_shuffle_becomes_one_node():
    module = nn.Sequential(nn.Conv2d(4, 6, 1), One(lambda x: shuffle(x, 3)), nn.Conv2d(6, 4, 1))
    graph = optimize(check(module, (4, 5, 5)))
    assert operations(graph) == ["permute", "conv2d", "channel_shuffle", "conv2d", "permute"]


def test_several_inputs_and_outputs():
    def forward(m, x, y, z):
        a = m.conv(x) + m.other(y)
        return a, F.relu(a).mean((2, 3)) + m.linear(z), x

    layers = {"conv": nn.Conv2d(3, 4, 3, 2, 1), "other": nn.Conv2d(5, 4, 1), "linear": nn.Linear(7, 4)}
    graph = check(Apply(forward, **layers), (3, 8, 8), (5, 4, 4), (7,))
    assert len(graph.inputs) == 3
    assert len(graph.outputs) == 3


ONE_VALUE = {
    "squeeze": lambda m, x: m.layer(x)[:, :1].squeeze(1),
    "view": lambda m, x: torch.sigmoid(m.layer(x)[:, :1]).view(-1),
    "select and affine": lambda m, x: 1 - (m.layer(x)[:, 0] * 2 + 1),
    "sum": lambda m, x: x.sum(1) / 3,
    "norm": lambda m, x: m.layer(x).norm(dim=1),
    "back again": lambda m, x: m.layer(x)[:, 0][:, None] * x,
    "stack": lambda m, x: torch.stack([m.layer(x)[:, 0], x.mean(1) * 2], 1),
}


@pytest.mark.parametrize("name", ONE_VALUE)
def test_one_value_a_sample(name):
    module = Apply(ONE_VALUE[name], layer=nn.Linear(6, 3))
    graph = check(module, (6,))
    x = torch.randn(4, 6)
    with torch.no_grad():
        expected = module(x).numpy()
    for quantized in (optimize(graph), quantize(optimize(graph), [{graph.inputs[0]: x.numpy()}])):
        found = reference.run(quantized, {quantized.inputs[0]: x.numpy()})[quantized.outputs[0]]
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_inputs_and_buffers_that_are_changed_are_no_outputs():
    def forward(m, x):
        x.sub_(0.5).div_(0.3)
        m.calls += 1
        return m.conv(torch.relu_(x))

    module = Apply(forward, conv=nn.Conv2d(3, 4, 3))
    module.register_buffer("calls", torch.zeros(()))
    assert len(check(module, (3, 6, 5)).outputs) == 1
    assert len(check(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 2)), (6,)).outputs) == 1


def test_the_same_result_returned_twice_and_a_dictionary():
    check(One(lambda x: (x.relu(), x.relu(), x.relu().mean(1))), (4, 5, 5))
    check(One(lambda x: {"a": x.exp(), "b": x.mean((2, 3))}), (4, 5, 5))


def test_an_input_returned_unchanged_and_an_unused_one():
    check(Apply(lambda m, x, y: (x * 2, x)), (4, 5), (3,))


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ((-1, 4, 5, 6), (-1, 2, 2, 30), [([1], [1, 2]), ([2, 3], [3])]),
        ((-1, 4, 1, 1), (-1, 4), [([1], [1])]),
        ((-1, 6), (-1, 1, 6, 1), [([1], [2])]),
        ((-1, 4, 6), (-1, 8, 3), [([1, 2], [1, 2])]),
    ],
)
def test_groups_of_a_reshape(source, target, expected):
    assert groups(source, target) == expected


def test_a_number_of_samples_that_changes_is_refused():
    module = Apply(lambda m, x: m.conv(x.expand(5, -1, -1, -1)), conv=nn.Conv2d(3, 4, 3))
    with pytest.raises(ConversionError, match="changes the number of samples"):
        import_module(module, (torch.randn(1, 3, 6, 5),))


def test_a_reshape_that_mixes_samples_is_refused():
    with pytest.raises(Unsupported, match="sample by sample"):
        groups((-1, 4, 5), (-1, 7))


def test_a_constant_as_large_as_the_batch_keeps_one_sample():
    def forward(m, x):
        places = torch.zeros((x.shape[0], 3, 4)) + torch.arange(4.0)
        return x.flatten(2) + places.reshape(x.shape[0], 1, 12)

    check(Apply(forward), (5, 3, 4))


def test_blocks_without_autocast_or_gradients():
    def forward(m, x):
        with torch.autocast("cpu", enabled=False):
            y = m.one(x.float()) * 2
        with torch.no_grad():
            z = m.two(y)
            with torch.autocast("cpu", enabled=False):
                parts = z.chunk(2, 1)
        return parts[0] + parts[1] + y[:, :2]

    check(Apply(forward, one=nn.Conv2d(3, 4, 1), two=nn.Conv2d(4, 4, 1)), (3, 5, 4))


def test_a_block_in_another_precision_is_refused():
    def forward(m, x):
        with torch.autocast("cpu", torch.bfloat16):
            return m.one(x) * 1.0

    with pytest.raises(ConversionError, match=r"float32|precision"):
        import_module(Apply(forward, one=nn.Conv2d(3, 4, 1)), (torch.randn(1, 3, 5, 4),))


def test_dropout_of_constants():
    def forward(m, x):
        return x + m.dropout(m.table * 2)

    check(Apply(forward, dropout=nn.Dropout(0.3), table=nn.Parameter(torch.randn(1, 6))), (6,))


def test_padding_that_never_wins_in_a_max_pooling():
    module = One(lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 3, 2))
    assert operations(optimize(check(module, (4, 6, 8)))) == ["permute", "max_pool2d", "permute"]


def test_anchors_of_a_detector():
    """Places and strides that a head makes of the sizes of its features, as in YOLO."""

    def forward(m, x):
        feature = m.conv(x)
        height, width = feature.shape[2:]
        ys, xs = (torch.arange(size).type_as(feature) + 0.5 for size in (height, width))
        places = torch.stack(torch.meshgrid(ys, xs, indexing="ij"), -1).view(-1, 2).T
        strides = feature.new_full((height * width, 1), m.stride[1].item()).T
        return (feature.flatten(2) + places.unsqueeze(0)) * strides

    check(Apply(forward, conv=nn.Conv2d(3, 2, 3, 2, 1), stride=nn.Buffer(torch.tensor([8.0, 16.0]))), (3, 8, 6))


def test_a_number_read_from_an_activation_is_refused():
    with pytest.raises(ConversionError, match=r"item|cannot trace"):
        import_module(One(lambda x: x * x.mean().item()), (torch.randn(1, 3),))
