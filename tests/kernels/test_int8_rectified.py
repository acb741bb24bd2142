"""int8 layers whose sums are scaled without conversion to floating point, against the oracle, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest

from edgenet.graph import Quantization
from edgenet.kernels.table_int8 import RECTIFIED, rectifies
from tests.kernels.harness import ALL_TARGETS, check
from tests.kernels.int8_layers import HARDSWISH, each_target, layer, run
from tests.ops.builder import one_node

OUTPUT = (0.25, -128)
"""Scale and zero point of results that are clamped as storing them does."""
LAYERS = {
    "linear": ((1, 300), (70, 300), {}),
    "linear of a batch": ((40, 96), (200, 96), {}),
    "pointwise": ((2, 9, 9, 24), (100, 1, 1, 24), {}),
    "deep pointwise": ((1, 14, 14, 256), (96, 1, 1, 256), {}),
    "first": ((1, 21, 21, 3), (32, 3, 3, 3), {"stride": [2, 2], "padding": [1] * 4}),
    "standard": ((1, 22, 22, 64), (64, 3, 3, 64), {"padding": [1] * 4}),
    "strided": ((1, 13, 13, 32), (33, 3, 3, 32), {"stride": [2, 2], "padding": [1] * 4}),
    "grouped": ((1, 8, 8, 24), (36, 3, 3, 8), {"groups": 3}),
    "depthwise": ((1, 9, 9, 13), (13, 3, 3, 1), {"groups": 13, "padding": [1] * 4}),
    "dilated depthwise": ((1, 9, 9, 40), (40, 3, 3, 1), {"groups": 40, "dilation": [2, 2]}),
    "wide depthwise": ((1, 9, 9, 64), (64, 3, 3, 1), {"groups": 64, "padding": [1] * 4}),
}
RECTIFYING = [target for target in ALL_TARGETS if rectifies(target)]


def is_rectified(plan):
    """Whether all steps of a layer are for rectified ones: kernels of their own, or told so."""
    layers = [step for step in plan.steps if step.kernel.startswith("s8_") and "widen" not in step.kernel]
    assert layers
    return all(step.slots.get("plain") == RECTIFIED or step.kernel.endswith("_rectified") for step in layers)


@each_target
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("threads", [1, 2])
def test_layers(target, kind, threads):
    x, weight, attributes = LAYERS[kind]
    operation = "linear" if len(x) == 2 else "conv2d"
    plan = run(target, x, weight, operation, output=OUTPUT, x_zero=-128, threads=threads, **attributes)
    assert is_rectified(plan) == rectifies(target)
    assert not is_rectified(run(target, x, weight, operation, output=(0.25, -127), x_zero=-128, **attributes))


def changed_layer(target, kind, change=lambda arrays: None, output=OUTPUT, **attributes):
    """Whether a layer, checked, is rectified; `change` may change its arrays."""
    x, weight, own = LAYERS[kind]
    arrays, quantization = layer(np.random.default_rng(5), x, weight)
    change(arrays)
    graph = one_node(
        "conv2d", arrays, {**own, **attributes}, constants=("weight", "bias", "multiplier"), quantization=quantization,
        output=output,
    )  # fmt: skip
    return is_rectified(check(graph, {"x": arrays["x"]}, target))


@pytest.mark.parametrize("target", RECTIFYING, ids=lambda target: target.name)
@pytest.mark.parametrize("kind", ["pointwise", "wide depthwise"])
def test_layers_that_are_not_rectified(target, kind):
    """Bounds other than those of bytes, a zero point that is not the least value, sums that may be 2**23 and more."""
    terms = int(np.prod(LAYERS[kind][1][1:]))
    most = (1 << 23) - terms * 127 * 255 - 3 * terms * 127

    def bias(value):
        return lambda arrays: arrays["bias"].__setitem__(slice(0, 9), value)

    assert changed_layer(target, kind)
    assert changed_layer(target, kind, bias(most))
    assert changed_layer(target, kind, bias(-(1 << 29)))
    assert not changed_layer(target, kind, bias(1 << 23))
    assert not changed_layer(target, kind, bias(-(1 << 30)))
    assert not changed_layer(target, kind, q_min=-100)
    assert not changed_layer(target, kind, q_max=126)
    assert not changed_layer(target, kind, **HARDSWISH)
    assert not changed_layer(target, kind, lambda arrays: arrays["multiplier"].__imul__(-1))
    assert not changed_layer(target, kind, lambda arrays: arrays["multiplier"].__setitem__(3, 1.5))


@pytest.mark.parametrize("target", RECTIFYING, ids=lambda target: target.name)
@pytest.mark.parametrize("kind", ["pointwise", "wide depthwise"])
@pytest.mark.parametrize("multiplier", [0.0, 1e-38, 1e-9, 2.0**-24, 0.0029999, 0.5, 0.998])
def test_sums_are_rounded_as_those_of_other_layers(target, kind, multiplier):
    """From far below zero to far above what a byte holds, halves among the scaled ones."""

    def spread(arrays):
        filters, *taps = arrays["weight"].shape
        arrays["bias"][...] = np.linspace(-700, 2000, filters).astype(np.int32)
        arrays["multiplier"][...] = multiplier
        arrays["weight"][...] = np.resize([-1, 0, 1], taps)

    assert changed_layer(target, kind, spread)


@pytest.mark.parametrize("target", RECTIFYING, ids=lambda target: target.name)
def test_layers_of_the_same_weights(target):
    """Packed weights are those of a rectified layer or of another, even if two share them."""
    arrays, quantization = layer(np.random.default_rng(5), *LAYERS["pointwise"][:2])
    graph = one_node(
        "conv2d", arrays, {}, constants=("weight", "bias", "multiplier"), quantization=quantization, output=OUTPUT
    )
    node, y = graph.nodes[0], graph.tensors["y"]
    graph.tensors["z"] = replace(y, name="z", quantization=Quantization((0.25,), 5))
    graph.nodes.append(replace(node, name="other", output="z"))
    graph.outputs.append("z")
    plain = [step.slots["plain"] for step in check(graph, {"x": arrays["x"]}, target).steps if "plain" in step.slots]
    assert plain == [RECTIFIED, 1]
