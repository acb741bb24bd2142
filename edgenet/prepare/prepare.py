"""`prepare`: from a validated Graph to a Plan for this CPU, these input shapes and this number of threads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgenet.dtypes import aligned
from edgenet.errors import InputError
from edgenet.graph import Graph, Node
from edgenet.kernels.isa import InstructionSet
from edgenet.ops import OPERATIONS, infer_shapes, with_defaults
from edgenet.ops.base import OperationError
from edgenet.prepare import lower_conv, lower_int8, lower_matmul, lower_memory, lower_pointwise
from edgenet.prepare.arena import SLACK, place, place_around_middles
from edgenet.prepare.band_cache import bands_for_speed
from edgenet.prepare.band_planner import bands_for_memory
from edgenet.prepare.chains import Choice
from edgenet.prepare.constants import Constants
from edgenet.prepare.fusion import fuse
from edgenet.prepare.lower_bands import lower_segment
from edgenet.prepare.lowering import ELEMENT_BYTES, Lowering
from edgenet.prepare.memory_limits import check_arena, most_packed
from edgenet.prepare.plan import Placement, Plan, Scratch, Step
from edgenet.prepare.segment import Segment
from edgenet.prepare.strides import spread_pixels

_ = (lower_conv, lower_int8, lower_matmul, lower_memory, lower_pointwise)  # register their lowerings

_COSTED_AS = {"planar_conv2d": "conv2d", "permute_quantize": "quantize"}
"""Steps that preparation makes, by the operation whose cost they have."""
_SCRATCH_APART = 1024
"""Bytes between the scratch memory of two threads: processors fetch lines ahead, and each line is in one cache."""


def prepare(
    graph: Graph,
    input_shapes: Mapping[str, tuple[int, ...]],
    target: InstructionSet,
    threads: int,
    packed: Constants | None = None,
    winograd: bool = True,
    memory: str = "fast",
    cache: int = 0,
) -> Plan:
    """The plan that runs `graph` for inputs of these concrete shapes (as the graph's inputs are declared, batch first).

    `packed` keeps packed weights from one plan of a model to the next. `winograd` allows Winograd's algorithms for 3x3
    convolutions (in int8 with `memory` "fast") and, with `memory` "fast", Strassen's for int8 pointwise ones; without
    it all products are made directly. `memory` "low" computes what helps to make the arena small by bands of rows, with
    the same results. With `cache`, the bytes of the caches that each thread has of its own, "fast" computes by bands
    what would not stay in them; of such chains several threads take a part each. Float32 layers take weights that would
    not stay in them for many pixels at a time.

    Raises InputError when a shape does not fit the network, EngineError when no kernel serves a node, ModelFormatError
    when packed weights and tables need more memory than the model may use; either when the arena does.
    """
    packed = Constants() if packed is None else packed
    try:
        tensors = infer_shapes(graph, input_shapes)
    except OperationError as error:
        raise InputError(f"The network does not take inputs of this shape: {error}") from None
    packed_limit = most_packed(graph.constants)
    graph = fuse(graph, tensors)

    def lowered(segments: list[tuple[Choice, Segment]]) -> Plan:
        int8_algorithms = winograd and memory == "fast"
        lowering = Lowering(
            graph, dict(tensors), target, threads, packed, packed_limit, winograd, int8_algorithms, cache
        )
        lowering.spread = spread_pixels(lowering) if memory == "fast" else {}
        return _lower(graph, lowering, segments, steady=memory == "fast" and threads > 1)

    plan = lowered([])
    segments: list[tuple[Choice, Segment]] = []
    if memory == "low":
        segments = bands_for_memory(graph, plan)
    elif cache:
        segments = bands_for_speed(graph, plan, cache)
    if segments:
        banded = lowered(segments)
        if memory == "fast" or banded.arena_bytes < plan.arena_bytes:
            banded.naive_bytes = plan.naive_bytes
            plan = banded
    declared = all(tuple(shape) == graph.tensors[name].concrete(1) for name, shape in input_shapes.items())
    check_arena(plan.arena_bytes, declared)
    plan.weights_bytes = sum(array.nbytes for array in packed.values())
    return plan


def _lower(graph: Graph, lowering: Lowering, segments: list[tuple[Choice, Segment]], steady: bool) -> Plan:
    """The plan whose nodes are computed at once, except for those of `segments`. `steady`: see `_place`."""
    starts = {choice.first: (choice, segment) for choice, segment in segments}
    index = 0
    while index < len(graph.nodes):
        if index in starts:
            choice, segment = starts[index]
            images = lowering.shape(graph.nodes[index].output)[0]
            lower_segment(segment, index, lowering, images, lambda node: _lower_node(node, lowering))
            index = choice.last + 1
            continue
        before = len(lowering.steps)
        node = graph.nodes[index]
        _lower_node(with_defaults(node) if node.operation in OPERATIONS else node, lowering)
        for number, step in enumerate(lowering.steps[before:]):
            step.layer = (index, number)
        index += 1
    plan = Plan(
        lowering.target, lowering.threads, lowering.steps, lowering.tensors, list(graph.inputs), list(graph.outputs)
    )
    plan.root = _roots(lowering)
    plan.spread = lowering.spread
    _place(plan, steady)
    return plan


def _lower_node(node: Node, lowering: Lowering) -> None:
    """Add the steps of a node whose attributes are complete; the last of them carries its cost."""
    before = len(lowering.steps)
    lowering.run(node)
    added = lowering.steps[before:]
    costed = _COSTED_AS.get(node.operation, node.operation)
    if added and costed in OPERATIONS:
        types = {role: lowering.tensors[name] for role, name in node.inputs.items()}
        cost = OPERATIONS[costed].cost(node, types, lowering.tensors[node.output])
        last = added[-1]
        last.flops, last.bytes_read, last.bytes_written = cost.flops, cost.bytes_read, cost.bytes_written


def _roots(lowering: Lowering) -> dict[str, str]:
    found = {}
    for name in lowering.tensors:
        root = name
        while root in lowering.root:
            root = lowering.root[root]
        found[name] = root
    return found


def _nbytes(plan: Plan, name: str) -> int:
    tensor = plan.tensors[name]
    if name in plan.spread:
        return int(np.prod(tensor.shape[:-1], dtype=np.int64)) * plan.spread[name]
    return int(np.prod(tensor.shape, dtype=np.int64)) * ELEMENT_BYTES[tensor.dtype]


def _place(plan: Plan, steady: bool) -> None:
    """Lifetimes from the steps' operands; buffers of the caller stay where they are; the others go into the arena.

    `steady`: each half of the arena stays with one half of the threads (see `edgenet.prepare.arena`).
    """
    for turn in plan.turns():
        for operand in (operand for index in turn for operand in plan.steps[index].operands()):
            root = plan.root[operand.tensor]
            first = plan.lifetimes.get(root, (turn[0], 0))[0]
            plan.lifetimes[root] = (first, turn[-1])
    for name in plan.inputs:
        plan.placements[name] = Placement("input", 0, _nbytes(plan, name))
    for name in plan.outputs:
        root = plan.root[name]
        if root not in plan.placements:
            plan.placements[root] = Placement("output", 0, _nbytes(plan, root))
    sizes = {name: _nbytes(plan, name) for name in plan.lifetimes if name not in plan.placements}
    offsets, end = (place_around_middles if steady else place)(sizes, plan.lifetimes)
    for name, offset in offsets.items():
        plan.placements[name] = Placement("arena", offset, sizes[name])
    plan.naive_bytes = sum(aligned(size + SLACK) for size in sizes.values())
    plan.scratch_offset = aligned(end)
    scratch = _share_scratch(plan.steps, plan.threads)
    plan.arena_bytes = plan.scratch_offset + scratch * plan.threads + SLACK
    plan.naive_bytes += plan.arena_bytes - plan.scratch_offset


def _share_scratch(steps: list[Step], threads: int) -> int:
    """Bytes of a thread's scratch: the most that one step asks for, and a distance from that of the next thread.

    Every step's kernel receives them.
    """
    found = [(step, v.bytes_per_thread) for step in steps for v in step.slots.values() if isinstance(v, Scratch)]
    most = max((size for _, size in found), default=0)
    if found and threads > 1:
        most += _SCRATCH_APART
    for step, _ in found:
        step.slots["scratch_bytes"] = most
    return most
