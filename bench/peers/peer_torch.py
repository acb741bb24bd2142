"""PyTorch: eager, and TorchScript frozen and optimised for inference."""

# pyright: reportMissingImports=false
from __future__ import annotations

import shutil
from pathlib import Path

from .job import Job, Runner, Variant

NAME = "torch"
RUNTIME = ("torch",)
DISTRIBUTION = "torch"
VARIANTS = (
    Variant("float32_eager", "float32", ("torch",), note="operator by operator"),
    Variant("float32_frozen", "float32", ("torch",), note="torch.jit.optimize_for_inference"),
)


def convert(job: Job, variant: str, target: Path) -> Path:
    """The exported program or the traced module as it is."""
    source = job.exported if variant == "float32_eager" else job.torchscript
    return Path(shutil.copy(source, target))


def load(path: Path, variant: str, threads: int) -> Runner:
    """The module in inference mode."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    if variant == "float32_eager":
        module = torch.export.load(str(path)).module()
    else:
        module = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.load(str(path)).eval()))

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(x)).numpy()

    return run
