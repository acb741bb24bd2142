"""add, sub, mul, div of activations, constants and numbers, with torch's broadcasting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from edgenet.dtypes import BATCH

from .context import Importer, array
from .registry import Unsupported, handles
from .values import Constant, Value, channels_last


def _operand(importer: Importer, value: Any, axes: tuple[int, ...]) -> str:
    """Tensor name of an operand laid out for `axes`."""
    if isinstance(value, Value):
        return importer.arrange(Value(value.name, value.axes), axes).name
    if isinstance(value, Constant):
        w = array(value)
        while w.ndim > len(axes) and w.shape[0] == 1:
            w = w[0]
        if w.ndim > len(axes) or (w.ndim == len(axes) and w.shape[0] != 1):
            raise Unsupported("a constant has its own batch axis; give it size 1 there")
        w = w.reshape((1,) * (len(axes) - w.ndim) + w.shape).transpose(axes)
        while w.ndim > 1 and w.shape[0] == 1:
            w = w[0]
        return importer.constant(value, w, f"operand{axes}{w.shape}")
    if isinstance(value, int | float):
        return importer.number(float(value))
    raise Unsupported("an operand is neither a tensor nor a number")


def binary(importer: Importer, operation: str, a: Any, b: Any) -> Value:
    """Emit `operation` on two operands, at least one of them an activation."""
    values = [v for v in (a, b) if isinstance(v, Value)]
    rank = max(v.rank for v in values)
    if any(v.rank != rank for v in values):
        raise Unsupported("operands have different numbers of axes; unsqueeze the smaller one")
    if any(isinstance(v, Constant) and v.tensor.dim() > rank and v.tensor.shape[0] != 1 for v in (a, b)):
        raise Unsupported("a constant has more axes than the activation")
    axes = next((v.axes for v in values if v.axes == channels_last(rank)), values[0].axes)
    roles = {"a": _operand(importer, a, axes), "b": _operand(importer, b, axes)}
    result = Value(importer.emit(operation, roles), axes)
    stored = importer.shape(result)[1:]
    full = torch.broadcast_shapes(stored, *(v.expanded[1:] for v in values if v.expanded is not None))
    return result if full == stored else Value(result.name, axes, (BATCH, *full))


def _scaled(importer: Importer, value: Any, alpha: Any) -> Any:
    """`value * alpha`."""
    if alpha == 1:
        return value
    if isinstance(value, Value):
        return binary(importer, "mul", value, alpha)
    if isinstance(value, Constant):
        return Constant(value.tensor * alpha, f"{value.name}.scaled")
    return value * alpha


@handles("add")
def add(importer: Importer, a: Mapping[str, Any]) -> Value:
    return binary(importer, "add", a["self"], _scaled(importer, a["other"], a.get("alpha", 1)))


@handles("sub", "subtract")
def sub(importer: Importer, a: Mapping[str, Any]) -> Value:
    return binary(importer, "sub", a["self"], _scaled(importer, a["other"], a.get("alpha", 1)))


@handles("rsub")
def rsub(importer: Importer, a: Mapping[str, Any]) -> Value:
    return binary(importer, "sub", a["other"], _scaled(importer, a["self"], a.get("alpha", 1)))


@handles("mul", "multiply")
def mul(importer: Importer, a: Mapping[str, Any]) -> Value:
    return binary(importer, "mul", a["self"], a["other"])


@handles("div", "divide", "true_divide")
def div(importer: Importer, a: Mapping[str, Any]) -> Value:
    if a.get("rounding_mode") not in (None, "floor"):
        raise Unsupported("only divisions that round down, or not at all, are converted")
    quotient = binary(importer, "div", a["self"], a["other"])
    if a.get("rounding_mode") is None:
        return quotient
    name = importer.emit("activation", {"x": quotient.name}, {"activation": {"kind": "floor"}}, "floor")
    return Value(name, quotient.axes, quotient.expanded)


@handles("floor_divide")
def floor_divide(importer: Importer, a: Mapping[str, Any]) -> Value:
    return div(importer, {**a, "rounding_mode": "floor"})


@handles("remainder")
def remainder(importer: Importer, a: Mapping[str, Any]) -> Value:
    """self - other * floor(self / other)."""
    return binary(importer, "sub", a["self"], binary(importer, "mul", floor_divide(importer, a), a["other"]))


def _combined(importer: Importer, a: Mapping[str, Any], operation: str) -> Value:
    """self + value * tensor1 (operation) tensor2."""
    one, two = a["tensor1"], a["tensor2"]
    if isinstance(one, Constant) and isinstance(two, Constant):
        made = one.tensor * two.tensor if operation == "mul" else one.tensor / two.tensor
        return binary(importer, "add", a["self"], Constant(made * a["value"], f"{one.name}.combined"))
    return binary(importer, "add", a["self"], _scaled(importer, binary(importer, operation, one, two), a["value"]))


@handles("addcmul")
def addcmul(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _combined(importer, a, "mul")


@handles("addcdiv")
def addcdiv(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _combined(importer, a, "div")


def _expanded(importer: Importer, constant: Constant, sizes: tuple[Any, ...]) -> Constant:
    """A constant of one sample, repeated to `sizes` but for the batch."""
    tensor = constant.tensor
    places = [place for place, size in enumerate(sizes) if importer.is_batch(size) and not isinstance(size, int)] or [0]
    own = [1] * (len(sizes) - tensor.dim()) + list(tensor.shape)
    if not importer.is_batch(sizes[places[0]]) or own[places[0]] != 1:
        raise Unsupported("it makes a constant with samples of its own; give it size 1 on axis 0")
    return importer.made(tensor.expand([1 if i == places[0] else importer.dimension(n) for i, n in enumerate(sizes)]))


@handles("lerp")
def lerp(importer: Importer, a: Mapping[str, Any]) -> Value:
    """self + weight * (end - self)."""
    between = binary(importer, "sub", a["end"], a["self"])
    return binary(importer, "add", a["self"], binary(importer, "mul", between, a["weight"]))


@handles("expand", "expand_as")
def expand(importer: Importer, a: Mapping[str, Any]) -> Value | Constant:
    """A pending broadcast: the arithmetic that follows broadcasts by itself. A constant stays one of one sample."""
    x = a["self"]
    assert importer.current is not None, "set by the walk over the program"
    target = tuple(importer.current.meta["val"].shape)
    if isinstance(x, Constant):
        return _expanded(importer, x, target)
    if len(target) != x.rank:
        raise Unsupported("it adds axes; unsqueeze first")
    sizes = tuple(s if isinstance(s, int) and not isinstance(s, torch.SymInt) else -1 for s in target)
    return x if sizes[1:] == importer.shape(x)[1:] else Value(x.name, x.axes, sizes)
