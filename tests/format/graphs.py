"""Small graphs that together use every feature of the file."""

from __future__ import annotations

import numpy as np

from edgenet.dtypes import BATCH
from edgenet.graph import Graph, Node, Preprocessing, Quantization, Tensor
from edgenet.ops import infer_shapes

from .many_operations import many_float_graph, many_int8_graph


def activation(graph: Graph, name: str, shape: tuple[int, ...] = (), scale: tuple[float, int] | None = None) -> str:
    """Declare an activation, int8 where a scale is given."""
    quantization = Quantization((scale[0],), scale[1]) if scale else None
    graph.tensors[name] = Tensor(name, shape, "int8" if scale else "float32", quantization)
    return name


def finish(graph: Graph) -> Graph:
    """Fill in the shapes of all activations."""
    graph.tensors = {name: infer_shapes(graph)[name] for name in graph.tensors}
    return graph


def float_graph() -> Graph:
    """NCHW input, two convolutions with a residual, pooling, linear, softmax; a float16 weight, labels, golden pair."""
    rng, graph = np.random.default_rng(0), Graph()
    graph.inputs = [activation(graph, "input", (BATCH, 3, 6, 7))]
    w1 = graph.add_constant("conv.weight", rng.normal(size=(4, 3, 3, 3)).astype(np.float32))
    b1 = graph.add_constant("conv.bias", rng.normal(size=4).astype(np.float32))
    w2 = graph.add_constant("depthwise.weight", rng.normal(size=(4, 3, 3, 1)).astype(np.float16))
    w3 = graph.add_constant(
        "fc.weight", rng.integers(-127, 128, (5, 4)).astype(np.int8), Quantization((0.5, 0.25, 1.0, 2.0, 0.125), 0, 0)
    )
    for name in ("nhwc", "conv", "depthwise", "sum", "pool", "flat", "fc", "probabilities"):
        activation(graph, name)
    relu6 = {"kind": "clamp", "min": 0.0, "max": 6.0}
    graph.nodes = [
        Node("permute", "nhwc", {"x": "input"}, "nhwc", {"order": [0, 2, 3, 1]}),
        Node(
            "conv2d",
            "conv",
            {"x": "nhwc", "weight": w1, "bias": b1},
            "conv",
            {"padding": [1, 1, 1, 1], "activation": relu6},
            "net.py:3: x = self.conv(x)",
        ),
        Node("conv2d", "depthwise", {"x": "conv", "weight": w2}, "depthwise", {"padding": (1, 1, 1, 1), "groups": 4}),
        Node("add", "sum", {"a": "conv", "b": "depthwise"}, "sum"),
        Node("mean", "pool", {"x": "sum"}, "pool", {"axes": [1, 2]}),
        Node("flatten", "flat", {"x": "pool"}, "flat"),
        Node("linear", "fc", {"x": "flat", "weight": w3}, "fc"),
        Node("softmax", "softmax", {"x": "fc"}, "probabilities", {"axis": 1}),
    ]
    graph.outputs = ["probabilities"]
    graph.metadata.labels = ["tench", "Käse", "chat, minou", "犬", "e"]
    graph.metadata.preprocessing = Preprocessing(8, 6)
    graph.metadata.provenance = {"torch": "2.13.0", "command": "edgenet convert x.pth"}
    graph.metadata.golden_inputs = {"input": graph.add_constant("golden.input", np.ones((2, 3, 5, 3), np.float32))}
    golden = graph.add_constant("golden.probabilities", np.full((2, 5), 0.2, np.float32))
    graph.metadata.golden_outputs = {"probabilities": golden}
    return finish(graph)


def int8_graph() -> Graph:
    """quantize, int8 convolution with a residual, a table, concat, max pool, mean, linear that writes float32."""
    rng, graph = np.random.default_rng(1), Graph()
    graph.inputs = [activation(graph, "input", (BATCH, 3, 6, 6))]
    activation(graph, "nhwc")
    activation(graph, "q", (), (0.02, -3))
    w = graph.add_constant(
        "conv.weight", rng.integers(-127, 128, (3, 3, 3, 3)).astype(np.int8), Quantization((0.0078125, 0.25, 0.5), 0, 0)
    )
    b = graph.add_constant("conv.bias", rng.integers(-1000, 1000, 3).astype(np.int32))
    m = graph.add_constant("conv.multiplier", np.asarray([0.001, 0.002, 0.003], np.float32))
    activation(graph, "conv", (), (0.05, 7))
    t = graph.add_constant("table", rng.integers(-128, 128, 256).astype(np.int8))
    activation(graph, "tabled", (), (0.05, 0))
    activation(graph, "joined", (), (0.06, 1))
    activation(graph, "pooled", (), (0.06, 1))
    activation(graph, "mean", (), (0.03, 0))
    fw = graph.add_constant("fc.weight", rng.integers(-127, 128, (4, 6)).astype(np.int8))
    fb = graph.add_constant("fc.bias", rng.integers(-1000, 1000, 4).astype(np.int32))
    fm = graph.add_constant("fc.multiplier", np.full(4, 0.01, np.float32))
    activation(graph, "logits")
    graph.nodes = [
        Node("permute", "nhwc", {"x": "input"}, "nhwc", {"order": [0, 2, 3, 1]}),
        Node("quantize", "quantize", {"x": "nhwc"}, "q", {"inverse_scale": 50.0}),
        Node(
            "conv2d",
            "conv",
            {"x": "q", "weight": w, "bias": b, "multiplier": m, "residual": "q"},
            "conv",
            {"padding": [1, 1, 1, 1], "residual_multiplier": 0.4, "q_min": -20},
        ),
        Node("table", "table", {"x": "conv", "table": t}, "tabled"),
        Node("concat", "concat", {"x0": "conv", "x1": "tabled"}, "joined", {"axis": 3, "multipliers": [0.8, 0.9]}),
        Node("max_pool2d", "pool", {"x": "joined"}, "pooled", {"kernel": [2, 2], "stride": [2, 2]}),
        Node("mean", "mean", {"x": "pooled"}, "mean", {"axes": [1, 2], "keepdims": False, "multiplier": 2.0}),
        Node("linear", "fc", {"x": "mean", "weight": fw, "bias": fb, "multiplier": fm}, "logits"),
    ]
    graph.outputs = ["logits"]
    return finish(graph)


def two_inputs_graph() -> Graph:
    """Two inputs, two outputs, a broadcast constant, no batch symbol."""
    graph = Graph()
    graph.inputs = [activation(graph, "a", (2, 4)), activation(graph, "b", (2, 4))]
    half = graph.add_constant("half", np.asarray(0.5, np.float32))
    activation(graph, "sum")
    activation(graph, "scaled")
    graph.nodes = [
        Node("add", "sum", {"a": "a", "b": "b"}, "sum", {"activation": {"kind": "leaky_relu", "alpha": 0.1}}),
        Node("mul", "scale", {"a": half, "b": "sum"}, "scaled"),
    ]
    graph.outputs = ["scaled", "sum"]
    return finish(graph)


GRAPHS = {
    "float": float_graph,
    "int8": int8_graph,
    "two_inputs": two_inputs_graph,
    "many_float": many_float_graph,
    "many_int8": many_int8_graph,
}
