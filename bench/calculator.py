"""What layers cost on paper: output size, parameters, FLOPs, bytes and arithmetic intensity, for one sample.

The counting is that of the operations themselves (`edgenet.ops`): multiply and add are both counted, bias included.

Ten 5x5 filters on a 32x32 picture of 3 channels:

>>> layer = convolution((32, 32, 3), filters=10, kernel=5)
>>> layer.output, layer.parameters
((28, 28, 10), 760)

One such filter costs 2 * 3 * 5 * 5 * 28 * 28 FLOPs:

>>> convolution((32, 32, 3), filters=1, kernel=5).flops
117600

Depthwise + pointwise instead of a standard 3x3 convolution leaves 1/D2 + 1/9 of the FLOPs:

>>> from fractions import Fraction
>>> standard = convolution((14, 14, 512), filters=256, kernel=3, padding=1)
>>> Fraction(separable((14, 14, 512), filters=256, kernel=3, padding=1).flops, standard.flops)
Fraction(265, 2304)
>>> Fraction(1, 256) + Fraction(1, 9)
Fraction(265, 2304)

The output size is (N - F + 2P) / S + 1:

>>> convolution((224, 224, 3), filters=64, kernel=7, stride=2, padding=3).output
(112, 112, 64)

Batch norm costs its own arithmetic in training and one multiplication and addition in inference; folded into the
convolution before it, nothing:

>>> [batch_norm((28, 28, 10), mode).flops for mode in ("training", "inference", "folded")]
[62720, 15680, 0]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgenet.dtypes import DTYPES
from edgenet.errors import InputError
from edgenet.graph import Node, Tensor
from edgenet.ops import OPERATIONS, with_defaults
from edgenet.ops.base import Cost, OperationError

Size = tuple[int, ...]
"""Shape of one sample: height, width, channels of an image, or features of a vector."""

BATCH_NORM = ("training", "inference", "folded")


@dataclass(frozen=True)
class Figures:
    """Cost of a layer for one sample. `bytes_read`: the input and the weights, once; `bytes_written`: the output."""

    name: str
    output: Size
    parameters: int
    macs: int
    flops: int
    bytes_read: int
    bytes_written: int

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: FLOPs for each byte read or written."""
        return self.flops / max(self.bytes_read + self.bytes_written, 1)

    def json(self) -> dict[str, Any]:
        """The figures by name, with the intensity."""
        return asdict(self) | {"intensity": self.intensity}


