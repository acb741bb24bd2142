"""Which channels of an int8 matrix product's depth make quads, whose four products `kernels.pairs_int8` sums as int16.

Such a sum is exact for all inputs where the positive ones of its weights add up to no more than 128 and the negative
ones to no less than -128, for each output of a panel. Quads are sought for eight channels at a time, as kernels take
them: two quads make a unit. Of the ways to halve the 16 channels of a block some hundreds are looked at, with all ways
to split a half into two quads: a block has many that suit, or none. Blocks are looked at together, each of which is a
bit of a byte.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

from edgenet.kernels.table_int8 import UNIT_GROUPS

UNIT = 4 * UNIT_GROUPS
"""Channels of a unit of two quads."""
BLOCK = 2 * UNIT
"""Channels among which quads are sought."""
_WAYS, _STRIDE = 512, 2477
"""Ways to halve a block that are looked at, and how far apart they lie among all, whose number is coprime to that."""
_PLACES = (0, 1, 4, 5, 2, 3, 6, 7)
"""Where a unit takes its quads' channels from: two of the one and two of the other, twice."""
_MOST = 128
"""Magnitude that the weights of one sign may add up to: 255 * 128 < 2**15."""


class _Choices(NamedTuple):
    """Sets of a block's channels.

    `quads` [quad, channel]: the channels of each quad, in lexicographic order; `splits` [half, split, 2]: the numbers
    of the two quads of each split of a half. Half 2 i + 1 has the channels that half 2 i has not.
    """

    quads: np.ndarray
    splits: np.ndarray


@cache
def _choices() -> _Choices:
    quads = np.array(list(combinations(range(BLOCK), UNIT // 2)))
    number = {tuple(quad): i for i, quad in enumerate(quads.tolist())}
    firsts = [(0, *rest) for rest in combinations(range(1, BLOCK), UNIT - 1)]
    splits = []
    for way in range(_WAYS):
        first = firsts[way * _STRIDE % len(firsts)]
        for half in (first, tuple(sorted(set(range(BLOCK)) - set(first)))):
            ones = [(half[0], *rest) for rest in combinations(half[1:], UNIT // 2 - 1)]
            splits.append([(number[one], number[tuple(sorted(set(half) - set(one)))]) for one in ones])
    return _Choices(quads, np.array(splits))


def _exact_quads(weights: np.ndarray) -> np.ndarray:
    """Which quads suit all outputs: [quad, block] for int8 weights [output, channel, block].

    A quad of which the first or the last two channels alone add up to 128 counts as too great.
    """
    magnitudes = np.concatenate([np.maximum(weights, 0), -np.minimum(weights, 0)]).view(np.uint8)
    channels = np.ascontiguousarray(magnitudes.swapaxes(0, 1))
    usable = np.asarray((channels < _MOST).all(axis=1))
    pairs = np.concatenate([channels[i] + channels[i + 1 :] for i in range(BLOCK - 1)])
    both = np.concatenate([usable[i] & usable[i + 1 :] for i in range(BLOCK - 1)])
    both &= (pairs < _MOST).all(axis=1)
    np.minimum(pairs, _MOST - 1, out=pairs)
    first_pair = np.cumsum([0, *range(BLOCK - 1, -1, -1)])
    found = []
    for pair, (_, second) in enumerate(combinations(range(BLOCK), 2)):
        behind = slice(first_pair[second + 1], None)
        found.append(((pairs[pair] + pairs[behind]).max(axis=1) <= _MOST) & both[pair] & both[behind])
    return np.concatenate(found)


def halves_of_quads(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Halves that are two quads each for int8 weights [output, channel, block].

    Returns channels [block, BLOCK] in the order that units take them, and how many of a block's halves are quads: both,
    the first, or none.
    """
    _, splits = _choices()
    exact = _exact_quads(weights)
    bits = np.packbits(exact, axis=1)
    found = np.zeros((len(splits), bits.shape[1]), np.uint8)
    for split in range(splits.shape[1]):
        found |= bits[splits[:, split, 0]] & bits[splits[:, split, 1]]
    blocks = weights.shape[2]
    halves = np.unpackbits(found, axis=1, count=blocks).astype(bool)
    both = halves[::2] & halves[1::2]
    count = np.add(halves.any(axis=0), both.any(axis=0), dtype=np.int64)
    first = np.where(count == 2, 2 * both.argmax(axis=0), halves.argmax(axis=0))
    return np.concatenate([_split(exact, first), _split(exact, first ^ 1)], axis=1), count


def _split(exact: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Channels [block, UNIT] of a half of each block as a unit, of two quads that are `exact` if there are such."""
    quads, splits = _choices()
    of_half, blocks = splits[half], np.arange(len(half))
    suits = exact[of_half[:, :, 0], blocks[:, None]] & exact[of_half[:, :, 1], blocks[:, None]]
    return quads[of_half[blocks, suits.argmax(axis=1)]].reshape(len(half), UNIT)[:, _PLACES]
