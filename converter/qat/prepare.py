"""From a float network and samples to a module for quantization-aware training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from edgenet.converter.checkpoint import open_checkpoint
from edgenet.converter.importer import import_module
from edgenet.converter.passes import optimize
from edgenet.converter.quantize.calibration import collect
from edgenet.converter.quantize.options import QuantizationOptions
from edgenet.converter.quantize.placement import place
from edgenet.converter.quantize.posttraining import Calibrated, is_stored
from edgenet.converter.quantize.ranges import choose
from edgenet.converter.samples import calibration_samples
from edgenet.errors import ConversionError
from edgenet.graph import Graph

from .module import QATModule
from .ranges import Extremes, MovingRanges

Progress = Callable[[str, int, int], None]


def prepare(
    module: Any,
    example_inputs: Sequence[Any] | None,
    calibration: Any,
    averaging: float,
    freeze_after: int,
    learn_scales: bool,
    progress: Progress | None = None,
) -> QATModule:
    """See `edgenet.converter.prepare_qat`."""
    if not 0 < averaging <= 1:
        raise ConversionError(f"averaging must lie above 0 and at most at 1, not {averaging}.")
    checkpoint = open_checkpoint(module, None, example_inputs)
    graph = optimize(import_module(checkpoint.exportable, checkpoint.example))
    if calibration is None:
        calibration = checkpoint.example and [checkpoint.example]
    calibration = calibration_samples(graph, calibration, checkpoint.preprocessing)
    qat = prepare_graph(graph, calibration, averaging, 0 if learn_scales else freeze_after, learn_scales, progress)
    qat.facts = {"source": checkpoint.source, "arch": checkpoint.arch}
    qat.preprocessing = checkpoint.preprocessing
    return qat


def prepare_graph(
    graph: Graph,
    samples: Iterable[Any],
    averaging: float,
    freeze_after: int,
    learn_scales: bool = False,
    progress: Progress | None = None,
) -> QATModule:
    """As `prepare`, from an optimised float32 graph; the ranges are those that `quantize` chooses by default."""
    options = QuantizationOptions(rounding="nearest")
    calibrated = Calibrated(graph, samples, progress, options)
    source = calibrated.source
    placement = place(source)
    groups = sorted({placement.group[name] for name in placement.group if is_stored(source, placement, name)})
    extremes = {name: Extremes() for name in groups}
    collect(source, calibrated.head, extremes)
    bounds = calibrated.bounds
    chosen = {name: choose(calibrated.histograms[name], options, bounds.get(name, (None, None))) for name in groups}
    ranges = MovingRanges({name: found.mean() for name, found in extremes.items()}, chosen, averaging)
    return QATModule(source, placement, ranges, freeze_after, learn_scales)
