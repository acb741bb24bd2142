"""Batch norms and other affine maps disappear into the layers beside them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet.converter.passes import fold_batchnorm
from tests.passes.builder import RELU, Builder, apply, operations


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shift", [True, False])
def test_behind_a_convolution(bias, shift):
    b = Builder(6, 5, 3)
    graph = b.finish(b.batch_norm("bn", b.conv("conv", "x", 4, 3, bias, padding=[1, 1, 1, 1]), shift))
    after = apply(fold_batchnorm, graph, 1)
    assert [node.name for node in after.nodes] == ["conv"]
    assert ("bias" in after.nodes[0].inputs) == (bias or shift)


def test_behind_a_linear_layer_seen_through_reshapes():
    b = Builder(7)
    y = b.node("reshape", "lift", {"x": b.linear("linear", "x", 4)}, shape=[0, 1, 1, 4])
    graph = b.finish(b.node("flatten", "flat", {"x": b.batch_norm("bn", y)}))
    assert operations(apply(fold_batchnorm, graph, 1)) == ["linear", "reshape", "flatten"]


def test_behind_a_transposed_convolution():
    b = Builder(5, 4, 3)
    weight = b.constant("up.weight", 4, 2, 2, 3)
    y = b.node("conv_transpose2d", "up", {"x": "x", "weight": weight}, stride=[2, 2])
    after = apply(fold_batchnorm, b.finish(b.batch_norm("bn", y)), 1)
    assert operations(after) == ["conv_transpose2d"]


def test_before_an_unpadded_convolution():
    b = Builder(6, 5, 4)
    y = b.activation("relu", b.batch_norm("bn", b.activation("first", "x")))
    y = b.conv("conv", b.batch_norm("bn2", y), 6, 3)
    assert operations(apply(fold_batchnorm, b.finish(y), 1)) == ["activation", "conv2d", "activation", "conv2d"]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(groups=st.integers(1, 3), depth=st.integers(1, 3), filters=st.integers(1, 3), kernel=st.integers(1, 3))
def test_before_grouped_convolutions(groups, depth, filters, kernel):
    b = Builder(5, 4, groups * depth)
    y = b.batch_norm("bn", b.activation("relu", "x"))
    graph = b.finish(b.conv("conv", y, groups * filters, kernel, groups=groups))
    assert operations(apply(fold_batchnorm, graph, 1)) == ["activation", "conv2d"]


def test_before_a_linear_layer_behind_flatten():
    b = Builder(3, 2, 4)
    y = b.node("flatten", "flat", {"x": b.batch_norm("bn", b.activation("relu", "x"))})
    assert operations(apply(fold_batchnorm, b.finish(b.linear("linear", y, 5)), 1)) == [
        "activation",
        "flatten",
        "linear",
    ]


def test_a_shift_before_zero_padding_stays():
    b = Builder(6, 5, 3)
    y = b.batch_norm("bn", b.activation("relu", "x"))
    graph = b.finish(b.conv("conv", y, 4, 3, padding=[1, 1, 1, 1]))
    apply(fold_batchnorm, graph, 0)


def test_a_scale_before_zero_padding_is_folded():
    b = Builder(6, 5, 3)
    y = b.batch_norm("bn", b.activation("relu", "x"), shift=False)
    graph = b.finish(b.conv("conv", y, 4, 3, padding=[1, 1, 1, 1]))
    assert operations(apply(fold_batchnorm, graph, 1)) == ["activation", "conv2d"]


def test_before_two_convolutions_that_both_take_it():
    b = Builder(6, 5, 3)
    y = b.batch_norm("bn", b.activation("relu", "x"))
    graph = b.finish(b.conv("left", y, 4), b.conv("right", y, 2))
    assert operations(apply(fold_batchnorm, graph, 1)) == ["activation", "conv2d", "conv2d"]


def test_a_convolution_read_elsewhere_keeps_its_weights():
    b = Builder(6, 5, 3)
    y = b.conv("conv", "x", 4)
    graph = b.finish(b.batch_norm("bn", y), b.activation("relu", y))
    apply(fold_batchnorm, graph, 0)


def test_a_convolution_whose_result_is_returned_keeps_its_weights():
    b = Builder(6, 5, 3)
    y = b.conv("conv", "x", 4)
    apply(fold_batchnorm, b.finish(y, b.batch_norm("bn", y)), 0)


@pytest.mark.parametrize("between", ["activation", "attribute", "residual"])
def test_what_is_not_linear_stops_it(between):
    b = Builder(6, 5, 4)
    if between == "activation":
        y = b.activation("relu", b.conv("conv", "x", 4))
    elif between == "attribute":
        y = b.conv("conv", "x", 4, activation=RELU)
    else:
        weight = b.constant("w", 4, 1, 1, 4)
        y = b.node("conv2d", "conv", {"x": "x", "weight": weight, "residual": "x"})
    apply(fold_batchnorm, b.finish(b.batch_norm("bn", y)), 0)


def test_alone_it_stays_a_per_channel_affine_map():
    b = Builder(6, 5, 4)
    assert operations(apply(fold_batchnorm, b.finish(b.batch_norm("bn", "x")), 0)) == ["conv2d"]


def test_shared_weights_are_copied():
    b = Builder(6, 5, 4)
    weight = b.constant("w", 4, 1, 1, 4)
    first = b.node("conv2d", "one", {"x": "x", "weight": weight})
    graph = b.finish(b.node("conv2d", "two", {"x": b.batch_norm("bn", first), "weight": weight}))
    after = apply(fold_batchnorm, graph, 1)
    assert after.nodes[0].inputs["weight"] != after.nodes[1].inputs["weight"] == weight


@pytest.mark.parametrize("operation", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize("shape", [(1,), (4,), (1, 1, 4)])
@pytest.mark.parametrize("constant_first", [False, True])
def test_arithmetic_with_constants(operation, shape, constant_first):
    b = Builder(6, 5, 3)
    y, constant = b.conv("conv", "x", 4), b.constant("c", *shape)
    roles = {"a": constant, "b": y} if constant_first else {"a": y, "b": constant}
    graph = b.finish(b.node(operation, "affine", roles))
    divided = operation == "div" and constant_first
    assert len(apply(fold_batchnorm, graph, 0 if divided else 1).nodes) == (2 if divided else 1)


def test_arithmetic_that_is_not_per_channel_stays():
    b = Builder(6, 4, 3)
    y = b.conv("conv", "x", 4)
    graph = b.finish(b.node("mul", "columns", {"a": y, "b": b.constant("c", 4, 1)}))
    apply(fold_batchnorm, graph, 0)
    grows = Builder(6, 5, 3)
    y = grows.conv("conv", "x", 1)
    apply(fold_batchnorm, grows.finish(grows.node("mul", "grow", {"a": y, "b": grows.constant("c", 4)})), 0)
