"""ONNX Runtime: float32, and statically quantized int8 in QDQ form with unsigned or signed activations."""

# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

from .job import Job, Runner, Variant

NAME = "onnxruntime"
RUNTIME = ("onnxruntime",)
DISTRIBUTION = "onnxruntime"
CONVERTERS = ("onnxruntime", "onnx")
VARIANTS = (
    Variant("float32", "float32", (), onnx=True),
    Variant("int8_u8s8", "int8", CONVERTERS, onnx=True, note="sums of two products saturate on CPUs without VNNI"),
    Variant("int8_s8s8", "int8", CONVERTERS, onnx=True),
    Variant("int8_u8s8_entropy", "int8", CONVERTERS, onnx=True, note="entropy calibration", timed=False),
    Variant("int8_u8s8_percentile", "int8", CONVERTERS, onnx=True, note="percentile calibration", timed=False),
)


def convert(job: Job, variant: str, target: Path) -> Path:
    """The ONNX file itself, or its quantized form."""
    if variant == "float32":
        return job.onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Samples(CalibrationDataReader):
        def __init__(self) -> None:
            self.samples = iter(job.calibration())

        def get_next(self) -> dict | None:
            sample = next(self.samples, None)
            return None if sample is None else {"input": sample}

    methods = {"entropy": CalibrationMethod.Entropy, "percentile": CalibrationMethod.Percentile}
    prepared, path = target / "prepared.onnx", target / "model.onnx"
    quant_pre_process(str(job.onnx), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(path),
        Samples(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8 if variant == "int8_s8s8" else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=methods.get(variant.rpartition("_")[2], CalibrationMethod.MinMax),
    )
    prepared.unlink()
    return path


def load(path: Path, variant: str, threads: int) -> Runner:
    """A session with all optimisations on `threads` threads, the caller's among them."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"input": x})[0]
