"""A network as files that every converter can start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgenet.errors import ConversionError

from .job import Job

if TYPE_CHECKING:
    from torch import nn

NAMES = (
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_lite0",
    "tiny_separable",
    "resnet18",
    "mobilenet_v1_std",
)
"""Networks that are compared unless others are named."""

SAMPLES = 8
"""Calibration samples."""
FILE_SUFFIX = ".pt2"


def prepare(name: str, folder: Path, calibration: np.ndarray | None = None) -> Job:
    """Write network `name`, an input, calibration samples and its output; trained weights where a package has them.

    `name`: a network of the zoo, or a .pt2 file of one with one input. `calibration`: float32 [samples, C, H, W];
    standard normal numbers when not given.

    Needs torch. Raises ConversionError for an unknown name or a file that cannot be read.
    """
    import torch

    module, size = _from_file(name) if name.endswith(FILE_SUFFIX) else _from_zoo(name)
    job = Job(folder / Path(name).stem)
    job.folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, *size)).astype(np.float32)
    np.save(job.input_file, x)
    if calibration is None:
        calibration = rng.standard_normal((SAMPLES, *size)).astype(np.float32)
    np.save(job.calibration_file, calibration)
    with torch.inference_mode(False), torch.no_grad():
        example = torch.from_numpy(x)
        np.save(job.reference_file, module(example).numpy())
        torch.jit.save(torch.jit.trace(module, example), str(job.torchscript))
        torch.export.save(torch.export.export(module, (example,)), str(job.exported))
    return job


def _from_zoo(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The module and its input's shape without the batch."""
    import torch

    from edgenet.converter import zoo

    weights = zoo.find_weights(name)
    module, size = zoo.build(name, weights=weights), zoo.info(name).input_size
    if weights is None:
        zoo.randomize_batchnorm(module, example=torch.randn(2, *size, generator=torch.Generator().manual_seed(0)))
    return module, tuple(size)


def _from_file(path: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The same of a program that torch.export.save wrote."""
    from edgenet.converter.importer import export

    program = export(path, None)
    names = set(program.graph_signature.user_inputs)
    shapes = [tuple(n.meta["val"].shape) for n in program.graph.nodes if n.op == "placeholder" and n.name in names]
    if len(shapes) != 1 or not all(isinstance(size, int) for size in shapes[0][1:]):
        raise ConversionError(f"{path} must hold a network with one input, of fixed sizes but for the batch.")
    return program.module(), shapes[0][1:]
