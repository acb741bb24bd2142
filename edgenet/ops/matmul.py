"""Products of two activations: attention scores, their weighted sums, linear attention."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgenet.graph import Node, Tensor
from edgenet.ops.base import Attribute, Cost, Operation, OperationError, element_count, memory_cost


class MatMul(Operation):
    """scale * a @ b over the last two axes: a [N, ..., M, K], b [N, ..., K, P], the same axes before them."""

    name = "matmul"
    required = ("a", "b")
    attributes = {"scale": Attribute("float", 1.0)}

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        a, b = inputs["a"].shape, inputs["b"].shape
        if len(a) < 3 or len(a) != len(b) or a[:-2] != b[:-2] or a[-1] != b[-2]:
            raise OperationError(f"matmul of {a} and {b}: the axes before the last two, and those summed over, differ.")
        return (*a[:-1], b[-1])

    def cost(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> Cost:
        macs = inputs["a"].shape[-1] * element_count(output.shape)
        return memory_cost(inputs, output, 2 * macs, macs)

    def reference(
        self, node: Node, arrays: Mapping[str, np.ndarray], types: Mapping[str, Tensor], output: Tensor
    ) -> np.ndarray:
        product = arrays["a"].astype(np.float64) @ arrays["b"].astype(np.float64)
        return (node.attributes["scale"] * product).astype(np.float32)
