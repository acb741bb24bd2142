"""ncnn: float32 through pnnx, and int8 with a scale for each output channel and one for each activation."""

# pyright: reportMissingImports=false
from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from .job import Job, Runner, Variant

NAME = "ncnn"
RUNTIME = ("ncnn",)
DISTRIBUTION = "ncnn"
VARIANTS = (
    Variant("float32", "float32", ("pnnx",)),
    Variant("int8", "int8", ("pnnx", "ncnn"), note="scales from largest absolute values, quantized by this program"),
)


def convert(job: Job, variant: str, target: Path) -> Path:
    """A parameter and a weight file, made by pnnx from the traced module."""
    import pnnx

    [place] = pnnx.__path__
    tool = Path(place) / "pnnx"
    folder = target / "pnnx"
    folder.mkdir(exist_ok=True)
    shape = ",".join(map(str, job.input().shape))
    traced = folder / "module.pt"
    traced.write_bytes(job.torchscript.read_bytes())
    words = [str(tool), str(traced), f"inputshape=[{shape}]f32", "fp16=0"]
    words += [f"ncnnparam={target / 'model.param'}", f"ncnnbin={target / 'model.bin'}"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600)
    if not (target / "model.bin").exists():
        raise RuntimeError(f"pnnx failed with status {done.returncode}: {done.stderr.strip()[-300:]}")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    if variant == "int8":
        from .ncnn_int8 import quantize

        quantize(target, job.calibration())
    return target


def load(path: Path, variant: str, threads: int) -> Runner:
    """The network with storage and arithmetic of 16-bit floats switched off."""
    import ncnn

    network = ncnn.Net()
    network.opt.num_threads = threads
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(network.opt, option, False)
    if network.load_param(str(path / "model.param")) or network.load_model(str(path / "model.bin")):
        raise RuntimeError("ncnn does not read the model")

    def run(x: np.ndarray) -> np.ndarray:
        extractor = network.create_extractor()
        extractor.input("in0", ncnn.Mat(x[0]))
        status, result = extractor.extract("out0")
        if status:
            raise RuntimeError(f"ncnn failed with status {status}")
        return np.array(result)[None]

    return run
