"""MNN: float32, and 8-bit weights computed at run time with dynamically quantized activations."""

# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

import numpy as np

from .job import Job, Runner, Variant

NAME = "mnn"
RUNTIME = ("MNN",)
DISTRIBUTION = "MNN"
VARIANTS = (
    Variant("float32", "float32", ("MNN",), onnx=True),
    Variant("int8_weights", "int8", ("MNN",), onnx=True, note="8-bit weights only: MNN's static int8 tool aborts"),
)


def convert(job: Job, variant: str, target: Path) -> Path:
    """MNN's converter, called as a module: its command-line script installs a telemetry package."""
    import _tools  # installed beside MNN

    path = target / "model.mnn"
    words = ["mnnconvert", "-f", "ONNX", "--modelFile", str(job.onnx), "--MNNModel", str(path), "--bizCode", "edgenet"]
    if variant == "int8_weights":
        words += ["--weightQuantBits", "8"]
    _tools.mnnconvert(words)
    if not path.exists():
        raise RuntimeError("MNN's converter wrote no file")
    return path


def load(path: Path, variant: str, threads: int) -> Runner:
    """A module on the CPU backend in full precision."""
    import MNN

    memory = "low" if variant == "int8_weights" else "normal"
    config = {"backend": "CPU", "precision": "high", "memory": memory, "numThread": threads}
    manager = MNN.nn.create_runtime_manager((config,))
    module = MNN.nn.load_module_from_file(str(path), ["input"], ["output"], runtime_manager=manager)

    def run(x: np.ndarray) -> np.ndarray:
        given = MNN.expr.placeholder(list(x.shape), MNN.expr.NCHW)
        given.write(x)
        return np.array(module.forward(given).read())

    return run
