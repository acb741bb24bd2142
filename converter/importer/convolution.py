"""conv1d, conv2d, their transposed forms and the generic aten.convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .context import Importer, array, parameter
from .registry import Unsupported, handles
from .values import Constant, Value


def spatial(values: Any, count: int) -> list[int]:
    """A torch size argument (int, or list of one or `count`) as [height, width]; one-dimensional: [neutral, length]."""
    values = [values] * count if isinstance(values, int) else list(values)
    return [int(v) for v in (values * count if len(values) == 1 else values)]


def paddings(padding: Any, kernel: list[int], stride: list[int], dilation: list[int]) -> list[int]:
    """Padding (top, bottom, left, right); "same" puts the odd pixel at the end, as torch does."""
    if padding == "valid":
        return [0, 0, 0, 0]
    if padding == "same":
        if stride != [1, 1]:
            raise Unsupported("padding='same' needs stride 1")
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [pad for total in totals for pad in (total // 2, total - total // 2)]
    return [padding[0], padding[0], padding[1], padding[1]]


def bias_input(importer: Importer, bias: Any) -> dict[str, str]:
    """The bias role, or none."""
    if bias is None:
        return {}
    constant = parameter(bias, "bias")
    return {"bias": importer.constant(constant, array(constant), "bias")}


def convolve(importer: Importer, a: Mapping[str, Any], transposed: bool) -> Value:
    """Emit a (transposed) convolution of one or two spatial axes."""
    weight = parameter(a["weight"], "weight")
    count = weight.tensor.dim() - 2
    if count not in (1, 2):
        raise Unsupported("only convolutions over one or two spatial axes are converted")
    value = a["input"]
    x = importer.images(value) if count == 2 else importer.lift(value)
    neutral = [[1], [0]] if count == 1 else [[], []]
    stride = neutral[0] + spatial(a["stride"], count)
    dilation = neutral[0] + spatial(a["dilation"], count)
    w = array(weight)
    w = w.reshape(*w.shape[:2], 1, -1) if count == 1 else w
    kernel = list(w.shape[2:])
    padding = a["padding"] if isinstance(a["padding"], str) else neutral[1] + spatial(a["padding"], count)
    attributes = {
        "stride": stride,
        "padding": paddings(padding, kernel, stride, dilation),
        "dilation": dilation,
        "groups": int(a["groups"]),
    }
    if transposed:
        attributes["output_padding"] = neutral[1] + spatial(a["output_padding"], count)
        groups, (inputs, per_group) = attributes["groups"], w.shape[:2]
        w = w.reshape(groups, inputs // groups, per_group, *kernel).transpose(0, 2, 3, 4, 1)
        w = w.reshape(groups * per_group, *kernel, inputs // groups)
    else:
        w = w.transpose(0, 2, 3, 1)
    form = f"transposed{attributes['groups']}" if transposed else "convolution"
    roles = {"x": x.name, "weight": importer.constant(weight, w, form), **bias_input(importer, a["bias"])}
    name = importer.emit("conv_transpose2d" if transposed else "conv2d", roles, attributes)
    return Value(name, x.axes) if count == 2 else importer.lower(name)


@handles("conv2d", "conv1d")
def conv(importer: Importer, a: Mapping[str, Any]) -> Value:
    return convolve(importer, a, transposed=False)


@handles("conv_transpose2d", "conv_transpose1d")
def conv_transpose(importer: Importer, a: Mapping[str, Any]) -> Value:
    return convolve(importer, a, transposed=True)


@handles("convolution")
def convolution(importer: Importer, a: Mapping[str, Any]) -> Value:
    return convolve(importer, a, transposed=bool(a["transposed"]))


@handles("linear")
def linear(importer: Importer, a: Mapping[str, Any]) -> Value:
    return apply_linear(importer, a["input"], parameter(a["weight"], "weight"), a["bias"], "linear")


def apply_linear(importer: Importer, x: Any, weight: Constant, bias: Any, form: str) -> Value:
    """x @ weight.T + bias over torch's last axis; `form` "matrix" when `weight` is [I, O] and must be transposed."""
    if not isinstance(x, Value) or x.rank < 2:
        raise Unsupported("its input must have the batch on axis 0 and features on the last axis")
    x = importer.last(x, -1)
    w = array(weight)
    if w.ndim != 2:
        raise Unsupported("only products with a matrix are converted")
    w = w.T if form == "matrix" else w
    roles = {"x": x.name, "weight": importer.constant(weight, w, form), **bias_input(importer, bias)}
    return Value(importer.emit("linear", roles), x.axes)


@handles("addmm")
def addmm(importer: Importer, a: Mapping[str, Any]) -> Value:
    if a["alpha"] != 1 or a["beta"] != 1:
        raise Unsupported("alpha and beta must be 1; scale the weights instead")
    return apply_linear(importer, a["mat1"], parameter(a["mat2"], "matrix"), a["self"], "matrix")
