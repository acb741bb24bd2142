"""Runs a small graph on the kernels of each instruction set that this CPU has; compares every step with the oracle."""

from __future__ import annotations

import os

import numpy as np

from edgenet import reference
from edgenet.engine.cache import load_kernels
from edgenet.engine.link import link
from edgenet.engine.program import Context
from edgenet.graph import Graph
from edgenet.kernels.isa import InstructionSet, available, host
from edgenet.ops import operation
from edgenet.prepare.prepare import prepare

ALL_TARGETS = [host()] if "EDGENET_ISA" in os.environ else available()
"""Every instruction set of this machine, or the one that EDGENET_ISA names."""
TARGETS = [target for target in ALL_TARGETS if not target.matrix_registers or len(ALL_TARGETS) == 1]
"""What tests run on that make no products of int8: matrix registers change nothing for them."""
FLOAT_TARGETS = [target for target in ALL_TARGETS if not target.extends or len(ALL_TARGETS) == 1]
"""What tests run on that use no int8: kernels without it are taken from the instruction set that another extends."""
executed: set[tuple[str, str]] = set()
"""Instruction set and name of every kernel that `execute` has run, for comparison with the oracle."""
UNUSUAL_DEPTHWISE = [
    ((1, 13), (1, 1), (1, 1), [0, 0, 6, 6], (1, 29)),
    ((1, 33), (1, 1), (1, 1), [0, 0, 16, 16], (2, 11)),
    ((1, 11), (1, 2), (1, 3), [0, 0, 15, 15], (1, 40)),
    ((13, 1), (1, 1), (1, 1), [6, 6, 0, 0], (9, 13)),
    ((4, 9), (2, 1), (1, 2), [2, 1, 9, 7], (7, 18)),
    ((9, 10), (1, 1), (1, 1), [4, 4, 4, 5], (5, 4)),
    ((2, 2), (3, 3), (1, 1), [0, 0, 0, 0], (8, 20)),
    ((3, 3), (1, 1), (12, 12), [12, 12, 12, 12], (10, 25)),
    ((1, 10), (1, 4), (1, 1), [0, 0, 30, 0], (3, 5)),
]
"""Kernel, stride, dilation, padding and image of depthwise layers that have no kernel of their own."""


def execute(
    graph: Graph, arrays: dict[str, np.ndarray], target: InstructionSet, threads: int = 1, memory: str = "fast"
):
    """Outputs by name of a graph run on the kernels of `target`, and its plan.

    int8 arrays are as the graph defines them.
    """
    plan = prepare(graph, {name: arrays[name].shape for name in graph.inputs}, target, threads, memory=memory)
    context = Context(link(plan, load_kernels(plan.kernels(), target)))
    context._arena[:] = 0x7F
    inputs = [guarded(to_memory(arrays[name], target)) for name in graph.inputs]
    outputs = {}
    for name in graph.outputs:
        tensor = plan.tensors[name]
        outputs[name] = guarded(np.full(tensor.shape, 0x55, np.uint8 if tensor.dtype == "int8" else tensor.dtype))
    context.attach(inputs, list(outputs.values()))
    context.run_stepwise()
    executed.update((target.name, step.kernel) for step in plan.steps)
    for name, array in outputs.items():
        behind = array.base[-64:] if array.base is not None else array[:0]
        assert (behind == 0xA5).all(), f"a kernel wrote behind {name}"
    return {name: from_memory(array, graph, name, target) for name, array in outputs.items()}, plan


def guarded(array: np.ndarray) -> np.ndarray:
    """A copy with 64 bytes of a known value before and behind it."""
    memory = np.full(array.nbytes + 128, 0xA5, np.uint8)
    result = memory[64 : 64 + array.nbytes].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def to_memory(array: np.ndarray, target: InstructionSet) -> np.ndarray:
    """An array as kernels see it: int8 as value + 128 where the instruction set stores it so."""
    if array.dtype == np.int8 and target.stored_unsigned:
        return (array.astype(np.int16) + 128).astype(np.uint8)
    return array


def from_memory(array: np.ndarray, graph: Graph, name: str, target: InstructionSet) -> np.ndarray:
    """The inverse of `to_memory`."""
    if graph.tensors[name].dtype != "int8":
        return array
    return (array.astype(np.int16) - 128).astype(np.int8) if target.stored_unsigned else array.view(np.int8)


def check(graph: Graph, arrays: dict[str, np.ndarray], target: InstructionSet, threads: int = 1):
    """Assert that the kernels of `target` give what the oracle gives. Returns the plan."""
    expected = reference.run(graph, arrays)
    found, plan = execute(graph, arrays, target, threads)
    node = graph.nodes[-1]
    for name in graph.outputs:
        assert found[name].shape == expected[name].shape
        if expected[name].dtype == np.int8 or operation(node).equality[expected[name].dtype.name].exact:
            np.testing.assert_array_equal(found[name], expected[name])
        else:
            scale = max(float(np.abs(expected[name]).max(initial=0.0)), 1e-30)
            relative = operation(node).equality["float32"].relative
            np.testing.assert_allclose(found[name] / scale, expected[name] / scale, rtol=0, atol=relative)
    assert all(step.vector for step in plan.steps), "a scalar kernel ran"
    return plan
