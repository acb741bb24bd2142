"""`convert`: from what users train to an optimised, possibly quantized Graph, ready to be saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

import edgenet
from edgenet.errors import ConversionError
from edgenet.graph import Graph, Preprocessing
from edgenet.validate import validate

from .evaluation import class_count, evaluation
from .golden import add_golden_pair, golden_inputs
from .passes import optimize
from .pictures import complete
from .report import (
    LAYER_SAMPLES,
    OUTPUT_SAMPLES,
    WORST,
    Report,
    layer_harm,
    output_deviation,
    require_alive,
    require_sound,
    run_all,
    suggestions,
)
from .samples import calibration_samples

PRECISIONS = ("float32", "int8", "weights_int8", "float16")

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it is done and how much there is (0: not known)."""


def convert(
    source: Any,
    example_inputs: Sequence[Any] | None = None,
    precision: str | None = None,
    calibration: Any = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    arch: str | None = None,
    progress: Progress | None = None,
    name: str | None = None,
    max_drop: float | None = None,
    test: Any = None,
    force: bool = False,
    on_report: Callable[[Report], None] | None = None,
) -> Graph:
    """The graph of a trained network, folded, fused and in the wanted precision, with a golden pair and provenance.

    `source`: an nn.Module (with `example_inputs`, the tensors its forward takes, batch first), an ExportedProgram, the
    path of a .pt2 file, weights (path of a .pth or .safetensors file, or a state dict) with `arch`, or a zoo name (with
    the weights of an installed package, or else random ones, as the provenance says). `arch`: a zoo name or
    "package.module:factory". `precision`: "float32", "int8" (which alone takes `calibration`, and needs it), or compact
    float32 files with "weights_int8" or "float16" storage. `calibration`: a folder of images, a list of images or of
    inputs, or an iterable of tensors. `preprocessing` and `labels` go into the file; zoo networks know their
    preprocessing, and beside the fields that a mapping names, the others are made to fit (see `pictures.complete`).
    `name` is the network's name in the file. `progress(stage, done, total)` is called as work proceeds.
    `max_drop` (int8): keep as few layers as possible in float32, such that at most so many points of top-1 are lost on
    `test` (default: the calibration data) where that is labelled (see `evaluation`), or else such that the outputs have
    an SQNR of at least so many dB. `on_report` is called at the end with a `Report` of the error and what causes it.

    A module of `prepare_qat`, and a program that torchao's PT2E flow has quantized, are int8 already: they convert to
    "int8" alone, which is then the default, and keep their scales; `calibration` and `max_drop` are refused.

    Raises ConversionError for whatever cannot be converted, and for a network whose outputs are plainly of no use (NaN,
    the same for every input, more error than signal) unless `force`.
    """
    if precision is not None and precision not in PRECISIONS:
        raise ConversionError(f"There is no precision {precision!r}. Choose one of {', '.join(PRECISIONS)}.")
    if test is not None and max_drop is None:
        raise ConversionError("test is what max_drop is measured on: give max_drop as well.")
    if max_drop is not None and not max_drop >= 0:
        raise ConversionError(f"max_drop must be at least 0, not {max_drop:g}.")
    torch_version = require_torch()
    report = progress or (lambda stage, done, total: None)
    graph, facts, known = _import(source, arch, example_inputs, report)
    require_finite(graph)
    finished = any(tensor.dtype == "int8" for name, tensor in graph.tensors.items() if name not in graph.constants)
    if finished and (precision not in (None, "int8") or calibration is not None or max_drop is not None):
        raise ConversionError("This network is quantized already: it converts to int8 as it is, without calibration.")
    precision = precision or ("int8" if finished else "float32")
    if preprocessing is not None:
        known = complete(graph, preprocessing, known)
    check_labels(graph, labels)
    graph.metadata.preprocessing = known
    graph.metadata.labels = None if labels is None else [str(label) for label in labels]
    graph.metadata.provenance = {
        **graph.metadata.provenance,
        "name": name or facts["arch"] or facts["source"],
        **facts,
        "precision": precision,
        "torch": torch_version,
        "edgenet": edgenet.__version__,
    }
    if finished:
        described = Report(precision)
        if not force:
            require_alive(graph, [golden_inputs(graph, seed) for seed in (1, 2)])
    elif precision == "int8":
        graph, described = quantize_with_report(graph, calibration, test, max_drop, force, report)
    else:
        for option, value in (("calibration", calibration), ("max_drop", max_drop)):
            if value is not None:
                raise ConversionError(f"{option} is for int8: {precision} leaves the arithmetic in float32.")
        graph, described = _float32(graph, precision, force), Report(precision)
    report("golden pair", 0, 1)
    add_golden_pair(graph)
    validate(graph)
    report("golden pair", 1, 1)
    if on_report:
        on_report(described)
    return graph


