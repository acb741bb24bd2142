"""Conversions of one network to every peer, each in a process of its own; those found in the folder are used again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import process, registry
from .entry import Entry, Options
from .environments import Environment, having
from .job import Job
from .process import PeerFailure

RECORD = "conversion.json"
"""Beside a converted model: what it was made from and by."""


def convert_all(
    found: Sequence[Environment], options: Options, job: Job, report: Callable[[int, int], None]
) -> list[Entry]:
    """An entry for each wanted peer and variant, converted unless that failed."""
    onnx_failure = ""
    entries = [
        Entry(peer, variant, f"peer_{name}")
        for name in options.peers
        for peer in (registry.get(name),)
        for variant in peer.VARIANTS
        if variant.precision in options.precisions and (variant.timed or options.untimed)
    ]
    if any(entry.variant.onnx for entry in entries):
        onnx_failure = export_onnx(found, options, job)
    for done, entry in enumerate(entries):
        report(done, len(entries))
        try:
            convert_one(found, options, job, entry, onnx_failure)
        except PeerFailure as failure:
            entry.failure = str(failure)
    report(len(entries), len(entries))
    return entries


def export_onnx(found: Sequence[Environment], options: Options, job: Job) -> str:
    """Write the ONNX file; why that failed, or nothing."""
    from . import convert_onnx

    environment = having(found, convert_onnx.RUNTIME)
    if environment is None:
        return "the ONNX file needs torch and onnx in one environment"
    try:
        _convert(environment, "convert_onnx", convert_onnx.VARIANTS[0].name, job, options.limit)
    except PeerFailure as failure:
        return f"ONNX export: {failure}"
    return ""


def convert_one(found: Sequence[Environment], options: Options, job: Job, entry: Entry, onnx_failure: str) -> None:
    """Convert for one entry. Raises PeerFailure."""
    peer, variant = entry.peer, entry.variant
    entry.environment = having(found, peer.RUNTIME)
    if entry.environment is None:
        raise PeerFailure(f"not installed: {', '.join(peer.RUNTIME)}")
    if variant.onnx and onnx_failure:
        raise PeerFailure(onnx_failure)
    converter = having(found, variant.converters)
    if converter is None:
        raise PeerFailure(f"no environment has all of {', '.join(variant.converters)}")
    done = _convert(converter, entry.module, variant.name, job, options.limit)
    entry.path, entry.file_bytes, entry.conversion_seconds = done["path"], done["file_bytes"], done["seconds"]


def _convert(environment: Environment, module: str, variant: str, job: Job, limit: float) -> dict[str, Any]:
    """Convert, unless the folder holds the result for the same network, program and versions. edgenet's own always."""
    record = job.folder / f"{module}-{variant}.{RECORD}"
    made_from = {"network": _fingerprint(job), "program": _program(), "versions": environment.versions}
    if module != "peer_edgenet" and record.exists():
        known = json.loads(record.read_text(encoding="utf-8"))
        if known["made_from"] == made_from and Path(known["done"]["path"]).exists():
            return known["done"]
    record.unlink(missing_ok=True)
    done = process.convert(environment.python, module, variant, job.folder, limit)
    record.write_text(json.dumps({"made_from": made_from, "done": done}), encoding="utf-8")
    return done


def _fingerprint(job: Job) -> str:
    """A digest of the network's behaviour: its input, calibration samples and output."""
    digest = hashlib.sha256()
    for path in (job.input_file, job.calibration_file, job.reference_file):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _program() -> str:
    """A digest of the files that convert."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name.startswith(("peer_", "convert_", "ncnn_", "network")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
