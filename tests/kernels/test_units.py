"""Units of work are independent: one at a time, in any order, on any thread, they give the same bits."""

import ctypes

import numpy as np
import pytest

from edgenet.engine.cache import load_kernels
from edgenet.engine.link import link
from edgenet.engine.loader import ENTRY_TYPE
from edgenet.engine.program import Context
from edgenet.prepare.prepare import prepare
from tests.kernels.harness import TARGETS, execute, from_memory, guarded, to_memory
from tests.ops.builder import one_node

Q = (0.1, -3)
CLAMP = {"kind": "clamp", "min": -1.0, "max": 1.0}
WINDOW = {"kernel": [3, 3], "stride": [2, 2], "padding": [1, 1, 1, 1]}
CASES = [
    ("permute", ((2, 3, 70, 90),), {"order": [0, 2, 3, 1]}, "float32"),
    ("permute", ((2, 30, 20, 9),), {"order": [0, 2, 3, 1]}, "both"),
    ("permute", ((3, 6, 7, 8),), {"order": [0, 2, 1, 3]}, "both"),
    ("channel_shuffle", ((1, 20, 30, 38),), {"groups": 2}, "both"),
    ("slice", ((2, 50, 9, 40),), {"axis": 1, "start": 3, "stop": 40}, "both"),
    ("reshape", ((1, 90, 1000),), {"shape": [0, -1]}, "both"),
    ("pad", ((2, 9, 9, 200),), {"pads": [0, 0, 1, 1, 1, 2, 0, 0], "quantized_value": 1}, "both"),
    ("concat", ((2, 9, 9, 100), (2, 9, 9, 30)), {"axis": 3, "multipliers": [0.5, 1.0]}, "both"),
    ("activation", ((3, 20000),), {"activation": CLAMP}, "float32"),
    ("add", ((2, 9, 9, 100), (2, 9, 9, 100)), {"multiplier_a": 0.5, "multiplier_b": 0.3}, "both"),
    ("mul", ((3, 40, 40, 30), (3, 1, 1, 30)), {"multiplier": 0.1}, "both"),
    ("quantize", ((3, 20000),), {"inverse_scale": 20.0}, "quantize"),
    ("max_pool2d", ((2, 30, 31, 130),), WINDOW, "both"),
    ("avg_pool2d", ((2, 30, 31, 130),), {**WINDOW, "multiplier": 0.9}, "both"),
    ("mean", ((2, 30, 31, 330),), {"axes": [1, 2], "multiplier": 0.9}, "both"),
    ("softmax", ((60, 330),), {"axis": 1}, "float32"),
    ("layer_norm", ((60, 330),), {}, "float32"),
    ("local_response_norm", ((2, 8, 9, 330),), {"size": 5}, "float32"),
    ("resize", ((2, 8, 9, 130),), {"mode": "nearest", "size": [20, 30]}, "both"),
    ("resize", ((2, 8, 9, 130),), {"mode": "bilinear", "size": [20, 30], "multiplier": 0.9}, "both"),
]
ROLES = {"add": ("a", "b"), "mul": ("a", "b"), "concat": ("x0", "x1")}


def graphs():
    rng = np.random.default_rng(1)
    for operation, shapes, attributes, kind in CASES:
        roles = ROLES.get(operation, ("x",))
        if kind != "int8":
            arrays = {r: rng.standard_normal(s, dtype=np.float32) for r, s in zip(roles, shapes, strict=True)}
            output = {"output": Q} if kind == "quantize" else {}
            yield f"{operation}-float32", one_node(operation, arrays, attributes, **output), arrays
        if kind == "both":
            arrays = {r: rng.integers(-128, 128, s).astype(np.int8) for r, s in zip(roles, shapes, strict=True)}
            options = {"quantization": dict.fromkeys(roles, Q), "output": Q}
            yield f"{operation}-int8", one_node(operation, arrays, attributes, **options), arrays


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize(("graph", "arrays"), [pytest.param(*case[1:], id=case[0]) for case in graphs()])
def test_units_are_independent(target, graph, arrays):
    whole = execute(graph, arrays, target, threads=3)[0]["y"]
    plan = prepare(graph, {name: arrays[name].shape for name in graph.inputs}, target, 3)
    context = Context(link(plan, load_kernels({step.kernel for step in plan.steps}, target)))
    inputs = [guarded(to_memory(arrays[name], target)) for name in graph.inputs]
    tensor = plan.tensors["y"]
    result = guarded(np.full(tensor.shape, 0x55, np.uint8 if tensor.dtype == "int8" else np.float32))
    context.attach(inputs, [result])
    assert any(step.units > 1 for step in plan.steps)
    for index, step in enumerate(plan.steps):
        entry, slots = (int(word) for word in context.records[index * 8 :][[0, 3]])
        for unit in reversed(range(step.units)):
            ENTRY_TYPE(entry)(ctypes.c_void_p(slots), unit, unit + 1, unit % 3)
    np.testing.assert_array_equal(from_memory(result, graph, "y", target), whole)
