"""Single layers as graphs, in float32 and int8: standard, depthwise, pointwise and depthwise-separable convolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgenet.converter.quantize import quantize
from edgenet.errors import InputError
from edgenet.graph import BATCH, Graph, Node, Tensor

KINDS = ("standard", "depthwise", "pointwise", "separable")
RELU = {"kind": "clamp", "min": 0.0, "max": None}


@dataclass(frozen=True)
class Layer:
    """A convolution of `filters` kernels of `kernel` x `kernel` on an image height x width x channels, padded."""

    height: int
    width: int
    channels: int
    filters: int
    kernel: int = 3
    stride: int = 1

    def __str__(self) -> str:
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{self.height}x{self.width}x{self.channels}-{self.filters}-{self.kernel}x{self.kernel}{stride}"


MOBILENET_V1 = tuple(
    Layer(size, size, channels, filters, 3, stride)
    for size, channels, filters, stride in (
        (112, 32, 64, 1),
        (112, 64, 128, 2),
        (56, 128, 128, 1),
        (56, 128, 256, 2),
        (28, 256, 256, 1),
        (28, 256, 512, 2),
        (14, 512, 512, 1),
        (14, 512, 1024, 2),
        (7, 1024, 1024, 1),
    )
)
"""The distinct depthwise-separable blocks of MobileNetV1 at 224 x 224."""


def parse_size(text: str) -> tuple[int, int, int]:
    """Height, width and channels of "14x14x512". Raises InputError."""
    try:
        height, width, channels = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise InputError(f"{text!r} is not a size such as 14x14x512 (height x width x channels).") from None
    if min(height, width, channels) < 1:
        raise InputError(f"{text!r} has a size below 1.")
    return height, width, channels


def build(layer: Layer, kind: str, precision: str = "float32") -> Graph:
    """A graph of one layer: its convolutions are named after their kind, each followed by a fused ReLU.

    A 1 x 1 max pooling behind them keeps the layer's result in the precision that it has inside a network.
    """
    rng = np.random.default_rng(0)
    graph = Graph(inputs=["x"], outputs=["y"])
    graph.tensors["x"] = Tensor("x", (BATCH, layer.height, layer.width, layer.channels))
    last = "x"
    if kind == "standard":
        last = _convolve(graph, rng, last, "standard", layer.filters, layer.kernel, layer.stride)
    if kind in ("depthwise", "separable"):
        last = _convolve(graph, rng, last, "depthwise", layer.channels, layer.kernel, layer.stride)
    if kind in ("pointwise", "separable"):
        last = _convolve(graph, rng, last, "pointwise", layer.filters, 1, 1)
    graph.nodes.append(Node("max_pool2d", "pool", {"x": last}, "y", {"kernel": [1, 1], "stride": [1, 1]}))
    graph.tensors["y"] = Tensor("y", graph.tensors[last].shape)
    if precision == "float32":
        return graph
    shape = graph.tensors["x"].concrete(1)
    return quantize(graph, [rng.standard_normal(shape).astype(np.float32) for _ in range(2)])


def _convolve(graph: Graph, rng: np.random.Generator, x: str, kind: str, filters: int, kernel: int, stride: int) -> str:
    batch, height, width, channels = graph.tensors[x].shape
    groups, pad = (channels, kernel // 2) if kind == "depthwise" else (1, kernel // 2)
    shape = (filters, kernel, kernel, channels // groups)
    scale = np.sqrt(2 / np.prod(shape[1:]))
    weight = graph.add_constant(f"{kind}.weight", (rng.standard_normal(shape) * scale).astype(np.float32))
    bias = graph.add_constant(f"{kind}.bias", rng.standard_normal(filters).astype(np.float32) * np.float32(0.1))
    out = [(size + 2 * pad - kernel) // stride + 1 for size in (height, width)]
    graph.tensors[kind] = Tensor(kind, (batch, *out, filters))
    attributes = {"stride": [stride] * 2, "padding": [pad] * 4, "groups": groups, "activation": RELU}
    graph.nodes.append(Node("conv2d", kind, {"x": x, "weight": weight, "bias": bias}, kind, attributes))
    return kind
