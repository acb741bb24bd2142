"""Chooses what is computed by bands for speed: chains whose tensors are too large for the caches, in bands that fit.

A tensor that the caches do not hold costs the time of writing it out and of reading it back; a band more costs the time
of starting its steps, and of moving the rows kept for the next band. Both are counted in bytes moved; dynamic
programming over the cuts of the graph finds the least sum.

Several threads take a chain in as many parts: each computes its own rows by bands that fit its own caches, without
meeting the others before the end. Rows that two parts need are computed twice, which is counted as well. In a small
network the meetings alone are worth it: there the parts of a chain may be one band each.

Of a batch, a tensor takes the caches of all its images, unless a chain computes one image after the other; a band may
be all of an image then. Constants serve all images from the caches where these have room for them, or are read again.
Where every thread can have as many images, each computes its own.
"""

from __future__ import annotations

import math
from itertools import islice

from edgenet.graph import Graph, Tensor
from edgenet.prepare.chains import MOST_NODES, Chains, Choice, chosen, images_of
from edgenet.prepare.lowering import ELEMENT_BYTES
from edgenet.prepare.plan import Plan
from edgenet.prepare.rows import height_of, row_bytes
from edgenet.prepare.segment import Segment

LONGEST = 6
"""Most nodes of a segment."""
STEP_BYTES = 50_000
"""A step more costs as much time as moving so many bytes to a slower cache and back."""
LEAST_BYTES = 2_000_000
"""Bytes of tensors outside of the caches from which planning bands is worth the time that it takes."""
FLOPS_A_BYTE = 5
"""Floating-point operations that take as long as moving a byte to a slower cache and back."""
MEETING_FLOPS = 6_000
"""Floating-point operations, for each lane of a vector, that take as long as a meeting of threads after a step, with
the rows that they fetch from each other for the next."""
_MET_OFTEN = 0.05
"""Share of a network's arithmetic that its meetings must cost for it to count as small."""
_UNEVEN = 0.05
"""Share of its time that a thread waits at the end of a chain for the one that has the longest part."""
_FILLED = 0.75
"""Share of the caches that what lies in memory at a node of a band may take."""
_SMALL = 0.5
"""Share of a team's caches up to which a tensor is taken to stay there until it is read."""
_READ_AGAIN = 0.5
"""Bytes moved that a byte of constants costs which is read for each image: nothing is written, and asked for ahead."""
_SAMPLED = 3
_MOST_CACHE = 768 << 10
"""Bytes of a cache that are counted on. A tensor that nearly fills a larger one does not stay there while it is made,
since what it is made from takes its place; and what lies behind large caches is slow. In bands, depthwise layers are
too short for cores that lower their clock where a layer executes much in a cycle."""
_MOST_ALONE = 1 << 20
"""Bytes of a cache that one thread's bands count on: they live for a few layers only. Bands of threads in a team count
on `_MOST_CACHE`, since what these fetch from each other needs a place, too."""


