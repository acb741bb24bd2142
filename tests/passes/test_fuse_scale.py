"""A number that multiplies a side of a matmul, or its result, becomes its scale."""

from __future__ import annotations

import numpy as np
import pytest

from edgenet.converter.passes import fuse_scale
from tests.passes.builder import Builder, apply, operations


def number(b: Builder, value: float, shape: tuple[int, ...] = (1,)) -> str:
    return b.graph.add_constant("number", np.full(shape, value, np.float32))


@pytest.mark.parametrize("operation", ["mul", "div"])
@pytest.mark.parametrize("place", ["result", "a", "b"])
def test_a_number_at_each_place(operation, place):
    b = Builder(4, 5)
    b.input("y", 5, 6)
    sides = {"a": "x", "b": "y"}
    if place != "result":
        sides[place] = b.node(operation, "scaled", {"a": sides[place], "b": number(b, 0.5)})
    result = b.node("matmul", "product", sides, scale=3.0)
    if place == "result":
        result = b.node(operation, "scaled", {"a": result, "b": number(b, 0.5)})
    after = apply(fuse_scale, b.finish(result), 1)
    assert operations(after) == ["matmul"]
    assert after.nodes[0].attributes["scale"] == (1.5 if operation == "mul" else 6.0)


def test_a_number_on_the_left_and_behind_moves():
    b = Builder(5, 8)
    scaled = b.node("mul", "scaled", {"a": number(b, 0.5, (1, 1)), "b": "x"})
    heads = b.node(
        "permute", "heads", {"x": b.node("reshape", "split", {"x": scaled}, shape=[0, 5, 2, 4])}, order=[0, 2, 1, 3]
    )
    keys = b.node("permute", "keys", {"x": heads}, order=[0, 1, 3, 2])
    b.input("y", 2, 5, 4)
    after = apply(fuse_scale, b.finish(b.node("matmul", "product", {"a": "y", "b": keys})), 1)
    assert "mul" not in operations(after)


def test_both_sides_one_after_the_other():
    b = Builder(4, 5)
    b.input("y", 5, 6)
    half = number(b, 0.5)
    one, two = (b.node("mul", f"scaled.{name}", {"a": name, "b": half}) for name in ("x", "y"))
    graph = b.finish(b.node("matmul", "product", {"a": one, "b": two}))
    after = apply(fuse_scale, apply(fuse_scale, graph, 1), 1)
    assert operations(after) == ["matmul"]
    assert after.nodes[0].attributes["scale"] == 0.25


def test_what_stays():
    b = Builder(4, 4)
    scaled = b.node("mul", "scaled", {"a": "x", "b": number(b, 0.5)})
    apply(fuse_scale, b.finish(b.node("matmul", "square", {"a": scaled, "b": scaled})), 0)
    b = Builder(4, 4)
    scaled = b.node("mul", "scaled", {"a": "x", "b": number(b, 0.5)})
    apply(fuse_scale, b.finish(b.node("matmul", "product", {"a": scaled, "b": "x"}), scaled), 0)
    b = Builder(4, 4)
    vector = b.node("mul", "scaled", {"a": "x", "b": b.constant("vector", 4)})
    apply(fuse_scale, b.finish(b.node("matmul", "product", {"a": vector, "b": "x"})), 0)
    b = Builder(4, 4)
    product = b.node("matmul", "product", {"a": "x", "b": "x"})
    clamped = b.node(
        "mul", "scaled", {"a": product, "b": number(b, 2.0)}, activation={"kind": "clamp", "min": 0.0, "max": None}
    )
    apply(fuse_scale, b.finish(clamped), 0)
    b = Builder(4, 4)
    product = b.node("matmul", "product", {"a": "x", "b": "x"})
    apply(fuse_scale, b.finish(b.node("div", "scaled", {"a": number(b, 2.0), "b": product})), 0)
    b = Builder(4, 4)
    product = b.node("matmul", "product", {"a": "x", "b": "x"}, scale=1e-30)
    apply(fuse_scale, b.finish(b.node("mul", "scaled", {"a": product, "b": number(b, 1e-30)})), 0)
