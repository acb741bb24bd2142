"""A run of nodes computed band by band: which rows each node makes in each band, and what is kept from band to band.

The band's rows are those of the last node's output. Every node makes, in each band, the rows that the nodes behind it
newly need, none twice. A tensor that only the segment's nodes read exists as a band of rows; the last of them, which
the next band needs again, are kept. Every other tensor is whole.

The rows may be divided in parts, which do not depend on each other: a row of a tensor between that two parts need is
made by both. Or some images are computed together, each by a thread of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgenet.graph import Node, Tensor
from edgenet.prepare.rows import RowInput, height_of


@dataclass(frozen=True)
class RowNode:
    """A node that is computed by rows: role, tensor and use of each input by rows; whether its output stays whole."""

    node: Node
    inputs: tuple[tuple[str, str, RowInput], ...]
    height: int
    exit: bool


@dataclass(frozen=True)
class Rows:
    """One node in one band: it makes the rows first..last-1. `base` is the first row that the band's buffer holds.

    Rows base..first-1 are `kept` from the band before; rows keep..last-1 are kept for the next.
    """

    first: int
    last: int
    base: int
    keep: int

    @property
    def count(self) -> int:
        """Rows that the buffer holds in this band."""
        return self.last - self.base


class Segment:
    """The nodes first..last of a graph, `rows` output rows of the last at a time, in `parts`, or images `together`.

    With several parts, only the last node's output stays whole. One of `parts` and `together` is 1.
    """

    def __init__(
        self, nodes: Sequence[RowNode], tensors: Mapping[str, Tensor], rows: int, parts: int = 1, together: int = 1
    ):
        self.nodes, self.rows, self.parts, self.together = list(nodes), rows, parts, together
        self.place = {each.node.output: k for k, each in enumerate(self.nodes)}
        self._heights = {
            name: height_of(tensors[name], how.planes) for each in self.nodes for _, name, how in each.inputs
        }
        self.readers: list[list[tuple[int, RowInput]]] = [[] for _ in self.nodes]
        for k, each in enumerate(self.nodes):
            for _, name, how in each.inputs:
                if name in self.place:
                    self.readers[self.place[name]].append((k, how))

    def tensors(self) -> set[str]:
        """The tensors that the nodes read by rows or write."""
        return {*self.place, *(name for each in self.nodes for _, name, _ in each.inputs)}

    @property
    def bands(self) -> int:
        """Number of bands, of the part that has most."""
        begin, end = self._span(self.largest_part)
        return -(-(end - begin) // self.rows)

    @property
    def largest_part(self) -> int:
        """The last of the parts that make most rows of the last node's output."""
        spans = map(self._span, range(self.parts))
        return max((end - begin, part) for part, (begin, end) in enumerate(spans))[1]

    def _span(self, part: int) -> tuple[int, int]:
        """The rows of the last node's output that a part makes."""
        height, pair = self.nodes[-1].height, 2 if self.parts > 1 else 1
        begin, end = (height * number // self.parts // pair * pair for number in (part, part + 1))
        return begin, end if part + 1 < self.parts else height

    def connected(self) -> bool:
        """Whether the last node needs, directly or not, every other, and no tensor of the segment is read whole."""
        return all(readers for readers in self.readers[:-1]) and not any(
            how.whole for readers in self.readers for _, how in readers
        )

    def made_again(self) -> list[int]:
        """The rows of each node that more than one part makes, counted once for each part but the first."""
        made = [-each.height for each in self.nodes]
        for part in range(self.parts):
            begin, end = self._span(part)
            start = self._start(begin)
            for k, last in enumerate(self._goal(start, end, part + 1 == self.parts)):
                made[k] += last - start[k]
        return [max(rows, 0) for rows in made]

    def schedule(self, part: int = 0) -> Iterator[list[Rows]]:
        """For each band of a part the rows of each node."""
        begin, height = self._span(part)
        done = self._start(begin)
        base = list(done)
        for end in range(begin + self.rows, height + self.rows, self.rows):
            final = end >= height
            goal = self._goal(done, min(end, height), final)
            found = []
            for k, (first, last) in enumerate(zip(done, goal, strict=True)):
                keep = last if final else self._keep(k, goal, last)
                found.append(Rows(first, last, base[k], keep))
                base[k] = keep
            done = goal
            yield found

    def _start(self, begin: int) -> list[int]:
        """The first row of each node that the last node's rows from `begin` on need."""
        start = [each.height for each in self.nodes[:-1]] + [begin]
        for k in range(len(self.nodes) - 1, -1, -1):
            for _, name, how in self.nodes[k].inputs:
                source = self.place.get(name)
                if source is not None:
                    start[source] = min(start[source], how.first(start[k]))
        return start

    def _goal(self, done: list[int], end: int, final: bool) -> list[int]:
        goal = list(done)
        goal[-1] = end
        for k in range(len(self.nodes) - 1, -1, -1):
            each = self.nodes[k]
            if final and each.exit and self.parts == 1:
                goal[k] = each.height
            if goal[k] > done[k]:
                for _, name, how in each.inputs:
                    source = self.place.get(name)
                    if source is not None:
                        goal[source] = max(goal[source], how.end(goal[k], self._heights[name]))
        return goal

    def _keep(self, k: int, goal: list[int], last: int) -> int:
        """The first row of node k's output that a later band reads."""
        needed = [how.first(goal[j]) for j, how in self.readers[k] if goal[j] < self.nodes[j].height]
        return min([last, *needed])

    def reads(self, k: int, band: list[Rows]) -> bool:
        """Whether a node of this band reads the output of node k."""
        return any(band[j].last > band[j].first for j, _ in self.readers[k])

    def lasts(self, k: int) -> int:
        """The node that reads the output of node k last (itself when none does)."""
        return max([k, *(j for j, _ in self.readers[k])])
