"""The arena planner and the plans: buffers alive at the same time never overlap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenet.dtypes import ALIGNMENT, aligned
from edgenet.kernels.isa import host
from edgenet.prepare.arena import SLACK, place, place_around_middles
from edgenet.prepare.plan import Plan, Scratch
from edgenet.prepare.prepare import prepare
from tests.attacks.survivors import bounded
from tests.engine.networks import separable
from tests.kernels.int8_layers import layer
from tests.ops.builder import one_node

buffers = st.lists(st.tuples(st.integers(1, 10_000), st.integers(0, 30), st.integers(0, 10)), min_size=1, max_size=40)


def assert_disjoint(places):
    """places: (offset, size, first step, last step)."""
    for i, (offset, size, first, last) in enumerate(places):
        for other, more, start, end in places[:i]:
            if first <= end and start <= last:
                assert offset + size <= other or other + more <= offset


@pytest.mark.parametrize("place", [place, place_around_middles])
@given(buffers)
def test_no_two_live_buffers_overlap(place, drawn):
    sizes = {str(i): size for i, (size, _, _) in enumerate(drawn)}
    lifetimes = {str(i): (first, first + length) for i, (_, first, length) in enumerate(drawn)}
    offsets, end = place(sizes, lifetimes)
    assert_disjoint([(offsets[n], sizes[n] + SLACK, *lifetimes[n]) for n in sizes])
    assert all(offset % ALIGNMENT == 0 for offset in offsets.values())
    assert end >= max(offsets[n] + sizes[n] for n in sizes)


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=40))
def test_a_chain_of_buffers_lies_around_two_middles(drawn):
    sizes = {str(i): size for i, size in enumerate(drawn)}
    offsets, _ = place_around_middles(sizes, {str(i): (i, i + 1) for i in range(len(drawn))})
    middles = {name: offsets[name] + size / 2 for name, size in sizes.items()}
    found: list[float] = []
    for middle in sorted(middles.values()):
        if not found or middle > found[-1] + ALIGNMENT:
            found.append(middle)
    assert len(found) <= 2


def check_plan(plan: Plan):
    """No live buffers of a plan overlap; every operand has a place; each thread's scratch stays where it is."""
    arena = [(p.offset, p.size, *plan.lifetimes[name]) for name, p in plan.placements.items() if p.kind == "arena"]
    assert_disjoint(arena)
    assert all(offset + size <= plan.scratch_offset for offset, size, _, _ in arena)
    assert len({step.slots["scratch_bytes"] for step in plan.steps if "scratch" in step.slots}) <= 1
    for step in plan.steps:
        for operand in step.operands():
            assert operand.tensor in plan.root
            assert plan.root[operand.tensor] in plan.placements


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_scratch_of_threads_lies_apart(threads):
    """By more than a processor fetches ahead."""
    arrays, quantization = layer(np.random.default_rng(0), (1, 14, 14, 256), (256, 3, 3, 1))
    graph = one_node(
        "conv2d", arrays, {"groups": 256, "padding": [1] * 4}, constants=("weight", "bias", "multiplier"),
        quantization=quantization, output=(0.25, -7), dtype="int8",
    )  # fmt: skip
    plan = prepare(graph, {"x": (1, 14, 14, 256)}, host(), threads)
    sizes = [v.bytes_per_thread for step in plan.steps for v in step.slots.values() if isinstance(v, Scratch)]
    (own,) = {step.slots["scratch_bytes"] for step in plan.steps if "scratch" in step.slots}
    assert own - max(sizes) >= (512 if threads > 1 else 0)
    assert own % ALIGNMENT == 0
    assert plan.arena_bytes == plan.scratch_offset + threads * own + SLACK


def test_a_plan_reuses_memory():
    graph = separable(depth=6)
    plan = prepare(graph, {"x": (2, 12, 12, 24)}, host(), 2)
    check_plan(plan)
    assert plan.arena_bytes * 3 < plan.naive_bytes


@given(buffers)
def test_every_buffer_lies_as_low_as_the_larger_ones_allow(drawn):
    sizes = {str(i): size for i, (size, _, _) in enumerate(drawn)}
    lifetimes = {str(i): (first, first + length) for i, (_, first, length) in enumerate(drawn)}
    offsets, _ = place(sizes, lifetimes)
    placed: list[str] = []
    for name in sorted(sizes, key=lambda name: (-sizes[name], lifetimes[name][0], name)):
        first, last = lifetimes[name]
        taken = [n for n in placed if lifetimes[n][0] <= last and first <= lifetimes[n][1]]
        ends = {n: offsets[n] + aligned(sizes[n] + SLACK) for n in taken}
        size = aligned(sizes[name] + SLACK)
        fits = [at for at in (0, *ends.values()) if all(at + size <= offsets[n] or ends[n] <= at for n in taken)]
        assert offsets[name] == min(fits)
        placed.append(name)


@pytest.mark.parametrize("place", [place, place_around_middles])
@pytest.mark.parametrize("last", [lambda i: i + 1, lambda i: 20_000], ids=["chain", "fan"])
def test_many_buffers_are_placed_in_seconds(place, last):
    names = [str(i) for i in range(20_000)]
    lifetimes = {name: (i, last(i)) for i, name in enumerate(names)}
    with bounded(20):
        place(dict.fromkeys(names, 16), lifetimes)
