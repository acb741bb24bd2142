"""From PyTorch to a Graph: `import_module` for modules, programs and .pt2 files, `import_program` for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from edgenet.graph import Graph

from .export import export
from .program import import_program

__all__ = ["export", "import_module", "import_program"]


def import_module(
    module: nn.Module | ExportedProgram | str | Path, example_inputs: Sequence[Any] | None = None
) -> Graph:
    """The graph of a module (with `example_inputs`, the tensors its forward takes), an ExportedProgram or a .pt2 file.

    No rewrites are applied (see `edgenet.converter.passes`). Raises ConversionError.
    """
    return import_program(export(module, example_inputs))
