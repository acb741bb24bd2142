"""Places buffers in one arena: as low as buffers alive at the same time allow, or around fixed middles.

Threads share a layer by rows, so that the first half of every tensor is written and read by the first half of the
threads. Where the middles of the tensors lie at the same address, memory stays in the caches of the threads that use
it; where they do not, layer after layer it passes from one core's caches to the other's, which takes far longer than
the arithmetic where these are not neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgenet.dtypes import ALIGNMENT, aligned

SLACK = 64
"""Bytes behind every buffer that a kernel may read (never write)."""


def place(sizes: Mapping[str, int], lifetimes: Mapping[str, tuple[int, int]]) -> tuple[dict[str, int], int]:
    """Offset of each buffer, and the arena's size in bytes.

    `lifetimes` gives the first and last step that touch a buffer (inclusive). Greedy by size (Pisarchyk and Lee, 2020,
    "Efficient Memory Management for Deep Neural Net Inference").
    """
    placed: list[tuple[int, int, int, int]] = []
    offsets: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], lifetimes[name][0], name)):
        size, (first, last) = aligned(sizes[name] + SLACK), lifetimes[name]
        offset = 0
        for start, end, begin, stop in placed:
            if begin <= last and first <= stop:
                if offset + size <= start:
                    break
                offset = max(offset, end)
        offsets[name] = offset
        placed.append((offset, offset + size, first, last))
        placed.sort()
    return offsets, max((end for _, end, _, _ in placed), default=0)


def place_around_middles(
    sizes: Mapping[str, int], lifetimes: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, int], int]:
    """As `place`, with the middles of all buffers at as few addresses as there are buffers alive at the same time."""
    columns: list[list[str]] = []
    for name in sorted(sizes, key=lambda name: (lifetimes[name][0], -sizes[name], name)):
        for column in columns:
            if lifetimes[column[-1]][1] < lifetimes[name][0]:
                column.append(name)
                break
        else:
            columns.append([name])
    offsets: dict[str, int] = {}
    end = 0
    for column in columns:
        width = max(sizes[name] for name in column)
        for name in column:
            offsets[name] = end + (width - sizes[name]) // 2 // ALIGNMENT * ALIGNMENT
        end += aligned(width + SLACK)
    return offsets, end
