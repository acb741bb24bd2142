"""What the machine's limits allow a layer: the least time of each node, and what sets it."""

from __future__ import annotations

from dataclasses import dataclass

from edgenet.engine import limits as machine
from edgenet.engine.limits import Limits
from edgenet.graph import Graph, Tensor
from edgenet.kernels.isa import host
from edgenet.kernels.table_int8 import group_depth
from edgenet.ops import graph_cost, node_types
from edgenet.ops.base import Cost, element_count

ARITHMETIC = "arithmetic"


@dataclass(frozen=True)
class Bound:
    """Least time of a node in ms; `limit` is ARITHMETIC or the level of memory whose speed sets it.

    `requantizing` is the share of the arithmetic that goes into requantizing int8 results.
    """

    ms: float
    limit: str
    cost: Cost
    requantizing: float = 0.0

    @property
    def intensity(self) -> float:
        """FLOPs for each byte read or written."""
        return self.cost.flops / max(self.cost.bytes_read + self.cost.bytes_written, 1)


def limits_for(threads: int) -> Limits:
    """The machine's limits, measured if they have not been kept (which takes a few seconds)."""
    found = machine.saved(host().name, threads)
    if found is None:
        found = machine.measure(threads)
        machine.save(found)
    return found


def bounds(graph: Graph, limits: Limits) -> dict[str, Bound]:
    """The bound of each convolution and linear layer, by its name.

    In int8 an instruction sums the products of a group of values; a depth that is no multiple of it costs as one.
    """
    costs = graph_cost(graph)
    return {
        node.name: _bound(costs[node.output], node_types(graph, node), graph.tensors[node.output], limits)
        for node in graph.nodes
        if node.operation in ("conv2d", "linear")
    }


def _bound(cost: Cost, inputs: dict[str, Tensor], output: Tensor, limits: Limits) -> Bound:
    int8, flops, results = inputs["x"].dtype == "int8", cost.flops, 0
    if int8:
        results = element_count(output.shape)
        group = group_depth(host())
        depth = -(-cost.macs // results)
        flops = 2 * -(-depth // group) * group * results
    arithmetic = limits.arithmetic_ms(flops, int8, results)
    transfer = limits.transfer_ms(cost.bytes_read, cost.bytes_written)
    level = limits.level(cost.bytes_read + cost.bytes_written)
    share = limits.arithmetic_ms(0, int8, results) / arithmetic
    ms = limits.attainable_ms(flops, cost.bytes_read, cost.bytes_written, int8, results)
    return Bound(ms, ARITHMETIC if arithmetic >= transfer else level, cost, share)
