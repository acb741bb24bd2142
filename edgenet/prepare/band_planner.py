"""Chooses what is computed by bands so that the arena is as small as can be, in as few steps as that allows.

The nodes, in execution order, are cut into segments; a segment is one node computed at once, or some computed by bands.
What lies in memory during a segment does not depend on the other segments, so two passes of dynamic programming over
the cuts find the least peak, and then, among the cuts that keep to it, the one with the fewest steps.
"""

from __future__ import annotations

import math
from itertools import islice

from edgenet.dtypes import aligned
from edgenet.graph import Graph
from edgenet.prepare.arena import SLACK
from edgenet.prepare.chains import Chains, Choice, chosen
from edgenet.prepare.plan import Plan
from edgenet.prepare.rows import row_bytes
from edgenet.prepare.segment import Segment

LONGEST = 32
"""Most nodes of a segment."""
_SAMPLED = 3
"""Bands whose sizes stand for all: the first, and two of those that are alike."""


class Planner:
    """What the chains of a graph take in memory, told by the plan that computes each node at once."""

    def __init__(self, chains: Chains, plan: Plan):
        self.chains, self.tensors, count = chains, plan.tensors, len(chains.nodes)
        self._whole: list[tuple[int, int, int]] = []
        self._made: dict[int, int] = {}
        self._temporary = [0] * count
        self._once = [0] * count
        self._measure(plan, {node.output: k for k, node in enumerate(chains.nodes)})

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

    def peak(self, choice: Choice) -> int:
        """Bytes in use while the nodes of a choice are computed by bands."""
        segment, first, last = self.chains.segment(choice), choice.first, choice.last
        whole = sum(size for start, end, size in self._whole if start <= last and end >= first)
        bands = list(islice(segment.schedule(), _SAMPLED))
        kept, live = 0, [0] * len(segment.nodes)
        for k, each in enumerate(segment.nodes):
            x = each.inputs[0][2]
            made = max(band[k].last - band[k].first for band in bands)
            share = min(1.0, (made * x.stride + x.extent) / (each.height * x.stride))
            live[k] += int(self._temporary[first + k] * share / self.chains.images)
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
        if self.chains.inputs(last) is None:
            return []
        rows = self.chains.sizes(last)[0]
        found = self.chains.ending(last, LONGEST, rows)
        return [choice for choice in found if choice.first < last or self._temporary[last]]

    def _coarsest(self, choice: Choice, limit: int) -> Choice:
        """The choice with the most rows to a band whose peak keeps to `limit`, which that with the least does."""
        sizes = self.chains.sizes(choice.last)
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
        count = len(self.chains.nodes)
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
                bands = self.chains.segment(coarse).bands * self.chains.images
                total = steps[choice.first] + bands * (last - choice.first + 1)
                if total < steps[last + 1]:
                    steps[last + 1], back[last + 1] = total, coarse
        return chosen(back)


def bands_for_memory(graph: Graph, plan: Plan) -> list[tuple[Choice, Segment]]:
    """The segments of `graph` to compute by bands, in order, given the plan that computes every node at once."""
    chains = Chains(graph, plan)
    return [(choice, chains.segment(choice)) for choice in Planner(chains, plan).choose()]
