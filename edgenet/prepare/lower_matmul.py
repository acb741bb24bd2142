"""Lowering of products of two activations."""

from __future__ import annotations

import math

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.table_float import gemm_tile
from edgenet.prepare.lower_elementwise import float_operand
from edgenet.prepare.lowering import Lowering, lowers
from edgenet.prepare.partition import partition


@lowers("matmul")
def matmul(node: Node, lowering: Lowering) -> None:
    """b is packed into panels, by all threads; then the products are matrix products as those with weights."""
    a, b = node.inputs["a"], node.inputs["b"]
    *before, pixels, depth = lowering.shape(a)
    channels, products = lowering.shape(b)[-1], math.prod(before)
    lanes = lowering.target.lanes
    height, vectors = gemm_tile(lowering.target)
    width = vectors * lanes
    panels, padded = -(-channels // width), -(-channels // lanes) * lanes
    packed_bytes = (depth + 1) * padded * 4
    packed = lowering.temporary(products * packed_bytes)
    lowering.step(
        f"f32_pack_panels_{width}",
        units=products * panels,
        b=float_operand(lowering, b),
        packed=lowering.write(packed),
        packed_bytes=packed_bytes,
        depth=depth,
        channels=channels,
        panels=panels,
        scale=node.attributes["scale"],
    )
    part = partition(
        pixels,
        height,
        height - 1,
        panels,
        depth * height * vectors,
        pixels * depth * 4,
        packed_bytes,
        lowering.threads,
        groups=products,
    )
    lowering.step(
        f"f32_matmul_{height}x{width}",
        units=part.units,
        a=float_operand(lowering, a),
        y=lowering.write(node.output),
        packed=lowering.read(packed),
        packed_bytes=packed_bytes,
        pixels=pixels,
        depth=depth,
        channels=channels,
        **part.slots(),
        low=-np.inf,
        high=np.inf,
    )
