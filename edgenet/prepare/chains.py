"""The nodes of a graph as they may be computed by bands of rows, and the chains of nodes that may share their bands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgenet.graph import Graph
from edgenet.ops import OPERATIONS, with_defaults
from edgenet.prepare.plan import Plan
from edgenet.prepare.rows import RowInput, height_of, row_inputs
from edgenet.prepare.segment import RowNode, Segment

MOST_BANDS, MOST_BANDS_OF_A_TEAM = 16, 8
"""Most bands of a segment on one thread (or of all its parts), and on several that meet after every step of each."""
LEAST_ROWS = 2
"""Least rows of a band: kernels work on pairs of rows."""
_UNKNOWN = {"": RowInput()}


@dataclass(frozen=True)
class Choice:
    """Nodes first..last of the graph, `rows` rows of the last node's output at a time."""

    first: int
    last: int
    rows: int


class Chains:
    """The nodes of a graph, told by the plan that computes each at once; chains of them are divided in `parts`."""

    def __init__(self, graph: Graph, plan: Plan, parts: int = 1):
        self.parts = parts
        self.graph, self.tensors = graph, plan.tensors
        self.nodes = [with_defaults(node) if node.operation in OPERATIONS else node for node in graph.nodes]
        self.images = max((tensor.shape[0] for tensor in map(plan.tensors.get, plan.inputs) if tensor), default=1)
        self._most_bands = MOST_BANDS_OF_A_TEAM if parts < plan.threads else max(2, MOST_BANDS // parts)
        self._winograd = {step.layer[0] for step in plan.steps if "winograd" in step.kernel}
        self._inputs: list[Mapping[str, RowInput] | None] = [_UNKNOWN] * len(self.nodes)
        self.last_reader = self._readers()

    def _readers(self) -> list[int]:
        last = {name: len(self.nodes) for name in self.graph.outputs}
        for k, node in enumerate(self.nodes):
            for name in node.inputs.values():
                last[name] = max(last.get(name, k), k)
        return [last.get(node.output, k) for k, node in enumerate(self.nodes)]

    def inputs(self, k: int) -> Mapping[str, RowInput] | None:
        """How node k reads its inputs by rows; None where it is not computed by rows."""
        if self._inputs[k] is _UNKNOWN:
            winograd = k in self._winograd
            self._inputs[k] = None if winograd else row_inputs(self.graph, self.nodes[k], self.tensors)
        return self._inputs[k]

    def segment(self, choice: Choice) -> Segment:
        """The segment of a choice."""
        found = []
        for k in range(choice.first, choice.last + 1):
            node, ways = self.nodes[k], self.inputs(k)
            assert ways is not None, "a choice consists of nodes that are computed by rows"
            inputs = tuple((role, node.inputs[role], how) for role, how in ways.items())
            found.append(RowNode(node, inputs, height_of(self.tensors[node.output]), self.last_reader[k] > choice.last))
        return Segment(found, self.tensors, choice.rows, self.parts)

    def sizes(self, last: int) -> list[int]:
        """Numbers of rows for bands that end with node `last`, least first."""
        height = -(-height_of(self.tensors[self.nodes[last].output]) // self.parts)
        rows = {-(-height // (bands * LEAST_ROWS)) * LEAST_ROWS for bands in range(1, self._most_bands + 1)}
        return sorted({min(each, height) for each in rows})

    def ending(self, last: int, longest: int, rows: int) -> Iterator[Choice]:
        """The chains of up to `longest` nodes that end with node `last`, shortest first."""
        for first in range(last, max(-1, last - longest), -1):
            if self.inputs(first) is None or (first < last and self.last_reader[first] == first):
                return
            choice = Choice(first, last, rows)
            if not self.segment(choice).connected():
                return
            yield choice


def chosen(back: list[Choice | None]) -> list[Choice]:
    """The choices on the way back from the end: `back[n]` ends with node n - 1, None is a node computed at once."""
    found, end = [], len(back) - 1
    while end > 0:
        choice = back[end]
        if choice is not None:
            found.append(choice)
        end = choice.first if choice is not None else end - 1
    return found[::-1]
