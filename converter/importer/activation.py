"""Elementwise functions of one input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .arithmetic import binary
from .context import Importer, array, parameter
from .layout import cut
from .registry import Unsupported, handles
from .values import Constant, Value

PLAIN = {
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "silu": "silu",
    "hardsigmoid": "hardsigmoid",
    "hardswish": "hardswish",
    "mish": "mish",
    "exp": "exp",
    "sqrt": "sqrt",
    "square": "square",
    "abs": "abs",
    "neg": "neg",
    "reciprocal": "reciprocal",
}


def activate(importer: Importer, x: Value, kind: str, **parameters: Any) -> Value:
    """Emit an activation node."""
    return Value(importer.emit("activation", {"x": x.name}, {"activation": {"kind": kind, **parameters}}), x.axes)


def _register(name: str, kind: str) -> None:
    @handles(name)
    def simple(importer: Importer, a: Mapping[str, Any]) -> Value:
        return activate(importer, a["self"], kind)


for _name, _kind in PLAIN.items():
    _register(_name, _kind)


def _bound(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, Constant) and value.tensor.numel() == 1:
        value = float(value.tensor)
    if not isinstance(value, int | float):
        raise Unsupported("a bound is a tensor of several values; use a number")
    return None if value in (float("inf"), float("-inf")) else float(value)


@handles("relu")
def relu(importer: Importer, a: Mapping[str, Any]) -> Value:
    return activate(importer, a["self"], "clamp", min=0.0, max=None)


@handles("relu6")
def relu6(importer: Importer, a: Mapping[str, Any]) -> Value:
    return activate(importer, a["self"], "clamp", min=0.0, max=6.0)


@handles("hardtanh")
def hardtanh(importer: Importer, a: Mapping[str, Any]) -> Value:
    return activate(importer, a["self"], "clamp", min=_bound(a["min_val"]), max=_bound(a["max_val"]))


@handles("clamp", "clip", "clamp_min", "clamp_max")
def clamp(importer: Importer, a: Mapping[str, Any]) -> Value:
    return activate(importer, a["self"], "clamp", min=_bound(a.get("min")), max=_bound(a.get("max")))


@handles("gelu")
def gelu(importer: Importer, a: Mapping[str, Any]) -> Value:
    return activate(importer, a["self"], "gelu_tanh" if a["approximate"] == "tanh" else "gelu")


@handles("leaky_relu")
def leaky_relu(importer: Importer, a: Mapping[str, Any]) -> Value:
    return activate(importer, a["self"], "leaky_relu", alpha=float(a["negative_slope"]))


@handles("elu")
def elu(importer: Importer, a: Mapping[str, Any]) -> Value:
    if a["scale"] != 1 or a["input_scale"] != 1:
        raise Unsupported("only scale 1 is converted")
    return activate(importer, a["self"], "elu", alpha=float(a["alpha"]))


@handles("selu")
def selu(importer: Importer, a: Mapping[str, Any]) -> Value:
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    return binary(importer, "mul", activate(importer, a["self"], "elu", alpha=alpha), scale)


@handles("celu")
def celu(importer: Importer, a: Mapping[str, Any]) -> Value:
    """alpha * elu(x / alpha)."""
    alpha = float(a["alpha"])
    if alpha == 1:
        return activate(importer, a["self"], "elu", alpha=1.0)
    inner = activate(importer, binary(importer, "div", a["self"], alpha), "elu", alpha=1.0)
    return binary(importer, "mul", inner, alpha)


@handles("log_sigmoid")
def log_sigmoid(importer: Importer, a: Mapping[str, Any]) -> Value:
    """-softplus(-x)."""
    return activate(importer, activate(importer, activate(importer, a["self"], "neg"), "softplus"), "neg")


@handles("softplus")
def softplus(importer: Importer, a: Mapping[str, Any]) -> Value:
    if a["beta"] != 1 or a["threshold"] < 15:
        raise Unsupported("only softplus with beta 1 and the default threshold is converted")
    return activate(importer, a["self"], "softplus")


@handles("rsqrt")
def rsqrt(importer: Importer, a: Mapping[str, Any]) -> Value:
    return activate(importer, activate(importer, a["self"], "sqrt"), "reciprocal")


POWERS = {
    4: ("square", "square"),
    2: ("square",),
    0.5: ("sqrt",),
    -0.5: ("sqrt", "reciprocal"),
    -1: ("reciprocal",),
    -2: ("square", "reciprocal"),
}


@handles("pow")
def power(importer: Importer, a: Mapping[str, Any]) -> Value:
    x, exponent = a["self"], a["exponent"]
    if not isinstance(x, Value) or exponent not in (1, 3, *POWERS):
        raise Unsupported("only the powers 4, 3, 2, 1, 0.5, -0.5, -1 and -2 are converted")
    if exponent == 3:
        return binary(importer, "mul", activate(importer, x, "square"), x)
    for kind in POWERS.get(exponent, ()):
        x = activate(importer, x, kind)
    return x


@handles("glu")
def glu(importer: Importer, a: Mapping[str, Any]) -> Value:
    """The first half of an axis times the sigmoid of the second."""
    x, dim = a["self"], a["dim"]
    half = importer.shape(x)[dim % x.rank] // 2
    gate = activate(importer, cut(importer, x, dim, half, None), "sigmoid")
    return binary(importer, "mul", cut(importer, x, dim, 0, half), gate)


@handles("prelu", "_prelu_kernel")
def prelu(importer: Importer, a: Mapping[str, Any]) -> Value:
    slope = parameter(a["weight"], "slope")
    x = importer.channels_last(a["self"])
    roles = {"x": x.name, "slope": importer.constant(slope, array(slope).reshape(-1), "slope")}
    return Value(importer.emit("prelu", roles), x.axes)
