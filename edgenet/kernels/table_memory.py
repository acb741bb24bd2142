"""Rows of the kernel table: everything that moves, combines or reduces elements."""

from __future__ import annotations

from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table import Kernel

ACTIVATIONS = (
    "clamp", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "hardsigmoid", "hardswish", "gelu", "gelu_tanh",
    "softplus", "mish", "exp", "sqrt", "square", "abs", "neg", "reciprocal", "log", "erf", "floor",
    "step",
)  # fmt: skip
"""Activations; the number of one is the constant of its kernel."""
BINARY = ("add", "sub", "mul", "div", "prelu", "mask")
"""Operations of two operands; the number of one is the constant of its kernel. The first three also exist for int8."""
GATE_ROWS = 4
"""Pixels that the kernel of images times factors takes at a time: their results fill a register."""
GATE_VECTORS = 4
"""Vectors of channels that its wide kernel takes at a time: those of a register of bytes."""
GATE_PIXELS = 16
"""Pixels, at most, for which the wide kernel prepares the factors of a channel once."""
INTERLEAVED = (2, 3, 4)
"""Numbers of planes that have a kernel of their own; others are transposed."""


def _movement() -> list[Kernel]:
    return [
        Kernel("any_copy", "movement", "copy", operation="copy", dtype="any"),
        Kernel("any_pad", "movement", "pad", operation="pad", dtype="any"),
        Kernel("any_gather", "movement", "gather_pixels", operation="resize", dtype="any"),
        Kernel("f32_transpose", "movement", "transpose", (4,), "permute"),
        Kernel("s8_transpose", "movement", "transpose", (1,), "permute", "int8"),
        *(Kernel(f"f32_interleave{k}", "movement", "interleave_planes", (4, k), "permute") for k in INTERLEAVED),
        *(Kernel(f"s8_interleave{k}", "movement", "interleave_planes", (1, k), "permute", "int8") for k in INTERLEAVED),
    ]


def _elementwise() -> list[Kernel]:
    return [
        *(Kernel(f"f32_{kind}", "activation", "activation", (i,), "activation") for i, kind in enumerate(ACTIVATIONS)),
        *(Kernel(f"f32_{name}", "binary", "binary_f32", (i,), name) for i, name in enumerate(BINARY)),
        *(Kernel(f"s8_{name}", "binary", "binary_int8", (i,), name, "int8") for i, name in enumerate(BINARY[:3])),
        Kernel("s8_gate", "gate_int8", "gate", (GATE_ROWS,), "mul", "int8"),
        Kernel("s8_gate_wide", "gate_int8", "gate_wide", operation="mul", dtype="int8"),
        Kernel("s8_quantize", "int8_arithmetic", "quantize", operation="quantize", dtype="int8"),
        Kernel("s8_quantize_interleave3", "int8_arithmetic", "quantize_interleaved", (3,), "permute_quantize", "int8"),
        Kernel("s8_table", "int8_arithmetic", "table", operation="table", dtype="int8"),
        Kernel("s8_channel_table", "int8_arithmetic", "channel_table", operation="table", dtype="int8"),
        Kernel("s8_dequantize", "int8_arithmetic", "dequantize", operation="dequantize", dtype="int8"),
        Kernel("s8_requantize", "int8_arithmetic", "requantize", operation="requantize", dtype="int8"),
    ]


def _pooling() -> list[Kernel]:
    return [
        Kernel("f32_max_pool", "pooling", "maximum_f32", operation="max_pool2d"),
        Kernel("s8_max_pool", "pooling", "maximum_int8", operation="max_pool2d", dtype="int8"),
        Kernel("f32_mean", "pooling", "mean_f32", operation="mean"),
        Kernel("s8_mean", "pooling", "mean_int8", operation="mean", dtype="int8"),
        Kernel("f32_sum_parts", "part_sums", "sum_parts_f32", operation="mean"),
        Kernel("s8_sum_parts", "part_sums", "sum_parts_int8", operation="mean", dtype="int8"),
        Kernel("f32_mean_of_parts", "part_sums", "mean_of_parts_f32", operation="mean"),
        Kernel("s8_mean_of_parts", "part_sums", "mean_of_parts_int8", operation="mean", dtype="int8"),
    ]


def _normalization() -> list[Kernel]:
    return [
        Kernel("f32_softmax", "normalization", "softmax", (0,), "softmax"),
        Kernel("f32_log_softmax", "normalization", "softmax", (1,), "log_softmax"),
        Kernel("f32_layer_norm", "normalization", "layer_norm", operation="layer_norm"),
        Kernel("f32_local_response_norm", "normalization", "local_response_norm", operation="local_response_norm"),
        Kernel("f32_bilinear", "resize", "bilinear_f32", operation="resize"),
        Kernel("s8_bilinear", "resize", "bilinear_int8", operation="resize", dtype="int8"),
    ]


def rows(target: InstructionSet) -> list[Kernel]:
    """The kernels of this family for an instruction set."""
    return [*_movement(), *_elementwise(), *_pooling(), *_normalization()]
