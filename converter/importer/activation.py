"""Elementwise functions of one input."""

from __future__ import annotations

import math
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
    "log": "log",
    "erf": "erf",
    "floor": "floor",
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


@handles("log1p")
def log1p(importer: Importer, a: Mapping[str, Any]) -> Value:
    return activate(importer, binary(importer, "add", a["self"], 1.0), "log")


def _register_logarithm(name: str, base: float) -> None:
    @handles(name)
    def logarithm(importer: Importer, a: Mapping[str, Any]) -> Value:
        return binary(importer, "mul", activate(importer, a["self"], "log"), 1 / math.log(base))


_register_logarithm("log2", 2.0)
_register_logarithm("log10", 10.0)


@handles("expm1")
def expm1(importer: Importer, a: Mapping[str, Any]) -> Value:
    """elu(x), above 0 exp(x) - 1."""
    x = a["self"]
    above = binary(importer, "sub", activate(importer, activate(importer, x, "clamp", min=0.0, max=None), "exp"), 1.0)
    below = activate(importer, activate(importer, x, "clamp", min=None, max=0.0), "elu", alpha=1.0)
    return binary(importer, "add", above, below)


@handles("ceil")
def ceil(importer: Importer, a: Mapping[str, Any]) -> Value:
    """-floor(-x)."""
    return activate(importer, activate(importer, activate(importer, a["self"], "neg"), "floor"), "neg")


@handles("trunc", "fix")
def trunc(importer: Importer, a: Mapping[str, Any]) -> Value:
    """floor(x) above 0 less floor(-x) below."""
    above, below = (
        activate(importer, activate(importer, x, "clamp", min=0.0, max=None), "floor")
        for x in (a["self"], activate(importer, a["self"], "neg"))
    )
    return binary(importer, "sub", above, below)


@handles("sign", "sgn")
def sign(importer: Importer, a: Mapping[str, Any]) -> Value:
    x = a["self"]
    negative = activate(importer, activate(importer, x, "neg"), "step")
    return binary(importer, "sub", activate(importer, x, "step"), negative)


@handles("softshrink")
def softshrink(importer: Importer, a: Mapping[str, Any]) -> Value:
    """x less what of it lies between the bounds."""
    x, bound = a["self"], float(a["lambd"])
    return binary(importer, "sub", x, activate(importer, x, "clamp", min=-bound, max=bound))


@handles("hardshrink")
def hardshrink(importer: Importer, a: Mapping[str, Any]) -> Value:
    """x where it lies outside of the bounds, else 0."""
    x = a["self"]
    beyond = binary(importer, "sub", activate(importer, x, "abs"), float(a["lambd"]))
    return binary(importer, "mask", x, activate(importer, beyond, "step"))


@handles("rrelu")
def rrelu(importer: Importer, a: Mapping[str, Any]) -> Value:
    """At inference, a leaky ReLU of the mean slope."""
    if a["training"]:
        raise Unsupported("it draws random slopes; convert the module in eval mode")
    return activate(importer, a["self"], "leaky_relu", alpha=(float(a["lower"]) + float(a["upper"])) / 2)


POWERS = {
    4: ("square", "square"),
    2: ("square",),
    0.5: ("sqrt",),
    -0.5: ("sqrt", "reciprocal"),
    -1: ("reciprocal",),
    -2: ("square", "reciprocal"),
}


_MOST_FACTORS = 64
"""Greatest whole exponent."""


@handles("pow")
def power(importer: Importer, a: Mapping[str, Any]) -> Value:
    """A power that is no multiple of a half is exp(exponent * log(x)), NaN for negative x as in torch."""
    x, exponent = a["self"], a["exponent"]
    if not isinstance(x, Value):
        if isinstance(exponent, Value) and isinstance(x, int | float) and x > 0:
            return activate(importer, binary(importer, "mul", exponent, math.log(x)), "exp")
        raise Unsupported("a constant's power is converted for a positive number only")
    if not isinstance(exponent, int | float):
        raise Unsupported("the exponent is a tensor; use a number")
    if exponent in POWERS or exponent == 1:
        for kind in POWERS.get(exponent, ()):
            x = activate(importer, x, kind)
        return x
    if not math.isfinite(exponent):
        raise Unsupported("the exponent must be a finite number")
    if exponent == int(exponent):
        if not 0 < exponent <= _MOST_FACTORS:
            raise Unsupported(f"whole exponents from 1 to {_MOST_FACTORS}, and -1 and -2, are converted")
        return _whole_power(importer, x, int(exponent))
    return activate(importer, binary(importer, "mul", activate(importer, x, "log"), float(exponent)), "exp")


def _whole_power(importer: Importer, x: Value, exponent: int) -> Value:
    """x ** exponent by squares."""
    if exponent == 1:
        return x
    half = activate(importer, _whole_power(importer, x, exponent // 2), "square")
    return binary(importer, "mul", half, x) if exponent % 2 else half


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
