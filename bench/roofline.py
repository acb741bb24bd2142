"""What the machine's limits allow a layer: the least time of each node, what sets it, and the time to be expected."""

from __future__ import annotations

import statistics
import warnings
from dataclasses import dataclass
from functools import cache

from edgenet.engine import limits as machine
from edgenet.engine.limits import Limits
from edgenet.graph import Graph, Node, Tensor
from edgenet.kernels.isa import host
from edgenet.kernels.table_int8 import group_depth
from edgenet.ops import complete_attributes, graph_cost, node_types
from edgenet.ops.base import Cost, element_count

from .layers import Layer, build
from .stage import Stage

ARITHMETIC = "arithmetic"
_measured: dict[tuple[str, int], Limits] = {}
"""What this process has measured, by instruction set and number of threads."""
RATE_SIDE = 14
RATE_CHANNELS = {"float32": 16, "int8": 64}
"""A layer of so many channels, 14 x 14, lies in the L1 cache with its result."""


@dataclass(frozen=True)
class Bound:
    """Least time of a node in ms; `limit` is ARITHMETIC or the level of memory whose speed sets it.

    `requantizing` is the share of the arithmetic that goes into requantizing int8 results. `expected_ms` differs from
    `ms` for depthwise convolutions: it takes the rate that their kernel reaches on data in the L1 cache for the peak.
    """

    ms: float
    limit: str
    cost: Cost
    requantizing: float
    expected_ms: float

    @property
    def intensity(self) -> float:
        """FLOPs for each byte read or written."""
        return self.cost.flops / max(self.cost.bytes_read + self.cost.bytes_written, 1)


def limits_for(threads: int) -> Limits:
    """The machine's limits, measured if they have not been kept (which takes a few seconds)."""
    found = machine.saved(host().name, threads) or _measured.get((host().name, threads))
    if found is None:
        found = _measured[host().name, threads] = machine.measure(threads)
        keep(found)
    return found


def keep(limits: Limits) -> None:
    """Keep the limits for other processes. A warning says where they cannot be written."""
    try:
        machine.save(limits)
    except OSError as error:
        warnings.warn(
            f"The limits of this machine could not be kept in the cache ({error.strerror or error}); set EDGENET_CACHE "
            "to a folder that can be written.",
            stacklevel=2,
        )


@cache
def depthwise_rate(precision: str, kernel: int, stride: int, side: int, channels: int) -> float:
    """GFLOP/s on one thread of a depthwise convolution whose data lie in the L1 cache, measured: it has few products
    for each value that its kernel loads, interleaves (in int8) and stores, and cannot reach a matrix product's peak.

    Images of more than RATE_SIDE pixels a side, or of more channels than RATE_CHANNELS, count as of so many.
    """
    layer = Layer(side, side, channels, 1, kernel, stride)
    graph = build(layer, "depthwise", precision)
    stage = Stage(graph, ["depthwise"], 1)
    flops = next(cost.flops for output, cost in graph_cost(graph).items() if output == "depthwise")
    return flops / statistics.median(stage.milliseconds() for _ in range(5)) / 1e6


def bounds(graph: Graph, limits: Limits) -> dict[str, Bound]:
    """The bound of each convolution and linear layer, by its name.

    In int8 an instruction sums the products of a group of values; a depth that is no multiple of it costs as one.
    """
    costs = graph_cost(graph)
    return {
        node.name: _bound(node, costs[node.output], node_types(graph, node), graph.tensors[node.output], limits)
        for node in graph.nodes
        if node.operation in ("conv2d", "linear")
    }


def _bound(node: Node, cost: Cost, inputs: dict[str, Tensor], output: Tensor, limits: Limits) -> Bound:
    int8, flops, results = inputs["x"].dtype == "int8", cost.flops, 0
    matrix = int8 and complete_attributes(node).get("groups", 1) == 1
    if int8:
        results = element_count(output.shape)
        group = group_depth(host())
        flops = 2 * -(-cost.macs // (results * group)) * group * results
    arithmetic = limits.arithmetic_ms(flops, int8, results, matrix)
    transfer = limits.transfer_ms(cost.bytes_read, cost.bytes_written)
    level = limits.level(cost.bytes_read + cost.bytes_written)
    ms = max(arithmetic, transfer) + limits.step_ms
    expected = ms
    a = complete_attributes(node)
    if node.operation == "conv2d" and a["groups"] == inputs["x"].shape[3] > 1:
        _, height, _, channels = inputs["x"].shape
        dtype = inputs["x"].dtype
        size = (min(height, RATE_SIDE), min(channels, RATE_CHANNELS[dtype]))
        rate = limits.threads * depthwise_rate(dtype, inputs["weight"].shape[1], a["stride"][0], *size)
        expected = max(cost.flops / rate / 1e6, transfer) + limits.step_ms
    share = limits.arithmetic_ms(0, int8, results) / arithmetic
    return Bound(ms, ARITHMETIC if arithmetic >= transfer else level, cost, share, expected)
