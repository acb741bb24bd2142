"""Chooses what is computed by bands so that the arena is as small as can be, in as few steps as that allows.

The nodes, in execution order, are cut into segments; a segment is one node computed at once, or some computed by bands.
What lies in memory during a segment does not depend on the other segments, so two passes of dynamic programming over
the cuts find the least peak, and then, among the cuts that keep to it, the one with the fewest steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

from edgenet.graph import Graph
from edgenet.ops import OPERATIONS, with_defaults
from edgenet.prepare.arena import SLACK, aligned
from edgenet.prepare.plan import Plan
from edgenet.prepare.rows import height_of, row_bytes, row_inputs
from edgenet.prepare.segment import RowNode, Segment

LONGEST = 32
"""Most nodes of a segment."""
MOST_BANDS = 16
LEAST_ROWS = 2
"""Least rows of a band: kernels work on pairs of rows."""
_SAMPLED = 3
"""Bands whose sizes stand for all: the first, and two of those that are alike."""


@dataclass(frozen=True)
class Choice:
    """Nodes first..last of the graph, `rows` rows of the last node's output at a time."""

    first: int
    last: int
    rows: int


class Planner:
    """What the nodes of a graph take, told by the plan that computes each at once."""

    def __init__(self, graph: Graph, plan: Plan):
        self.tensors, count = plan.tensors, len(graph.nodes)
        self.nodes = [with_defaults(node) if node.operation in OPERATIONS else node for node in graph.nodes]
        winograd = {step.layer[0] for step in plan.steps if "winograd" in step.kernel}
        self._by_rows = [
            None if k in winograd else row_inputs(graph, node, plan.tensors) for k, node in enumerate(self.nodes)
        ]
        self._last_reader = self._readers(graph)
        self._whole: list[tuple[int, int, int]] = []
        self._made: dict[int, int] = {}
        self._temporary = [0] * count
        self._once = [0] * count
        self._measure(plan, {node.output: k for k, node in enumerate(self.nodes)})
        self.images = max((tensor.shape[0] for tensor in map(plan.tensors.get, plan.inputs) if tensor), default=1)

    def _readers(self, graph: Graph) -> list[int]:
        last = {name: len(self.nodes) for name in graph.outputs}
        for k, node in enumerate(self.nodes):
            for name in node.inputs.values():
                last[name] = max(last.get(name, k), k)
        return [last.get(node.output, k) for k, node in enumerate(self.nodes)]

    def _measure(self, plan: Plan, producer: dict[str, int]) -> None:
        """Sizes and lifetimes, in nodes, of the arena's buffers; the memory in use and the temporaries of each node."""
        live, temporary = [0] * len(plan.steps), [0] * len(plan.steps)
        known = {plan.root[name] for name in producer}
        for name, placement in plan.placements.items():
            if placement.kind != "arena" or name not in plan.lifetimes:
                continue
            first, last = plan.lifetimes[name]
            size = aligned(placement.size + SLACK)
            for step in range(first, last + 1):
                live[step] += size
                temporary[step] += 0 if name in known else size
            if name in known:
                self._whole.append((plan.steps[first].layer[0], plan.steps[last].layer[0], size))
                self._made[producer.get(name, -1)] = size
        for step, used, extra in zip(plan.steps, live, temporary, strict=True):
            k = step.layer[0]
            self._once[k] = max(self._once[k], used)
            self._temporary[k] = max(self._temporary[k], extra)

    def segment(self, choice: Choice) -> Segment:
        """The segment of a choice."""
        found = []
        for k in range(choice.first, choice.last + 1):
            node, ways = self.nodes[k], self._by_rows[k]
            assert ways is not None, "a choice consists of nodes that are computed by rows"
            inputs = tuple((role, node.inputs[role], how) for role, how in ways.items())
            height = height_of(self.tensors[node.output])
            found.append(RowNode(node, inputs, height, self._last_reader[k] > choice.last))
        return Segment(found, self.tensors, choice.rows)

    def _sizes(self, last: int) -> list[int]:
        """Numbers of rows for bands that end with node `last`, least first."""
        height = height_of(self.tensors[self.nodes[last].output])
        rows = {-(-height // (bands * LEAST_ROWS)) * LEAST_ROWS for bands in range(1, MOST_BANDS + 1)}
        return sorted({min(each, height) for each in rows})

    def peak(self, choice: Choice) -> int:
        """Bytes in use while the nodes of a choice are computed by bands."""
        segment, first, last = self.segment(choice), choice.first, choice.last
        whole = sum(size for start, end, size in self._whole if start <= last and end >= first)
        bands = list(islice(segment.schedule(), _SAMPLED))
        kept, live = 0, [0] * len(segment.nodes)
        for k, each in enumerate(segment.nodes):
            x = each.inputs[0][2]
            made = max(band[k].last - band[k].first for band in bands)
            share = min(1.0, (made * x.stride + x.extent) / (each.height * x.stride))
            live[k] += int(self._temporary[first + k] * share / self.images)
            if each.exit:
                continue
            row = row_bytes(self.tensors[each.node.output])
            whole -= self._made.get(first + k, 0)
            kept += aligned(max(band[k].first - band[k].base for band in bands) * row + SLACK)
            size = aligned(max(band[k].count for band in bands) * row + SLACK)
            for j in range(k, segment.lasts(k) + 1):
                live[j] += size
        return whole + kept + max(live)

    def _candidates(self, last: int) -> list[Choice]:
        """The segments that end with node `last`, with the least bands."""
        found = []
        if self._by_rows[last] is None:
            return found
        rows = self._sizes(last)[0]
        for first in range(last, max(-1, last - LONGEST), -1):
            ways = self._by_rows[first]
            if ways is None or (first < last and self._last_reader[first] == first):
                break
            choice = Choice(first, last, rows)
            if not self.segment(choice).connected():
                break
            if first < last or self._temporary[first]:
                found.append(choice)
        return found

    def _coarsest(self, choice: Choice, limit: int) -> Choice:
        """The choice with the most rows to a band whose peak keeps to `limit`, which that with the least does."""
        sizes = self._sizes(choice.last)
        low, high = 0, len(sizes) - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self.peak(Choice(choice.first, choice.last, sizes[middle])) <= limit:
                low = middle
            else:
                high = middle - 1
        return Choice(choice.first, choice.last, sizes[low])

    def choose(self) -> list[Choice]:
        """What to compute by bands, in order; the nodes between are computed at once."""
        count = len(self.nodes)
        candidates = [[(c, self.peak(c)) for c in self._candidates(last)] for last in range(count)]
        least = [0] * (count + 1)
        for last in range(count):
            least[last + 1] = max(least[last], self._once[last])
            for choice, peak in candidates[last]:
                least[last + 1] = min(least[last + 1], max(least[choice.first], peak))
        limit = least[count]
        steps: list[float] = [0.0] + [math.inf] * count
        back: list[Choice | None] = [None] * (count + 1)
        for last in range(count):
            if self._once[last] <= limit:
                steps[last + 1] = steps[last] + 1
            for choice, peak in candidates[last]:
                if peak > limit or steps[choice.first] + (last - choice.first + 1) >= steps[last + 1]:
                    continue
                coarse = self._coarsest(choice, limit)
                total = steps[choice.first] + self.segment(coarse).bands * (last - choice.first + 1) * self.images
                if total < steps[last + 1]:
                    steps[last + 1], back[last + 1] = total, coarse
        chosen, end = [], count
        while end > 0:
            choice = back[end]
            if choice is not None:
                chosen.append(choice)
            end = choice.first if choice is not None else end - 1
        return chosen[::-1]


def choose_bands(graph: Graph, plan: Plan) -> list[tuple[Choice, Segment]]:
    """The segments of `graph` to compute by bands, in order, given the plan that computes every node at once."""
    planner = Planner(graph, plan)
    return [(choice, planner.segment(choice)) for choice in planner.choose()]
