"""Operations that move elements without arithmetic. int8 inputs keep their quantization."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgenet.graph import Node, Tensor
from edgenet.ops.base import Attribute, Operation, OperationError, element_count
from edgenet.ops.conv import rank4


class _Move(Operation):
    dtypes = ("float32", "int8")

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        if (inputs["x"].dtype, inputs["x"].quantization) != (output.dtype, output.quantization):
            raise OperationError(f"{self.name} keeps dtype and quantization.")


class Slice(_Move):
    """x[start:stop:step] along `axis`; negative bounds count from the end, a null stop is the end."""

    name = "slice"
    attributes = {
        "axis": Attribute("int", required=True, minimum=1, maximum=7),
        "start": Attribute("int", 0, minimum=-(2**31), maximum=2**31),
        "stop": Attribute("int", None, nullable=True, minimum=-(2**31), maximum=2**31),
        "step": Attribute("int", 1, minimum=1, maximum=2**31),
    }

    def _slice(self, node: Node) -> slice:
        return slice(node.attributes["start"], node.attributes["stop"], node.attributes["step"])

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        shape, axis = inputs["x"].shape, node.attributes["axis"]
        size = len(range(*self._slice(node).indices(shape[axis]))) if axis < len(shape) else 0
        if size < 1:
            raise OperationError(f"slice of axis {axis} of shape {shape} is empty.")
        return (*shape[:axis], size, *shape[axis + 1 :])

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        return arrays["x"][(slice(None),) * node.attributes["axis"] + (self._slice(node),)]


class Pad(_Move):
    """Constant padding; `pads` holds before and after of every axis. int8 pads with `quantized_value`."""

    name = "pad"
    attributes = {
        "pads": Attribute("ints", required=True, minimum=0, maximum=65535),
        "value": Attribute("float", 0.0),
        "quantized_value": Attribute("int", None, nullable=True, minimum=-128, maximum=127),
    }

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        shape, pads = inputs["x"].shape, node.attributes["pads"]
        if len(pads) != 2 * len(shape) or pads[0] or pads[1]:
            raise OperationError(f"pads {pads} do not fit shape {shape}; the batch cannot be padded.")
        return (shape[0], *(n + pads[2 * i] + pads[2 * i + 1] for i, n in enumerate(shape) if i))

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        super().check(node, inputs, output)
        if output.dtype == "int8" and node.attributes.get("quantized_value") is None:
            raise OperationError("an int8 pad needs quantized_value.")

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        pads = node.attributes["pads"]
        value = node.attributes["quantized_value" if output.dtype == "int8" else "value"]
        widths = [(pads[2 * i], pads[2 * i + 1]) for i in range(arrays["x"].ndim)]
        return np.pad(arrays["x"], widths, constant_values=value)


class Reshape(_Move):
    """Row-major reshape of the stored layout; entry 0 copies the input's size (always for the batch), -1 fits once."""

    name = "reshape"
    attributes = {"shape": Attribute("ints", required=True, minimum=-1, maximum=2**31)}

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        shape, target = inputs["x"].shape, node.attributes["shape"]
        if (
            not target
            or target[0] != 0
            or target.count(-1) > 1
            or any(n == 0 and i >= len(shape) for i, n in enumerate(target))
        ):
            raise OperationError(f"reshape {target} must copy the batch and hold at most one -1.")
        sizes = [shape[i] if n == 0 else n for i, n in enumerate(target)]
        total, known = element_count(shape[1:]), element_count(tuple(n for n in sizes[1:] if n != -1))
        if -1 in sizes[1:]:
            place = 1 + sizes[1:].index(-1)
            if known == 0 or total % known:
                raise OperationError(f"reshape {target} does not fit shape {shape}.")
            sizes[place] = total // known
        elif known != total:
            raise OperationError(f"reshape {target} does not fit shape {shape}.")
        return tuple(sizes)

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        return arrays["x"].reshape(output.concrete(arrays["x"].shape[0]))


class Flatten(_Move):
    """All axes from `start_axis` on become one."""

    name = "flatten"
    attributes = {"start_axis": Attribute("int", 1, minimum=1, maximum=7)}

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        shape, start = inputs["x"].shape, node.attributes["start_axis"]
        if start >= len(shape):
            raise OperationError(f"flatten from axis {start} does not fit shape {shape}.")
        return (*shape[:start], element_count(shape[start:]))

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        return arrays["x"].reshape(output.concrete(arrays["x"].shape[0]))


class Permute(_Move):
    """Axis i of the output is axis order[i] of the input; the batch stays first."""

    name = "permute"
    attributes = {"order": Attribute("ints", required=True, minimum=0, maximum=7)}

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        shape, order = inputs["x"].shape, node.attributes["order"]
        if sorted(order) != list(range(len(shape))) or order[0] != 0:
            raise OperationError(f"permute order {order} does not fit shape {shape} or moves the batch.")
        return tuple(shape[i] for i in order)

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        return np.ascontiguousarray(arrays["x"].transpose(node.attributes["order"]))


class ChannelShuffle(_Move):
    """Channel g * (C/groups) + i moves to i * groups + g (ShuffleNet)."""

    name = "channel_shuffle"
    attributes = {"groups": Attribute("int", required=True, minimum=1, maximum=2**20)}

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        shape = inputs["x"].shape
        if len(shape) < 2 or shape[-1] % node.attributes["groups"]:
            raise OperationError(f"channel_shuffle groups do not divide the channels of {shape}.")
        return shape

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        x, groups = arrays["x"], node.attributes["groups"]
        return x.reshape(*x.shape[:-1], groups, -1).swapaxes(-1, -2).reshape(x.shape)


class PixelShuffle(_Move):
    """[N,H,W,C*r*r] to [N,H*r,W*r,C] with torch's channel order: channel c*r*r + i*r + j goes to offset (i, j)."""

    name = "pixel_shuffle"
    attributes = {"factor": Attribute("int", required=True, minimum=1, maximum=1024)}

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        batch, height, width, channels = rank4(node, inputs["x"])
        r = node.attributes["factor"]
        if channels % (r * r):
            raise OperationError(f"pixel_shuffle factor {r} does not fit {channels} channels.")
        return batch, height * r, width * r, channels // (r * r)

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        n, h, w, c = arrays["x"].shape
        r = node.attributes["factor"]
        x = arrays["x"].reshape(n, h, w, c // (r * r), r, r)
        return x.transpose(0, 1, 4, 2, 5, 3).reshape(n, h * r, w * r, c // (r * r))
