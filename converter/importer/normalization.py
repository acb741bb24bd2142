"""Normalizations and softmax. Known statistics become a depthwise 1x1 convolution, computed ones a layer_norm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .activation import activate
from .arithmetic import binary
from .context import Importer, array, parameter
from .registry import Unsupported, handles
from .regroup import regroup
from .values import Constant, Value


def _per_channel(importer: Importer, x: Value, scale: np.ndarray, shift: np.ndarray) -> Value:
    """x * scale + shift along torch axis 1."""
    base, count = importer.node_name(), len(scale)
    weight = importer.graph.add_constant(f"{base}.scale", scale.astype(np.float32).reshape(-1, 1, 1, 1))
    bias = importer.graph.add_constant(f"{base}.shift", shift.astype(np.float32))
    if x.rank == 2:
        value = Value(importer.emit("reshape", {"x": x.name}, {"shape": [0, 1, 1, count]}, "lift"), (0, 2, 3, 1))
    else:
        value = importer.images(x) if x.rank == 4 else importer.lift(x)
    name = importer.emit("conv2d", {"x": value.name, "weight": weight, "bias": bias}, {"groups": count})
    if x.rank == 2:
        return Value(importer.emit("flatten", {"x": name}, {"start_axis": 1}, "lower"), (0, 1))
    return Value(name, value.axes) if x.rank == 4 else importer.lower(name)


def _by_statistics(importer: Importer, a: Mapping[str, Any]) -> Value:
    """y = x * scale + shift with scale = weight / sqrt(variance + eps), shift = bias - mean * scale."""
    x = a["input"]
    if not isinstance(x, Value) or x.rank not in (2, 3, 4):
        raise Unsupported("it needs an input of rank 2, 3 or 4")
    mean, variance = (array(parameter(a[key], key)).astype(np.float64) for key in ("running_mean", "running_var"))
    epsilon = a["eps"] if "eps" in a else a["epsilon"]
    scale = 1 / np.sqrt(variance + epsilon)
    if a["weight"] is not None:
        scale = scale * array(parameter(a["weight"], "weight"))
    shift = -mean * scale
    if a["bias"] is not None:
        shift = shift + array(parameter(a["bias"], "bias"))
    return _per_channel(importer, x, scale, shift)


@handles("batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_batch_norm")
def batch_norm(importer: Importer, a: Mapping[str, Any]) -> Any:
    if a.get("training") or a["running_mean"] is None:
        raise Unsupported("batch norm without running statistics; export the module in eval mode")
    result = _by_statistics(importer, a)
    assert importer.current is not None, "set by the walk over the program"
    return result if "batch_norm.default" in str(importer.current.target) and not _native(importer) else [result]


def _by_groups(importer: Importer, a: Mapping[str, Any], groups: int) -> Value:
    """Each of `groups` groups of adjacent channels normalized by its own mean and variance, then weight and bias."""
    x = a["input"]
    if not isinstance(x, Value) or x.rank not in (2, 3, 4):
        raise Unsupported("it needs an input of rank 2, 3 or 4")
    shape = importer.shape(x)
    flat = importer.last(regroup(importer, x, (shape[0], groups, math.prod(shape[1:]) // groups)), 2)
    name = importer.emit("layer_norm", {"x": flat.name}, {"epsilon": float(a["eps"])})
    y = regroup(importer, Value(name, flat.axes), shape)
    if a["weight"] is None and a["bias"] is None:
        return y
    scale = np.ones(shape[1]) if a["weight"] is None else array(parameter(a["weight"], "weight"))
    shift = np.zeros(shape[1]) if a["bias"] is None else array(parameter(a["bias"], "bias"))
    return _per_channel(importer, y, scale, shift)


@handles("group_norm", "native_group_norm")
def group_norm(importer: Importer, a: Mapping[str, Any]) -> Any:
    result = _by_groups(importer, a, a["num_groups"] if "num_groups" in a else a["group"])
    return [result] if _native(importer) else result


@handles("instance_norm")
def instance_norm(importer: Importer, a: Mapping[str, Any]) -> Value:
    """A group for each channel, or, with running statistics, a batch norm."""
    if not a["use_input_stats"]:
        return _by_statistics(importer, a)
    if not isinstance(a["input"], Value) or a["input"].rank < 3:
        raise Unsupported("it needs an input with samples, channels and at least one more axis")
    return _by_groups(importer, a, importer.shape(a["input"])[1])


def _native(importer: Importer) -> bool:
    """Whether the current operator returns (output, mean, deviation) instead of the output alone."""
    assert importer.current is not None, "set by the walk over the program"
    return isinstance(importer.current.meta.get("val"), tuple | list)


@handles("layer_norm", "native_layer_norm")
def layer_norm(importer: Importer, a: Mapping[str, Any]) -> Any:
    """Over the last axis; several axes are flattened for it."""
    x, count = a["input"], len(a["normalized_shape"])
    if not isinstance(x, Value):
        raise Unsupported("its input is a constant")
    shape = importer.shape(x)
    if count > 1:
        x = regroup(importer, x, (*shape[:-count], math.prod(shape[-count:])))
    x = importer.last(x, -1)
    roles = {"x": x.name}
    for role in ("weight", "bias"):
        if a[role] is not None:
            constant: Constant = parameter(a[role], role)
            roles[role] = importer.constant(constant, array(constant).reshape(-1), role)
    result = Value(importer.emit("layer_norm", roles, {"epsilon": float(a["eps"])}), x.axes)
    if count > 1:
        result = regroup(importer, result, shape)
    return [result] if _native(importer) else result


@handles("rms_norm")
def rms_norm(importer: Importer, a: Mapping[str, Any]) -> Value:
    """x / sqrt(mean of x**2 + eps) * weight over the last axes."""
    x, count = a["input"], len(a["normalized_shape"])
    if not isinstance(x, Value):
        raise Unsupported("its input is a constant")
    epsilon = torch.finfo(torch.float32).eps if a["eps"] is None else float(a["eps"])
    axes = sorted(importer.axis(x, -1 - i) for i in range(count))
    square = activate(importer, x, "square")
    mean = Value(importer.emit("mean", {"x": square.name}, {"axes": axes, "keepdims": True}), x.axes)
    root = activate(importer, binary(importer, "add", mean, epsilon), "sqrt")
    y = binary(importer, "div", x, root)
    return y if a["weight"] is None else binary(importer, "mul", y, parameter(a["weight"], "weight"))


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
