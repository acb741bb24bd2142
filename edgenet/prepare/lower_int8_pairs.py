"""Lowering of int8 matrix products and convolutions to pairs of bytes (see `kernels.pairs_int8`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgenet.graph import Node
from edgenet.kernels.table_int8 import UNIT_GROUPS, has_byte_pairs, pairs_tile
from edgenet.prepare.byte_pairs import pair_channels
from edgenet.prepare.byte_quads import BLOCK, UNIT
from edgenet.prepare.lower_int8_matrix import SCRATCH_BYTES, content, epilogue, first_sums, pack_panels, scratch_slots
from edgenet.prepare.lower_int8_window import geometry, joins_rows, kernel_rows, zero_points
from edgenet.prepare.lowering import Lowering, odd_lines
from edgenet.prepare.partition import partition
from edgenet.prepare.plan import Packed, Value

_WORDS, _PAIRS, _QUADS = 2, 3, 2.5
"""Instructions for two of the depth as int16, for four as bytes, and for four of a unit of quads, for an output vector
and a pixel."""
_REORDER, _LONELY = 4, 2
"""Instructions that bring a register of a pixel's bytes into their order, and that copy a byte without a partner."""
_RUN, _COPY = 6, 2
"""Instructions that gather a run of bytes, and each register of it."""
_WORTH = 0.92
"""Share of the other products' instructions below which time is saved."""


_COUNTS = 2
"""Words of a record before the units' places."""


