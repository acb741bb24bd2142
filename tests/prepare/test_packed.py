"""Packed weights: one copy of what is equal, another of what is not, and no more bytes than a model may use."""

from __future__ import annotations

import tracemalloc
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import edgenet
from edgenet import reference
from edgenet.errors import ModelFormatError
from edgenet.graph import Graph, Node, Quantization, Tensor
from edgenet.kernels.isa import host
from edgenet.ops import infer_shapes
from edgenet.prepare import memory_limits
from edgenet.prepare.prepare import prepare

RNG = np.random.default_rng(0)


def network(shape: tuple[int, ...], nodes: list[Node], constants: dict[str, np.ndarray], zeros: list[int]) -> Graph:
    """The nodes, each with an output of its own name; the first of them write int8 with these zero points."""
    graph = Graph({"x": Tensor("x", shape)}, nodes=nodes, inputs=["x"], outputs=[nodes[-1].output])
    for name, array in constants.items():
        graph.add_constant(name, array)
    for node in nodes:
        graph.tensors[node.output] = Tensor(node.output, ())
    for node, zero in zip(nodes, zeros, strict=False):
        graph.tensors[node.output] = Tensor(node.output, (), "int8", Quantization((0.02,), zero))
    graph.tensors.update(infer_shapes(graph))
    return graph


def packs(graph: Graph) -> dict[Hashable, np.ndarray]:
    packed: dict[Hashable, np.ndarray] = {}
    prepare(graph, {"x": graph.tensors["x"].concrete(1)}, host(), 1, packed)
    return packed


def check(graph: Graph) -> None:
    x = RNG.standard_normal(graph.tensors["x"].concrete(2), dtype=np.float32)
    found, [expected] = edgenet.load(graph, 1).run(x), reference.run(graph, {"x": x}).values()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def int8_layers(zeros: list[int]) -> Graph:
    """Linear layers with the same constants; their inputs have these zero points."""
    inputs = {"weight": "w", "bias": "b", "multiplier": "m"}
    nodes = [Node("quantize", "q", {"x": "x"}, "q", {"inverse_scale": 50.0})]
    nodes += [
        Node("linear", f"fc{i}", {"x": nodes[-1].output if i == 0 else f"fc{i - 1}", **inputs}, f"fc{i}")
        for i in range(len(zeros))
    ]
    nodes.append(Node("dequantize", "y", {"x": nodes[-1].output}, "y"))
    constants = {
        "w": RNG.integers(-100, 100, (40, 40)).astype(np.int8),
        "b": RNG.integers(-100, 100, 40).astype(np.int32),
        "m": np.full(40, 0.004, np.float32),
    }
    return network((-1, 40), nodes, constants, [*zeros, 3])


def test_layers_with_equal_constants_share_their_packed_weights():
    assert len(packs(int8_layers([3]))) == len(packs(int8_layers([3, 3, 3])))
    check(int8_layers([3, 3, 3]))


def test_another_zero_point_of_the_input_has_other_packed_weights():
    assert len(packs(int8_layers([3, -7, 3]))) == len(packs(int8_layers([3, 3, 3]))) + 1
    check(int8_layers([3, -7, 3]))


def grouped(integer: bool) -> Graph:
    """Two convolutions with the same weights, in two and in four groups."""
    rest = {"bias": "b", "multiplier": "m"} if integer else {}
    source, four, two = ("q", "four.real", "two.real") if integer else ("x", "four", "two")
    nodes = [Node("quantize", "q", {"x": "x"}, "q", {"inverse_scale": 50.0})] if integer else []
    padding = {"padding": [1, 1, 1, 1]}
    nodes += [
        Node("conv2d", "four", {"x": source, "weight": "w", **rest}, "four", {"groups": 4, **padding}),
        Node("slice", "half", {"x": source}, "half", {"axis": 3, "start": 0, "stop": 4}),
        Node("conv2d", "two", {"x": "half", "weight": "w", **rest}, "two", {"groups": 2, **padding}),
    ]
    zeros = [3] * len(nodes)
    if integer:
        nodes += [Node("dequantize", real, {"x": real[:-5]}, real) for real in (four, two)]
    nodes.append(Node("add", "y", {"a": four, "b": two}, "y"))
    kind = np.int8 if integer else np.float32
    constants: dict[str, np.ndarray] = {"w": RNG.integers(-50, 50, (16, 3, 3, 2)).astype(kind)}
    if integer:
        constants |= {"b": np.arange(16, dtype=np.int32), "m": np.full(16, 0.01, np.float32)}
    return network((-1, 5, 6, 8), nodes, constants, zeros if integer else [])


@pytest.mark.parametrize("integer", [False, True])
def test_the_same_weights_in_other_groups_are_packed_apart(integer):
    check(grouped(integer))


def transposed(count: int) -> Graph:
    nodes = [
        Node("conv_transpose2d", f"up{i}", {"x": f"up{i - 1}" if i else "x", "weight": "w"}, f"up{i}")
        for i in range(count)
    ]
    return network((-1, 2, 2, 24), nodes, {"w": RNG.standard_normal((24, 2, 2, 24), dtype=np.float32)}, [])


def test_transposed_convolutions_share_their_flipped_weights():
    assert len(packs(transposed(3))) == len(packs(transposed(1)))
    check(transposed(2))


def test_packed_weights_are_bounded(monkeypatch):
    nodes = [
        Node("linear", f"fc{i}", {"x": f"fc{i - 1}" if i else "x", "weight": "w", "bias": f"b{i}"}, f"fc{i}")
        for i in range(8)
    ]
    constants = {f"b{i}": np.zeros(100, np.float32) for i in range(8)} | {"w": np.zeros((100, 100), np.float32)}
    graph = network((-1, 100), nodes, constants, [])
    assert len(packs(graph)) == 8
    monkeypatch.setattr(memory_limits, "PACKED_ALLOWANCE", 0)
    monkeypatch.setattr(memory_limits, "PACKED_SHARE", 4)
    with pytest.raises(ModelFormatError, match="packed weights and tables need more than the 172800 bytes"):
        packs(graph)


def pooled(rows: int) -> Graph:
    return network((-1, rows, 1, 1), [Node("max_pool2d", "y", {"x": "x"}, "y", {"kernel": [1, 1]})], {}, [])


@contextmanager
def memory_within(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def test_tables_of_windows_take_few_bytes_a_row():
    with memory_within(128 * 200_000):
        packs(pooled(200_000))


def test_tables_of_windows_are_bounded_before_they_are_made():
    with memory_within(1 << 20), pytest.raises(ModelFormatError, match="packed weights and tables"):
        packs(pooled(20_000_000))
