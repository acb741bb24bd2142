"""Graph, Node, Tensor: the one in-memory model, used by converter and runtime alike.

Activations are stored channels-last (NHWC, or NC for rank 2). Dimension 0 of an activation may be
`BATCH`, every other dimension is a positive integer. Operations are defined in `edgenet.ops`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Final

import numpy as np

from edgenet.dtypes import BATCH


@dataclass(frozen=True)
class Quantization:
    """Affine quantization `real = scale * (stored - zero_point)`.

    `scale` has one entry, or one entry per index of `axis`. Per-axis quantization is symmetric
    (`zero_point` 0) and occurs only on constants.
    """

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None


@dataclass(frozen=True)
class Tensor:
    """Type of a value: an activation (dimension 0 may be `BATCH`) or a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    quantization: Quantization | None = None

    def concrete(self, batch: int) -> tuple[int, ...]:
        """The shape with `BATCH` replaced by `batch`."""
        return tuple(batch if size == BATCH else size for size in self.shape)


@dataclass
class Node:
    """One operation. `inputs` maps the operation's input roles ("x", "weight", ...) to tensor names."""

    operation: str
    name: str
    inputs: dict[str, str]
    output: str
    attributes: dict[str, Any] = field(default_factory=dict)
    source: str = ""


INTERPOLATIONS: Final = ("nearest", "bilinear", "bicubic", "lanczos")
"""Names of the filters that resize pictures."""


@dataclass
class Preprocessing:
    """From a picture to the network's input: resize the shorter side, centre crop, scale, normalise.

    `resize` and `crop` are in pixels (None: skip the step). A pixel value v in 0..255 becomes
    `(v / 255 - mean) / std` per channel, channels in the order of `color`.
    """

    resize: int | None = 256
    crop: int | None = 224
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    color: str = "RGB"


@dataclass
class Metadata:
    """What a model carries beside its graph. `golden_input`/`golden_output` name constants by graph input/output."""

    preprocessing: Preprocessing | None = None
    labels: list[str] | None = None
    provenance: dict[str, str] = field(default_factory=dict)
    golden_inputs: dict[str, str] = field(default_factory=dict)
    golden_outputs: dict[str, str] = field(default_factory=dict)


@dataclass
class Graph:
    """A network: tensors by name, constants by name, nodes in execution order, inputs and outputs by name.

    Every name in `constants`, `inputs`, and every `Node.output` has its `Tensor` in `tensors`.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    metadata: Metadata = field(default_factory=Metadata)

    def add_constant(self, name: str, array: np.ndarray, quantization: Quantization | None = None) -> str:
        """Add a constant under `name` (made unique if taken) and return the name used."""
        name = self.unique_name(name)
        array = np.asarray(array, order="C")
        self.constants[name] = array
        self.tensors[name] = Tensor(name, tuple(array.shape), array.dtype.name, quantization)
        return name

    def unique_name(self, name: str) -> str:
        """`name`, or `name.1`, `name.2`, ... whichever no tensor has yet."""
        candidate, suffix = name, 0
        while candidate in self.tensors:
            suffix += 1
            candidate = f"{name}.{suffix}"
        return candidate

    def producers(self) -> dict[str, Node]:
        """Node that writes each activation, by tensor name."""
        return {node.output: node for node in self.nodes}

    def consumers(self) -> dict[str, list[Node]]:
        """Nodes that read each tensor, by tensor name; every tensor has an entry."""
        readers: dict[str, list[Node]] = {name: [] for name in self.tensors}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs.values()):
                readers[name].append(node)
        return readers

    def operands(self, node: Node) -> Iterator[tuple[str, Tensor]]:
        """(role, tensor) of each input of `node`."""
        return ((role, self.tensors[name]) for role, name in node.inputs.items())

    def save(self, path: str | PathLike[str]) -> None:
        """Write the graph as an .edgenet file (see FORMAT.md). Nothing is left behind when it fails."""
        from edgenet.format import save

        save(self, path)
