"""What `convert` says at its end: how much the outputs lost, where, and what to do; and refusing what is broken."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from edgenet.errors import ConversionError
from edgenet.graph import Graph

from .comparison import Deviation
from .layerwise import Layers
from .samples import Sample

MOVES = ("flatten", "reshape", "permute", "slice")
"""Operations that values pass unchanged."""
WORST = 3
"""Layers that a report lists."""
OUTPUT_SAMPLES, LAYER_SAMPLES = 16, 4
"""Calibration samples that the outputs, and every layer, are compared on."""
FEW = 8
"""Calibration samples below which a report asks for more."""
LOW = 15.0
"""Output SQNR in dB below which a report suggests to keep layers in float32."""
DOMINANT = 0.4
"""Share of the noise from which one layer is worth a suggestion of its own."""


@dataclass
class Report:
    """`sqnr` of the outputs in dB against float32 on `samples` calibration samples (None: no difference, or float32).

    `worst`: the layers that add most to the outputs' error (name, operation, isolated_sqnr in dB, share of the
    predicted error). `budget`: what keeping layers in float32 took (see `budget.Found.figures`), if it was asked for.
    """

    precision: str
    samples: int = 0
    sqnr: float | None = None
    worst: list[dict[str, Any]] = field(default_factory=list)
    suggestions: list[str] = field(default_factory=list)
    budget: dict[str, Any] | None = None

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps(asdict(self), allow_nan=False)

    def __str__(self) -> str:
        lines = []
        if self.samples:
            kind = "the same as in float32" if self.sqnr is None else f"SQNR {self.sqnr:.1f} dB against float32"
            lines.append(f"outputs: {kind}, on {self.samples} calibration samples")
        if self.budget is not None:
            from .budget import text

            lines.append(text(self.budget))
        for row in self.worst:
            alone = "exact" if row["isolated_sqnr"] is None else f"{row['isolated_sqnr']:.1f} dB alone"
            lines.append(f"worst layers: {row['name']} ({row['operation']}), {alone}, {row['share']:.0%} of the error")
        return "\n".join(lines + [f"suggestion: {text}" for text in self.suggestions])


def output_deviation(wanted: Sequence[Mapping[str, np.ndarray]], got: Sequence[Mapping[str, np.ndarray]]) -> Deviation:
    """How far all outputs of all samples lie from those wanted, each output relative to its own size."""
    deviation = Deviation()
    for name in wanted[0]:
        size = math.sqrt(float(np.mean([np.square(sample[name], dtype=np.float64).mean() for sample in wanted]))) or 1.0
        for want, have in zip(wanted, got, strict=True):
            deviation.add((have[name] / size).reshape(-1, 1), (want[name] / size).reshape(-1, 1))
    return deviation


def require_sound(wanted: Sequence[Mapping[str, np.ndarray]], got: Sequence[Mapping[str, np.ndarray]]) -> None:
    """ConversionError, in one sentence, for outputs that cannot be of use: `got` for what float32 gives as `wanted`."""
    remedy = "Check the calibration data and the preprocessing, or pass force=True (--force) to convert it anyway."
    for name in wanted[0]:
        if not all(np.isfinite(sample[name]).all() for sample in got):
            raise ConversionError(f"The converted network gives NaN or infinite values in {name}. {remedy}")
        if len(got) > 1 and _constant(got, name) and not _constant(wanted, name):
            raise ConversionError(f"The converted network gives the same {name} for every sample. {remedy}")
    sqnr = output_deviation(wanted, got).sqnr
    if sqnr is not None and sqnr < 0:
        raise ConversionError(f"The converted network's outputs hold more error than signal ({sqnr:.1f} dB). {remedy}")


def require_alive(graph: Graph, inputs: Sequence[Sample]) -> None:
    """ConversionError for a network whose outputs are not finite, or are all the same for different inputs.

    Those of a last activation may be, as zeros of a ReLU: then what it is given must differ.
    """
    outputs = run_all(graph, inputs)
    remedy = "Was it trained, and its checkpoint saved whole? Pass force=True (--force) to convert it anyway."
    names = list(outputs[0])
    bad = [name for name in names if not all(np.isfinite(sample[name]).all() for sample in outputs)]
    if bad:
        raise ConversionError(f"The network gives NaN or infinite values in {bad[0]} for random inputs. {remedy}")
    if all(_constant(outputs, name) for name in names):
        before = run_all(_before_activations(graph), inputs)
        if all(_constant(before, name) for name in names):
            raise ConversionError(f"The network gives the same {names[0]} for different random inputs. {remedy}")


def _before_activations(graph: Graph) -> Graph:
    """The graph without the clamps that its outputs come from, directly or by moves."""
    ends, nodes = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if node.output in ends:
            if node.operation in MOVES:
                ends.add(node.inputs["x"])
            elif (node.attributes.get("activation") or {}).get("kind") == "clamp":
                free = {"kind": "clamp", "min": None, "max": None}
                node = replace(node, attributes={**node.attributes, "activation": free})
        nodes.append(node)
    return replace(graph, nodes=nodes[::-1])


def _constant(outputs: Sequence[Mapping[str, np.ndarray]], name: str) -> bool:
    return all(np.array_equal(sample[name], outputs[0][name]) for sample in outputs[1:])


def run_all(graph: Graph, samples: Sequence[Sample]) -> list[dict[str, np.ndarray]]:
    """Outputs by name for each sample, computed by torch."""
    from .quantize.executor import Executor

    executor = Executor(graph)
    return [executor.run(sample) for sample in samples]


def layer_harm(
    graph: Graph, source: Graph, samples: Sequence[Sample], sensitivity: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """The layers of an int8 graph by what they add to the outputs' error, most first.

    `source` is the float32 graph it was lowered from, `sensitivity` that of its tensors (see `channel_sensitivity`).
    Each layer is run on the float32 inputs; the squared error it makes in a channel counts as much as the outputs feel
    it. `share` is relative to the sum over all layers.
    """
    layers = Layers(graph, source, {})
    for sample in samples:
        layers.add(sample)
    found = []
    for node in layers.nodes:
        deviation = layers.isolated[node.output]
        weights = sensitivity.get(layers.twins[node.output])
        noise = float(deviation.channels @ weights) if weights is not None else deviation.noise
        row = {"name": node.name, "operation": node.operation, "isolated_sqnr": deviation.sqnr, "share": noise}
        found.append(row)
    total = sum(row["share"] for row in found) or 1.0
    for row in found:
        row["share"] /= total
    return sorted(found, key=lambda row: -row["share"])


def suggestions(sqnr: float | None, worst: Sequence[Mapping[str, Any]], samples: int, budget: bool) -> list[str]:
    """What a user can do about the error of an int8 network."""
    found = []
    if samples < FEW:
        found.append(f"calibrate with more samples than {samples}; about 32 typical ones are good")
    if sqnr is not None and sqnr < LOW and not budget:
        found.append("keep the worst layers in float32: max_drop (--max-drop) finds as few as possible")
        found.append("train on with prepare_qat, so that the network learns to live with int8")
    elif worst and worst[0]["share"] > DOMINANT and not budget:
        found.append(f"{worst[0]['name']} makes {worst[0]['share']:.0%} of the error: max_drop can keep it in float32")
    return found
