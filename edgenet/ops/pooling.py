"""Pooling and means, with torch's rules for ceil_mode, padding and adaptive windows.

int8 averages: f = (float32(sum of A(x)) / float32(count)) * multiplier, rounded as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgenet.graph import Node, Tensor
from edgenet.ops.arithmetic import centered, requantize
from edgenet.ops.base import Attribute, Cost, Operation, OperationError, element_count, memory_cost
from edgenet.ops.conv import four_pads, pair, rank4
from edgenet.ops.elementwise import MULTIPLIER, Q_RANGE


def pooled_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int, ceil_mode: bool) -> int:
    """torch's pooling output size; with ceil_mode a last window must begin inside the input or its leading padding."""
    span = size + before + after - dilation * (kernel - 1) - 1
    if span < 0 and not (ceil_mode and span > -stride):
        return 0
    out = (span + (stride - 1 if ceil_mode else 0)) // stride + 1
    return out - 1 if ceil_mode and (out - 1) * stride >= size + before else out


def check_pads(node: Node, kernel: list[int]) -> None:
    """Padding of a pooling window may be at most half the kernel, so that no window lies in padding alone."""
    pads = node.attributes["padding"]
    if any(pads[2 * axis + side] * 2 > kernel[axis] for axis in (0, 1) for side in (0, 1)):
        raise OperationError(f"{node.operation} padding {pads} exceeds half of the kernel {kernel}.")


def average(
    sums: np.ndarray, counts: np.ndarray, node: Node, types: Mapping[str, Tensor], output: Tensor
) -> np.ndarray:
    """Mean from exact sums (float64) and window sizes, in the output's dtype."""
    if types["x"].dtype == "float32":
        return (sums / counts).astype(np.float32)
    f = sums.astype(np.float32) / counts.astype(np.float32)
    return requantize(f * np.float32(node.attributes["multiplier"]), output, node.attributes)


def values(arrays: Mapping[str, np.ndarray], types: Mapping[str, Tensor]) -> np.ndarray:
    """The input as float64: real values, or `stored - zero_point`."""
    x = arrays["x"]
    return (centered(x, types["x"]) if types["x"].dtype == "int8" else x).astype(np.float64)


def check_average(node: Node, inputs: Mapping[str, Tensor], output: Tensor, window: int) -> None:
    """Conditions on the dtypes of an averaging operation, and on the int32 sum of its largest `window`."""
    if inputs["x"].dtype != output.dtype:
        raise OperationError(f"{node.operation} keeps the dtype.")
    if output.dtype == "int8" and node.attributes.get("multiplier") is None:
        raise OperationError(f"an int8 {node.operation} needs multiplier.")
    if output.dtype == "int8" and window > 2**23:
        raise OperationError(f"an int8 {node.operation} over more than 2**23 values can overflow.")