def _import(
    source: Any, arch: str | None, example_inputs: Sequence[Any] | None, report: Progress
) -> tuple[Graph, dict[str, str], Preprocessing | None]:
    """(optimised graph, int8 where the source is quantized; its "source" and "arch"; its preprocessing if known)."""
    from .checkpoint import import_checkpoint, open_checkpoint
    from .qat.module import QATModule
    from .quantized import is_annotated, lower_annotated

    report("import", 0, 3)
    if isinstance(source, QATModule):
        report("import", 3, 3)
        return source.graph(), {**source.facts, "arch": arch or source.facts["arch"]}, source.preprocessing
    checkpoint = open_checkpoint(source, arch, example_inputs)
    report("import", 1, 3)
    graph = import_checkpoint(checkpoint)
    report("import", 2, 3)
    graph = optimize(graph)
    if is_annotated(graph):
        require_finite(graph)
        graph = lower_annotated(graph)
    report("import", 3, 3)
    return graph, {"source": checkpoint.source, "arch": checkpoint.arch}, checkpoint.preprocessing


def _float32(graph: Graph, precision: str, force: bool) -> Graph:
    """The graph with its weights stored as `precision` says. ConversionError for a dead network unless `force`."""
    metadata = graph.metadata
    inputs = [golden_inputs(graph, seed) for seed in (1, 2)]
    if not force:
        require_alive(graph, inputs)
    if precision == "float32":
        return graph
    from . import quantize

    compressed = quantize.compress(graph, precision.removeprefix("weights_"))
    compressed.metadata = metadata
    if not force:
        require_sound(run_all(graph, inputs), run_all(compressed, inputs))
    return compressed


def quantize_with_report(
    graph: Graph, calibration: Any, test: Any, max_drop: float | None, force: bool, progress: Progress
) -> tuple[Graph, Report]:
    """The int8 form of an optimised float32 graph with its metadata, and what is to be said of it (see `convert`)."""
    from . import budget
    from .quantize import Calibrated

    if calibration is not None and not hasattr(calibration, "__len__") and not isinstance(calibration, str | PathLike):
        calibration = list(calibration)  # read again for the budget
    samples = calibration_samples(graph, calibration, graph.metadata.preprocessing)
    calibrated = Calibrated(graph, samples, progress)
    result = calibrated.lower(progress=progress)
    head = calibrated.head[:OUTPUT_SAMPLES]
    progress("report", 0, 3)
    wanted = run_all(graph, head)
    got = run_all(result, head)
    progress("report", 1, 3)
    few = calibrated.head[:LAYER_SAMPLES]
    harm = layer_harm(result, calibrated.source, few, calibrated.sensitivity)
    progress("report", 2, 3)
    described = Report("int8", len(head), worst=harm[:WORST])
    if max_drop is not None:
        data = evaluation(graph, calibration if test is None else test, graph.metadata.preprocessing)
        judge = budget.Judge(data, graph)
        found = budget.search(calibrated, budget.candidates(calibrated, harm), judge, max_drop, progress)
        described.budget = found.figures(max_drop, judge, result, graph)
        result = found.graph
        got = run_all(result, head)
    if not force:
        require_sound(wanted, got)
    described.sqnr = output_deviation(wanted, got).sqnr
    described.suggestions = suggestions(described.sqnr, described.worst, len(samples), max_drop is not None)
    progress("report", 3, 3)
    return result, described


def require_torch() -> str:
    """torch's version. ConversionError when it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise ConversionError("Converting needs PyTorch: pip install 'edgenet[convert]'.") from error
    return str(torch.__version__)


def require_finite(graph: Graph) -> None:
    """ConversionError that names the weights holding NaN or infinite values."""
    bad = [name for name, array in graph.constants.items() if not np.isfinite(array).all()]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise ConversionError(f"NaN or infinite values in {', '.join(bad[:3])}{more}. Was the training interrupted?")


def check_labels(graph: Graph, labels: Sequence[str] | None) -> None:
    """ConversionError unless there is one label for each class of the first output."""
    if labels is None:
        return
    classes = class_count(graph)
    if isinstance(labels, str) or len(labels) != classes:
        count = "one string" if isinstance(labels, str) else str(len(labels))
        raise ConversionError(f"The network has {classes} classes, but labels holds {count}. Give one label a class.")
