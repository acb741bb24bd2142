"""`quantize`: a float32 graph and calibration samples in, an int8 graph out. `Calibrated`: what lies between."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice
from typing import Any

import numpy as np

from edgenet.errors import ConversionError
from edgenet.graph import Graph, Node, Quantization

from .bias_correction import correct_biases
from .calibration import Progress, collect, collect_weighted, reported, sample_inputs
from .compensation import compensate
from .equalization import equalize
from .factors import to_texts
from .lowering import layer_constants, lower
from .observers import Histogram
from .options import QuantizationOptions
from .placement import Placement, layers, place
from .ranges import choose
from .rounding import Moments, collect_moments
from .sensitivity import channel_sensitivity
from .split import split_activations
from .weights import IntegerWeights, quantize_weights

SATURATION: dict[str, tuple[float | None, float | None]] = {
    "sigmoid": (-8.0, 8.0),
    "hardsigmoid": (-3.0, 3.0),
    "tanh": (-5.0, 5.0),
    "silu": (-12.0, None),
    "hardswish": (-3.0, None),
    "gelu": (-5.0, None),
    "gelu_tanh": (-5.0, None),
    "elu": (-8.0, None),
    "softplus": (-8.0, None),
    "mish": (-12.0, None),
}
"""Inputs beyond which an activation is constant, or linear at an open end, as far as int8 can tell."""


def quantize(
    graph: Graph,
    samples: Iterable[Any],
    progress: Progress | None = None,
    options: QuantizationOptions | None = None,
    keep: Collection[str] = (),
) -> Graph:
    """The int8 form of an optimised float32 graph (batch norms folded, activations fused), which is left unchanged.

    `samples` are preprocessed inputs with the batch as axis 0 (arrays or tensors; a sequence or mapping of them for
    several inputs); they are read once, one at a time. What has no int8 arithmetic, and the layers that `keep` names,
    stay float32 between dequantize and quantize nodes. Golden inputs and outputs are dropped: they belong to the
    float32 graph. Raises ConversionError without samples, InputError for samples that do not fit.
    """
    return Calibrated(graph, samples, progress, options).lower(keep, progress)


class Calibrated:
    """A float32 graph with all that calibration found out, from which int8 graphs are made.

    `source`: the graph, equalized, whose nodes are those of the int8 graphs. `head`: the samples kept (by input name).
    `sensitivity`: see `channel_sensitivity`; empty where the options need none.
    """

    def __init__(
        self,
        graph: Graph,
        samples: Iterable[Any],
        progress: Progress | None = None,
        options: QuantizationOptions | None = None,
    ):
        self.options = options = options or QuantizationOptions()
        total = len(samples) if hasattr(samples, "__len__") else 0  # type: ignore[arg-type]  # checked
        stream = (sample_inputs(graph, sample) for sample in samples)
        self.head = head = list(islice(stream, options.head))
        if not head:
            raise ConversionError("Quantization needs at least one calibration sample; there is none.")
        source = split_activations(graph)
        self.sensitivity: dict[str, np.ndarray] = {}
        if options.weighted or options.equalize:
            self.sensitivity = channel_sensitivity(source, reported(head, "sensitivity", progress, len(head)))
        if options.equalize:
            source, factors = equalize(source, reported(head, "equalize", progress, len(head)), self.sensitivity)
            self.sensitivity = {name: value / factors.get(name, 1.0) ** 2 for name, value in self.sensitivity.items()}
            source.metadata.provenance |= to_texts(factors)
        source.metadata.golden_inputs, source.metadata.golden_outputs = {}, {}
        self.source = source
        self.bounds = saturation(source)
        placement = place(source)
        stored = [name for name in placement.group if is_stored(source, placement, name)]
        self.histograms = {name: Histogram(name) for name in sorted(stored)}
        if options.weighted:
            collect_weighted(source, chain(head, stream), self.histograms, progress, total)
        else:
            collect(source, chain(head, stream), self.histograms, progress, total)
        self._progress = progress
        self._ranges: dict[str, Quantization] = {}
        self._weights: dict[tuple[str, float, float | None], IntegerWeights] = {}

    def lower(self, keep: Collection[str] = (), progress: Progress | None = None) -> Graph:
        """The int8 graph in which the layers that `keep` names stay float32."""
        placement = place(self.source, keep)
        wanted = {placement.group[name] for name in placement.group if is_stored(self.source, placement, name)}
        for done, name in enumerate(sorted(wanted), start=1):
            if name not in self._ranges:
                bounds = self.bounds.get(name, (None, None))
                self._ranges[name] = choose(self.histograms[name], self.options, bounds)
            if progress:
                progress("ranges", done, len(wanted))
        behind = self.options.compensate and self.options.rounding == "output" and not keep
        result = lower(self.source, placement, self._ranges, None if behind else self._round, progress)
        if behind:
            compensate(result, self.source, shortened(self.head, self.options.head), progress)
        if self.options.correct_bias:
            correct_biases(result, self.source, self.head)
        return result

    @cached_property
    def moments(self) -> dict[str, Moments]:
        """Moments of the layers' float32 inputs by node name, where weights are rounded by them."""
        if self.options.rounding != "output":
            return {}
        return collect_moments(
            self.source, reported(self.head, "moments", self._progress, len(self.head)), layers(self.source)
        )

    def _round(self, node: Node, input_scale: float, output_scale: float | None) -> IntegerWeights:
        """The int8 form of a layer."""
        key = (node.name, input_scale, output_scale)
        if key not in self._weights:
            weight, bias = layer_constants(self.source, node)
            moments = self.moments.get(node.name)
            self._weights[key] = quantize_weights(weight, bias, input_scale, moments, output_scale=output_scale)
        return self._weights[key]


def shortened(samples: Sequence[Mapping[str, np.ndarray]], rows: int) -> list[dict[str, np.ndarray]]:
    """The samples' first rows, at most `rows` in all, spread over the samples."""
    each = max(1, rows // len(samples))
    return [{name: array[:each] for name, array in sample.items()} for sample in samples]


def is_stored(graph: Graph, placement: Placement, name: str) -> bool:
    """Whether a tensor exists in int8."""
    producer = graph.producers().get(name)
    return name in placement.wanted_int8 or (producer is not None and placement.writes_int8(producer))


def saturation(graph: Graph) -> dict[str, tuple[float | None, float | None]]:
    """Bounds of the values that matter, for each tensor that only saturating activations of one kind read."""
    bounds = {}
    for name, readers in graph.consumers().items():
        kinds = {node.attributes["activation"]["kind"] if node.operation == "activation" else "" for node in readers}
        if len(kinds) == 1 and name not in graph.outputs:
            kind = kinds.pop()
            if kind in SATURATION:
                bounds[name] = SATURATION[kind]
    return bounds
