"""Activations, pads and residual additions become part of the layers beside them."""

from __future__ import annotations

import pytest

from edgenet.converter.passes import fuse_activation, fuse_pad, fuse_residual
from edgenet.converter.passes.fuse_pad import LOWEST
from tests.passes.builder import RELU, RELU6, Builder, apply, operations

HARDSWISH = {"kind": "hardswish"}
SILU = {"kind": "silu"}


@pytest.mark.parametrize("kind", [RELU, RELU6, HARDSWISH])
def test_activation_behind_a_convolution(kind):
    b = Builder(6, 5, 3)
    after = apply(fuse_activation, b.finish(b.activation("act", b.conv("conv", "x", 4), kind)), 1)
    assert operations(after) == ["conv2d"]
    assert after.nodes[0].attributes["activation"] == kind
    assert (after.nodes[0].name, after.nodes[0].output) == ("conv", "act")


def test_activation_behind_a_linear_layer():
    b = Builder(7)
    assert operations(apply(fuse_activation, b.finish(b.activation("act", b.linear("fc", "x", 4))), 1)) == ["linear"]


@pytest.mark.parametrize("operation", ["add", "sub", "mul", "div"])
def test_clamp_behind_arithmetic(operation):
    b = Builder(4, 3, 2)
    y = b.node(operation, "y", {"a": "x", "b": b.activation("e", "x", {"kind": "exp"})})
    after = apply(fuse_activation, b.finish(b.activation("act", y)), 1)
    assert after.nodes[-1].attributes["activation"] == RELU


@pytest.mark.parametrize("operation", ["conv2d", "add"])
def test_kinds_that_the_layer_cannot_compute_in_int8_stay(operation):
    b = Builder(4, 3, 2)
    y = b.conv("conv", "x", 4) if operation == "conv2d" else b.node("add", "y", {"a": "x", "b": "x"})
    apply(fuse_activation, b.finish(b.activation("act", y, SILU if operation == "conv2d" else HARDSWISH)), 0)


def test_activation_of_a_value_read_elsewhere_stays():
    b = Builder(4, 3, 2)
    y = b.conv("conv", "x", 4)
    apply(fuse_activation, b.finish(b.activation("act", y), b.node("mean", "m", {"x": y}, axes=[1, 2])), 0)
    c = Builder(4, 3, 2)
    y = c.conv("conv", "x", 4)
    apply(fuse_activation, c.finish(y, c.activation("act", y)), 0)


def test_second_activation_stays():
    b = Builder(4, 3, 2)
    y = b.activation("two", b.activation("one", b.conv("conv", "x", 4)), HARDSWISH)
    assert operations(apply(fuse_activation, b.finish(y), 1)) == ["conv2d", "activation"]


def test_pad_before_a_convolution_adds_to_its_padding():
    b = Builder(6, 5, 3)
    y = b.node("pad", "pad", {"x": "x"}, pads=[0, 0, 0, 1, 2, 3, 0, 0])
    after = apply(fuse_pad, b.finish(b.conv("conv", y, 4, 3, padding=[1, 1, 0, 0], stride=[2, 2])), 1)
    assert operations(after) == ["conv2d"]
    assert after.nodes[0].attributes["padding"] == [1, 2, 2, 3]


def test_pad_before_two_convolutions():
    b = Builder(6, 5, 3)
    y = b.node("pad", "pad", {"x": "x"}, pads=[0, 0, 1, 1, 1, 1, 0, 0])
    assert operations(apply(fuse_pad, b.finish(b.conv("l", y, 4, 3), b.conv("r", y, 2, 3)), 1)) == ["conv2d", "conv2d"]


def test_pad_before_average_pooling():
    b = Builder(6, 5, 3)
    y = b.node("pad", "pad", {"x": "x"}, pads=[0, 0, 1, 1, 0, 1, 0, 0])
    pool = b.node("avg_pool2d", "pool", {"x": y}, kernel=[3, 3], stride=[2, 1], count_include_pad=False)
    after = apply(fuse_pad, b.finish(pool), 1)
    assert after.nodes[0].attributes["count_include_pad"] is True


