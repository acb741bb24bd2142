"""Constants are folded; nodes without effect or use, and permutes and reshapes between layers, disappear."""

from __future__ import annotations

import pytest

from edgenet.converter.passes import (
    drop_identity,
    eliminate_dead,
    fold_constants,
    fold_permute,
    fuse_shuffle,
    merge_moves,
    sink_moves,
)
from edgenet.converter.passes.merge_moves import compose_reshapes
from tests.passes.builder import RELU, RELU6, Builder, apply, operations


def test_constants_are_folded():
    b = Builder(4, 3, 2)
    scale = b.node("mul", "scale", {"a": b.constant("p", 2), "b": b.constant("q", 1)})
    scale = b.activation("positive", scale, {"kind": "exp"})
    after = apply(fold_constants, b.finish(b.node("mul", "y", {"a": "x", "b": scale})), 2)
    assert operations(after) == ["mul"]
    assert "positive" in after.constants


def test_dead_nodes_and_constants_are_dropped_but_not_the_golden_pair():
    b = Builder(4, 3, 2)
    y = b.activation("relu", "x")
    b.conv("unused.second", b.conv("unused", "x", 3), 2)
    graph = b.finish(y)
    golden = b.constant("golden", 1, 4, 3, 2)
    graph.metadata.golden_inputs = {"x": golden}
    after = apply(eliminate_dead, graph, 2 + 4)
    assert operations(after) == ["activation"]
    assert set(after.tensors) == {"x", "relu", "golden"}


IDENTITIES = {
    "clamp": ("activation", {"activation": {"kind": "clamp", "min": None, "max": None}}),
    "slice": ("slice", {"axis": 3, "start": 0, "stop": 4}),
    "pad": ("pad", {"pads": [0] * 8}),
    "permute": ("permute", {"order": [0, 1, 2, 3]}),
    "reshape": ("reshape", {"shape": [0, 6, -1, 4]}),
    "pool": ("max_pool2d", {"kernel": [1, 1]}),
    "shuffle": ("channel_shuffle", {"groups": 1}),
    "pixel shuffle": ("pixel_shuffle", {"factor": 1}),
    "resize": ("resize", {"mode": "bilinear", "scale": [1.0, 1.0]}),
}


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("place", ["inside", "output"])
def test_nodes_without_effect(name, place):
    operation, attributes = IDENTITIES[name]
    b = Builder(6, 5, 4)
    y = b.node(operation, "same", {"x": b.activation("relu", "x")}, **attributes)
    y = y if place == "output" else b.conv("conv", y, 2)
    after = apply(drop_identity, b.finish(y), 1)
    assert operations(after) == ["activation"] + ["conv2d"] * (place == "inside")


def test_arithmetic_without_effect():
    b = Builder(6, 5, 4)
    one = b.graph.add_constant("one", b.random.standard_normal(1).astype("float32") * 0 + 1)
    zero = b.graph.add_constant("zero", b.random.standard_normal(4).astype("float32") * 0)
    y = b.node("add", "plus", {"a": zero, "b": b.node("div", "over", {"a": b.activation("relu", "x"), "b": one})})
    assert operations(apply(drop_identity, b.finish(y), 2)) == ["activation"]


def test_an_identity_that_tells_an_output_from_an_input_stays():
    b = Builder(4)
    apply(drop_identity, b.finish(b.node("slice", "same", {"x": "x"}, axis=1)), 0)


def test_permutes_merge():
    b = Builder(6, 5, 4)
    y = b.node("permute", "one", {"x": b.activation("relu", "x")}, order=[0, 3, 1, 2])
    y = b.node("permute", "two", {"x": y}, order=[0, 1, 3, 2])
    after = apply(merge_moves, b.finish(y), 1)
    assert after.nodes[-1].attributes["order"] == [0, 3, 2, 1]


def test_reshapes_merge():
    b = Builder(6, 5, 4)
    y = b.node("reshape", "one", {"x": b.activation("relu", "x")}, shape=[0, 30, 4])
    y = b.node("flatten", "two", {"x": y})
    after = apply(merge_moves, b.finish(y), 1)
    assert after.nodes[-1].attributes["shape"] == [0, -1]


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ([0, -1, 8], [0, 1, -1, 8], [0, 1, -1, 8]),
        ([0, 1, -1, 8], [0, 0, 2, -1], [0, 1, 2, -1]),
        ([0, -1, 8], [0, 0, 4, 2], [0, -1, 4, 2]),
        ([0, -1, 8], [0, 0, -1], None),
        ([0, 8], [0, 2, 0], None),
    ],
)
def test_composition_of_reshapes(first, second, merged):
    assert compose_reshapes(first, second) == merged


def test_clamps_merge():
    b = Builder(6, 5, 4)
    y = b.activation("two", b.activation("one", b.node("mul", "m", {"a": "x", "b": b.constant("c", 1)}), RELU), RELU6)
    after = apply(merge_moves, b.finish(y), 1)
    assert after.nodes[-1].attributes["activation"] == RELU6


