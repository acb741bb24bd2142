"""Small graphs for the tests of the engine."""

from __future__ import annotations

import numpy as np

from edgenet.dtypes import BATCH
from edgenet.graph import Graph, Node, Tensor
from edgenet.ops import infer_shapes

RELU6 = {"kind": "clamp", "min": 0.0, "max": 6.0}


def separable(channels: int = 24, depth: int = 3, size: int = 12) -> Graph:
    """Channels-last float32 network of `depth` residual blocks: expand, depthwise, project."""
    rng = np.random.default_rng(channels * 100 + depth)
    graph = Graph()
    graph.tensors["x"] = Tensor("x", (BATCH, size, size, channels))
    graph.inputs = ["x"]
    current = "x"

    def convolution(name: str, source: str, weight: tuple[int, ...], residual: str | None = None, **attributes) -> str:
        inputs = {"x": source}
        inputs["weight"] = graph.add_constant(f"{name}.weight", rng.standard_normal(weight, dtype=np.float32) / 4)
        inputs["bias"] = graph.add_constant(f"{name}.bias", rng.standard_normal(weight[0], dtype=np.float32))
        if residual:
            inputs["residual"] = residual
        graph.tensors[name] = Tensor(name, ())
        graph.nodes.append(Node("conv2d", name, inputs, name, attributes))
        return name

    for i in range(depth):
        wide = 2 * channels
        h = convolution(f"block{i}.expand", current, (wide, 1, 1, channels), activation=RELU6)
        h = convolution(f"block{i}.depthwise", h, (wide, 3, 3, 1), groups=wide, padding=[1, 1, 1, 1], activation=RELU6)
        current = convolution(f"block{i}.project", h, (channels, 1, 1, wide), residual=current)
    graph.outputs = [current]
    graph.tensors.update(infer_shapes(graph))
    return graph