def test_pad_of_the_lowest_number_before_max_pooling():
    b = Builder(6, 5, 3)
    y = b.node("pad", "pad", {"x": "x"}, pads=[0, 0, 0, 1, 1, 1, 0, 0], value=LOWEST)
    after = apply(fuse_pad, b.finish(b.node("max_pool2d", "pool", {"x": y}, kernel=[3, 3], stride=[2, 2])), 1)
    assert operations(after) == ["max_pool2d"]
    assert after.nodes[0].attributes["padding"] == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("pads", "value", "reader"),
    [
        ([0, 0, 1, 1, 1, 1, 0, 0], LOWEST, "conv"),
        ([0, 0, 1, 1, 1, 1, 0, 0], LOWEST, "average"),
        ([0, 0, 2, 2, 1, 1, 0, 0], LOWEST, "max"),
        ([0, 0, 1, 1, 1, 1, 0, 0], 1.0, "conv"),
        ([0, 0, 0, 0, 0, 0, 1, 1], 0.0, "conv"),
        ([0, 0, 1, 1, 1, 1, 0, 0], 0.0, "max"),
        ([0, 0, 2, 2, 1, 1, 0, 0], 0.0, "average"),
        ([0, 0, 1, 1, 1, 1, 0, 0], 0.0, "output"),
    ],
)
def test_pads_that_no_layer_can_do_stay(pads, value, reader):
    b = Builder(6, 5, 3)
    y = b.node("pad", "pad", {"x": "x"}, pads=pads, value=value)
    if reader == "conv":
        result = [b.conv("conv", y, 4, 3)]
    elif reader == "output":
        result = [y, b.conv("conv", y, 4, 3)]
    else:
        kind = "max_pool2d" if reader == "max" else "avg_pool2d"
        result = [b.node(kind, "pool", {"x": y}, kernel=[3, 3])]
    apply(fuse_pad, b.finish(*result), 0)


@pytest.mark.parametrize("activation", [None, RELU])
@pytest.mark.parametrize("first", [True, False])
def test_residual(activation, first):
    b = Builder(6, 5, 4)
    y = b.conv("project", b.conv("expand", "x", 8), 4)
    roles = {"a": y, "b": "x"} if first else {"a": "x", "b": y}
    after = apply(fuse_residual, b.finish(b.node("add", "sum", roles, activation=activation)), 1)
    assert operations(after) == ["conv2d", "conv2d"]
    assert after.nodes[1].inputs["residual"] == "x"
    assert after.nodes[1].attributes.get("activation") == activation
    assert (after.nodes[1].name, after.nodes[1].output) == ("project", "sum")


def test_residual_of_a_linear_layer():
    b = Builder(4)
    assert operations(
        apply(fuse_residual, b.finish(b.node("add", "s", {"a": b.linear("l", "x", 4), "b": "x"})), 1)
    ) == ["linear"]


def test_of_two_layers_the_later_takes_the_addition():
    b = Builder(6, 5, 4)
    main, short = b.conv("main", "x", 4), b.conv("short", "x", 4)
    after = apply(fuse_residual, b.finish(b.node("add", "sum", {"a": main, "b": short})), 1)
    assert after.nodes[-1].name == "short"
    assert after.nodes[-1].inputs["residual"] == "main"


def test_the_layer_moves_behind_its_residual():
    b = Builder(6, 5, 4)
    y = b.conv("conv", "x", 4)
    other = b.node("max_pool2d", "pool", {"x": "x"}, kernel=[3, 3], padding=[1, 1, 1, 1])
    after = apply(fuse_residual, b.finish(b.node("add", "sum", {"a": y, "b": other})), 1)
    assert operations(after) == ["max_pool2d", "conv2d"]


@pytest.mark.parametrize("case", ["broadcast", "read twice", "activated", "constant", "itself", "returned"])
def test_additions_that_stay(case):
    b = Builder(6, 5, 4)
    y = b.conv("conv", "x", 4, activation=RELU if case == "activated" else None)
    other, more = "x", []
    if case == "broadcast":
        other = b.node("mean", "mean", {"x": "x"}, axes=[1, 2])
    elif case == "constant":
        other = b.constant("c", 4)
    elif case == "itself":
        other = y
    elif case == "read twice":
        more = [b.activation("relu", y)]
    elif case == "returned":
        more = [y]
    apply(fuse_residual, b.finish(b.node("add", "sum", {"a": y, "b": other}), *more), 0)
