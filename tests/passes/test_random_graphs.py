"""Random networks keep what they compute through all passes."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgenet.converter.passes import optimize
from tests.passes.builder import RELU, RELU6, Builder, check, outputs

KINDS = (RELU, RELU6, {"kind": "hardswish"}, {"kind": "sigmoid"}, {"kind": "leaky_relu", "alpha": 0.1})


class Drawn:
    """Grows a graph by drawn nodes; `values` are the NHWC tensors so far."""

    def __init__(self, draw: st.DrawFn):
        self.draw = draw
        self.builder = Builder(5, 4, 4, seed=draw(st.integers(0, 99)))
        self.values = ["x"]
        self.count = 0

    def pick(self) -> str:
        """A tensor, the latest most often."""
        return self.values[-1 - min(self.draw(st.integers(0, 5)) // 3, len(self.values) - 1)]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.builder.graph.tensors[name].shape

    def grow(self) -> None:
        kinds = ("conv", "depthwise", "norm", "norm", "activation", "activation", "add", "arithmetic", "pad", "move")
        kind = self.draw(st.sampled_from((*kinds, "pool", "concat", "slice", "shuffle", "lift")))
        x, self.count = self.pick(), self.count + 1
        self.values.append(getattr(self, kind)(f"{kind}{self.count}", x))

    def conv(self, name: str, x: str) -> str:
        kernel, pad = self.draw(st.sampled_from([(1, 0), (3, 1), (3, 0), (1, 1)]))
        kernel = kernel if min(self.shape(x)[1:3]) + pad >= kernel else 1
        filters, bias = self.draw(st.sampled_from([2, 4])), self.draw(st.booleans())
        return self.builder.conv(name, x, filters, kernel, bias, padding=[pad, pad, pad, 0])

    def depthwise(self, name: str, x: str) -> str:
        channels = self.shape(x)[-1]
        return self.builder.conv(name, x, channels * self.draw(st.integers(1, 2)), 1, groups=channels, stride=[1, 1])

    def norm(self, name: str, x: str) -> str:
        return self.builder.batch_norm(name, x, self.draw(st.booleans()))

    def activation(self, name: str, x: str) -> str:
        return self.builder.activation(name, x, self.draw(st.sampled_from(KINDS)))

    def add(self, name: str, x: str) -> str:
        others = [value for value in self.values if self.shape(value) == self.shape(x)]
        return self.builder.node("add", name, {"a": x, "b": self.draw(st.sampled_from(others))})

    def arithmetic(self, name: str, x: str) -> str:
        shape = self.draw(st.sampled_from([(1,), self.shape(x)[-1:], (self.shape(x)[2], 1)]))
        operands = self.draw(st.permutations([x, self.builder.constant(f"{name}.constant", *shape)]))
        operation = self.draw(st.sampled_from(["add", "sub", "mul"]))
        return self.builder.node(operation, name, {"a": operands[0], "b": operands[1]})

    def pad(self, name: str, x: str) -> str:
        pads = [0, 0, *self.draw(st.lists(st.integers(0, 1), min_size=4, max_size=4)), 0, 0]
        return self.builder.node("pad", name, {"x": x}, pads=pads, value=self.draw(st.sampled_from([0.0, 0.0, 1.0])))

    def move(self, name: str, x: str) -> str:
        y = self.builder.node("permute", name, {"x": x}, order=[0, 3, 1, 2])
        if self.draw(st.booleans()):
            y = self.builder.activation(f"{name}.inner", y)
        return self.builder.node("permute", f"{name}.back", {"x": y}, order=[0, 2, 3, 1])

    def lift(self, name: str, x: str) -> str:
        _, height, width, channels = self.shape(x)
        y = self.builder.node("reshape", name, {"x": x}, shape=[0, -1, channels])
        if self.draw(st.booleans()):
            y = self.builder.linear(f"{name}.linear", y, channels)
        if self.draw(st.booleans()):
            y = self.builder.activation(f"{name}.inner", y)
        return self.builder.node("reshape", f"{name}.back", {"x": y}, shape=[0, height, width, channels])

    def pool(self, name: str, x: str) -> str:
        kind = self.draw(st.sampled_from(["max_pool2d", "avg_pool2d"]))
        return self.builder.node(kind, name, {"x": x}, kernel=[3, 3], padding=[1, 1, 1, 1])

    def concat(self, name: str, x: str) -> str:
        others = [value for value in self.values if self.shape(value)[:-1] == self.shape(x)[:-1]]
        return self.builder.node("concat", name, {"x0": x, "x1": self.draw(st.sampled_from(others))}, axis=3)

    def slice(self, name: str, x: str) -> str:
        start = self.draw(st.integers(0, 1))
        return self.builder.node("slice", name, {"x": x}, axis=3, start=start, stop=self.shape(x)[3])

    def shuffle(self, name: str, x: str) -> str:
        channels = self.shape(x)[3]
        groups = 2 if channels % 2 == 0 else 1
        y = self.builder.node("reshape", name, {"x": x}, shape=[0, 0, 0, groups, channels // groups])
        y = self.builder.node("permute", f"{name}.swap", {"x": y}, order=[0, 1, 2, 4, 3])
        return self.builder.node("reshape", f"{name}.join", {"x": y}, shape=[0, 0, 0, channels])

    def finish(self):
        results = [self.values[-1]]
        if self.draw(st.booleans()):
            self.count += 1
            flat = self.values[-1]
            if self.draw(st.booleans()):
                flat = self.builder.node("permute", "nchw", {"x": flat}, order=[0, 3, 1, 2])
            results.append(self.builder.linear("head", self.builder.node("flatten", "flat", {"x": flat}), 3))
        extra = self.draw(st.sampled_from(self.values))
        if extra not in (*results, "x"):
            results.append(extra)
        return self.builder.finish(*[name for name in results if name != "x"] or [self.norm("last", "x")])


@st.composite
def networks(draw: st.DrawFn):
    drawn = Drawn(draw)
    for _ in range(draw(st.integers(1, 9))):
        drawn.grow()
    return drawn.finish()


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(networks())
def test_passes_keep_what_a_network_computes(graph):
    result = optimize(graph)
    check(result)
    assert result.outputs == graph.outputs
    assert len(result.nodes) <= len(graph.nodes)
    for got, want in zip(outputs(result), outputs(graph), strict=True):
        assert np.abs(got - want).max() <= 1e-4 * max(float(np.abs(want).max()), 1e-3)