@pytest.mark.parametrize("second", [{"min": 2.0, "max": 3.0}, {"min": None, "max": -1.0}, {"min": -9.0, "max": 0.5}])
def test_merged_clamps_that_do_not_overlap(second):
    b = Builder(6, 5, 4)
    y = b.activation("one", "x", {"kind": "clamp", "min": -0.5, "max": 1.0})
    apply(merge_moves, b.finish(b.activation("two", y, {"kind": "clamp", **second})), 1)


def test_permute_of_single_pixels_before_flatten_vanishes():
    b = Builder(6, 5, 4)
    y = b.node("mean", "pool", {"x": "x"}, axes=[1, 2])
    y = b.node("flatten", "flat", {"x": b.node("permute", "nchw", {"x": y}, order=[0, 3, 1, 2])})
    after = apply(merge_moves, b.finish(y), 1)
    eliminate_dead(after)
    assert operations(after) == ["mean", "flatten"]


def test_permute_of_pictures_before_flatten_stays_without_a_linear_layer():
    b = Builder(6, 5, 4)
    y = b.node("flatten", "flat", {"x": b.node("permute", "nchw", {"x": "x"}, order=[0, 3, 1, 2])})
    apply(merge_moves, b.finish(y), 0)
    apply(fold_permute, b.graph, 0)


def test_permute_before_flatten_and_linear_goes_into_the_weights():
    b = Builder(3, 2, 4)
    y = b.node("flatten", "flat", {"x": b.node("permute", "nchw", {"x": "x"}, order=[0, 3, 1, 2])})
    after = apply(fold_permute, b.finish(b.linear("one", y, 5), b.linear("two", y, 2)), 1)
    eliminate_dead(after)
    assert operations(after) == ["flatten", "linear", "linear"]


@pytest.mark.parametrize("groups", [2, 3])
def test_channel_shuffle_is_recognised(groups):
    b = Builder(4, 3, 6)
    y = b.node("reshape", "split", {"x": "x"}, shape=[0, 0, 0, groups, 6 // groups])
    y = b.node("permute", "swap", {"x": y}, order=[0, 1, 2, 4, 3])
    after = apply(fuse_shuffle, b.finish(b.node("reshape", "join", {"x": y}, shape=[0, 0, 0, -1])), 1)
    eliminate_dead(after)
    assert operations(after) == ["channel_shuffle"]


def test_other_permutes_are_no_shuffle():
    b = Builder(4, 3, 6)
    y = b.node("reshape", "split", {"x": "x"}, shape=[0, 0, 0, 2, 3])
    y = b.node("permute", "swap", {"x": y}, order=[0, 2, 1, 3, 4])
    apply(fuse_shuffle, b.finish(b.node("reshape", "join", {"x": y}, shape=[0, 4, 3, 6])), 0)


def sequence(b: Builder, name: str, x: str) -> str:
    return b.node("reshape", name, {"x": x}, shape=[0, -1, b.graph.tensors[x].shape[-1]])


def test_moves_sink_behind_activations_and_meet_the_next():
    b = Builder(1, 7, 3)
    y = b.activation("relu", sequence(b, "lower", b.conv("one", "x", 4)))
    y = b.conv("two", b.node("reshape", "lift", {"x": y}, shape=[0, 1, -1, 4]), 5)
    after = apply(sink_moves, b.finish(y), 1)
    assert operations(after) == ["conv2d", "activation", "reshape", "reshape", "conv2d"]


def test_moves_sink_behind_sums_prelu_and_constants_over_channels():
    b = Builder(1, 7, 3)
    left, right = (sequence(b, f"{n}.lower", b.conv(n, "x", 4)) for n in ("left", "right"))
    y = b.node("add", "sum", {"a": left, "b": right})
    y = b.node("prelu", "prelu", {"x": y, "slope": b.constant("slope", 4)})
    y = b.node("mul", "scale", {"a": b.constant("gain", 4), "b": y})
    after = apply(sink_moves, b.finish(y), 3)
    assert operations(after) == ["conv2d", "conv2d", "add", "prelu", "mul", "reshape"]


def test_moves_stay_where_the_other_operand_would_not_fit():
    b = Builder(1, 7, 3)
    y = sequence(b, "lower", b.conv("conv", "x", 4))
    apply(sink_moves, b.finish(b.node("mul", "m", {"a": y, "b": b.constant("c", 7, 4)})), 0)
    c = Builder(5, 4, 3)
    y = c.node("permute", "nchw", {"x": c.conv("conv", "x", 4)}, order=[0, 3, 1, 2])
    apply(sink_moves, c.finish(c.node("mul", "m", {"a": y, "b": c.constant("c", 4)})), 0)


def test_the_move_of_a_graph_input_stays():
    b = Builder(3, 5, 4)
    y = b.node("permute", "nhwc", {"x": "x"}, order=[0, 2, 3, 1])
    apply(sink_moves, b.finish(b.activation("relu", y)), 0)
