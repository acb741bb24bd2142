"""Lowering of int8 convolutions and linear layers: which kernel serves which."""

from __future__ import annotations

import numpy as np

from edgenet.graph import Node
from edgenet.prepare.lower_int8_depthwise import depthwise
from edgenet.prepare.lower_int8_matrix import matrix_product
from edgenet.prepare.lower_int8_pairs import pairs_convolution, pairs_product, suits_pairs, suits_pairs_convolution
from edgenet.prepare.lower_int8_strassen import STRASSEN_WORK, strassen, suits_strassen
from edgenet.prepare.lower_int8_tiles import convolution_tiles, matrix_product_tiles, suits_tiles
from edgenet.prepare.lower_int8_window import window_product
from edgenet.prepare.lower_int8_winograd import winograd, winograd_size
from edgenet.prepare.lowering import Lowering


def linear(node: Node, lowering: Lowering) -> None:
    """Linear layer over the last axis."""
    shape = lowering.shape(node.inputs["x"])
    pixels = int(np.prod(shape[:-1], dtype=np.int64))
    _product(node, lowering, pixels)


def _product(node: Node, lowering: Lowering, pixels: int) -> None:
    """A matrix product over rows of pixels."""
    if suits_tiles(node, lowering, pixels):
        matrix_product_tiles(node, lowering, pixels)
    elif pixels > 1 and suits_pairs(node, lowering):
        pairs_product(node, lowering, pixels)
    else:
        matrix_product(node, lowering, pixels)


def convolution(node: Node, lowering: Lowering) -> None:
    """Convolution of any kind."""
    weight, a = lowering.shape(node.inputs["weight"]), node.attributes
    pixels = int(np.prod(lowering.shape(node.output)[:3], dtype=np.int64))
    pointwise = weight[1:3] == (1, 1) and a["groups"] == 1 and not any(a["padding"])
    if pointwise and list(a["stride"]) == [1, 1]:
        if suits_strassen(node, lowering, pixels) and not suits_pairs(node, lowering, STRASSEN_WORK):
            strassen(node, lowering, pixels)
        else:
            _product(node, lowering, pixels)
    elif a["groups"] > 1 and weight[3] == 1 and weight[0] == a["groups"]:
        depthwise(node, lowering)
    elif a["groups"] == 1 and suits_tiles(node, lowering, lowering.shape(node.output)[2]):
        convolution_tiles(node, lowering)
    elif a["groups"] == 1 and (outputs := winograd_size(node, lowering)):
        winograd(node, lowering, outputs)
    elif a["groups"] == 1 and suits_pairs_convolution(node, lowering):
        pairs_convolution(node, lowering)
    else:
        window_product(node, lowering)
