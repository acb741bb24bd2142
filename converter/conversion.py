"""`convert`: from what users train to an optimised, possibly quantized Graph, ready to be saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import edgenet
from edgenet.errors import ConversionError
from edgenet.graph import Graph, Preprocessing
from edgenet.validate import validate

from .golden import add_golden_pair
from .passes import optimize
from .samples import calibration_samples

PRECISIONS = ("float32", "int8", "weights_int8", "float16")

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it is done and how much there is (0: not known)."""


def convert(
    source: Any,
    example_inputs: Sequence[Any] | None = None,
    precision: str = "float32",
    calibration: Any = None,
    preprocessing: Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    arch: str | None = None,
    progress: Progress | None = None,
    name: str | None = None,
) -> Graph:
    """The graph of a trained network, folded, fused and in the wanted precision, with a golden pair and provenance.

    `source`: an nn.Module (with `example_inputs`, the tensors its forward takes, batch first), an ExportedProgram, the
    path of a .pt2 file, weights (path of a .pth or .safetensors file, or a state dict) with `arch`, or a zoo name (with
    the weights of an installed package, or else random ones, as the provenance says).
    `arch`: a zoo name or "package.module:factory". `precision`: "float32", "int8" (needs `calibration`), or compact
    float32 files with "weights_int8" or "float16" storage. `calibration`: a folder of images, a list of images or of
    inputs, or an iterable of tensors. `preprocessing` and `labels` go into the file; zoo networks know their
    preprocessing. `name` is the network's name in the file. `progress(stage, done, total)` is called as work proceeds.

    Raises ConversionError for whatever cannot be converted.
    """
    if precision not in PRECISIONS:
        raise ConversionError(f"There is no precision {precision!r}. Choose one of {', '.join(PRECISIONS)}.")
    torch_version = require_torch()
    from .checkpoint import open_checkpoint
    from .importer import import_module

    report = progress or (lambda stage, done, total: None)
    report("import", 0, 3)
    checkpoint = open_checkpoint(source, arch, example_inputs)
    report("import", 1, 3)
    graph = import_module(checkpoint.exportable, checkpoint.example)
    report("import", 2, 3)
    graph = optimize(graph)
    require_finite(graph)
    report("import", 3, 3)

    preprocessing = preprocessing or checkpoint.preprocessing
    check_labels(graph, labels)
    graph.metadata.preprocessing = preprocessing
    graph.metadata.labels = None if labels is None else [str(label) for label in labels]
    graph.metadata.provenance = {
        "name": name or checkpoint.arch or checkpoint.source,
        "source": checkpoint.source,
        "arch": checkpoint.arch,
        "precision": precision,
        "torch": torch_version,
        "edgenet": edgenet.__version__,
    }
    graph = _lower(graph, precision, calibration, preprocessing, report)
    report("golden pair", 0, 1)
    add_golden_pair(graph)
    validate(graph)
    report("golden pair", 1, 1)
    return graph


def _lower(
    graph: Graph, precision: str, calibration: Any, preprocessing: Preprocessing | None, report: Progress
) -> Graph:
    """The graph in its final precision, with the metadata of `graph`."""
    if precision == "float32":
        return graph
    from . import quantize

    metadata = graph.metadata
    if precision == "int8":
        graph = quantize.quantize(graph, calibration_samples(graph, calibration, preprocessing), progress=report)
    else:
        graph = quantize.compress(graph, precision.removeprefix("weights_"))
    graph.metadata = metadata
    return graph


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
    classes = graph.tensors[graph.outputs[0]].shape[-1]
    if isinstance(labels, str) or len(labels) != classes:
        count = "one string" if isinstance(labels, str) else str(len(labels))
        raise ConversionError(f"The network has {classes} classes, but labels holds {count}. Give one label a class.")
