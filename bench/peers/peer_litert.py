"""LiteRT (TensorFlow Lite) with XNNPACK: float32, and static int8 by ai-edge-quantizer."""

# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

import numpy as np

from .job import Job, Runner, Variant

NAME = "litert"
RUNTIME = ("ai_edge_litert.interpreter",)
DISTRIBUTION = "ai-edge-litert"
VARIANTS = (
    Variant("float32", "float32", ("litert_torch", "torch")),
    Variant("int8", "int8", ("litert_torch", "ai_edge_quantizer", "torch"), note="int8 activations and weights"),
)


def convert(job: Job, variant: str, target: Path) -> Path:
    """The exported program through litert-torch."""
    import litert_torch
    import torch

    module = torch.export.load(str(job.exported)).module()
    path = target / "model.tflite"
    litert_torch.convert(module, (torch.from_numpy(job.input()),)).export(str(path))
    return path if variant == "float32" else _quantize(job, path)


def _quantize(job: Job, source: Path) -> Path:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    [(signature, tensors)] = Interpreter(str(source)).get_signature_list().items()
    [name] = tensors["inputs"]
    tool = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
    ranges = tool.calibrate({signature: [{name: sample} for sample in job.calibration()]}, num_threads=1)
    path = source.with_name("model_int8.tflite")
    tool.quantize(ranges).export_model(str(path), overwrite=True)
    source.unlink()
    return path


def load(path: Path, variant: str, threads: int) -> Runner:
    """An interpreter with its default delegate (XNNPACK)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    given, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if given["dtype"] != np.float32 or result["dtype"] != np.float32:
        return _quantized_borders(interpreter, given, result)

    def run(x: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return run


def _quantized_borders(interpreter, given: dict, result: dict) -> Runner:
    """The caller quantizes the input and dequantizes the output."""
    (scale, zero), (out_scale, out_zero) = given["quantization"], result["quantization"]

    def run(x: np.ndarray) -> np.ndarray:
        q = np.clip(np.rint(x * np.float32(1 / scale)) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(given["index"], q)
        interpreter.invoke()
        return (interpreter.get_tensor(result["index"]).astype(np.float32) - out_zero) * np.float32(out_scale)

    return run
