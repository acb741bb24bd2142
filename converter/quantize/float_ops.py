"""float32 operations of a graph as torch functions, on channels-last tensors. One handler for each operation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.graph import Node
from edgenet.graph import Tensor as Type
from edgenet.ops.resize import source_positions


@dataclass(frozen=True)
class Call:
    """One node to run: the node with every attribute present, its inputs by role, their types, the output's type.

    `observe` sees what an int8 node computes just before it is rounded, in units of the output's scale.
    """

    node: Node
    x: Mapping[str, Tensor]
    types: Mapping[str, Type]
    output: Type
    observe: Callable[[Tensor], None] | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        return self.node.attributes


Handler = Callable[[Call], Tensor]

ACTIVATIONS: dict[str, Callable[[Tensor, Mapping[str, Any]], Tensor]] = {
    "clamp": lambda x, a: x if a["min"] is None and a["max"] is None else x.clamp(a["min"], a["max"]),
    "leaky_relu": lambda x, a: F.leaky_relu(x, a["alpha"]),
    "elu": lambda x, a: F.elu(x, a["alpha"]),
    "sigmoid": lambda x, a: x.sigmoid(),
    "tanh": lambda x, a: x.tanh(),
    "silu": lambda x, a: F.silu(x),
    "hardsigmoid": lambda x, a: F.hardsigmoid(x),
    "hardswish": lambda x, a: F.hardswish(x),
    "gelu": lambda x, a: F.gelu(x),
    "gelu_tanh": lambda x, a: F.gelu(x, approximate="tanh"),
    "softplus": lambda x, a: F.softplus(x, threshold=100),
    "mish": lambda x, a: F.mish(x),
    "exp": lambda x, a: x.exp(),
    "sqrt": lambda x, a: x.sqrt(),
    "square": lambda x, a: x.square(),
    "abs": lambda x, a: x.abs(),
    "neg": lambda x, a: -x,
    "reciprocal": lambda x, a: x.reciprocal(),
    "log": lambda x, a: x.log(),
    "erf": lambda x, a: x.erf(),
    "floor": lambda x, a: x.floor(),
    "step": lambda x, a: (x > 0).to(x.dtype),
}


def activate(x: Tensor, activation: Mapping[str, Any] | None) -> Tensor:
    """The activation of a float tensor; None leaves it alone."""
    return x if activation is None else ACTIVATIONS[activation["kind"]](x, activation)


def channels_first(x: Tensor) -> Tensor:
    """NHWC as a view in torch's NCHW order (the "channels_last" memory format)."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """NCHW as contiguous NHWC; free when `x` is in the channels_last memory format."""
    return x.permute(0, 2, 3, 1).contiguous()


def convolve(call: Call, x: Tensor, bias: Tensor | None) -> Tensor:
    """Sums of a conv2d over float values `x`, plus `bias`.

    A 1x1 kernel's stride is a slice: oneDNN's gradient of a strided 1x1 convolution of at most 16 channels, pixels
    last, writes beyond its memory (oneDNN of torch 2.13, AVX-512).
    """
    a, weight = call.attributes, channels_first(call.x["weight"].to(x.dtype))
    top, bottom, left, right = a["padding"]
    x, padding, stride = channels_first(x), [top, left], a["stride"]
    pointwise = tuple(weight.shape[2:]) == (1, 1) and list(stride) != [1, 1]
    if (top, left) != (bottom, right) or (pointwise and (top, left) != (0, 0)):
        x, padding = F.pad(x, (left, right, top, bottom)), [0, 0]
    if pointwise:
        x, stride = x[:, :, :: stride[0], :: stride[1]], [1, 1]
    y = F.conv2d(x, weight, bias, stride, padding, a["dilation"], a["groups"])
    return channels_last(y)


def conv2d(call: Call) -> Tensor:
    return epilogue(call, convolve(call, call.x["x"], call.x.get("bias")))


def linear(call: Call) -> Tensor:
    return epilogue(call, F.linear(call.x["x"], call.x["weight"], call.x.get("bias")))


def epilogue(call: Call, y: Tensor) -> Tensor:
    """Residual and activation of a convolution or linear layer."""
    if "residual" in call.x:
        y = y + call.x["residual"]
    return activate(y, call.attributes["activation"])


