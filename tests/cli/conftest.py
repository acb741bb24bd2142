"""Small networks as files, and a way to call the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgenet.cli import main
from edgenet.converter.golden import add_golden_pair
from edgenet.converter.quantize import quantize
from edgenet.dtypes import BATCH
from edgenet.graph import Graph, Node, Preprocessing, Tensor

CLASSES = ["ant", "bee", "cat", "dog"]
SIZE = 12


@dataclass
class Result:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs `edgenet ARGUMENTS...` in this process."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def refused(command: Callable[..., Result]) -> Callable[..., str]:
    """Runs a command that must fail as a user's mistake: exit code 1, nothing on stdout, a short message on stderr."""

    def call(*arguments: object) -> str:
        result = command(*arguments)
        assert result.code == 1, result.err
        assert result.out == ""
        assert result.err.startswith("edgenet: ")
        assert result.err.count("\n") == 1
        assert "Traceback" not in result.err
        return result.err

    return call


def classifier() -> Graph:
    """A 3x3 convolution and a linear layer on pictures of 12 x 12, four classes, with preprocessing and labels."""
    rng = np.random.default_rng(1)
    graph = Graph(inputs=["x"], outputs=["y"])
    shapes = {"x": (BATCH, 3, SIZE, SIZE), "image": (BATCH, SIZE, SIZE, 3), "features": (BATCH, 6, 6, 8)}
    shapes |= {"flat": (BATCH, 288), "y": (BATCH, 4)}
    graph.tensors |= {name: Tensor(name, shape) for name, shape in shapes.items()}
    kernel = graph.add_constant("conv.weight", rng.standard_normal((8, 3, 3, 3)).astype(np.float32))
    matrix = graph.add_constant("fc.weight", (rng.standard_normal((4, 288)) / 17).astype(np.float32))
    attributes = {"stride": [2, 2], "padding": [1, 1, 1, 1], "activation": {"kind": "clamp", "min": 0.0, "max": None}}
    graph.nodes += [
        Node("permute", "to_nhwc", {"x": "x"}, "image", {"order": [0, 2, 3, 1]}),
        Node("conv2d", "conv", {"x": "image", "weight": kernel}, "features", attributes),
        Node("flatten", "flatten", {"x": "features"}, "flat"),
        Node("linear", "fc", {"x": "flat", "weight": matrix}, "y"),
    ]
    graph.metadata.preprocessing = Preprocessing(SIZE, SIZE)
    graph.metadata.labels = CLASSES
    return graph


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The classifier's files by precision."""
    folder = tmp_path_factory.mktemp("models")
    samples = [np.random.default_rng(seed).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32) for seed in range(4)]
    found = {}
    for precision in ("float32", "int8"):
        graph = classifier()
        if precision == "int8":
            metadata = graph.metadata
            graph = quantize(graph, samples)
            graph.metadata = metadata
        add_golden_pair(graph)
        found[precision] = folder / f"{precision}.edgenet"
        graph.save(found[precision])
    return found


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A photograph-like picture of 40 x 30 pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    return path
