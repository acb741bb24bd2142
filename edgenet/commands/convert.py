"""`edgenet convert`: from a PyTorch checkpoint to an .edgenet file."""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

from edgenet.commands.console import (
    add_json,
    emit,
    megabytes,
    positive,
    progress,
    refuse_unused,
    require_torch,
    writable_target,
)
from edgenet.errors import InputError

MAX_DROP = """int8: keep as few layers as possible in float32 so that at most X points of top-1 are lost, where the
pictures are labelled (class subfolders, or a labels.csv), or so that the outputs have an SQNR of at least X dB"""
CROP = "side of the centre crop in pixels (default: that of the network's input)"
WEIGHTS = "(with the weights of an installed package, or else random ones, as a warning says)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help=f"a .pth, .safetensors or .pt2 file, or a zoo network {WEIGHTS}"
    )
    parser.add_argument("--arch", metavar="NAME", help="network of the weights: a zoo name or package.module:factory")
    parser.add_argument(
        "--precision",
        choices=("float32", "int8", "weights_int8", "float16"),
        help="arithmetic (float32, int8) or compact storage of a float32 network (default: float32, and int8 for a "
        "program that is quantized already)",
    )
    parser.add_argument("--calibration", metavar="FOLDER", help="pictures to calibrate int8 with; about 32 are good")
    parser.add_argument("--max-drop", type=float, metavar="X", help=MAX_DROP)
    parser.add_argument("--test", metavar="FOLDER", help="pictures that --max-drop judges by (default: --calibration)")
    parser.add_argument("--force", action="store_true", help="convert even a network whose outputs are of no use")
    parser.add_argument("--labels", metavar="FILE", help="text file with one class name a line, or 'imagenet'")
    parser.add_argument(
        "--input-size", metavar="CxHxW", type=_size, help="the network's input without the batch, such as 3x224x224"
    )
    parser.add_argument("--name", help="the network's name in the file")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="file to write (default: CHECKPOINT's name with .edgenet, here)"
    )
    pictures = parser.add_argument_group("pictures", "how pictures become inputs; zoo networks know it")
    pictures.add_argument("--resize", type=positive, metavar="N", help="shorter side in pixels")
    pictures.add_argument("--crop", type=positive, metavar="N", help=CROP)
    pictures.add_argument("--interpolation", help="filter of the resize, such as bilinear or bicubic")
    pictures.add_argument("--mean", type=_floats, metavar="A,B,C", help="mean of each channel, pixels in 0..1")
    pictures.add_argument("--std", type=_floats, metavar="A,B,C", help="standard deviation of each channel")
    pictures.add_argument("--color", type=str.upper, choices=("RGB", "BGR", "L"), help="order of the channels; L: grey")
    add_json(parser)


def _size(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) for part in text.lower().split("x"))
    if min(sizes) < 1:
        raise ValueError
    return sizes


def _floats(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


_size.__name__ = "size such as 3x224x224"
_floats.__name__ = "list of numbers"


def run(arguments: argparse.Namespace) -> int:
    output = arguments.output or f"{Path(arguments.checkpoint).stem}.edgenet"
    writable_target(output)
    labels = read_labels(arguments.labels)
    require_torch("Converting")
    import torch

    from edgenet.commands.inspect import totals
    from edgenet.converter import Report, convert, zoo
    from edgenet.converter.checkpoint import RANDOM_WEIGHTS

    if Path(arguments.checkpoint).suffix == ".pt2":
        refuse_unused(arguments, ("input_size",), "for modules; a .pt2 file knows its input")
        if arguments.arch not in zoo.names():
            refuse_unused(arguments, ("arch",), "for weights; beside a .pt2 file only a zoo name says something")
    reports: list[Report] = []
    example = None if arguments.input_size is None else (torch.zeros(1, *arguments.input_size),)
    started = time.perf_counter()
    with progress() as report:
        graph = convert(
            arguments.checkpoint,
            example,
            precision=arguments.precision,
            calibration=arguments.calibration,
            preprocessing=preprocessing(arguments),
            labels=labels,
            arch=arguments.arch,
            progress=report,
            name=arguments.name,
            max_drop=arguments.max_drop,
            test=arguments.test,
            force=arguments.force,
            on_report=reports.append,
        )
        graph.save(output)
    seconds = time.perf_counter() - started
    if graph.metadata.provenance["source"] == RANDOM_WEIGHTS:
        warnings.warn(
            f"No weights of {arguments.checkpoint} are installed: {output} holds random numbers. Convert a checkpoint "
            f"with --arch {arguments.checkpoint} for a network that has learned something.",
            stacklevel=1,
        )
    size = Path(output).stat().st_size
    figures: dict[str, Any] = {
        "file": output,
        "bytes": size,
        "precision": graph.metadata.provenance["precision"],
        "seconds": seconds,
        **totals(graph),
        "report": json.loads(reports[0].to_json()),
    }
    counts = f"{figures['parameters']:,} parameters, {figures['macs']:,} MACs"
    line = f"{output}: {figures['precision']}, {megabytes(size)}, {counts} ({seconds:.1f} s)"
    emit(arguments, figures, "\n".join([line, str(reports[0])]).rstrip())
    return 0


def read_labels(path: str | None) -> list[str] | None:
    """One class name a line of a text file; the names of ImageNet's classes for "imagenet". Raises InputError."""
    if path is None:
        return None
    if path == "imagenet":
        from edgenet.images import imagenet_labels

        return imagenet_labels()
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"The file of labels {path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The labels in {path} cannot be read. Give a UTF-8 text file with one name a line."
        ) from error
    return text.splitlines()


def preprocessing(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """What the command line says of pictures, by field of Preprocessing; None where it says nothing."""
    names = ("resize", "crop", "interpolation", "mean", "std", "color")
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None} or None
