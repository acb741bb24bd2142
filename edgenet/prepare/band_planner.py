"""Chooses what is computed by bands so that the arena is as small as can be, in as few steps as that allows.

The nodes, in execution order, are cut into segments; a segment is one node computed at once, or some computed by bands.
What lies in memory during a segment does not depend on the other segments, so two passes of dynamic programming over
the cuts find the least peak, and then, among the cuts that keep to it, the one with the fewest steps.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import accumulate, islice

from edgenet.dtypes import aligned
from edgenet.graph import Graph
from edgenet.prepare.arena import SLACK
from edgenet.prepare.chains import MOST_NODES, Chains, Choice, chosen
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
        self._begun, self._ended = [0] * count, [0] * count
        self._made: dict[int, int] = {}
        self._temporary = [0] * count
        self._once = [0] * count
        self._measure(plan, {node.output: k for k, node in enumerate(chains.nodes)})

    def _measure(self, plan: Plan, producer: dict[str, int]) -> None:
        """Sizes and lifetimes, in nodes, of the arena's buffers; the memory in use and the temporaries of each node."""
        live, temporary = [0] * (len(plan.steps) + 1), [0] * (len(plan.steps) + 1)
        known = {plan.root[name] for name in producer}
        for name, placement in plan.placements.items():
            if placement.kind != "arena" or name not in plan.lifetimes:
                continue
            first, last = plan.lifetimes[name]
            size = aligned(placement.size + SLACK)
            for changes in (live,) if name in known else (live, temporary):
                changes[first] += size
                changes[last + 1] -= size
            if name in known:
                self._begun[plan.steps[first].layer[0]] += size
                self._ended[plan.steps[last].layer[0]] += size
                self._made[producer.get(name, -1)] = size
        self._begun, self._ended = list(accumulate(self._begun)), list(accumulate(self._ended))
        for step, used, extra in zip(plan.steps, accumulate(live), accumulate(temporary), strict=False):
            k = step.layer[0]
            self._once[k] = max(self._once[k], used)
            self._temporary[k] = max(self._temporary[k], extra)

    def peaks(self, choice: Choice) -> list[int]:
        """Bytes in use while the nodes of a choice are computed by bands, and while its last ones alone are.

        The first is of its last node, the last of all.
        """
        segment, first, last = self.chains.segment(choice), choice.first, choice.last
        bands = list(islice(segment.schedule(), _SAMPLED))
        kept, banded, live, found = 0, 0, [0] * len(segment.nodes), []
        for k in range(last - first, -1, -1):
            each = segment.nodes[k]
            x = each.inputs[0][2]
            made = max(band[k].last - band[k].first for band in bands)
            share = min(1.0, (made * x.stride + x.extent) / (each.height * x.stride))
            live[k] += int(self._temporary[first + k] * share / self.chains.images)
            if not each.exit:
                row = row_bytes(self.tensors[each.node.output])
                banded += self._made.get(first + k, 0)
                kept += aligned(max(band[k].first - band[k].base for band in bands) * row + SLACK)
                size = aligned(max(band[k].count for band in bands) * row + SLACK)
                for j in range(k, segment.lasts(k) + 1):
                    live[j] += size
            ended = self._ended[first + k - 1] if first + k else 0
            found.append(self._begun[last] - ended - banded + kept + max(live[k:]))
        return found

    def _candidates(self, last: int) -> list[tuple[Choice, int]]:
        """The segments that end with node `last`, with the least rows to a band, and their peaks."""
        if self.chains.inputs(last) is None:
            return []
        found = list(self.chains.ending(last, LONGEST, self.chains.sizes(last)[0]))
        peaks = zip(found, self.peaks(found[-1]), strict=True)
        return [(choice, peak) for choice, peak in peaks if choice.first < last or self._temporary[last]]

    def _coarsest(self, choice: Choice, limit: int, peaks: dict[int, list[int]], longest: Choice) -> Choice:
        """The choice with the most rows to a band whose peak keeps to `limit`, which that with the least does.

        `peaks`, by rows, are those known of `longest`, the longest choice that ends with the same node.
        """
        sizes = self.chains.sizes(choice.last)
        low, high = 0, len(sizes) - 1
        while low < high:
            middle = (low + high + 1) // 2
            rows = sizes[middle]
            if rows not in peaks:
                peaks[rows] = self.peaks(replace(longest, rows=rows))
            if peaks[rows][choice.last - choice.first] <= limit:
                low = middle
            else:
                high = middle - 1
        return replace(choice, rows=sizes[low])

    def choose(self) -> list[Choice]:
        """What to compute by bands, in order; the nodes between are computed at once."""
        count = len(self.chains.nodes)
        candidates = [self._candidates(last) for last in range(count)]
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
            known: dict[int, list[int]] = {}
            for choice, peak in candidates[last]:
                if peak > limit or steps[choice.first] + (last - choice.first + 1) >= steps[last + 1]:
                    continue
                coarse = self._coarsest(choice, limit, known, candidates[last][-1][0])
                bands = self.chains.segment(coarse).bands * self.chains.images
                total = steps[choice.first] + bands * (last - choice.first + 1)
                if total < steps[last + 1]:
                    steps[last + 1], back[last + 1] = total, coarse
        return chosen(back)


def bands_for_memory(graph: Graph, plan: Plan) -> list[tuple[Choice, Segment]]:
    """The segments of `graph` to compute by bands, in order, given the plan that computes every node at once."""
    if len(graph.nodes) > MOST_NODES:
        return []
    chains = Chains(graph, plan)
    return [(choice, chains.segment(choice)) for choice in Planner(chains, plan).choose()]