def convolution(
    size: Size,
    filters: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    dilation: int = 1,
    bias: bool = True,
    dtype: str = "float32",
    name: str = "convolution",
) -> Figures:
    """A convolution of `filters` kernels of `kernel` x `kernel`; `groups` splits the channels.

    FLOPs 2 * D1/groups * F^2 * D2 * H2 * W2; parameters F * F * D1/groups + 1 a filter. In int8 (`dtype`) the bytes are
    those of int8 activations and weights, int32 biases and float32 multipliers. Raises InputError.

    >>> convolution((28, 28, 64), 64, 3, padding=1, groups=4).parameters
    9280
    """
    if _channels(size) % groups or filters % groups:
        raise InputError(f"{_channels(size)} channels and {filters} filters do not split into {groups} groups.")
    inputs = {"x": (1, *_image(size)), "weight": (filters, kernel, kernel, _channels(size) // groups)}
    attributes = {
        "stride": [stride] * 2, "padding": [padding] * 4, "dilation": [dilation] * 2, "groups": groups,
    }  # fmt: skip
    return _figures(name, "conv2d", _typed(inputs, filters, bias, dtype), attributes, dtype)


def depthwise(
    size: Size, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True, dtype: str = "float32"
) -> Figures:
    """One kernel for each channel: FLOPs 2 * F^2 * D1 * H2 * W2.

    >>> depthwise((14, 14, 512), 3, padding=1, bias=False).flops == 2 * 9 * 512 * 14 * 14
    True
    """
    channels = _channels(size)
    return convolution(size, channels, kernel, stride, padding, channels, 1, bias, dtype, "depthwise")


def pointwise(size: Size, filters: int, bias: bool = True, dtype: str = "float32") -> Figures:
    """A 1x1 convolution: FLOPs 2 * D1 * D2 * H2 * W2.

    >>> pointwise((14, 14, 512), 256).flops == 2 * 512 * 256 * 14 * 14
    True
    """
    return convolution(size, filters, 1, bias=bias, dtype=dtype, name="pointwise")


def separable(
    size: Size,
    filters: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    bias: bool = True,
    dtype: str = "float32",
) -> Figures:
    """A depthwise convolution, then a pointwise one."""
    first = depthwise(size, kernel, stride, padding, bias, dtype)
    return _total("separable", (first, pointwise(first.output, filters, bias, dtype)))


def linear(size: Size, features: int, bias: bool = True, dtype: str = "float32") -> Figures:
    """A fully connected layer on a vector.

    >>> linear((1024,), 1000).parameters
    1025000
    """
    inputs = {"x": (1, int(np.prod(size))), "weight": (features, int(np.prod(size)))}
    return _figures("linear", "linear", _typed(inputs, features, bias, dtype), {}, dtype)


def batch_norm(size: Size, mode: str = "inference") -> Figures:
    """Batch norm over the channels, float32: "training" normalises by the statistics of what it reads (counted as the
    operation layer_norm), "inference" multiplies and adds constants, "folded" is part of the convolution before it.
    """
    if mode not in BATCH_NORM:
        raise InputError(f"There is no batch norm {mode!r}. Choose one of {', '.join(BATCH_NORM)}.")
    channels = (_channels(size),)
    if mode == "folded":
        return Figures("batch norm, folded", tuple(size), 0, 0, 0, 0, 0)
    if mode == "training":
        inputs = _tensors({"x": (1, *size), "weight": channels, "bias": channels})
        return _figures("batch norm, training", "layer_norm", inputs, {}, "float32")
    scale = (channels[0], 1, 1, 1)
    inputs = _tensors({"x": (1, *_image(size)), "weight": scale, "bias": channels})
    return _figures("batch norm, inference", "conv2d", inputs, {"groups": channels[0]}, "float32")


def pooling(
    size: Size, kernel: int, stride: int | None = None, padding: int = 0, kind: str = "max", dtype: str = "float32"
) -> Figures:
    """Maximum or average ("avg") of each window: one operation for each value read. `stride` None: the kernel's size.

    >>> pooling((28, 28, 64), 2).output, pooling((28, 28, 64), 2).parameters
    ((14, 14, 64), 0)
    """
    if kind not in ("max", "avg"):
        raise InputError(f"There is no pooling {kind!r}. Choose max or avg.")
    attributes = {"kernel": [kernel] * 2, "stride": [stride or kernel] * 2, "padding": [padding] * 4}
    inputs = _tensors({"x": (1, *_image(size))}, dtype)
    return _figures(f"{kind} pooling", f"{kind}_pool2d", inputs, attributes, dtype)


def softmax(size: Size) -> Figures:
    """exp(x - max) / sum over the last axis.

    >>> softmax((1000,)).output
    (1000,)
    """
    return _figures("softmax", "softmax", _tensors({"x": (1, *size)}), {"axis": len(size)}, "float32")


def _total(name: str, parts: Sequence[Figures]) -> Figures:
    """The sum of layers that follow each other; the output is the last one's."""
    sums = {
        key: sum(getattr(part, key) for part in parts)
        for key in ("parameters", "macs", "flops", "bytes_read", "bytes_written")
    }
    return Figures(name, parts[-1].output, **sums)


def _image(size: Size) -> Size:
    if len(size) != 3:
        raise InputError(f"{'x'.join(map(str, size))} is not the size of an image: height x width x channels.")
    return tuple(size)


def _channels(size: Size) -> int:
    return size[-1]


def _tensors(shapes: dict[str, Size], dtype: str = "float32") -> dict[str, Tensor]:
    return {role: Tensor(role, shape, dtype) for role, shape in shapes.items()}


def _typed(shapes: dict[str, Size], filters: int, bias: bool, dtype: str) -> dict[str, Tensor]:
    """The operands of a layer with weights in a precision; int8 layers always have a bias."""
    inputs = _tensors(shapes, dtype)
    if dtype == "int8":
        inputs["bias"] = Tensor("bias", (filters,), "int32")
        inputs["multiplier"] = Tensor("multiplier", (filters,))
    elif bias:
        inputs["bias"] = Tensor("bias", (filters,))
    return inputs


def _figures(name: str, operation: str, inputs: dict[str, Tensor], attributes: dict[str, Any], dtype: str) -> Figures:
    """Shape and cost of one node, as its operation declares them. Raises InputError."""
    if dtype not in DTYPES:
        raise InputError(f"There is no precision {dtype}. Choose float32 or int8.")
    declared = OPERATIONS[operation]
    node = with_defaults(Node(operation, name, {role: role for role in inputs}, "y", attributes))
    try:
        output = Tensor("y", tuple(declared.infer(node, inputs)), dtype)
        cost: Cost = declared.cost(node, inputs, output)
    except OperationError as error:
        raise InputError(f"No {name} fits: {error}") from None
    return Figures(name, output.shape[1:], cost.parameters, cost.macs, cost.flops, cost.bytes_read, cost.bytes_written)
