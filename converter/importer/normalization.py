"""batch_norm (as a depthwise 1x1 convolution), layer_norm, softmax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .context import Importer, array, parameter
from .registry import Unsupported, handles
from .values import Constant, Value


@handles("batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_batch_norm")
def batch_norm(importer: Importer, a: Mapping[str, Any]) -> Any:
    """y = x * scale + shift with scale = weight / sqrt(variance + eps), shift = bias - mean * scale."""
    if a.get("training") or a["running_mean"] is None:
        raise Unsupported("batch norm without running statistics; export the module in eval mode")
    x = a["input"]
    if not isinstance(x, Value) or x.rank not in (2, 3, 4):
        raise Unsupported("batch norm needs an input of rank 2, 3 or 4")
    mean, variance = (array(parameter(a[key], key)).astype(np.float64) for key in ("running_mean", "running_var"))
    epsilon = a["eps"] if "eps" in a else a["epsilon"]
    scale = 1 / np.sqrt(variance + epsilon)
    if a["weight"] is not None:
        scale = scale * array(parameter(a["weight"], "weight"))
    shift = -mean * scale
    if a["bias"] is not None:
        shift = shift + array(parameter(a["bias"], "bias"))
    base, count = importer.node_name(), len(scale)
    weight = importer.graph.add_constant(f"{base}.scale", scale.astype(np.float32).reshape(-1, 1, 1, 1))
    bias = importer.graph.add_constant(f"{base}.shift", shift.astype(np.float32))
    if x.rank == 2:
        value = Value(importer.emit("reshape", {"x": x.name}, {"shape": [0, 1, 1, count]}, "lift"), (0, 2, 3, 1))
    else:
        value = importer.images(x) if x.rank == 4 else importer.lift(x)
    name = importer.emit("conv2d", {"x": value.name, "weight": weight, "bias": bias}, {"groups": count})
    if x.rank == 2:
        result = Value(importer.emit("flatten", {"x": name}, {"start_axis": 1}, "lower"), (0, 1))
    else:
        result = Value(name, value.axes) if x.rank == 4 else importer.lower(name)
    assert importer.current is not None, "set by the walk over the program"
    return result if "batch_norm.default" in str(importer.current.target) and not _native(importer) else [result]


def _native(importer: Importer) -> bool:
    """Whether the current operator returns (output, mean, deviation) instead of the output alone."""
    assert importer.current is not None, "set by the walk over the program"
    return isinstance(importer.current.meta.get("val"), tuple | list)


@handles("layer_norm", "native_layer_norm")
def layer_norm(importer: Importer, a: Mapping[str, Any]) -> Any:
    x, shape = a["input"], list(a["normalized_shape"])
    if not isinstance(x, Value) or len(shape) != 1:
        raise Unsupported("only a layer norm over the last axis is converted; normalise one axis")
    x = importer.last(x, -1)
    roles = {"x": x.name}
    for role in ("weight", "bias"):
        if a[role] is not None:
            constant: Constant = parameter(a[role], role)
            roles[role] = importer.constant(constant, array(constant), role)
    result = Value(importer.emit("layer_norm", roles, {"epsilon": float(a["eps"])}), x.axes)
    return [result] if _native(importer) else result


def _softmax(importer: Importer, a: Mapping[str, Any], operation: str) -> Value:
    x = a["self"]
    name = importer.emit(operation, {"x": x.name}, {"axis": importer.axis(x, a["dim"])})
    return Value(name, x.axes)


@handles("softmax", "_softmax")
def softmax(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _softmax(importer, a, "softmax")


@handles("log_softmax", "_log_softmax")
def log_softmax(importer: Importer, a: Mapping[str, Any]) -> Value:
    return _softmax(importer, a, "log_softmax")
