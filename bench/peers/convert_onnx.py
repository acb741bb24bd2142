"""The network as ONNX, from which several peers start."""

# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

from .job import Job, Variant

NAME = "onnx"
RUNTIME = ("torch", "onnx")
DISTRIBUTION = "onnx"
VARIANTS = (Variant("float32", "float32", RUNTIME),)

OPSET = 17


def convert(job: Job, variant: str, target: Path) -> Path:
    """Write `job.onnx` by torch.onnx's exporter of traced modules; `target` stays empty."""
    import torch

    module = torch.jit.load(str(job.torchscript)).eval()
    partial = target / "partial.onnx"
    torch.onnx.export(
        module,
        (torch.from_numpy(job.input()),),
        str(partial),
        input_names=["input"],
        output_names=["output"],
        opset_version=OPSET,
        dynamo=False,
    )
    partial.replace(job.onnx)
    return job.onnx