class _Costs:
    """What chains cost an image, in bytes moved by all threads together.

    `whole`: what each node computed at once costs, without the meeting after it; `meeting`: what that costs each thread
    where threads meet often, else 0; `budget`: bytes that what lies in memory at a node of a band may take.
    """

    def __init__(self, chains: Chains, whole: list[float], flops: list[float], budget: float, meeting: float):
        self.chains, self.whole, self.flops, self.budget, self.meeting = chains, whole, flops, budget, meeting

    def best(self, first: int, last: int) -> tuple[float, Choice] | None:
        """The cost of a chain in the coarsest bands that fit, and these; None where they save nothing."""
        whole = sum(self.whole[first : last + 1])
        saved = sum(self.whole[k] for k in range(first, last) if self.chains.last_reader[k] <= last)
        parts, step = self.chains.parts, (last - first + 1) * STEP_BYTES
        saved += (last - first) * self.meeting * parts
        if parts > 1 and any(self.chains.last_reader[k] > last for k in range(first, last)):
            return None
        for rows in reversed(self.chains.sizes(last)) if saved > step or self.meeting else ():
            choice = Choice(first, last, rows)
            segment = self.chains.segment(choice)
            images = self.chains.images
            if segment.bands == images == 1 and not self.meeting:
                continue
            cost = self._again(segment, first)
            if max(segment.bands, images) > 1:
                cost += (segment.bands * parts - 1 / images) * step
            if segment.bands > 1:
                cost += (segment.bands - 1) * parts * self._kept(segment)
            if cost >= saved:
                return None
            used, constants = self._in_use(segment), self._constants(segment) if images > 1 else 0
            if used + constants > self.budget:
                cost += _READ_AGAIN * constants * (1 - 1 / images)
            if used <= self.budget and cost < saved:
                return whole - saved + cost, choice
        return None

    def _kept(self, segment: Segment) -> int:
        """Bytes of the rows that a band leaves to the next."""
        band = next(islice(segment.schedule(segment.largest_part), 1, None))
        return sum(
            (rows.first - rows.base) * row_bytes(self.chains.tensors[each.node.output])
            for rows, each in zip(band, segment.nodes, strict=True)
        )

    def _again(self, segment: Segment, first: int) -> float:
        """What it costs that parts make some rows each for itself, and that no thread helps another with its part."""
        if segment.parts == 1:
            return 0.0
        flops = self.flops[first : first + len(segment.nodes)]
        again = zip(segment.made_again(), segment.nodes, flops, strict=True)
        return sum((rows / each.height + _UNEVEN) * flops for rows, each, flops in again) / FLOPS_A_BYTE

    def _in_use(self, segment: Segment) -> int:
        """Most bytes that lie in memory at a node of a band."""
        most = 0
        for band in islice(segment.schedule(segment.largest_part), _SAMPLED):
            kept, used = 0, [0] * len(segment.nodes)
            for k, (rows, each) in enumerate(zip(band, segment.nodes, strict=True)):
                row = row_bytes(self.chains.tensors[each.node.output])
                kept += (rows.last - rows.keep) * row
                for j in range(k, segment.lasts(k) + 1):
                    used[j] += rows.count * row
                for _, name, how in each.inputs:
                    if name not in segment.place:
                        tensor = self.chains.tensors[name]
                        read = (rows.last - rows.first - 1) * how.stride + how.extent
                        used[k] += read * _image_bytes(tensor) // height_of(tensor, how.planes)
            most = max(most, max(used) + kept)
        return most

    def _constants(self, segment: Segment) -> int:
        """Bytes of the nodes' constants, as stored."""
        constants = self.chains.graph.constants
        names = {name for each in segment.nodes for name in each.node.inputs.values() if name in constants}
        return sum(constants[name].nbytes for name in names)


def _image_bytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape[1:]) * ELEMENT_BYTES[tensor.dtype]


def _outside(size: int, caches: int, threads: int) -> int:
    """Bytes of a tensor that come from a slower cache when it is read, or from that of another thread.

    Of one thread's tensor all or nothing does; of a team's the more, the larger it is.
    """
    share = size / caches
    if threads == 1 or share >= 1:
        return size if share > 1 else 0
    return int(size * max(0.0, (share - _SMALL) / (1 - _SMALL)))


def _meeting(plan: Plan) -> float:
    """What a meeting of all threads costs, in bytes moved, where those of an image take much of its time; else 0."""
    one_image = all(plan.tensors[name].shape[0] == 1 for name in plan.inputs)
    flops = MEETING_FLOPS * plan.target.lanes
    often = len(plan.steps) * flops > _MET_OFTEN * sum(step.flops for step in plan.steps)
    return flops / FLOPS_A_BYTE if plan.threads > 1 and one_image and often else 0.0


def bands_for_speed(graph: Graph, plan: Plan, cache: int) -> list[tuple[Choice, Segment]]:
    """The segments of `graph` to compute by bands, in order, given the plan that computes every node at once.

    `cache`: bytes of the caches that each thread has of its own.
    """
    images = images_of(plan)
    together = plan.threads if images % plan.threads == 0 else 1
    alone = plan.threads == together
    budget = _FILLED * min(cache, _MOST_ALONE if alone else _MOST_CACHE)
    caches = min(cache, _MOST_CACHE) * plan.threads
    sizes = [_image_bytes(plan.tensors[node.output]) * images for node in graph.nodes]
    whole = [_outside(size, caches, plan.threads) / images for size in sizes]
    meeting = _meeting(plan)
    if (sum(whole) * images < LEAST_BYTES and not meeting) or len(graph.nodes) > MOST_NODES:
        return []
    chains, count = Chains(graph, plan, 1 if alone else plan.threads, together), len(graph.nodes)
    flops = [0.0] * count
    for step in plan.steps:
        flops[step.layer[0]] += step.flops / chains.images
    costs = _Costs(chains, whole, flops, budget, meeting)
    least = [0.0] * (count + 1)
    back: list[Choice | None] = [None] * (count + 1)
    for last in range(count):
        least[last + 1] = least[last] + costs.whole[last]
        if chains.inputs(last) is None or not (meeting or any(costs.whole[max(0, last - LONGEST + 1) : last])):
            continue
        for choice in chains.ending(last, LONGEST, chains.sizes(last)[-1]):
            found = costs.best(choice.first, last)
            if found and least[choice.first] + found[0] < least[last + 1]:
                least[last + 1], back[last + 1] = least[choice.first] + found[0], found[1]
    return [(choice, chains.segment(choice)) for choice in chosen(back)]
