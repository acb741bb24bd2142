"""Places buffers in one arena: largest first, each at the lowest offset where no buffer alive at the same time lies."""

from __future__ import annotations

from collections.abc import Mapping

ALIGNMENT = 64
SLACK = 64
"""Bytes behind every buffer that a kernel may read (never write)."""


def aligned(size: int) -> int:
    """`size` rounded up to the arena's alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


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
