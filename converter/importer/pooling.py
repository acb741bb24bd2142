"""Pooling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .context import Importer
from .convolution import spatial
from .registry import Unsupported, handles
from .values import Value


def _window(importer: Importer, a: Mapping[str, Any], operation: str, count: int, **extra: Any) -> Value:
    """Emit a sliding window over one or two spatial axes."""
    x = importer.images(a["self"]) if count == 2 else importer.lift(a["self"])
    one, zero = ([1], [0]) if count == 1 else ([], [])
    kernel = spatial(a["kernel_size"], count)
    padding = zero + spatial(a["padding"], count)
    attributes = {
        "kernel": one + kernel,
        "stride": one + (spatial(a["stride"], count) if a["stride"] else kernel),
        "padding": [padding[0], padding[0], padding[1], padding[1]],
        "ceil_mode": bool(a["ceil_mode"]),
        **extra,
    }
    if "dilation" in a:
        attributes["dilation"] = one + spatial(a["dilation"], count)
    name = importer.emit(operation, {"x": x.name}, attributes)
    return Value(name, x.axes) if count == 2 else importer.lower(name)


@handles("max_pool2d")
def max_pool2d(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _window(importer, a, "max_pool2d", 2)


@handles("max_pool1d")
def max_pool1d(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _window(importer, a, "max_pool2d", 1)


@handles("max_pool2d_with_indices")
def max_pool2d_with_indices(importer: Importer, a: Mapping[str, Any]) -> list[Value]:
    return [_window(importer, a, "max_pool2d", 2)]


def _average(importer: Importer, a: Mapping[str, Any], count: int) -> Value:
    extra = {"count_include_pad": bool(a["count_include_pad"]), "divisor": a.get("divisor_override")}
    return _window(importer, a, "avg_pool2d", count, **extra)


@handles("avg_pool2d")
def avg_pool2d(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _average(importer, a, 2)


@handles("avg_pool1d")
def avg_pool1d(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _average(importer, a, 1)


@handles("adaptive_avg_pool2d", "_adaptive_avg_pool2d")
def adaptive_avg_pool2d(importer: Importer, a: Mapping[str, Any]) -> Value:
    x = importer.images(a["self"])
    size = spatial(a["output_size"], 2)
    if size == [1, 1]:
        return Value(importer.emit("mean", {"x": x.name}, {"axes": [1, 2], "keepdims": True}), x.axes)
    return Value(importer.emit("adaptive_avg_pool2d", {"x": x.name}, {"output_size": size}), x.axes)


@handles("adaptive_avg_pool1d")
def adaptive_avg_pool1d(importer: Importer, a: Mapping[str, Any]) -> Value:
    x = importer.lift(a["self"])
    attributes = {"output_size": [1, *spatial(a["output_size"], 1)]}
    return importer.lower(importer.emit("adaptive_avg_pool2d", {"x": x.name}, attributes))


def _adaptive_max(importer: Importer, x: Value, count: int, out: list[int]) -> str:
    """Equal windows only, as max_pool2d over the last `count` spatial axes of `x`, which has two."""
    size = importer.graph.tensors[x.name].shape[3 - count : 3]
    if any(n % m for n, m in zip(size, out, strict=True)):
        raise Unsupported(f"windows from {size} to {tuple(out)} differ in size; choose an output size that divides it")
    kernel = [1] * (2 - count) + [n // m for n, m in zip(size, out, strict=True)]
    return importer.emit("max_pool2d", {"x": x.name}, {"kernel": kernel, "stride": kernel})


@handles("adaptive_max_pool2d")
def adaptive_max_pool2d(importer: Importer, a: Mapping[str, Any]) -> list[Value]:
    x = importer.images(a["self"])
    return [Value(_adaptive_max(importer, x, 2, spatial(a["output_size"], 2)), x.axes)]


@handles("adaptive_max_pool1d")
def adaptive_max_pool1d(importer: Importer, a: Mapping[str, Any]) -> list[Value]:
    x = importer.lift(a["self"])
    return [importer.lower(_adaptive_max(importer, x, 1, spatial(a["output_size"], 1)))]
