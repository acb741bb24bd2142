"""Convolutions and linear layers. Weights are [O, KH, KW, I/groups]; a depthwise convolution has groups == I."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgenet.graph import Node, Tensor
from edgenet.ops.arithmetic import activate, centered, requantize
from edgenet.ops.base import Attribute, Cost, Operation, OperationError, element_count, memory_cost

FUSED = {
    "activation": Attribute("activation", None, nullable=True),
    "q_min": Attribute("int", -128, minimum=-128, maximum=127),
    "q_max": Attribute("int", 127, minimum=-128, maximum=127),
    "residual_multiplier": Attribute("float", None, nullable=True, minimum=0),
    "output_multiplier": Attribute("float", None, nullable=True, minimum=0),
}


def pair(kind: str = "int", low: int = 1, default: tuple[int, int] = (1, 1)) -> Attribute:
    """Attribute of two integers (height, width) of at least `low`."""
    return Attribute(kind + "s", list(default), length=2, minimum=low, maximum=65535)


def four_pads() -> Attribute:
    """Attribute of the padding (top, bottom, left, right)."""
    return Attribute("ints", [0, 0, 0, 0], length=4, minimum=0, maximum=65535)


def rank4(node: Node, x: Tensor) -> tuple[int, int, int, int]:
    """The NHWC shape of `x`; OperationError for another rank."""
    if len(x.shape) != 4:
        raise OperationError(f"{node.operation} needs a rank-4 NHWC input, not shape {x.shape}.")
    return x.shape  # type: ignore[return-value]  # length checked


def window_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int = 1) -> int:
    """Output size (N - F + 2P) / S + 1 of a sliding window.

    >>> window_size(32, 5, 1, 0, 0)
    28
    """
    span = size + before + after - dilation * (kernel - 1) - 1
    return span // stride + 1 if span >= 0 else 0


def check_scaled(node: Node, inputs: Mapping[str, Tensor], output: Tensor, products: int, channels: int) -> None:
    """Conditions on the dtypes and scales of a convolution or linear layer, and on its int32 accumulator."""
    attributes, int8 = node.attributes, inputs["x"].dtype == "int8"
    activation = attributes.get("activation")
    for role in ("bias", "multiplier"):
        if role in inputs and inputs[role].shape != (channels,):
            raise OperationError(f"{role} must have shape ({channels},), not {inputs[role].shape}.")
    if "residual" in inputs and inputs["residual"].shape != output.shape:
        raise OperationError(f"residual has shape {inputs['residual'].shape}, the output {output.shape}.")
    if not int8:
        expected = {"bias": "float32", "residual": "float32"}
        if "multiplier" in inputs or output.dtype != "float32":
            raise OperationError("a float32 layer takes no multiplier and writes float32.")
    else:
        expected = {"weight": "int8", "bias": "int32", "multiplier": "float32", "residual": "int8"}
        if "bias" not in inputs or "multiplier" not in inputs:
            raise OperationError("an int8 layer needs bias and multiplier.")
        kind = activation["kind"] if activation else "clamp"
        if kind not in (("clamp", "hardswish") if output.dtype == "int8" else ("clamp",)):
            raise OperationError(f"an int8 layer cannot fuse the activation {kind}.")
        if kind == "hardswish" and attributes.get("output_multiplier") is None:
            raise OperationError("a fused hardswish needs output_multiplier.")
        if "residual" in inputs and attributes.get("residual_multiplier") is None:
            raise OperationError("an int8 residual needs residual_multiplier.")
        if products * 255 * 127 + 2**30 >= 2**31:
            raise OperationError(f"{products} products of int8 values can overflow the int32 accumulator.")
    for role, dtype in expected.items():
        if role in inputs and inputs[role].dtype != dtype:
            raise OperationError(f"{role} must be {dtype}, not {inputs[role].dtype}.")


def finish(
    total: np.ndarray, node: Node, arrays: Mapping[str, np.ndarray], types: Mapping[str, Tensor], output: Tensor
) -> np.ndarray:
    """Bias, residual, activation and (int8) requantization of the exact sums `total` (float64, channels last).

    int8: f = float32(acc) * multiplier[c]; + float32(A(residual)) * residual_multiplier; hardswish as
    (f * clamp(f + 3, 0, 6)) * output_multiplier; then round half to even, zero point, clamp to q_min..q_max.
    """
    activation = node.attributes.get("activation")
    if types["x"].dtype == "float32":
        if "bias" in arrays:
            total = total + arrays["bias"].astype(np.float64)
        if "residual" in arrays:
            total = total + arrays["residual"].astype(np.float64)
        return activate(total.astype(np.float32), activation)
    f = (total.astype(np.int64) + arrays["bias"].astype(np.int64)).astype(np.int32).astype(np.float32)
    f = f * arrays["multiplier"]
    if "residual" in arrays:
        scale = np.float32(node.attributes["residual_multiplier"])
        f = f + centered(arrays["residual"], types["residual"]).astype(np.float32) * scale
    if output.dtype == "float32":
        return activate(f, activation)
    if activation and activation["kind"] == "hardswish":
        gate = np.minimum(np.maximum(f + np.float32(3), np.float32(0)), np.float32(6))
        f = (f * gate) * np.float32(node.attributes["output_multiplier"])
    return requantize(f, output, node.attributes)


def operand(x: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Values to multiply, exact in float64: the float32 input, or `stored - zero_point`."""
    return (centered(x, tensor) if tensor.dtype == "int8" else x).astype(np.float64)


