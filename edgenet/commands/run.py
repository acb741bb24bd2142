"""`edgenet run`: labels of pictures, or the outputs of a network for arrays."""

from __future__ import annotations

import argparse
import os
import secrets
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.commands.console import add_json, add_running, emit, open_model, positive, read_inputs, writable_target
from edgenet.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .edgenet file")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="pictures, or one .npy array for each network input")
    parser.add_argument("--top", type=positive, default=5, metavar="N", help="labels shown (default 5)")
    parser.add_argument("-o", "--output", metavar="FILE.npz", help="write the raw outputs, named, to this file")
    add_running(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.output:
        writable_target(arguments.output)
        if Path(arguments.output).suffix != ".npz":
            raise InputError(f"Outputs are written as .npz; {arguments.output} ends otherwise.")
    model = open_model(arguments.model, arguments.threads)
    if arguments.output or any(Path(path).suffix == ".npy" for path in arguments.inputs):
        _run_arrays(model, arguments)
    else:
        _classify(model, arguments)
    return 0


def _classify(model: Any, arguments: argparse.Namespace) -> None:
    results = []
    for path in arguments.inputs:
        started = time.perf_counter()
        found = model.predict(path, top=arguments.top)
        ms = (time.perf_counter() - started) * 1e3
        rows = [{"label": label, "probability": float(probability)} for label, probability in found]
        results.append({"input": path, "predictions": rows, "ms": ms})
    lines = []
    for result in results:
        lines.append(f"{result['input']} ({result['ms']:.1f} ms)")
        lines += [f"  {row['probability']:6.1%}  {row['label']}" for row in result["predictions"]]
    emit(arguments, results, "\n".join(lines))


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
    """Write an .npz file under a temporary name, then rename it."""
    temporary = f"{path}.{secrets.token_hex(4)}"
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, array in outputs.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
