"""Lowering of int8 convolutions and linear layers: which kernel serves which."""

from __future__ import annotations

import numpy as np

from edgenet.graph import Node
from edgenet.prepare.lower_int8_depthwise import depthwise
from edgenet.prepare.lower_int8_matrix import matrix_product
from edgenet.prepare.lower_int8_strassen import strassen, suits_strassen
from edgenet.prepare.lower_int8_window import window_product
from edgenet.prepare.lowering import Lowering


def linear(node: Node, lowering: Lowering) -> None:
    """Linear layer over the last axis."""
    shape = lowering.shape(node.inputs["x"])
    matrix_product(node, lowering, int(np.prod(shape[:-1], dtype=np.int64)))


def convolution(node: Node, lowering: Lowering) -> None:
    """Convolution of any kind."""
    weight, a = lowering.shape(node.inputs["weight"]), node.attributes
    x = lowering.shape(node.inputs["x"])
    pointwise = weight[1:3] == (1, 1) and a["groups"] == 1 and not any(a["padding"])
    if pointwise and list(a["stride"]) == [1, 1]:
        pixels = x[0] * x[1] * x[2]
        if suits_strassen(node, lowering, pixels):
            strassen(node, lowering, pixels)
        else:
            matrix_product(node, lowering, pixels)
    elif a["groups"] > 1 and weight[3] == 1 and weight[0] == a["groups"]:
        depthwise(node, lowering)
    else:
        window_product(node, lowering)
