"""Which bytes of an arena are taken in which steps, and the lowest that are free throughout some of them.

Steps are the leaves of a binary tree whose nodes stand for spans of steps. The steps of a buffer's life are few such
spans, and what is taken in a span is kept as few intervals, since what lies side by side becomes one: graphs of many
thousand nodes are planned in seconds, however many buffers are alive at the same time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable


class _Intervals:
    """Bytes as disjoint intervals, by address."""

    __slots__ = ("ends", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Add start..end - 1, which may lie in what is there, or touch it."""
        first, behind = bisect_left(self.ends, start), bisect_right(self.starts, end)
        if first < behind:
            start, end = min(start, self.starts[first]), max(end, self.ends[behind - 1])
        self.starts[first:behind], self.ends[first:behind] = [start], [end]

    def free(self, offset: int, size: int) -> int:
        """The lowest address from `offset` on with `size` bytes that are not in it."""
        starts, ends = self.starts, self.ends
        for k in range(bisect_right(ends, offset), len(ends)):
            if offset + size <= starts[k]:
                break
            offset = ends[k]
        return offset


class Occupancy:
    """What buffers take that live from one step to another (inclusive), out of those in `lifetimes`."""

    def __init__(self, lifetimes: Iterable[tuple[int, int]]):
        self._leaf = {step: k for k, step in enumerate(sorted({step for life in lifetimes for step in life}))}
        self._leaves = 1 << max(len(self._leaf) - 1, 0).bit_length()
        self._throughout: dict[int, _Intervals] = defaultdict(_Intervals)
        """By span, what buffers take that live in all of its steps, and not in all of the next larger span's."""
        self._sometime: dict[int, _Intervals] = defaultdict(_Intervals)
        """By span, what is taken in any of its steps; buffers that live in all of a larger span may be missing."""

    def _spans(self, first: int, last: int) -> tuple[list[int], set[int]]:
        """The largest spans that the steps first..last consist of; all spans that hold `first` or `last`."""
        low, high = self._leaf[first] + self._leaves, self._leaf[last] + self._leaves
        holding = {leaf >> level for leaf in (low, high) for level in range(leaf.bit_length())}
        found, high = [], high + 1
        while low < high:
            if low & 1:
                found.append(low)
                low += 1
            if high & 1:
                high -= 1
                found.append(high)
            low, high = low >> 1, high >> 1
        return found, holding

    def take(self, size: int, first: int, last: int) -> int:
        """Take the lowest `size` bytes that are free in all of the steps first..last, and tell where they begin."""
        spans, holding = self._spans(first, last)
        taken = [self._throughout[span] for span in holding if span in self._throughout]
        taken += [self._sometime[span] for span in spans if span in self._sometime]
        offset, before = 0, -1
        while offset != before:
            before = offset
            for intervals in taken:
                offset = intervals.free(offset, size)
        for span in spans:
            self._throughout[span].add(offset, offset + size)
        for span in holding.union(spans):
            self._sometime[span].add(offset, offset + size)
        return offset
