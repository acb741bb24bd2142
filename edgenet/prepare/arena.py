"""Places buffers in one arena: as low as buffers alive at the same time allow, or around fixed middles.

Threads share a layer by rows, so that the first half of every tensor is written and read by the first half of the
threads. Where the middles of the tensors lie at the same address, memory stays in the caches of the threads that use
it; where they do not, layer after layer it passes from one core's caches to the other's, which takes far longer than
the arithmetic where these are not neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush

from edgenet.dtypes import ALIGNMENT, aligned
from edgenet.prepare.occupancy import Occupancy

SLACK = 64
"""Bytes behind every buffer that a kernel may read (never write)."""


def place(sizes: Mapping[str, int], lifetimes: Mapping[str, tuple[int, int]]) -> tuple[dict[str, int], int]:
    """Offset of each buffer, and the arena's size in bytes.

    `lifetimes` gives the first and last step that touch a buffer (inclusive). Greedy by size (Pisarchyk and Lee, 2020,
    "Efficient Memory Management for Deep Neural Net Inference"): each lies at the lowest offset that is free all its
    life.
    """
    occupancy = Occupancy(lifetimes[name] for name in sizes)
    offsets: dict[str, int] = {}
    end = 0
    for name in sorted(sizes, key=lambda name: (-sizes[name], lifetimes[name][0], name)):
        size = aligned(sizes[name] + SLACK)
        offsets[name] = occupancy.take(size, *lifetimes[name])
        end = max(end, offsets[name] + size)
    return offsets, end


def place_around_middles(
    sizes: Mapping[str, int], lifetimes: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, int], int]:
    """As `place`, with the middles of all buffers at as few addresses as there are buffers alive at the same time."""
    columns: list[list[str]] = []
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    for name in sorted(sizes, key=lambda name: (lifetimes[name][0], -sizes[name], name)):
        first, last = lifetimes[name]
        while busy and busy[0][0] < first:
            heappush(free, heappop(busy)[1])
        if not free:
            heappush(free, len(columns))
            columns.append([])
        number = heappop(free)
        columns[number].append(name)
        heappush(busy, (last, number))
    offsets: dict[str, int] = {}
    end = 0
    for column in columns:
        width = max(sizes[name] for name in column)
        for name in column:
            offsets[name] = end + (width - sizes[name]) // 2 // ALIGNMENT * ALIGNMENT
        end += aligned(width + SLACK)
    return offsets, end
