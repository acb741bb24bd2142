"""`edgenet run`: labels of pictures, or the outputs of a network for arrays."""

from __future__ import annotations

import argparse
import json
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.commands.console import (
    ARRAYS,
    NO_PREPROCESSING,
    add_json,
    add_running,
    emit,
    open_model,
    positive,
    read_inputs,
    refuse_unused,
    writable_target,
)
from edgenet.errors import InputError
from edgenet.output import replacing

LABELS = 5
"""Labels shown of each picture."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .edgenet file")
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="pictures, or one .npy array for each network input, or one .npz file that names them all",
    )
    parser.add_argument("--top", type=positive, metavar="N", help=f"labels shown of a picture (default {LABELS})")
    parser.add_argument("-o", "--output", metavar="FILE.npz", help="write the raw outputs, named, to this file")
    add_running(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.output:
        writable_target(arguments.output)
        if Path(arguments.output).suffix != ".npz":
            raise InputError(f"Outputs are written as .npz; {arguments.output} ends otherwise.")
    arrays = arguments.output or any(Path(path).suffix in ARRAYS for path in arguments.inputs)
    if arrays:
        refuse_unused(arguments, ("top",), "for the labels of pictures, and here the outputs are shown as they are")
    model = open_model(arguments.model, arguments.threads)
    if arrays:
        _run_arrays(model, arguments)
        return 0
    return _classify(model, arguments)


def _classify(model: Any, arguments: argparse.Namespace) -> int:
    """Print the labels of each picture as they come; what cannot be read is reported, and makes the exit code 1."""
    if model.graph.metadata.preprocessing is None:
        raise InputError(NO_PREPROCESSING)
    top = arguments.top or LABELS
    results: list[dict[str, Any]] = []
    for path in arguments.inputs:
        try:
            if not results:  # what a first picture prepares is no part of its time
                model.predict(path, top=top)
            started = time.perf_counter()
            found = model.predict(path, top=top)
        except InputError as error:
            message = str(error) if path in str(error) else f"{path}: {error}"
            print(f"edgenet: {message}", file=sys.stderr, flush=True)
            continue
        ms = (time.perf_counter() - started) * 1e3
        rows = [{"label": label, "probability": float(probability)} for label, probability in found]
        results.append({"input": path, "predictions": rows, "ms": ms})
        if not arguments.json:
            lines = [f"  {row['probability']:6.1%}  {row['label']}" for row in rows]
            print("\n".join([f"{path} ({ms:.1f} ms)", *lines]), flush=True)
    if arguments.json:
        print(json.dumps(results, indent=2))
    return 0 if len(results) == len(arguments.inputs) else 1


def _run_arrays(model: Any, arguments: argparse.Namespace) -> None:
    inputs = read_inputs(model, arguments.inputs)
    result = model.run(*inputs)
    arrays = result if isinstance(result, tuple) else (result,)
    outputs = dict(zip(model.graph.outputs, arrays, strict=True))
    if arguments.output:
        _write(arguments.output, outputs)
    figures = {
        name: {"shape": list(y.shape), "minimum": float(y.min()), "maximum": float(y.max()), "mean": float(y.mean())}
        for name, y in outputs.items()
    }
    lines = []
    for name, row in figures.items():
        shape = "x".join(map(str, row["shape"]))
        lines.append(f"{name}: {shape}, {row['minimum']:.6g} to {row['maximum']:.6g}, mean {row['mean']:.6g}")
    if arguments.output:
        lines.append(f"written to {arguments.output}")
    emit(arguments, figures, "\n".join(lines))


def _write(path: str, outputs: dict[str, np.ndarray]) -> None:
    """Write the outputs as an .npz file. A name that leads out of a folder, as a path, gives way to a number."""
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for number, (name, array) in enumerate(outputs.items()):
            leads_out = {"", ".."} & set(name.split("/")) or any(letter in name for letter in "\\:")
            place = f"output.{number}" if leads_out else name
            with archive.open(f"{place}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
