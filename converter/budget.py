"""`max_drop`: the fewest layers that must stay in float32 for an int8 network to keep its accuracy, found by search.

Layers are ordered by what they add to the outputs' error. Bisection finds how many of the worst suffice; then each of
them is tried in int8 again, the least harmful first, and stays there where the budget still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenet.errors import ConversionError
from edgenet.graph import Graph

from .evaluation import Accuracy, Evaluation
from .report import output_deviation

if TYPE_CHECKING:
    from .quantize import Calibrated

MOST_TRIALS = 96
"""Networks that a search measures; when they are used up, the best found so far stands."""

Progress = Callable[[str, int, int], None]


class Judge:
    """Measures graphs on data: top-1 in points where it is labelled, else the SQNR of the outputs in dB."""

    def __init__(self, data: Evaluation, wanted: Graph):
        self.data = data
        self.unit = "dB" if data.targets is None else "points"
        self._wanted = self._outputs(wanted)
        self.reference = self._top1(self._wanted) if self.unit == "points" else None

    def score(self, graph: Graph) -> float:
        """Top-1 in percent, or SQNR in dB (999 where nothing differs)."""
        outputs = self._outputs(graph)
        if self.unit == "points":
            return self._top1(outputs)
        sqnr = output_deviation(self._wanted, outputs).sqnr
        return 999.0 if sqnr is None else sqnr

    def meets(self, score: float, max_drop: float) -> bool:
        """Whether a score keeps the budget: at most `max_drop` points lost, or at least `max_drop` dB."""
        if self.reference is None:
            return score >= max_drop
        return self.reference - score <= max_drop + 1e-9

    def _outputs(self, graph: Graph) -> list[dict[str, np.ndarray]]:
        from edgenet import load

        model = load(graph)
        found = []
        for sample in self.data.samples:
            result = model.run(sample)
            found.append(dict(zip(graph.outputs, result if isinstance(result, tuple) else (result,), strict=True)))
        return found

    def _top1(self, outputs: Sequence[dict[str, np.ndarray]]) -> float:
        accuracy = Accuracy()
        for sample, targets in zip(outputs, self.data.targets or (), strict=True):
            accuracy.add(next(iter(sample.values())), targets)
        return 100 * accuracy.first / max(accuracy.total, 1)


@dataclass
class Found:
    """The graph that meets the budget, the layers in float32, and the scores of it, of int8 throughout, of float32."""

    graph: Graph
    kept: list[str]
    score: float
    int8_score: float
    trials: int
    complete: bool

    def figures(self, max_drop: float, judge: Judge, int8: Graph, source: Graph) -> dict[str, Any]:
        """What the search found and what each kept layer costs, for the report and its JSON."""
        macs = _macs(source)
        kept = [{"name": name, "macs_share": macs.get(name, 0) / max(sum(macs.values()), 1)} for name in self.kept]
        before, after = _step_times(int8), _step_times(self.graph)
        for row in kept:
            name = row["name"]
            row["bytes"] = _weight_bytes(self.graph, name) - _weight_bytes(int8, name)
            row["ms"] = after[name] - before[name] if name in after and name in before else None
        return {
            "max_drop": max_drop,
            "unit": judge.unit,
            "samples": len(judge.data.samples),
            "float32": judge.reference,
            "int8": self.int8_score,
            "found": self.score,
            "kept": kept,
            "macs_share": float(sum(row["macs_share"] for row in kept)),
            "bytes": sum(row["bytes"] for row in kept),
            "ms": sum(after.values()) - sum(before.values()) if kept else 0.0,
            "trials": self.trials,
            "complete": self.complete,
        }


def candidates(calibrated: Calibrated, harm: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of what may be kept in float32, most harmful first: whatever has int8 arithmetic."""
    from .quantize.placement import keeps_quantization, place

    int8 = {node.name for node in calibrated.source.nodes if not keeps_quantization(node)}
    int8 &= place(calibrated.source).int8
    measured = [row["name"] for row in harm if row["name"] in int8]
    return measured + sorted(int8.difference(measured))


