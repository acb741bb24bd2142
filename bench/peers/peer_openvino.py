"""OpenVINO: float32, and int8 by NNCF's post-training quantization."""

# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

import numpy as np

from .job import Job, Runner, Variant

NAME = "openvino"
RUNTIME = ("openvino",)
DISTRIBUTION = "openvino"
VARIANTS = (
    Variant("float32", "float32", ("openvino",), onnx=True),
    Variant("int8", "int8", ("openvino", "nncf"), onnx=True, note="NNCF post-training quantization"),
    Variant("int8_mixed", "int8", ("openvino", "nncf"), onnx=True, note="NNCF, preset mixed", timed=False),
    Variant(
        "int8_mixed_bias",
        "int8",
        ("openvino", "nncf"),
        onnx=True,
        note="preset mixed, full bias correction",
        timed=False,
    ),
)


def convert(job: Job, variant: str, target: Path) -> Path:
    """OpenVINO's IR (two files), weights kept in float32 or quantized."""
    import openvino

    model = openvino.convert_model(str(job.onnx))
    model.reshape(list(job.input().shape))
    if variant != "float32":
        import nncf

        preset = None if variant == "int8" else nncf.QuantizationPreset.MIXED
        full = variant == "int8_mixed_bias"
        model = nncf.quantize(model, nncf.Dataset(job.calibration()), preset=preset, fast_bias_correction=not full)
    openvino.save_model(model, str(target / "model.xml"), compress_to_fp16=False)
    return target


def load(path: Path, variant: str, threads: int) -> Runner:
    """The model compiled for latency; arithmetic outside int8 in float32."""
    import openvino

    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = openvino.Core().compile_model(str(path / "model.xml"), "CPU", options).create_infer_request()
    return lambda x: np.array(request.infer([x], share_inputs=True, share_outputs=True)[0])
