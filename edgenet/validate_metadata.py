"""Validation of what a model carries beside its graph: preprocessing, labels, provenance, golden pair."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from edgenet.dtypes import BATCH
from edgenet.errors import ModelFormatError
from edgenet.graph import INTERPOLATIONS, Graph, Preprocessing
from edgenet.validate_text import check_text, show

CHANNELS = {"RGB": 3, "BGR": 3, "L": 1}
MAX_SIDE = 16384
MAX_LABELS, MAX_LABEL = 100_000, 512
MAX_PROVENANCE, MAX_VALUE = 256, 4096


def _fail(message: str) -> NoReturn:
    raise ModelFormatError(message)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e30 and math.isfinite(value)


def check_preprocessing(preprocessing: Preprocessing) -> None:
    """Types and bounds of a preprocessing. Raises ModelFormatError."""
    for key in ("resize", "crop"):
        size = getattr(preprocessing, key)
        if size is not None and not (type(size) is int and 1 <= size <= MAX_SIDE):
            _fail(f"preprocessing {key} is {show(size)}, not null or a size in 1..{MAX_SIDE}.")
    if preprocessing.interpolation not in INTERPOLATIONS:
        _fail(
            f"preprocessing interpolation {show(preprocessing.interpolation)} is none of {', '.join(INTERPOLATIONS)}."
        )
    if preprocessing.color not in CHANNELS:
        _fail(f"preprocessing color {show(preprocessing.color)} is none of {', '.join(CHANNELS)}.")
    for key in ("mean", "std"):
        values = getattr(preprocessing, key)
        if not isinstance(values, tuple) or len(values) != CHANNELS[preprocessing.color]:
            _fail(f"preprocessing {key} needs one number for each channel of {preprocessing.color}.")
        if not all(_is_number(value) for value in values):
            _fail(f"preprocessing {key} holds something that is not a finite number.")
    if min(preprocessing.std) < 1e-30:
        _fail("preprocessing std must be positive.")


def _check_labels(graph: Graph, labels: Any) -> None:
    shape = graph.tensors[graph.outputs[0]].shape
    if not isinstance(labels, list) or not 1 <= len(labels) <= MAX_LABELS:
        _fail(f"labels must be a list of 1 to {MAX_LABELS} texts.")
    for label in labels:
        check_text(label, "a label", MAX_LABEL)
    if len(shape) < 2 or len(labels) != shape[1]:
        _fail(f"there are {len(labels)} labels for the output {show(graph.outputs[0])} of shape {shape}.")


def _check_provenance(provenance: Any) -> None:
    if not isinstance(provenance, dict) or len(provenance) > MAX_PROVENANCE:
        _fail(f"provenance must hold at most {MAX_PROVENANCE} entries.")
    for key, value in provenance.items():
        check_text(key, "a key of the provenance", MAX_LABEL)
        check_text(value, f"the provenance {show(key)}", MAX_VALUE, empty=True)


def _shapes(graph: Graph, golden: Any, names: list[str], what: str) -> dict[str, tuple[int, ...]]:
    if not isinstance(golden, dict) or set(golden) != set(names):
        _fail(f"the golden {what}s do not name every graph {what} once.")
    shapes = {}
    for name, constant in golden.items():
        if not isinstance(constant, str) or constant not in graph.constants:
            _fail(f"the golden {what} of {show(name)} is not a constant.")
        tensor = graph.tensors[constant]
        if tensor.dtype != "float32":
            _fail(f"the golden {what} of {show(name)} is {tensor.dtype}, not float32.")
        if len(tensor.shape) != len(graph.tensors[name].shape):
            _fail(f"the golden {what} of {show(name)} has the wrong rank.")
        shapes[name] = tensor.shape
    return shapes


def golden_shapes(graph: Graph) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Shapes of the golden inputs and outputs by graph input and output, both empty without a golden pair.

    Raises ModelFormatError where the pair is incomplete, is not float32 constants of the right ranks, or where the
    batches of golden inputs differ from each other or from a fixed one.
    """
    metadata = graph.metadata
    if metadata.golden_inputs == {} and metadata.golden_outputs == {}:
        return {}, {}
    inputs = _shapes(graph, metadata.golden_inputs, graph.inputs, "input")
    outputs = _shapes(graph, metadata.golden_outputs, graph.outputs, "output")
    fixed = {graph.tensors[name].shape[0] for name in graph.inputs} - {BATCH}
    if not fixed and len({shape[0] for shape in inputs.values()}) > 1:
        _fail("the golden inputs have different batches.")
    if fixed and any(shape[0] != graph.tensors[name].shape[0] for name, shape in inputs.items()):
        _fail("a golden input does not have the batch of its graph input.")
    return inputs, outputs


def check_metadata(graph: Graph) -> None:
    """Check preprocessing, labels and provenance of a valid graph. Raises ModelFormatError."""
    metadata = graph.metadata
    if metadata.preprocessing is not None:
        if not isinstance(metadata.preprocessing, Preprocessing):
            _fail("preprocessing must be a Preprocessing.")
        check_preprocessing(metadata.preprocessing)
        shape, channels = graph.tensors[graph.inputs[0]].shape, CHANNELS[metadata.preprocessing.color]
        if len(shape) != 4 or shape[1] != channels:
            _fail(
                f"preprocessing gives [N, {channels}, H, W], but the input {show(graph.inputs[0])} has shape {shape}."
            )
    if metadata.labels is not None:
        _check_labels(graph, metadata.labels)
    _check_provenance(metadata.provenance)