def search(
    calibrated: Calibrated, order: Sequence[str], judge: Judge, max_drop: float, progress: Progress | None = None
) -> Found:
    """The fewest of the layers `order` (most harmful first) to keep in float32, such that `judge` finds the budget met.

    With all of them in float32 nothing is left in int8. Raises ConversionError where not even that meets the budget.
    """
    trials = 0
    best: Found | None = None
    int8_score = 0.0

    def attempt(kept: Sequence[str]) -> bool:
        nonlocal trials, best, int8_score
        graph = calibrated.lower(set(kept))
        score = judge.score(graph)
        trials += 1
        if progress:
            progress("max drop", trials, 0)
        if not kept:
            int8_score = score
        met = judge.meets(score, max_drop)
        if met:
            best = Found(graph, list(kept), score, int8_score, trials, True)
        return met

    if not attempt([]):
        few, many = 0, len(order)
        step = 1
        while few + step < many and not attempt(order[: few + step]):  # doubling first: the number is mostly small
            few, step = few + step, step * 2
        many = min(few + step, many)
        if many == len(order) and not attempt(order):
            raise ConversionError(f"No network keeps a max_drop of {max_drop:g}: not even float32 does. Allow more.")
        while many - few > 1:
            middle = (few + many) // 2
            if attempt(order[:middle]):
                many = middle
            else:
                few = middle
        _prune(list(order[:many]), attempt, lambda: trials >= MOST_TRIALS)
    assert best is not None, "a trial met the budget"
    return replace(best, trials=trials, complete=trials < MOST_TRIALS)


def _prune(kept: list[str], attempt: Callable[[Sequence[str]], bool], stop: Callable[[], bool]) -> None:
    """Try to do without each of the layers but the last, of which bisection has shown that it is needed."""
    for name in reversed(kept[:-1]):
        rest = [other for other in kept if other != name]
        if stop():
            return
        if attempt(rest):
            kept = rest


def _macs(graph: Graph) -> dict[str, int]:
    from edgenet.ops import graph_cost

    costs = graph_cost(graph)
    return {node.name: costs[node.output].macs for node in graph.nodes}


def _weight_bytes(graph: Graph, name: str) -> int:
    """Bytes of the constants that the node `name` reads."""
    node = next(node for node in graph.nodes if node.name == name)
    return sum(graph.constants[each].nbytes for each in set(node.inputs.values()) if each in graph.constants)


def _step_times(graph: Graph) -> dict[str, float]:
    """Median ms of each step of one run, by node."""
    from edgenet import load

    return {row["name"]: row["ms"] for row in load(graph).profile(repeats=10).rows}


def text(figures: dict[str, Any]) -> str:
    """What the search found, in a few lines."""
    if figures["unit"] == "points":
        before, after = (figures["float32"] - figures[key] for key in ("int8", "found"))
        asked = f"at most {figures['max_drop']:g} points of top-1 lost"
        result = f"int8 loses {before:.2f} points of {figures['float32']:.2f} %, this network {after:.2f}"
    else:
        asked = f"an output SQNR of at least {figures['max_drop']:g} dB"
        result = f"int8 has {figures['int8']:.1f} dB, this network {figures['found']:.1f} dB"
    lines = [f"budget: {asked}; {result}, on {figures['samples']} samples ({figures['trials']} networks measured)"]
    kept = figures["kept"]
    if not kept:
        return lines[0] + "; every layer is in int8"
    lines.append(
        f"kept in float32: {len(kept)} layers with {figures['macs_share']:.1%} of the MACs, the smallest share that "
        f"the search found; they cost {figures['bytes'] / 1e3:.1f} kB and {figures['ms']:+.3f} ms"
    )
    for row in kept:
        time = "inside a fused step" if row["ms"] is None else f"{row['ms']:+.3f} ms"
        lines.append(f"  {row['name']}: {row['macs_share']:.1%} of the MACs, {row['bytes'] / 1e3:+.1f} kB, {time}")
    if not figures["complete"]:
        lines.append(f"  the search stopped after {figures['trials']} networks; fewer layers might do")
    return "\n".join(lines)
