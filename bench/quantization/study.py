"""Convert a network to int8 with every peer, run what came out on the same images, and measure its error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.bench.peers import network, process
from edgenet.bench.peers.conversion import convert_all
from edgenet.bench.peers.entry import Entry, Options
from edgenet.bench.peers.environments import Environment
from edgenet.bench.peers.job import Job
from edgenet.bench.peers.process import PeerFailure

from .photographs import Photograph, inputs

NETWORKS = ("mobilenet_v2", "efficientnet_lite0")
PEERS = ("edgenet", "onnxruntime", "openvino", "litert")
CALIBRATION_IMAGES = 32
"""Images that everyone calibrates with: the calibration photographs and crops of them."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Pictures:
    """Photographs to calibrate with, others to test on, and how many crops of the latter."""

    calibration: Sequence[Photograph]
    test: Sequence[Photograph]
    crops: int = 500


def study(
    found: Sequence[Environment], options: Options, pictures: Pictures, folder: Path, progress: Progress
) -> list[dict[str, Any]]:
    """A row for each network, peer and variant; a peer's failure is a row with its reason. Needs torch."""
    from edgenet.converter import zoo

    rows: list[dict[str, Any]] = []
    for done, name in enumerate(options.networks):
        progress("networks", done, len(options.networks))
        preprocessing = zoo.info(name).preprocessing
        few = pictures.calibration[:CALIBRATION_IMAGES]
        calibration = inputs(few, CALIBRATION_IMAGES - len(few), preprocessing, seed=1)
        job = network.prepare(name, folder, calibration)
        samples = inputs(pictures.test, pictures.crops, preprocessing, seed=2)
        np.save(_test_file(job), samples)
        wanted = _module_outputs(job, samples)
        entries = convert_all(found, options, job, lambda d, t, n=name: progress(f"{n}: converting", d, t))
        for count, entry in enumerate(entries):
            progress(f"{name}: running", count, len(entries))
            rows.append(measure(entry, job, wanted, len(pictures.test)))
        progress(f"{name}: running", len(entries), len(entries))
    progress("networks", len(options.networks), len(options.networks))
    return rows


def _test_file(job: Job) -> Path:
    return job.folder / "test.npy"


def _module_outputs(job: Job, samples: np.ndarray) -> np.ndarray:
    """What PyTorch returns for the network that all peers were given, in float32."""
    import torch

    module = torch.jit.load(str(job.torchscript))
    with torch.inference_mode():
        parts = [module(torch.from_numpy(samples[i : i + 16])).numpy() for i in range(0, len(samples), 16)]
    return np.concatenate(parts)


def measure(entry: Entry, job: Job, wanted: np.ndarray, photographs: int) -> dict[str, Any]:
    """The row of an entry: what it is, and how far its outputs lie from those wanted, or why there are none."""
    row = entry.row(job.folder.name)
    del row["threads"]
    row["conversion_seconds"] = entry.conversion_seconds
    if entry.failure:
        return row
    try:
        got = _outputs(entry, job)
        if got.shape != wanted.shape or not np.isfinite(got).all():
            raise PeerFailure("the outputs have another shape or are not finite")
    except PeerFailure as failure:
        return {**row, "failure": str(failure)}
    return {**row, **accuracy(got, wanted, photographs)}


def _outputs(entry: Entry, job: Job) -> np.ndarray:
    """The entry's outputs for all test images."""
    assert entry.environment is not None
    target = job.folder / f"{entry.module}-{entry.variant.name}.outputs.npy"
    worker, _ = process.serve(
        entry.environment.python, entry.module, entry.variant.name, entry.path, job.input_file, 2, []
    )
    try:
        worker.go_on()
        worker.ask("outputs", 600, inputs=str(_test_file(job)), outputs=str(target))
        return np.load(target)
    finally:
        worker.close()
        target.unlink(missing_ok=True)


def decibels(got: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """SQNR of each sample in dB, at most 150."""
    got, wanted = (a.reshape(len(a), -1).astype(np.float64) for a in (got, wanted))
    signal, noise = np.square(wanted).sum(1), np.square(got - wanted).sum(1)
    return 10 * np.log10(np.maximum(signal, 1e-30) / np.maximum(noise, signal * 1e-15 + 1e-45))


def accuracy(got: np.ndarray, wanted: np.ndarray, photographs: int) -> dict[str, Any]:
    """Mean SQNR over all samples, over the first `photographs` and over the crops; its lowest twentieth; top-1."""
    each = decibels(got, wanted)
    crops = each[photographs:]
    return {
        "sqnr": float(each.mean()),
        "sqnr_photographs": float(each[:photographs].mean()),
        "sqnr_crops": float(crops.mean()) if len(crops) else None,
        "sqnr_p05": float(np.percentile(each, 5)),
        "sqnr_standard_error": float(each.std() / math.sqrt(len(each))),
        "top1_agreement": float((got.argmax(-1) == wanted.argmax(-1)).mean()),
        "samples": len(each),
    }
