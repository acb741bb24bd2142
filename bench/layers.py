"""Single layers as graphs, in float32 and int8: standard, depthwise, pointwise and depthwise-separable convolution."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib import resources

import numpy as np

from edgenet.dtypes import BATCH
from edgenet.errors import InputError
from edgenet.graph import Graph, Node, Quantization, Tensor

KINDS = ("standard", "depthwise", "pointwise", "separable")
SOURCE = "source"
RELU = {"kind": "clamp", "min": 0.0, "max": None}
_SCALE = 1 / 32
_POOL = 1 << 20


@dataclass(frozen=True)
class Layer:
    """A convolution of `filters` kernels of `kernel` x `kernel` on an image height x width x channels, padded.

    With `reduction`, a pointwise convolution first reduces the channels to so many, as in an Inception block.
    """

    height: int
    width: int
    channels: int
    filters: int
    kernel: int = 3
    stride: int = 1
    reduction: int = 0

    def __str__(self) -> str:
        stride = f"/{self.stride}" if self.stride > 1 else ""
        reduction = f"-{self.reduction}" if self.reduction else ""
        size = f"{self.height}x{self.width}x{self.channels}"
        return f"{size}{reduction}-{self.filters}-{self.kernel}x{self.kernel}{stride}"

    @property
    def predicted(self) -> float:
        """Share of the FLOPs of the standard convolution that the cheaper form needs.

        1/D2 + 1/F^2 for depthwise + pointwise. With a reduction to R channels, at stride 1: R/D1 + R/(F^2 * D2).
        """
        if not self.reduction:
            return 1 / self.filters + 1 / self.kernel**2
        out = [(side - 1) // self.stride + 1 for side in (self.height, self.width)]
        pixels = self.height * self.width / (out[0] * out[1])
        return self.reduction / self.channels + pixels * self.reduction / (self.kernel**2 * self.filters)

    @property
    def law(self) -> str:
        """The formula of `predicted`."""
        if not self.reduction:
            return f"1/{self.filters} + 1/{self.kernel}^2"
        return f"{self.reduction}/{self.channels} + {self.reduction}/({self.kernel}^2 * {self.filters})"


def read_layers(name: str) -> tuple[Layer, ...]:
    """The layers of a network, from the file `name`.csv of this package. Raises InputError for an unknown name."""
    place = resources.files("edgenet.bench") / f"{name}.csv"
    if not place.is_file():
        raise InputError(f"There is no list of layers {name}.")
    rows = csv.DictReader(place.read_text(encoding="utf-8").splitlines())
    names = {field.name for field in fields(Layer)}
    return tuple(Layer(**{key: int(value) for key, value in row.items() if key in names}) for row in rows)


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

    `kind` is one of KINDS, or "reduced": a pointwise convolution named "reduction", then a standard one. Around them
    lie nodes that make the layer's input and result what they are inside a network: a 1 x 1 depthwise convolution named
    "source" (int8: a quantization), so that the engine places the input, and behind the layer a 1 x 1 max pooling.
    Weights are random numbers.
    """
    graph = Graph(inputs=["x"], outputs=["y"])
    graph.tensors["x"] = Tensor("x", (BATCH, layer.height, layer.width, layer.channels))
    last = "x"
    if precision == "int8":
        last = "quantized"
        graph.tensors[last] = Tensor(last, graph.tensors["x"].shape, "int8", Quantization((_SCALE,)))
        graph.nodes.append(Node("quantize", "quantize", {"x": "x"}, last, {"inverse_scale": 1 / _SCALE}))
    else:
        last = _convolve(graph, last, SOURCE, layer.channels, 1, 1)
    for name, filters, kernel, stride in _parts(layer, kind):
        last = _convolve(graph, last, name, filters, kernel, stride)
    y = graph.tensors[last]
    graph.nodes.append(Node("max_pool2d", "pool", {"x": last}, "y", {"kernel": [1, 1], "stride": [1, 1]}))
    graph.tensors["y"] = Tensor("y", y.shape, y.dtype, y.quantization)
    if precision == "int8":
        graph.nodes.append(Node("dequantize", "dequantize", {"x": "y"}, "result"))
        graph.tensors["result"] = Tensor("result", y.shape)
        graph.outputs = ["result"]
    return graph


def layer_nodes(graph: Graph) -> list[Node]:
    """The convolutions of a layer's graph."""
    return [node for node in graph.nodes if node.operation == "conv2d" and node.name != SOURCE]


def _parts(layer: Layer, kind: str) -> Iterable[tuple[str, int, int, int]]:
    """Name, filters, kernel and stride of each convolution."""
    if kind == "reduced":
        yield "reduction", layer.reduction, 1, 1
    if kind in ("standard", "reduced"):
        yield "standard", layer.filters, layer.kernel, layer.stride
    if kind in ("depthwise", "separable"):
        yield "depthwise", layer.channels, layer.kernel, layer.stride
    if kind in ("pointwise", "separable"):
        yield "pointwise", layer.filters, 1, 1


def _random(shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Normal numbers of a standard deviation: a block of them, repeated where more are needed."""
    numbers = np.random.default_rng(0).standard_normal(min(_POOL, int(np.prod(shape)))).astype(np.float32)
    return np.resize(numbers * np.float32(scale), shape)


def _convolve(graph: Graph, x: str, kind: str, filters: int, kernel: int, stride: int) -> str:
    source = graph.tensors[x]
    batch, height, width, channels = source.shape
    groups, pad = (channels if kind in ("depthwise", SOURCE) else 1), kernel // 2
    shape = (filters, kernel, kernel, channels // groups)
    weight = _random(shape, float(np.sqrt(2 / np.prod(shape[1:]))))
    bias = _random((filters,), 0.1)
    out = [(size + 2 * pad - kernel) // stride + 1 for size in (height, width)]
    attributes = {
        "stride": [stride] * 2,
        "padding": [pad] * 4,
        "dilation": [1, 1],
        "groups": groups,
        "activation": RELU,
    }
    inputs = {"x": x}
    if source.dtype == "float32":
        graph.tensors[kind] = Tensor(kind, (batch, *out, filters))
        inputs |= {"weight": graph.add_constant(f"{kind}.weight", weight)}
        inputs |= {"bias": graph.add_constant(f"{kind}.bias", bias)}
    else:
        output = Quantization((_SCALE,), -128)  # a ReLU leaves no negative values
        graph.tensors[kind] = Tensor(kind, (batch, *out, filters), "int8", output)
        step = np.float32(max(float(np.abs(weight).max()) / 127, 1e-6))
        per_channel = Quantization((float(step),) * filters, 0, 0)
        inputs |= {"weight": graph.add_constant(f"{kind}.weight", np.rint(weight / step).astype(np.int8), per_channel)}
        inputs |= {"bias": graph.add_constant(f"{kind}.bias", np.rint(bias / (step * _SCALE)).astype(np.int32))}
        inputs |= {"multiplier": graph.add_constant(f"{kind}.multiplier", np.full(filters, step, np.float32))}
    graph.nodes.append(Node("conv2d", kind, inputs, kind, attributes))
    return kind
