"""int8 operations of a graph as torch functions, with the roundings of `edgenet.ops`.

Integer sums are carried in float32 where it holds all that can occur, else in float64: results are the oracle's to the
bit. Stored values come and go as int8 tensors, or as float32 tensors of the same whole numbers where gradients flow;
rounding then passes gradients straight through.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from edgenet.graph import Tensor as Type
from edgenet.ops.arithmetic import zero_point

from .float_ops import (
    MOVES,
    Call,
    Handler,
    activate,
    adaptive_sums,
    convolve,
    interpolate,
    mean_sums,
    nearest,
    pooled_sums,
)
from .straight_through import RoundClamp

LARGEST_EXACT = 2**24
"""Whole numbers below it are exact in float32."""


def centered(call: Call, role: str) -> Tensor:
    """`stored - zero_point` as float32."""
    return call.x[role].float() - zero_point(call.types[role])


def requantize(call: Call, value: Tensor) -> Tensor:
    """clamp(round half to even + zero point) to the node's q_min and q_max, as int8 (float32 where gradients flow)."""
    a = call.attributes
    if call.observe:
        call.observe(value)
    low, high = a.get("q_min", -128), a.get("q_max", 127)
    if value.requires_grad:
        return RoundClamp.apply(value, zero_point(call.output), low, high)
    rounded = torch.nan_to_num(value.round(), nan=0.0).clamp(-(2.0**31), 2.0**31).double() + zero_point(call.output)
    return rounded.clamp(low, high).to(torch.int8)


def single(value: float | Tensor) -> Tensor:
    """An attribute as float32."""
    return value.float() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float32)


def multiplied(call: Call) -> Tensor:
    """The input of a layer, `stored - zero_point`, in a dtype in which every sum of its products is exact."""
    x, weight = centered(call, "x"), call.x["weight"].detach()
    largest = 128 + abs(zero_point(call.types["x"]))
    bound = largest * float(weight.abs().flatten(1).sum(1, dtype=torch.float64).max())
    return x if bound < LARGEST_EXACT else x.double()


def finish(call: Call, total: Tensor) -> Tensor:
    """Bias, multiplier, residual, activation and requantization of exact sums, as `edgenet.ops.conv.finish`."""
    a = call.attributes
    f = (total.double() + call.x["bias"]).float() * call.x["multiplier"]
    if "residual" in call.x:
        f = f + centered(call, "residual") * single(a["residual_multiplier"])
    if call.output.dtype == "float32":
        return activate(f, a["activation"])
    if a["activation"] and a["activation"]["kind"] == "hardswish":
        f = (f * (f + 3).clamp(0, 6)) * single(a["output_multiplier"])
    return requantize(call, f)


def conv2d(call: Call) -> Tensor:
    return finish(call, convolve(call, multiplied(call), None))


def linear(call: Call) -> Tensor:
    x = multiplied(call)
    return finish(call, F.linear(x, call.x["weight"].to(x.dtype)))


def add(call: Call) -> Tensor:
    first = centered(call, "a") * single(call.attributes["multiplier_a"])
    return requantize(call, first + centered(call, "b") * single(call.attributes["multiplier_b"]))


def sub(call: Call) -> Tensor:
    first = centered(call, "a") * single(call.attributes["multiplier_a"])
    return requantize(call, first - centered(call, "b") * single(call.attributes["multiplier_b"]))


def mul(call: Call) -> Tensor:
    return requantize(call, (centered(call, "a") * centered(call, "b")) * single(call.attributes["multiplier"]))


def average(sums: Callable[[Call, Tensor], tuple[Tensor, Tensor]]) -> Handler:
    """Handler that divides integer sums by counts and rescales."""

    def handler(call: Call) -> Tensor:
        total, count = sums(call, centered(call, "x").double())
        return requantize(call, (total.float() / count.float()) * single(call.attributes["multiplier"]))

    return handler


def resize(call: Call) -> Tensor:
    if call.attributes["mode"] == "nearest":
        return nearest(call)
    return requantize(call, interpolate(call, centered(call, "x")) * single(call.attributes["multiplier"]))


def concat(call: Call) -> Tensor:
    parts = []
    for role, scale in zip(call.x, call.attributes["multipliers"], strict=True):
        same = scale == 1.0 and zero_point(call.types[role]) == zero_point(call.output)
        parts.append(call.x[role] if same else requantize(call, centered(call, role) * single(scale)))
    return torch.cat(parts, call.attributes["axis"])


def table(call: Call) -> Tensor:
    index, values = call.x["x"].long() + 128, call.x["table"]
    if values.dim() == 1:
        return values[index]
    return values[torch.arange(values.shape[0]), index]


def quantize(call: Call) -> Tensor:
    return requantize(call, call.x["x"] * single(call.attributes["inverse_scale"]))


def dequantize(call: Call) -> Tensor:
    return centered(call, "x") * single(scale_of(call.types["x"]))


def rescale(call: Call) -> Tensor:
    return requantize(call, centered(call, "x") * single(call.attributes["multiplier"]))


def scale_of(tensor: Type) -> float:
    """Per-tensor scale of an int8 tensor."""
    assert tensor.quantization is not None, "an int8 activation has a quantization"
    return tensor.quantization.scale[0]


INT8: dict[str, Handler] = {
    **MOVES,
    "conv2d": conv2d,
    "linear": linear,
    "add": add,
    "sub": sub,
    "mul": mul,
    "avg_pool2d": average(pooled_sums),
    "adaptive_avg_pool2d": average(adaptive_sums),
    "mean": average(mean_sums),
    "resize": resize,
    "concat": concat,
    "table": table,
    "dequantize": dequantize,
    "requantize": rescale,
}
"""Handler of each operation whose (first) input is int8."""
