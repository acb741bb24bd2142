"""The order in which `kernels.pairs_int8` takes the depth of an int8 matrix product, so that its products are exact.

Two weights make a pair where they add up to no more than 128 in magnitude. Channels are paired within each 16 of
the depth, for all outputs of a panel at once. Most pairs of trained weights suit, so a matching that takes channels
with few possible partners first, and gives them the partner that has the fewest, leaves few channels alone. Where eight
of the 16 make quads (see `byte_quads`), these come first.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from edgenet.prepare.byte_quads import BLOCK, UNIT, halves_of_quads

_MOST_AT_ONCE = 1024
"""Blocks whose pairs are looked at at the same time: some megabytes."""


def _exact_pairs(weights: np.ndarray) -> np.ndarray:
    """Which pairs suit all outputs: [channel, other channel, block] of int8 weights [output, channel, block].

    Sums are looked at by halves of their terms, as bytes: some pairs that add up to just 128 count as too great.
    """
    halves = weights >> 1
    suits = np.zeros((BLOCK, BLOCK, weights.shape[2]), bool)
    for i in range(BLOCK - 1):
        sums = halves[:, i : i + 1] + halves[:, i + 1 :]
        suits[i, i + 1 :] = suits[i + 1 :, i] = (sums.max(axis=0) < 64) & (sums.min(axis=0) >= -64)
    return suits


@cache
def _lowest_bits() -> np.ndarray:
    """Number of the lowest bit that is set of each set of channels."""
    found = np.zeros(1 << BLOCK, np.uint8)
    for bit in range(BLOCK):
        found[1 << bit :: 2 << bit] = bit
    return found


def _match(suits: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order [block, channel] that has partners next to each other, and which pairs [block, pair] do not suit.

    The channels that are not `present` [channel, block], an even number of each block, come last.
    """
    blocks = np.arange(suits.shape[2])
    partners = (suits & present).sum(axis=0, dtype=np.int8) + np.where(present, 0, BLOCK).astype(np.int8)
    by_rank = partners.argsort(axis=0, kind="stable").astype(np.uint8)
    bit = np.empty(by_rank.shape, np.int32)
    np.put_along_axis(bit, by_rank, 1 << np.arange(BLOCK, dtype=np.int32)[:, None], axis=0)
    suited = np.einsum("ijb,jb->ib", suits & present & present[:, None], bit)
    order, broken = np.empty((len(blocks), BLOCK), np.uint8), np.empty((len(blocks), BLOCK // 2), bool)
    lowest, free = _lowest_bits(), np.full(len(blocks), (1 << BLOCK) - 1, np.int32)
    for pair in range(BLOCK // 2):
        first = by_rank[lowest[free], blocks]
        free ^= bit[first, blocks]
        found = suited[first, blocks] & free
        second = by_rank[lowest[np.where(found, found, free)], blocks]
        free ^= bit[second, blocks]
        order[:, 2 * pair], order[:, 2 * pair + 1] = first, second
        broken[:, pair] = (found == 0) & present[first, blocks]
    return order, broken


def _order(weights: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `pair_channels`, of weights [output, channel, block]: rows are blocks."""
    suits = _exact_pairs(weights)
    order, broken = _match(suits, present)
    whole = np.flatnonzero(present.all(axis=0))
    channels, quads = halves_of_quads(weights[:, :, whole])
    rest = np.zeros((BLOCK, len(whole)), bool)
    np.put_along_axis(rest, channels.T[UNIT:], True, axis=0)
    behind, alone = _match(suits[:, :, whole], rest)
    channels[:, UNIT:] = np.where((quads == 2)[:, None], channels[:, UNIT:], behind[:, :UNIT])
    alone = np.where((quads == 2)[:, None], False, np.roll(alone, UNIT // 2, axis=1))
    better = (quads > 0) & (alone.sum(axis=1) <= broken[whole].sum(axis=1))
    order[whole[better]], broken[whole[better]] = channels[better], alone[better]
    units = np.zeros((len(order), BLOCK // UNIT), bool)
    units[whole[better]] = np.arange(BLOCK // UNIT) < quads[better, None]
    return order, broken, units


def pair_channels(matrix: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs and quads for int8 weights [O, K] in panels of `width` outputs.

    Returns the order [panel, K filled up to whole blocks] of channels, each by its number in its block, which of
    its pairs [panel, half of that] are not exact, and which of its units [panel, an eighth of that] are two quads.
    Where K is not a multiple of four, zeros fill its last four.
    """
    outputs, depth = matrix.shape
    panels, blocks = -(-outputs // width), -(-depth // BLOCK)
    padded = np.zeros((panels * width, blocks * BLOCK), np.int8)
    padded[:outputs, :depth] = matrix
    weights = np.ascontiguousarray(padded.reshape(panels, width, blocks, BLOCK).transpose(1, 3, 0, 2))
    weights = weights.reshape(width, BLOCK, panels * blocks)
    channels = np.arange(blocks * BLOCK).reshape(blocks, BLOCK).T
    present = np.tile(channels < -(-depth // 4) * 4, panels)
    starts = range(0, panels * blocks, _MOST_AT_ONCE)
    parts = [slice(start, start + _MOST_AT_ONCE) for start in starts]
    found = [_order(weights[:, :, part], present[:, part]) for part in parts]
    order, broken, quads = (np.concatenate(each).reshape(panels, -1) for each in zip(*found, strict=True))
    return order, broken, quads
