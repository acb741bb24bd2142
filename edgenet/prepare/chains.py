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
MOST_NODES = 4096
"""Most nodes of a graph that is computed by bands: planning takes milliseconds a node, and each band has its steps."""
_UNKNOWN = {"": RowInput()}


@dataclass(frozen=True)
class Choice:
    """Nodes first..last of the graph, `rows` rows of the last node's output at a time."""

    first: int
    last: int
    rows: int


def images_of(plan: Plan) -> int:
    """Images of the batch that a plan is for."""
    return max((tensor.shape[0] for tensor in map(plan.tensors.get, plan.inputs) if tensor), default=1)


class Chains:
    """The nodes of a graph, told by the plan that computes each at once.

    Chains of them are divided in `parts`, or computed for several images `together` (see `Segment`).
    """

    def __init__(self, graph: Graph, plan: Plan, parts: int = 1, together: int = 1):
        self.parts, self.together = parts, together
        self.graph, self.tensors = graph, plan.tensors
        self.nodes = [with_defaults(node) if node.operation in OPERATIONS else node for node in graph.nodes]
        self.images = images_of(plan)
        self._most_bands = MOST_BANDS_OF_A_TEAM if parts * together < plan.threads else max(2, MOST_BANDS // parts)
        self._winograd = {step.layer[0] for step in plan.steps if "winograd" in step.kernel}
        self._inputs: list[Mapping[str, RowInput] | None] = [_UNKNOWN] * len(self.nodes)
        self._readers: dict[str, list[tuple[int, str]]] = {}
        for k, node in enumerate(self.nodes):
            for role, name in node.inputs.items():
                self._readers.setdefault(name, []).append((k, role))
        self.last_reader = self._last_readers()

    def _last_readers(self) -> list[int]:
        outputs, count = set(self.graph.outputs), len(self.nodes)
        readers = [self._readers.get(node.output, [(k, "")]) for k, node in enumerate(self.nodes)]
        return [
            count if node.output in outputs else found[-1][0] for node, found in zip(self.nodes, readers, strict=True)
        ]

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
        return Segment(found, self.tensors, choice.rows, self.parts, self.together)

    def sizes(self, last: int) -> list[int]:
        """Numbers of rows for bands that end with node `last`, least first."""
        height = -(-height_of(self.tensors[self.nodes[last].output]) // self.parts)
        rows = {-(-height // (bands * LEAST_ROWS)) * LEAST_ROWS for bands in range(1, self._most_bands + 1)}
        return sorted({min(each, height) for each in rows})

    def ending(self, last: int, longest: int, rows: int) -> Iterator[Choice]:
        """The chains of up to `longest` nodes that end with node `last`, shortest first."""
        for first in range(last, max(-1, last - longest), -1):
            if self.inputs(first) is None or (first < last and not self._read_by_rows(first, last)):
                return
            yield Choice(first, last, rows)

    def _read_by_rows(self, k: int, last: int) -> bool:
        """Whether nodes up to `last`, which are all computed by rows, read the output of node k, and none all of it."""
        ways = []
        for reader, role in self._readers.get(self.nodes[k].output, ()):
            if reader > last:
                break
            ways.append((self.inputs(reader) or {}).get(role))
        found = [how for how in ways if how is not None]
        return bool(found) and not any(how.whole for how in found)


def chosen(back: list[Choice | None]) -> list[Choice]:
    """The choices on the way back from the end: `back[n]` ends with node n - 1, None is a node computed at once."""
    found, end = [], len(back) - 1
    while end > 0:
        choice = back[end]
        if choice is not None:
            found.append(choice)
        end = choice.first if choice is not None else end - 1
    return found[::-1]