class Conv2d(Operation):
    """y = activation(conv(x, weight) + bias + residual) with zero padding (top, bottom, left, right).

    FLOPs 2 * D1/groups * F^2 * D2 * H2 * W2; parameters F*F*D1/groups + 1 per filter.
    """

    name = "conv2d"
    required = ("x", "weight")
    optional = ("bias", "multiplier", "residual")
    constants = ("weight", "bias", "multiplier")
    dtypes = ("float32", "int8")
    attributes = {
        "stride": pair(),
        "padding": four_pads(),
        "dilation": pair(),
        "groups": Attribute("int", 1, minimum=1, maximum=2**20),
        **FUSED,
    }

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        batch, height, width, channels = rank4(node, inputs["x"])
        weight, groups = inputs["weight"].shape, node.attributes["groups"]
        if len(weight) != 4 or channels % groups or weight[0] % groups or weight[3] != channels // groups:
            raise OperationError(f"conv2d weight {weight} does not fit {channels} channels in {groups} groups.")
        top, bottom, left, right = node.attributes["padding"]
        (sh, sw), (dh, dw) = node.attributes["stride"], node.attributes["dilation"]
        out_h = window_size(height, weight[1], sh, top, bottom, dh)
        out_w = window_size(width, weight[2], sw, left, right, dw)
        if out_h < 1 or out_w < 1:
            raise OperationError(f"conv2d kernel {weight[1]}x{weight[2]} is larger than its padded input.")
        return batch, out_h, out_w, weight[0]

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        weight = inputs["weight"].shape
        check_scaled(node, inputs, output, weight[1] * weight[2] * weight[3], weight[0])

    def cost(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> Cost:
        weight = inputs["weight"].shape
        macs = weight[1] * weight[2] * weight[3] * element_count(output.shape)
        parameters = element_count(weight) + (weight[0] if "bias" in inputs else 0)
        return memory_cost(inputs, output, 2 * macs, macs, parameters)

    def reference(
        self, node: Node, arrays: Mapping[str, np.ndarray], types: Mapping[str, Tensor], output: Tensor
    ) -> np.ndarray:
        top, bottom, left, right = node.attributes["padding"]
        x = np.pad(operand(arrays["x"], types["x"]), ((0, 0), (top, bottom), (left, right), (0, 0)))
        weight, groups = arrays["weight"].astype(np.float64), node.attributes["groups"]
        (sh, sw), (dh, dw) = node.attributes["stride"], node.attributes["dilation"]
        _, out_h, out_w, filters = output.shape
        batch, depth, per_group = x.shape[0], weight.shape[3], filters // groups
        total = np.zeros((batch, out_h, out_w, filters))
        for i in range(weight.shape[1]):
            for j in range(weight.shape[2]):
                tap = x[:, i * dh : i * dh + (out_h - 1) * sh + 1 : sh, j * dw : j * dw + (out_w - 1) * sw + 1 : sw]
                if depth == 1:
                    total += np.repeat(tap, per_group, axis=3) * weight[:, i, j, 0]
                    continue
                for g in range(groups):
                    rows = slice(g * per_group, (g + 1) * per_group)
                    total[..., rows] += tap[..., g * depth : (g + 1) * depth] @ weight[rows, i, j].T
        return finish(total, node, arrays, types, output)


class ConvTranspose2d(Operation):
    """Transposed convolution: the gradient of conv2d with respect to its input, as torch defines it; float32."""

    name = "conv_transpose2d"
    required = ("x", "weight")
    optional = ("bias",)
    constants = ("weight", "bias")
    attributes = {
        "stride": pair(),
        "padding": four_pads(),
        "output_padding": pair(low=0, default=(0, 0)),
        "dilation": pair(),
        "groups": Attribute("int", 1, minimum=1, maximum=2**20),
        "activation": Attribute("activation", None, nullable=True),
    }

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        batch, height, width, channels = rank4(node, inputs["x"])
        weight, a = inputs["weight"].shape, node.attributes
        if (
            len(weight) != 4
            or channels % a["groups"]
            or weight[0] % a["groups"]
            or weight[3] != channels // a["groups"]
        ):
            raise OperationError(f"conv_transpose2d weight {weight} does not fit {channels} channels.")
        pads, out = a["padding"], []
        for axis, size in enumerate((height, width)):
            span = (size - 1) * a["stride"][axis] + a["dilation"][axis] * (weight[1 + axis] - 1) + 1
            out.append(span - pads[2 * axis] - pads[2 * axis + 1] + a["output_padding"][axis])
            if a["output_padding"][axis] >= max(a["stride"][axis], a["dilation"][axis]) or out[-1] < 1:
                raise OperationError("conv_transpose2d padding leaves no valid output.")
        return batch, out[0], out[1], weight[0]

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        check_scaled(node, inputs, output, 1, inputs["weight"].shape[0])

    def cost(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> Cost:
        weight = inputs["weight"].shape
        macs = weight[0] * weight[1] * weight[2] * element_count(inputs["x"].shape) // node.attributes["groups"]
        parameters = element_count(weight) + (weight[0] if "bias" in inputs else 0)
        return memory_cost(inputs, output, 2 * macs, macs, parameters)

    def reference(
        self, node: Node, arrays: Mapping[str, np.ndarray], types: Mapping[str, Tensor], output: Tensor
    ) -> np.ndarray:
        x, weight, a = arrays["x"].astype(np.float64), arrays["weight"].astype(np.float64), node.attributes
        (sh, sw), (dh, dw), groups = a["stride"], a["dilation"], a["groups"]
        batch, height, width, _ = x.shape
        _, out_h, out_w, filters = output.shape
        top, _, left, _ = a["padding"]
        depth, per_group = weight.shape[3], filters // groups
        full_h = max(top + out_h, (height - 1) * sh + dh * (weight.shape[1] - 1) + 1)
        full_w = max(left + out_w, (width - 1) * sw + dw * (weight.shape[2] - 1) + 1)
        total = np.zeros((batch, full_h, full_w, filters))
        for i in range(weight.shape[1]):
            for j in range(weight.shape[2]):
                rows = slice(i * dh, i * dh + (height - 1) * sh + 1, sh)
                columns = slice(j * dw, j * dw + (width - 1) * sw + 1, sw)
                for g in range(groups):
                    out = slice(g * per_group, (g + 1) * per_group)
                    total[:, rows, columns, out] += x[..., g * depth : (g + 1) * depth] @ weight[out, i, j].T
        return finish(total[:, top : top + out_h, left : left + out_w], node, arrays, types, output)


class Linear(Operation):
    """y = activation(x @ weight.T + bias + residual); weight [O, I]. Arithmetic as a 1x1 conv2d."""

    name = "linear"
    required = ("x", "weight")
    optional = ("bias", "multiplier", "residual")
    constants = ("weight", "bias", "multiplier")
    dtypes = ("float32", "int8")
    attributes = FUSED

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        x, weight = inputs["x"].shape, inputs["weight"].shape
        if len(weight) != 2 or len(x) < 2 or x[-1] != weight[1]:
            raise OperationError(f"linear weight {weight} does not fit input {x}.")
        return (*x[:-1], weight[0])

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        check_scaled(node, inputs, output, inputs["weight"].shape[1], inputs["weight"].shape[0])

    def cost(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> Cost:
        weight = inputs["weight"].shape
        macs = weight[1] * element_count(output.shape)
        parameters = element_count(weight) + (weight[0] if "bias" in inputs else 0)
        return memory_cost(inputs, output, 2 * macs, macs, parameters)

    def reference(
        self, node: Node, arrays: Mapping[str, np.ndarray], types: Mapping[str, Tensor], output: Tensor
    ) -> np.ndarray:
        total = operand(arrays["x"], types["x"]) @ arrays["weight"].astype(np.float64).T
        return finish(total, node, arrays, types, output)
