"""A network of the zoo as files that every converter can start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .job import Job

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


def prepare(name: str, folder: Path, calibration: np.ndarray | None = None) -> Job:
    """Write network `name`, an input, calibration samples and its output; trained weights where a package has them.

    `calibration`: float32 [samples, C, H, W]; standard normal numbers when not given.

    Needs torch. Raises ConversionError for an unknown name.
    """
    import torch

    from edgenet.converter import zoo

    job = Job(folder / name)
    job.folder.mkdir(parents=True, exist_ok=True)
    weights = zoo.find_weights(name)
    module = zoo.build(name, weights=weights)
    size = zoo.info(name).input_size
    if weights is None:
        zoo.randomize_batchnorm(module, example=torch.randn(2, *size, generator=torch.Generator().manual_seed(0)))
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
