"""Graphs with the operations that the other graphs do not hold, each as one branch from the input to an output."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgenet.dtypes import BATCH
from edgenet.graph import Graph, Node, Quantization, Tensor
from edgenet.ops import infer_shapes

FLOAT_BRANCHES: list[tuple[str, dict[str, Any]]] = [
    ("conv_transpose2d", {"stride": [2, 2], "output_padding": [1, 0], "padding": [1, 0, 0, 1]}),
    ("activation", {"activation": {"kind": "gelu"}}),
    ("prelu", {}),
    ("avg_pool2d", {"kernel": [3, 2], "stride": [2, 1], "padding": [1, 1, 0, 1], "ceil_mode": True}),
    ("adaptive_avg_pool2d", {"output_size": [2, 3]}),
    ("max_pool2d", {"kernel": [2, 2], "dilation": [2, 1], "ceil_mode": True}),
    ("log_softmax", {"axis": 3}),
    ("permute", {"order": [0, 1, 3, 2]}),
    ("matmul", {"scale": 0.5}),
    ("layer_norm", {}),
    ("local_response_norm", {"size": 3}),
    ("slice", {"axis": 1, "start": 1, "stop": -1, "step": 2}),
    ("pad", {"pads": [0, 0, 1, 0, 0, 2, 0, 0], "value": -1.0}),
    ("reshape", {"shape": [0, 5, -1]}),
    ("channel_shuffle", {"groups": 2}),
    ("pixel_shuffle", {"factor": 2}),
    ("resize", {"mode": "bilinear", "scale": [1.5, 2.0]}),
]

INT8_BRANCHES: list[tuple[str, dict[str, Any]]] = [
    ("linear", {"activation": {"kind": "hardswish"}, "output_multiplier": 0.1}),
    ("add", {"multiplier_a": 0.5, "multiplier_b": 0.25}),
    ("sub", {"multiplier_a": 0.5, "multiplier_b": 0.25}),
    ("mul", {"multiplier": 0.01}),
    ("avg_pool2d", {"kernel": [3, 2], "stride": [2, 1], "count_include_pad": False, "multiplier": 1.0}),
    ("adaptive_avg_pool2d", {"output_size": [2, 3], "multiplier": 1.0}),
    ("requantize", {"multiplier": 0.7}),
    ("pad", {"pads": [0, 0, 1, 0, 0, 2, 0, 0], "quantized_value": 7}),
    ("resize", {"mode": "bilinear", "size": [7, 3], "multiplier": 1.0}),
    ("slice", {"axis": 3, "start": 1}),
    ("reshape", {"shape": [0, 5, -1]}),
]

FLOAT_CONSTANTS = {
    "conv_transpose2d": {"weight": (3, 2, 2, 4), "bias": (3,)},
    "prelu": {"slope": (4,)},
    "layer_norm": {"weight": (4,), "bias": (4,)},
}


def many_float_graph() -> Graph:
    """float32 branches from one NHWC input."""
    rng, graph = np.random.default_rng(3), Graph()
    graph.inputs = ["x"]
    graph.tensors["x"] = Tensor("x", (BATCH, 5, 6, 4))
    for operation, attributes in FLOAT_BRANCHES:
        inputs = {"a": "x", "b": "permute"} if operation == "matmul" else {"x": "x"}
        for role, shape in FLOAT_CONSTANTS.get(operation, {}).items():
            inputs[role] = graph.add_constant(f"{operation}.{role}", rng.normal(size=shape).astype(np.float32))
        graph.tensors[operation] = Tensor(operation, ())
        graph.nodes.append(Node(operation, f"node.{operation}", inputs, operation, attributes))
        graph.outputs.append(operation)
    graph.tensors = {name: infer_shapes(graph)[name] for name in graph.tensors}
    return graph


def many_int8_graph() -> Graph:
    """int8 branches from one NHWC input, each dequantized at its end."""
    rng, graph = np.random.default_rng(4), Graph()
    real = Quantization((0.03125,), 5)
    graph.inputs = ["x"]
    graph.tensors["x"] = Tensor("x", (BATCH, 5, 6, 4))
    graph.tensors["q"] = Tensor("q", (), "int8", real)
    graph.nodes.append(Node("quantize", "quantize", {"x": "x"}, "q", {"inverse_scale": 32.0}))
    for operation, attributes in INT8_BRANCHES:
        inputs = {"x": "q"}
        if operation in ("add", "sub", "mul"):
            constant = np.asarray(rng.integers(-128, 128, () if operation == "sub" else 4), np.int8)
            inputs = {"a": "q", "b": graph.add_constant(f"{operation}.b", constant, Quantization((0.5,), -2))}
        if operation == "linear":
            weight = graph.add_constant("linear.weight", rng.integers(-127, 128, (3, 4)).astype(np.int8))
            bias = graph.add_constant("linear.bias", rng.integers(-99, 99, 3).astype(np.int32))
            multiplier = graph.add_constant("linear.multiplier", np.full(3, 0.01, np.float32))
            inputs = {"x": "q", "weight": weight, "bias": bias, "multiplier": multiplier}
        moves = operation in ("pad", "slice", "reshape")
        graph.tensors[operation] = Tensor(operation, (), "int8", real if moves else Quantization((0.25,), -1))
        graph.nodes.append(Node(operation, f"node.{operation}", inputs, operation, attributes))
        graph.tensors[f"{operation}.real"] = Tensor(f"{operation}.real", ())
        graph.nodes.append(Node("dequantize", f"real.{operation}", {"x": operation}, f"{operation}.real"))
        graph.outputs.append(f"{operation}.real")
    graph.tensors = {name: infer_shapes(graph)[name] for name in graph.tensors}
    return graph
