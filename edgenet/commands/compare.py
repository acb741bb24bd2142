"""`edgenet compare`: how far each layer of a file lies from the checkpoint it came from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.commands.console import add_json, emit, positive, progress, refuse_unused, require_torch, writable_target
from edgenet.errors import InputError
from edgenet.graph import Graph
from edgenet.output import write_text

IMAGES = """pictures to compare on (default: random numbers); with class subfolders or a labels.csv also the accuracy is
compared"""
SAMPLES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a .pth, .safetensors or .pt2 file, or a zoo network")
    parser.add_argument("model", metavar="MODEL", help="an .edgenet file made from it")
    parser.add_argument("--arch", metavar="NAME", help="network of the weights: a zoo name or package.module:factory")
    parser.add_argument("--images", metavar="FOLDER", help=IMAGES)
    parser.add_argument("--samples", type=positive, metavar="N", help=f"random inputs (default {SAMPLES})")
    parser.add_argument("--html", metavar="FILE", help="also write the comparison as a page with a plot")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from edgenet import format as file_format

    graph = file_format.load(arguments.model)
    if arguments.html:
        writable_target(arguments.html)
    if arguments.images:
        refuse_unused(arguments, ("samples",), "for random inputs, and here pictures are given")
        if not Path(arguments.images).is_dir():
            raise InputError(f"There is no folder {arguments.images}.")
    if Path(arguments.checkpoint).suffix == ".pt2":
        refuse_unused(arguments, ("arch",), "for weights; a .pt2 file holds its network")
    require_torch("Comparing")
    from edgenet.converter import compare

    module, reference = _module(arguments.checkpoint, arguments.arch, graph)
    inputs = arguments.images or _random(graph, arguments.samples or SAMPLES)
    with progress() as report:
        found = compare(module, graph, inputs, reference=reference, progress=report)
    if arguments.html:
        write_text(arguments.html, found.to_html())
    emit(arguments, json.loads(found.to_json()), str(found))
    return 0


def _module(source: str, arch: str | None, graph: Graph) -> tuple[Any, Graph | None]:
    """The module behind a checkpoint, for the inputs of `graph`; for an exported program also its float32 graph, whose
    names the file has."""
    import torch

    from edgenet.converter.checkpoint import open_checkpoint
    from edgenet.converter.importer import import_module
    from edgenet.converter.passes import optimize

    exported = Path(source).suffix == ".pt2"
    example = None if exported else tuple(map(torch.from_numpy, _sample(graph, np.random.default_rng(0))))
    exportable = open_checkpoint(source, arch, example).exportable
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
    found = [_sample(graph, rng) for _ in range(samples)]
    return [arrays[0] for arrays in found] if len(graph.inputs) == 1 else list(found)


def _sample(graph: Graph, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    shapes = [graph.tensors[name].concrete(1) for name in graph.inputs]
    return tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)
