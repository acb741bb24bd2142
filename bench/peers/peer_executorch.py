"""ExecuTorch with XNNPACK: float32, and static int8 by the PT2E flow."""

# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

import numpy as np

from .job import Job, Runner, Variant

NAME = "executorch"
RUNTIME = ("executorch.runtime",)
DISTRIBUTION = "executorch"
VARIANTS = (
    Variant("float32", "float32", ("executorch.exir", "torch")),
    Variant("int8", "int8", ("executorch.exir", "torchao", "torch"), note="int8 activations, weights per channel"),
)


def convert(job: Job, variant: str, target: Path) -> Path:
    """The exported program, lowered to XNNPACK wherever that takes it."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    example = (torch.from_numpy(job.input()),)
    program = torch.export.load(str(job.exported))
    if variant == "int8":
        program = _quantize(program.module(), example, [torch.from_numpy(sample) for sample in job.calibration()])
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    path = target / "model.pte"
    path.write_bytes(lowered.buffer)
    return path


def _quantize(module, example: tuple, samples: list):
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(module, quantizer)
    for sample in samples:
        prepared(sample)
    return torch.export.export(convert_pt2e(prepared), example)


def load(path: Path, variant: str, threads: int) -> Runner:
    """The program's forward; the process-wide pool is set to `threads`."""
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    torch.set_num_threads(threads)
    portable_lib._unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(str(path)).load_method("forward")
    if method is None:
        raise RuntimeError("the program has no method forward")

    def run(x: np.ndarray) -> np.ndarray:
        return method.execute([torch.from_numpy(x)])[0].numpy().copy()

    return run