class _Window(Operation):
    dtypes = ("float32", "int8")

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        batch, height, width, channels = rank4(node, inputs["x"])
        a = node.attributes
        check_pads(node, a["kernel"])
        dilation, out = a.get("dilation", [1, 1]), []
        for axis, size in enumerate((height, width)):
            before, after = a["padding"][2 * axis : 2 * axis + 2]
            if before + after and dilation[axis] > size:
                raise OperationError(f"{node.operation} has windows that lie in the padding alone.")
            out.append(
                pooled_size(size, a["kernel"][axis], a["stride"][axis], before, after, dilation[axis], a["ceil_mode"])
            )
        if min(out) < 1:
            raise OperationError(f"{node.operation} kernel {a['kernel']} is larger than its padded input.")
        return batch, out[0], out[1], channels

    def cost(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> Cost:
        kernel = node.attributes["kernel"]
        return memory_cost(inputs, output, kernel[0] * kernel[1] * element_count(output.shape))

    def taps(self, node: Node, x: np.ndarray, output: Tensor, fill: float):  # type: ignore[no-untyped-def]  # generator
        """Each tap of the window as an array of the output's shape; `fill` outside the input."""
        a = node.attributes
        (kh, kw), (sh, sw), (dh, dw) = a["kernel"], a["stride"], a.get("dilation", [1, 1])
        _, out_h, out_w, _ = output.shape
        top, left = a["padding"][0], a["padding"][2]
        need_h, need_w = (out_h - 1) * sh + dh * (kh - 1) + 1, (out_w - 1) * sw + dw * (kw - 1) + 1
        below, beyond = max(0, need_h - top - x.shape[1]), max(0, need_w - left - x.shape[2])
        padded = np.pad(x, ((0, 0), (top, below), (left, beyond), (0, 0)), constant_values=fill)
        for i in range(kh):
            for j in range(kw):
                yield padded[
                    :, i * dh : i * dh + (out_h - 1) * sh + 1 : sh, j * dw : j * dw + (out_w - 1) * sw + 1 : sw
                ]


class MaxPool2d(_Window):
    """Largest value of each window; padding never wins."""

    name = "max_pool2d"
    attributes = {
        "kernel": pair(),
        "stride": pair(),
        "padding": four_pads(),
        "dilation": pair(),
        "ceil_mode": Attribute("bool", False),
    }

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        if (inputs["x"].dtype, inputs["x"].quantization) != (output.dtype, output.quantization):
            raise OperationError("max_pool2d keeps dtype and quantization.")

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        result = None
        for tap in self.taps(node, arrays["x"].astype(np.float64), output, -np.inf):
            result = tap if result is None else np.maximum(result, tap)
        return np.asarray(result).astype(arrays["x"].dtype)


class AvgPool2d(_Window):
    """Mean of each window; the count is the divisor, the padded window (count_include_pad) or its valid part."""

    name = "avg_pool2d"
    attributes = {
        "kernel": pair(),
        "stride": pair(),
        "padding": four_pads(),
        "ceil_mode": Attribute("bool", False),
        "count_include_pad": Attribute("bool", True),
        "divisor": Attribute("int", None, nullable=True, minimum=1, maximum=2**24),
        "multiplier": MULTIPLIER,
        **Q_RANGE,
    }

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        kernel = node.attributes["kernel"]
        check_average(node, inputs, output, kernel[0] * kernel[1])

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        x, a = values(arrays, types), node.attributes
        sums = sum(self.taps(node, x, output, 0.0))
        top, bottom, left, right = a["padding"]
        inside = np.ones((1, *x.shape[1:3], 1))
        if a["count_include_pad"]:
            inside = np.pad(inside, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=1)
            unpadded = Node(node.operation, node.name, {}, "", {**a, "padding": [0, 0, 0, 0]})
            counts = sum(self.taps(unpadded, inside, output, 0.0))
        else:
            counts = sum(self.taps(node, inside, output, 0.0))
        counts = np.full_like(counts, a["divisor"]) if a["divisor"] else counts
        return average(np.asarray(sums), np.asarray(counts), node, types, output)


class AdaptiveAvgPool2d(Operation):
    """Means over output_size windows from floor(i*N/n) to ceil((i+1)*N/n)."""

    name = "adaptive_avg_pool2d"
    dtypes = ("float32", "int8")
    attributes = {
        "output_size": Attribute("ints", required=True, length=2, minimum=1, maximum=65535),
        "multiplier": MULTIPLIER,
        **Q_RANGE,
    }

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        batch, _, _, channels = rank4(node, inputs["x"])
        return batch, *node.attributes["output_size"], channels

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        (_, height, width, _), (out_h, out_w) = inputs["x"].shape, node.attributes["output_size"]
        check_average(node, inputs, output, (height // out_h + 2) * (width // out_w + 2))

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        x = values(arrays, types)
        _, out_h, out_w, _ = output.shape
        sums, counts = np.zeros((x.shape[0], out_h, out_w, x.shape[3])), np.zeros((1, out_h, out_w, 1))
        for i in range(out_h):
            rows = slice(i * x.shape[1] // out_h, -(-(i + 1) * x.shape[1] // out_h))
            for j in range(out_w):
                columns = slice(j * x.shape[2] // out_w, -(-(j + 1) * x.shape[2] // out_w))
                sums[:, i, j] = x[:, rows, columns].sum((1, 2))
                counts[:, i, j] = (rows.stop - rows.start) * (columns.stop - columns.start)
        return average(sums, counts, node, types, output)


class Mean(Operation):
    """Mean over `axes` (never the batch)."""

    name = "mean"
    dtypes = ("float32", "int8")
    attributes = {
        "axes": Attribute("ints", required=True, minimum=1, maximum=7),
        "keepdims": Attribute("bool", True),
        "multiplier": MULTIPLIER,
        **Q_RANGE,
    }

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        shape, axes = inputs["x"].shape, node.attributes["axes"]
        if not axes or len(set(axes)) != len(axes) or max(axes) >= len(shape):
            raise OperationError(f"mean axes {axes} do not fit shape {shape}.")
        if node.attributes["keepdims"]:
            return tuple(1 if i in axes else size for i, size in enumerate(shape))
        return tuple(size for i, size in enumerate(shape) if i not in axes)

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        window = element_count(tuple(inputs["x"].shape[axis] for axis in node.attributes["axes"]))
        check_average(node, inputs, output, window)

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        x, axes = values(arrays, types), tuple(node.attributes["axes"])
        count = np.asarray(np.prod([x.shape[axis] for axis in axes]), np.float64)
        return average(x.sum(axes, keepdims=node.attributes["keepdims"]), count, node, types, output)