def conv_transpose2d(call: Call) -> Tensor:
    a, weight = call.attributes, call.x["weight"]
    filters, kh, kw, depth = weight.shape
    groups, per_group = a["groups"], filters // a["groups"]
    weight = weight.reshape(groups, per_group, kh, kw, depth).permute(0, 4, 1, 2, 3)
    weight = weight.reshape(groups * depth, per_group, kh, kw)
    y = F.conv_transpose2d(channels_first(call.x["x"]), weight, None, a["stride"], 0, 0, groups, a["dilation"])
    top, _, left, _ = a["padding"]
    _, out_h, out_w, _ = call.output.shape
    y = F.pad(y, (0, max(0, left + out_w - y.shape[3]), 0, max(0, top + out_h - y.shape[2])))
    y = channels_last(y[:, :, top : top + out_h, left : left + out_w])
    return activate(y + call.x["bias"] if "bias" in call.x else y, a["activation"])


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Handler:
    """Handler of an operation on a and b with a fused activation."""
    return lambda call: activate(function(call.x["a"], call.x["b"]), call.attributes["activation"])


def padded(call: Call, x: Tensor, fill: float, leading: tuple[int, int]) -> Tensor:
    """NCHW `x` with `leading` (top, left) padding, and as much after it as the last window needs."""
    a, (_, out_h, out_w, _) = call.attributes, call.output.shape
    (kh, kw), (sh, sw), (dh, dw) = a["kernel"], a["stride"], a.get("dilation", [1, 1])
    top, left = leading
    below = (out_h - 1) * sh + dh * (kh - 1) + 1 - top - x.shape[2]
    beyond = (out_w - 1) * sw + dw * (kw - 1) + 1 - left - x.shape[3]
    return F.pad(x, (left, max(0, beyond), top, max(0, below)), value=fill)


def max_pool2d(call: Call) -> Tensor:
    """Also for int8, whose stored values are compared."""
    a, x = call.attributes, call.x["x"]
    wide = padded(call, channels_first(x.float()), -math.inf, (a["padding"][0], a["padding"][2]))
    y = F.max_pool2d(wide, a["kernel"], a["stride"], 0, a["dilation"])
    _, out_h, out_w, _ = call.output.shape
    return channels_last(y[:, :, :out_h, :out_w]).to(x.dtype)


def window_sums(call: Call, x: Tensor, leading: tuple[int, int]) -> Tensor:
    """Sum of each pooling window of NCHW `x`."""
    wide = padded(call, x, 0.0, leading)
    y = F.avg_pool2d(wide, call.attributes["kernel"], call.attributes["stride"], divisor_override=1)
    return y[:, :, : call.output.shape[1], : call.output.shape[2]]


def window_counts(call: Call, height: int, width: int) -> Tensor:
    """Divisor of each pooling window, [1, 1, out_h, out_w]."""
    a, (top, bottom, left, right) = call.attributes, call.attributes["padding"]
    inside = torch.ones(1, 1, height, width)
    if a["count_include_pad"]:
        counts = window_sums(call, F.pad(inside, (left, right, top, bottom), value=1.0), (0, 0))
    else:
        counts = window_sums(call, inside, (top, left))
    return torch.full_like(counts, a["divisor"]) if a["divisor"] else counts


