"""Softmax and normalisations over an axis; float32, computed in float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgenet.graph import Node, Tensor
from edgenet.ops.base import Attribute, Cost, Operation, OperationError, element_count, memory_cost


class _Softmax(Operation):
    attributes = {"axis": Attribute("int", required=True, minimum=1, maximum=7)}

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        if node.attributes["axis"] >= len(inputs["x"].shape):
            raise OperationError(f"{self.name} axis does not fit shape {inputs['x'].shape}.")
        return inputs["x"].shape

    def cost(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> Cost:
        return memory_cost(inputs, output, 3 * element_count(output.shape))


class Softmax(_Softmax):
    """exp(x - max) / sum over `axis`."""

    name = "softmax"

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        x, axis = arrays["x"].astype(np.float64), node.attributes["axis"]
        e = np.exp(x - x.max(axis, keepdims=True))
        return (e / e.sum(axis, keepdims=True)).astype(np.float32)


class LogSoftmax(_Softmax):
    """x - max - log(sum(exp(x - max))) over `axis`."""

    name = "log_softmax"

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        x, axis = arrays["x"].astype(np.float64), node.attributes["axis"]
        x = x - x.max(axis, keepdims=True)
        return (x - np.log(np.exp(x).sum(axis, keepdims=True))).astype(np.float32)


class LayerNorm(Operation):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias over the last axis."""

    name = "layer_norm"
    optional = ("weight", "bias")
    constants = ("weight", "bias")
    attributes = {"epsilon": Attribute("float", 1e-5, minimum=0)}

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        shape = inputs["x"].shape
        if len(shape) < 2 or any(t.shape != shape[-1:] for role, t in inputs.items() if role != "x"):
            raise OperationError(f"layer_norm weight and bias must have the size of the last axis of {shape}.")
        return shape

    def cost(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> Cost:
        parameters = sum(element_count(t.shape) for role, t in inputs.items() if role != "x")
        return memory_cost(inputs, output, 8 * element_count(output.shape), parameters=parameters)

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        x = arrays["x"].astype(np.float64)
        y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + node.attributes["epsilon"])
        return (y * arrays.get("weight", np.float32(1)) + arrays.get("bias", np.float32(0))).astype(np.float32)


class LocalResponseNorm(Operation):
    """x / (k + alpha * mean of squares over `size` channels around each) ** beta, over the last axis, as torch."""

    name = "local_response_norm"
    attributes = {
        "size": Attribute("int", required=True, minimum=1, maximum=65535),
        "alpha": Attribute("float", 1e-4),
        "beta": Attribute("float", 0.75),
        "k": Attribute("float", 1.0),
    }

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        if len(inputs["x"].shape) < 2:
            raise OperationError("local_response_norm needs a channel axis.")
        return inputs["x"].shape

    def cost(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> Cost:
        return memory_cost(inputs, output, (2 * node.attributes["size"] + 3) * element_count(output.shape))

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        x, a = arrays["x"].astype(np.float64), node.attributes
        before = a["size"] // 2
        widths = [(0, 0)] * (x.ndim - 1) + [(before, a["size"] - 1 - before)]
        squares = np.pad(x * x, widths)
        mean = sum(squares[..., i : i + x.shape[-1]] for i in range(a["size"])) / a["size"]
        return (x / (a["k"] + a["alpha"] * mean) ** a["beta"]).astype(np.float32)