@dataclass(frozen=True)
class _Order:
    """The panels' records as the kernel takes them, a row each: `filled` bytes, then words."""

    packed: Packed
    depth: int
    filled: int

    @property
    def groups(self) -> int:
        """Groups of four bytes of the depth, without those of channels that have no partner."""
        return -(-self.depth // 4)

    @property
    def units(self) -> int:
        """Whole units of the depth."""
        return self.groups // UNIT_GROUPS

    def words(self) -> np.ndarray:
        return self.packed.array[:, self.filled :].view(np.int64)

    def quads(self) -> np.ndarray:
        """How many units of each panel are quads."""
        return self.words()[:, 0]

    def lonely(self) -> list[np.ndarray]:
        """Channels of each panel that have no partner."""
        return [row[_COUNTS + self.units :][: row[1]] for row in self.words()]

    def channels(self, groups: int) -> np.ndarray:
        """Channel of each place of each panel, `depth` where there is none: units, their rest, then the lonely ones."""
        lonely, used = self.lonely(), self.groups * 4
        found = np.full((len(lonely), groups * 4), self.depth)
        taken = self.packed.array[:, :used] + np.arange(used) // BLOCK * BLOCK
        places = np.broadcast_to(np.arange(used), taken.shape).copy()
        of_units = self.words()[:, _COUNTS : _COUNTS + self.units, None] * 4 + np.arange(UNIT)
        places[:, : self.units * UNIT] = of_units.reshape(len(lonely), -1)
        found[:, :used] = np.take_along_axis(taken, places, axis=1)
        is_lonely = np.zeros(max(self.depth, used), bool)
        for row, alone in zip(found, lonely, strict=True):
            is_lonely[alone] = True
            row[:used][is_lonely[row[:used]]] = self.depth
            row[used : used + 2 * len(alone) : 2] = alone
            is_lonely[alone] = False
        return np.minimum(found, self.depth)


def _records(matrix: np.ndarray, width: int, filled: int) -> np.ndarray:
    """The records (see `kernels.pairs_int8`) for int8 weights [O, K] in panels of `width` outputs."""
    order, broken, quads = pair_channels(matrix, width)
    most, units = int(broken.sum(axis=1).max()), -(-matrix.shape[1] // 4) // UNIT_GROUPS
    records = np.zeros((len(order), -(-(filled + 8 * (_COUNTS + units + most)) // 64) * 64), np.uint8)
    records[:, :filled] = np.tile(np.arange(BLOCK, dtype=np.uint8), filled // BLOCK)
    records[:, : order.shape[1]] = order
    words = records[:, filled:].view(np.int64)
    words[:, 0], words[:, 1] = quads.sum(axis=1), broken.sum(axis=1)
    words[:, _COUNTS : _COUNTS + units] = (~quads[:, :units]).argsort(axis=1, kind="stable") * UNIT_GROUPS
    for row, pairs, line in zip(words[:, _COUNTS + units :], broken, order, strict=True):
        seconds = 2 * np.flatnonzero(pairs) + 1
        row[: len(seconds)] = seconds // BLOCK * BLOCK + line[seconds]
    return records


def _tile(lowering: Lowering) -> tuple[int, int, int]:
    """Rows of the tile, rows of the second one, and output channels of a panel."""
    height, second, vectors = pairs_tile(lowering.target)
    return height, second, vectors * lowering.target.lanes


def _matrix(node: Node, lowering: Lowering) -> np.ndarray:
    """The weights as a matrix [O, K]."""
    weight = lowering.constant(node.inputs["weight"])
    return weight.reshape(len(weight), -1)


def _order(node: Node, lowering: Lowering) -> _Order:
    register, width = lowering.target.bits // 8, _tile(lowering)[2]
    matrix = _matrix(node, lowering)
    filled = -(-matrix.shape[1] // register) * register
    key = ("s8_pair_order", node.inputs["weight"], width)
    return _Order(lowering.packed(key, lambda: _records(matrix, width, filled)), matrix.shape[1], filled)


def _taps(node: Node, lowering: Lowering) -> tuple[int, int]:
    """How many runs of bytes a pixel's taps are, and the bytes of each."""
    _, kernel_height, kernel_width, depth = lowering.shape(node.inputs["weight"])
    if joins_rows(node, lowering, depth):
        return kernel_height, kernel_width * depth
    return kernel_height * kernel_width, depth


def _suits(node: Node, lowering: Lowering, words: float, gathered: float) -> bool:
    """Whether pairs take less time than `words` instructions for each output vector and pixel.

    `gathered`: instructions that gather a pixel.
    """
    lanes, width = lowering.target.lanes, _tile(lowering)[2]
    order = _order(node, lowering)
    lonely = [len(channels) for channels in order.lonely()]
    of_quads = np.mean(order.quads()) * UNIT_GROUPS
    groups = order.groups - of_quads + np.mean([-(-count // 2) for count in lonely])
    copied = order.filled // (4 * lanes) * _REORDER + _LONELY * np.mean(lonely) + gathered / len(lonely)
    return bool(of_quads * _QUADS + groups * _PAIRS + copied * lanes / width < _WORTH * words)


def suits_pairs(node: Node, lowering: Lowering, others: float = 1.0) -> bool:
    """Whether pairs of bytes serve a matrix product in less than the share `others` of a direct product's time."""
    if not has_byte_pairs(lowering.target):
        return False
    return _suits(node, lowering, others * -(-lowering.shape(node.inputs["weight"])[-1] // 2) * _WORDS, 0)


def suits_pairs_convolution(node: Node, lowering: Lowering) -> bool:
    """As `suits_pairs` for a convolution without groups."""
    if not has_byte_pairs(lowering.target):
        return False
    runs, size = _taps(node, lowering)
    gathered = runs * (_RUN + -(-size // (lowering.target.bits // 8)) * _COPY)
    return _suits(node, lowering, runs * -(-size // 2) * _WORDS, gathered)


def _product(node: Node, lowering: Lowering, kernel: str, pixels: int, gathers: bool, slots: dict[str, Value]) -> None:
    """The step of a product over rows of pixels, which a unit gathers from an image if it `gathers`."""
    height, second, width = _tile(lowering)
    order, matrix = _order(node, lowering), _matrix(node, lowering)
    lonely, (channels, depth) = order.lonely(), matrix.shape
    groups, panels = order.groups + -(-max(map(len, lonely)) // 2), len(lonely)

    def make() -> np.ndarray:
        filled = np.zeros((panels * width, depth), np.int8)
        filled[:channels] = matrix
        rows = np.zeros((panels, depth + 1, width), np.int8)
        rows[:, :depth] = filled.reshape(panels, width, depth).swapaxes(1, 2)
        ordered = np.stack([row[places] for row, places in zip(rows, order.channels(groups), strict=True)])
        ordered = ordered.swapaxes(1, 2).reshape(panels * width, -1)[:channels]
        multiplier, bias = lowering.constant(node.inputs["multiplier"]), first_sums(node, lowering, matrix)
        return pack_panels(ordered, bias, multiplier, width, lowering.target, group=4)

    stride = odd_lines(max(order.filled, groups * 4) + (lowering.target.bits // 8 if gathers else 0))
    most = max(SCRATCH_BYTES // stride - height, 1) if gathers else 1 << 30
    work = groups * height * width // lowering.target.lanes * _PAIRS // 2
    x_bytes, weights_bytes = lowering.size(node.inputs["x"]), matrix.size
    part = partition(pixels, height, second, panels, work, x_bytes, weights_bytes, lowering.threads, most)
    lowering.step(
        f"{kernel}_{height}x{width}",
        part.units,
        1,
        **slots,
        weights=lowering.packed(("s8_pairs", *content(node, lowering), width), make, channels * groups * 4),
        order=order.packed,
        order_stride=order.packed.array.shape[1],
        **scratch_slots(lowering, stride, height + (part.most_pixels(pixels) if gathers else 0)),
        pixels=pixels,
        groups=groups,
        channels=channels,
        **part.slots(),
        **epilogue(node, lowering, channels),
    )


def pairs_product(node: Node, lowering: Lowering, pixels: int) -> None:
    """Step of y = requantized(x @ weight.T + bias) with residual and activation, over `pixels` rows."""
    depth = lowering.shape(node.inputs["weight"])[-1]
    slots: dict[str, Value] = {"x": lowering.read(node.inputs["x"]), "x_stride": depth, "depth": depth}
    _product(node, lowering, "s8_pairs", pixels, False, slots)


def pairs_convolution(node: Node, lowering: Lowering) -> None:
    """Step of a convolution of any kernel, stride, padding and dilation, without groups."""
    runs, size = _taps(node, lowering)
    joined = joins_rows(node, lowering, lowering.shape(node.inputs["weight"])[-1])
    slots = kernel_rows(node, lowering, False) if joined else geometry(node, lowering)
    slots |= {"outside": zero_points(lowering, node.inputs["x"], size), "depth": size, "taken": runs * size}
    pixels = int(np.prod(lowering.shape(node.output)[:3], dtype=np.int64))
    _product(node, lowering, "s8_conv_pairs", pixels, True, slots)
