"""Lowerings of elementwise operations: activations, broadcasting arithmetic, changes of quantization, lookup tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgenet.errors import EngineError
from edgenet.graph import Node
from edgenet.kernels.table_memory import GATE_PIXELS, GATE_ROWS, GATE_VECTORS
from edgenet.prepare.lower_movement import Address, dense_strides, element_bytes, permute_array, strided_copy
from edgenet.prepare.lowering import Lowering, activation_bounds, lowers

BLOCK = 4096
"""Elements of a unit."""
_MOST_GATED = 2.0**31 / (255 * 255)
"""Multiplier with which the largest product of two int8 values reaches 2**31."""


def float_operand(lowering: Lowering, name: str) -> Address:
    """Address of a float32 operand; a compressed constant is widened."""
    if lowering.is_constant(name):
        return lowering.packed(("float", name), lambda: lowering.float_constant(name))
    return lowering.read(name)


def int8_bounds(attributes: Mapping[str, Any], zero_point: int) -> tuple[float, float]:
    """The clamp to q_min..q_max (default: all of int8) before the zero point (of int8, not as stored) is added."""
    return (
        float(attributes.get("q_min", -128) - zero_point),
        float(attributes.get("q_max", 127) - zero_point),
    )


def int8_output(lowering: Lowering, name: str, attributes: Mapping[str, Any]) -> tuple[int, float, float]:
    """Stored zero point of an int8 output, and the bounds of the clamp before it is added."""
    zero = lowering.zero_point(name)
    return zero, *int8_bounds(attributes, zero - lowering.stored(0))


def apply_activation(lowering: Lowering, x: Address, output: str, count: int, activation: Mapping[str, Any]) -> None:
    """Step that writes the activation of `count` elements."""
    kind = activation["kind"]
    if kind == "clamp":
        a, b = activation_bounds(dict(activation))
    else:
        a, b = activation.get("alpha", 0.0), 0.0
    lowering.step(f"f32_{kind}", -(-count // BLOCK), x=x, y=lowering.write(output), count=count, block=BLOCK, a=a, b=b)


@lowers("activation")
def activation(node: Node, lowering: Lowering) -> None:
    """Any activation, float32."""
    x = float_operand(lowering, node.inputs["x"])
    apply_activation(lowering, x, node.output, lowering.size(node.output), node.attributes["activation"])


def _loops(a: tuple[int, ...], b: tuple[int, ...], out: tuple[int, ...], size: int):
    """Sizes of the loops over `out` and byte strides of a and b (0 where broadcast), merged where possible."""
    rank = len(out)
    loops: list[list[int]] = []
    strides = []
    for shape in (a, b):
        shape = (1,) * (rank - len(shape)) + shape
        strides.append([0 if n == 1 else s for n, s in zip(shape, dense_strides(shape, size), strict=True)])
    for n, p, q in zip(out, *strides, strict=True):
        if n == 1:
            continue
        if loops and loops[-1][1] == n * p and loops[-1][2] == n * q:
            loops[-1] = [loops[-1][0] * n, p, q]
        else:
            loops.append([n, p, q])
    return loops or [[1, size, size]]


def binary_slots(node: Node, a: tuple[int, ...], b: tuple[int, ...], out: tuple[int, ...], size: int):
    """Units, grain and slots that describe the loops of a binary operation on elements of `size` bytes."""
    loops = _loops(a, b, out, size)
    length, p, q = loops.pop()
    last = length
    if not loops and length > BLOCK:
        rows = -(-length // BLOCK)
        loops = [[rows, p * BLOCK, q * BLOCK]]
        last = length - (rows - 1) * BLOCK
        length = BLOCK
    if len(loops) > 3:
        raise EngineError(f"{node.name}: the broadcast of {a} and {b} has too many dimensions for a kernel.")
    loops = [[1, 0, 0]] * (3 - len(loops)) + loops
    rows = math.prod(n for n, _, _ in loops)
    slots = {
        "n1": loops[1][0],
        "n2": loops[2][0],
        **{f"a{i}": loops[i][1] for i in range(3)},
        **{f"b{i}": loops[i][2] for i in range(3)},
        "y_stride": length * size,
        "a_step": int(p != 0),
        "b_step": int(q != 0),
        "length": length,
        "rows": rows,
        "last": last,
    }
    return rows, max(1, BLOCK // length), slots


@lowers("add", "sub", "mul", "div", "mask")
def binary(node: Node, lowering: Lowering) -> None:
    """a op b with broadcasting; another activation than a clamp is a second step in place."""
    a, b = node.inputs["a"], node.inputs["b"]
    out = lowering.shape(node.output)
    if lowering.dtype(node.output) == "int8":
        _binary_int8(node, lowering)
        return
    units, grain, slots = binary_slots(node, lowering.shape(a), lowering.shape(b), out, 4)
    act = node.attributes["activation"]
    clamped = act is None or act["kind"] == "clamp"
    low, high = activation_bounds(act if clamped else None)
    lowering.step(
        f"f32_{node.operation}",
        units,
        grain,
        a=float_operand(lowering, a),
        b=float_operand(lowering, b),
        y=lowering.write(node.output),
        **slots,
        low=low,
        high=high,
    )
    if act is not None and not clamped:
        apply_activation(lowering, lowering.read(node.output), node.output, lowering.size(node.output), act)


def _gate(node: Node, lowering: Lowering) -> bool:
    """Add the step of an int8 image times one factor a channel; False if the node is something else, or too small."""
    x, factor = sorted((node.inputs["a"], node.inputs["b"]), key=lowering.size, reverse=True)
    shape = lowering.shape(x)
    pixels, channels = math.prod(shape[1:-1]), shape[-1]
    multiplier = node.attributes["multiplier"]
    if lowering.shape(factor) != (shape[0], *[1] * (len(shape) - 2), channels) or abs(multiplier) >= _MOST_GATED:
        return False
    lanes, slots = lowering.target.lanes, {}
    if channels >= GATE_VECTORS * lanes:
        kernel, block = "s8_gate_wide", -(-pixels // -(-pixels // GATE_PIXELS))
        slots["block"] = block
    elif channels >= lanes and pixels >= GATE_ROWS:
        kernel, block = "s8_gate", GATE_ROWS
    else:
        return False
    zero, low, high = int8_output(lowering, node.output, node.attributes)
    lowering.step(
        kernel,
        shape[0] * -(-pixels // block),
        max(1, BLOCK // (block * channels)),
        x=lowering.read(x),
        factors=lowering.read(factor),
        y=lowering.write(node.output),
        pixels=pixels,
        channels=channels,
        **slots,
        zero_x=lowering.zero_point(x),
        zero_factor=lowering.zero_point(factor),
        zero=zero,
        smallest=zero + int(low),
        largest=zero + int(high),
        multiplier=multiplier,
    )
    return True


def _binary_int8(node: Node, lowering: Lowering) -> None:
    if node.operation == "mul" and _gate(node, lowering):
        return
    a, b, attributes = node.inputs["a"], node.inputs["b"], node.attributes
    units, grain, slots = binary_slots(node, lowering.shape(a), lowering.shape(b), lowering.shape(node.output), 1)
    zero, low, high = int8_output(lowering, node.output, attributes)
    if node.operation == "mul":
        multipliers = attributes["multiplier"], 0.0
    else:
        multipliers = attributes["multiplier_a"], attributes["multiplier_b"]
    lowering.step(
        f"s8_{node.operation}",
        units,
        grain,
        a=lowering.read(a),
        b=lowering.read(b),
        y=lowering.write(node.output),
        **slots,
        zero_a=lowering.zero_point(a),
        zero_b=lowering.zero_point(b),
        zero_y=zero,
        multiplier_a=multipliers[0],
        multiplier_b=multipliers[1],
        low=low,
        high=high,
    )


@lowers("prelu")
def prelu(node: Node, lowering: Lowering) -> None:
    """x, or slope * x where x is negative."""
    x, slope = node.inputs["x"], node.inputs["slope"]
    shape = lowering.shape(x)
    units, grain, slots = binary_slots(node, shape, lowering.shape(slope), shape, 4)
    lowering.step(
        "f32_prelu",
        units,
        grain,
        a=float_operand(lowering, x),
        b=float_operand(lowering, slope),
        y=lowering.write(node.output),
        **slots,
        low=-np.inf,
        high=np.inf,
    )


def quantize_flat(lowering: Lowering, x: Address, output: str, inverse_scale: float) -> None:
    """Step that quantizes as many elements as `output` has."""
    count = lowering.size(output)
    zero, low, high = int8_output(lowering, output, {})
    lowering.step(
        "s8_quantize",
        -(-count // BLOCK),
        x=x,
        y=lowering.write(output),
        count=count,
        block=BLOCK,
        scale=inverse_scale,
        zero=zero,
        low=low,
        high=high,
    )


@lowers("quantize")
def quantize(node: Node, lowering: Lowering) -> None:
    """float32 to int8."""
    x = float_operand(lowering, node.inputs["x"])
    quantize_flat(lowering, x, node.output, node.attributes["inverse_scale"])


@lowers("permute_quantize")
def permute_quantize(node: Node, lowering: Lowering) -> None:
    """quantize(permute(x)): in one pass for images of three channels, else by way of a permuted copy."""
    x, order, scale = node.inputs["x"], list(node.attributes["order"]), node.attributes["inverse_scale"]
    shape = lowering.shape(x)
    if order != [0, 2, 3, 1] or shape[1] != 3:
        permuted = lowering.temporary(lowering.size(x) * 4)
        permute_array(lowering, lowering.read(x), lowering.write(permuted), shape, order, 4)
        quantize_flat(lowering, lowering.read(permuted), node.output, scale)
        return
    length = shape[2] * shape[3]
    block = min(BLOCK, -(-length // (128 * lowering.threads)) * 64)
    zero, low, high = int8_output(lowering, node.output, {})
    lowering.step(
        "s8_quantize_interleave3",
        shape[0] * -(-length // block),
        x=lowering.read(x),
        y=lowering.write(node.output),
        plane_stride=lowering.plane_bytes(x),
        length=length,
        block=block,
        scale=scale,
        zero=zero,
        smallest=zero + int(low),
        largest=zero + int(high),
        low=low,
        high=high,
    )


@lowers("dequantize")
def dequantize(node: Node, lowering: Lowering) -> None:
    """int8 to float32."""
    x, count = node.inputs["x"], lowering.size(node.output)
    quantization = lowering.tensors[x].quantization
    if quantization is None:
        raise EngineError(f"{node.name}: the input of dequantize has no quantization.")
    lowering.step(
        "s8_dequantize",
        -(-count // BLOCK),
        x=lowering.read(x),
        y=lowering.write(node.output),
        count=count,
        block=BLOCK,
        scale=quantization.scale[0],
        zero=lowering.zero_point(x),
    )


def requantize_rows(
    lowering: Lowering, x: str, output: str, attributes: Mapping[str, Any], multiplier: float, rows: int, place: int = 0
) -> None:
    """Step that rescales x, `rows` dense rows, into rows of `output` at byte `place` of each."""
    length, stride = lowering.size(x) // rows, lowering.size(output) // rows
    zero, low, high = int8_output(lowering, output, attributes)
    lowering.step(
        "s8_requantize",
        rows * -(-length // BLOCK),
        max(1, BLOCK // length),
        x=lowering.read(x),
        x_stride=length,
        y=lowering.write(output, place),
        y_stride=stride,
        length=length,
        block=BLOCK,
        scale=multiplier,
        x_zero=lowering.zero_point(x),
        zero=zero,
        low=low,
        high=high,
    )


@lowers("requantize")
def requantize(node: Node, lowering: Lowering) -> None:
    """int8 to int8 of another scale."""
    requantize_rows(lowering, node.inputs["x"], node.output, {}, node.attributes["multiplier"], 1)


@lowers("table")
def table(node: Node, lowering: Lowering) -> None:
    """Lookup of stored bytes; the table is rearranged so that it maps bytes as they lie in memory."""
    x, name = node.inputs["x"], node.inputs["table"]
    array, shape = lowering.constant(name), lowering.shape(x)

    def make() -> np.ndarray:
        stored = (array.astype(np.int16) + lowering.stored(0)).astype(np.uint8)
        return stored if lowering.stored(0) else np.roll(stored, 128, axis=-1)

    address = lowering.packed(("table", name), make)
    if array.ndim == 1:
        count = lowering.size(x)
        lowering.step(
            "s8_table",
            -(-count // BLOCK),
            x=lowering.read(x),
            y=lowering.write(node.output),
            table=address,
            count=count,
            block=BLOCK,
        )
        return
    pixels, channels = math.prod(shape[:-1]), shape[-1]
    block = max(1, BLOCK // channels)
    lowering.step(
        "s8_channel_table",
        -(-pixels // block),
        x=lowering.read(x),
        y=lowering.write(node.output),
        table=address,
        pixels=pixels,
        channels=channels,
        block=block,
    )


@lowers("concat")
def concat(node: Node, lowering: Lowering) -> None:
    """Each input into its place; int8 inputs of another quantization are rescaled on the way."""
    out, axis = lowering.shape(node.output), node.attributes["axis"]
    size = element_bytes(lowering, node.output)
    rows, inner, place = math.prod(out[:axis]), math.prod(out[axis + 1 :]) * size, 0
    multipliers = node.attributes["multipliers"] or [1.0] * len(node.inputs)
    for name, multiplier in zip(node.inputs.values(), multipliers, strict=True):
        length = lowering.shape(name)[axis] * inner
        same = lowering.zero_point(name) == lowering.zero_point(node.output)
        if size == 4 or (multiplier == 1.0 and same):
            x = float_operand(lowering, name) if size == 4 else lowering.read(name)
            y = lowering.write(node.output, place)
            strides = [length, size], [out[axis] * inner, size]
            strided_copy(lowering, x, y, (rows, length // size), *strides, size)
        else:
            requantize_rows(lowering, name, node.output, node.attributes, multiplier, rows, place)
        place += length