def pooled_sums(call: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """(sums NHWC, divisors) of avg_pool2d over float values."""
    pads = call.attributes["padding"]
    sums = channels_last(window_sums(call, channels_first(x), (pads[0], pads[2])))
    return sums, channels_last(window_counts(call, x.shape[1], x.shape[2])).to(x.device)


def adaptive_sums(call: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """(sums NHWC, divisors) of adaptive_avg_pool2d over float values."""
    _, height, width, _ = x.shape
    out_h, out_w = call.attributes["output_size"]
    rows = [slice(i * height // out_h, -(-(i + 1) * height // out_h)) for i in range(out_h)]
    columns = [slice(j * width // out_w, -(-(j + 1) * width // out_w)) for j in range(out_w)]
    sums = torch.stack([torch.stack([x[:, r, c].sum((1, 2)) for c in columns], 1) for r in rows], 1)
    counts = [[(r.stop - r.start) * (c.stop - c.start) for c in columns] for r in rows]
    return sums, torch.tensor(counts, dtype=x.dtype, device=x.device)[None, :, :, None]


def mean_sums(call: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """(sums, divisor) of mean over float values."""
    axes = call.attributes["axes"]
    count = math.prod(x.shape[axis] for axis in axes)
    return x.sum(axes, keepdim=call.attributes["keepdims"]), torch.tensor(float(count), dtype=x.dtype)


def average(sums: Callable[[Call, Tensor], tuple[Tensor, Tensor]]) -> Handler:
    """Handler that divides sums by counts, in float64 as the oracle does."""

    def handler(call: Call) -> Tensor:
        total, count = sums(call, call.x["x"].double())
        return (total / count).float()

    return handler


def softmax(call: Call) -> Tensor:
    return call.x["x"].softmax(call.attributes["axis"])


def log_softmax(call: Call) -> Tensor:
    return call.x["x"].log_softmax(call.attributes["axis"])


def matmul(call: Call) -> Tensor:
    return call.attributes["scale"] * (call.x["a"] @ call.x["b"])


def layer_norm(call: Call) -> Tensor:
    x = call.x["x"]
    return F.layer_norm(x, x.shape[-1:], call.x.get("weight"), call.x.get("bias"), call.attributes["epsilon"])


def local_response_norm(call: Call) -> Tensor:
    a, x = call.attributes, call.x["x"]
    flat = x.reshape(-1, x.shape[-1], 1)
    return F.local_response_norm(flat, a["size"], a["alpha"], a["beta"], a["k"]).reshape(x.shape)


def prelu(call: Call) -> Tensor:
    x = call.x["x"]
    return torch.where(x >= 0, x, x * call.x["slope"])


def concat(call: Call) -> Tensor:
    return torch.cat(list(call.x.values()), call.attributes["axis"])


def take(call: Call) -> Tensor:
    a, x = call.attributes, call.x["x"]
    indices = range(*slice(a["start"], a["stop"], a["step"]).indices(x.shape[a["axis"]]))
    return x.index_select(a["axis"], torch.tensor(indices, device=x.device))


def pad(call: Call) -> Tensor:
    pads = call.attributes["pads"]
    widths = [pads[2 * axis + side] for axis in reversed(range(call.x["x"].dim())) for side in (0, 1)]
    value = call.attributes["quantized_value" if call.output.dtype == "int8" else "value"]
    return F.pad(call.x["x"], widths, value=value)


def reshape(call: Call) -> Tensor:
    return call.x["x"].reshape(call.output.shape)


def permute(call: Call) -> Tensor:
    return call.x["x"].permute(call.attributes["order"]).contiguous()


def channel_shuffle(call: Call) -> Tensor:
    x = call.x["x"]
    return x.reshape(*x.shape[:-1], call.attributes["groups"], -1).transpose(-1, -2).reshape(x.shape)


def pixel_shuffle(call: Call) -> Tensor:
    return channels_last(F.pixel_shuffle(channels_first(call.x["x"]), call.attributes["factor"]))


def interpolate(call: Call, x: Tensor) -> Tensor:
    """Bilinear resize of float values with the roundings of `edgenet.ops.resize`."""
    (top, bottom, wy), (left, right, wx) = (
        tuple(
            torch.from_numpy(part).to(x.device) for part in source_positions(call.node, axis, x.shape[1 + axis], size)
        )
        for axis, size in enumerate(call.output.shape[1:3])
    )
    wy, wx = wy[:, None, None], wx[:, None]
    upper, lower = x.index_select(1, top), x.index_select(1, bottom)
    r0 = upper.index_select(2, left) * (1 - wx) + upper.index_select(2, right) * wx
    r1 = lower.index_select(2, left) * (1 - wx) + lower.index_select(2, right) * wx
    return r0 * (1 - wy) + r1 * wy


def nearest(call: Call) -> Tensor:
    """Nearest resize of any dtype."""
    x = call.x["x"]
    for axis, size in enumerate(call.output.shape[1:3]):
        indices = source_positions(call.node, axis, x.shape[1 + axis], size)[0]
        x = x.index_select(1 + axis, torch.from_numpy(indices).to(x.device))
    return x


def resize(call: Call) -> Tensor:
    return nearest(call) if call.attributes["mode"] == "nearest" else interpolate(call, call.x["x"])


MOVES: dict[str, Handler] = {
    "max_pool2d": max_pool2d,
    "slice": take,
    "pad": pad,
    "reshape": reshape,
    "flatten": reshape,
    "permute": permute,
    "channel_shuffle": channel_shuffle,
    "pixel_shuffle": pixel_shuffle,
}
"""Operations that choose among stored values: the same for float32 and int8."""

FLOAT: dict[str, Handler] = {
    **MOVES,
    "conv2d": conv2d,
    "conv_transpose2d": conv_transpose2d,
    "linear": linear,
    "matmul": matmul,
    "activation": lambda call: activate(call.x["x"], call.attributes["activation"]),
    "prelu": prelu,
    "add": binary(torch.add),
    "sub": binary(torch.sub),
    "mul": binary(torch.mul),
    "div": binary(torch.div),
    "mask": binary(lambda a, b: torch.where(b.abs() > 0, a, torch.zeros((), dtype=a.dtype))),
    "avg_pool2d": average(pooled_sums),
    "adaptive_avg_pool2d": average(adaptive_sums),
    "mean": average(mean_sums),
    "softmax": softmax,
    "log_softmax": log_softmax,
    "layer_norm": layer_norm,
    "local_response_norm": local_response_norm,
    "concat": concat,
    "resize": resize,
}
"""Handler of each float32 operation."""
