"""`edgenet compare`: how far each layer of a file lies from the checkpoint it came from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.commands.console import add_json, emit, positive, progress, writable_target
from edgenet.errors import ConversionError
from edgenet.graph import Graph
from edgenet.output import write_text

IMAGES = """pictures to compare on (default: random numbers); with class subfolders or a labels.csv also the accuracy is
compared"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a .pth, .safetensors or .pt2 file, or a zoo network")
    parser.add_argument("model", metavar="MODEL", help="an .edgenet file made from it")
    parser.add_argument("--arch", metavar="NAME", help="network of the weights: a zoo name or package.module:factory")
    parser.add_argument("--images", metavar="FOLDER", help=IMAGES)
    parser.add_argument("--samples", type=positive, default=4, metavar="N", help="random inputs (default 4)")
    parser.add_argument("--html", metavar="FILE", help="also write the comparison as a page with a plot")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from edgenet import format as file_format

    graph = file_format.load(arguments.model)
    if arguments.html:
        writable_target(arguments.html)
    try:
        import torch  # noqa: F401  # says at once that it is missing
    except ImportError:
        raise ConversionError("Comparing needs PyTorch: pip install 'edgenet[convert]'.") from None
    from edgenet.converter import compare

    module, reference = _module(arguments.checkpoint, arguments.arch)
    inputs = arguments.images or _random(graph, arguments.samples)
    with progress() as report:
        found = compare(module, graph, inputs, reference=reference, progress=report)
    if arguments.html:
        write_text(arguments.html, found.to_html())
    emit(arguments, json.loads(found.to_json()), str(found))
    return 0


def _module(source: str, arch: str | None) -> tuple[Any, Graph | None]:
    """The module behind a checkpoint; for an exported program also its float32 graph, whose names the file has."""
    import torch

    from edgenet.converter.checkpoint import open_checkpoint
    from edgenet.converter.importer import import_module
    from edgenet.converter.passes import optimize

    exportable = open_checkpoint(source, arch).exportable
    if isinstance(exportable, torch.nn.Module):
        return exportable, None
    reference = optimize(import_module(exportable))
    program = torch.export.load(exportable) if isinstance(exportable, Path) else exportable
    call = program.module()

    class Exported(torch.nn.Module):
        """The program as a module that takes eval(), which programs refuse: they are what they were exported as."""

        def forward(self, *inputs: Any) -> Any:
            return call(*inputs)

    return Exported(), reference


def _random(graph: Graph, samples: int) -> list[Any]:
    """Standard normal inputs of the declared shapes."""
    rng = np.random.default_rng(0)
    shapes = [graph.tensors[name].concrete(1) for name in graph.inputs]
    found = [tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes) for _ in range(samples)]
    return [arrays[0] for arrays in found] if len(shapes) == 1 else list(found)
