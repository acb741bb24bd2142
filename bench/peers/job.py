"""What a conversion reads and where it writes: one folder for each network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Variant:
    """One way to run a peer. `precision` is "float32" or "int8", `name` tells the peer's variants apart.

    `converters`: modules that the conversion imports. `onnx`: whether it starts from the ONNX file. `note`: what a
    reader should know of its arithmetic. `timed`: whether its latency is compared; variants that differ from another
    one in their calibration alone are not timed, only their accuracy is measured.
    """

    name: str
    precision: str
    converters: tuple[str, ...] = ()
    onnx: bool = False
    note: str = ""
    timed: bool = True


@dataclass(frozen=True)
class Job:
    """The files of one network: what `prepare` wrote, and a folder for each converted model."""

    folder: Path

    @property
    def torchscript(self) -> Path:
        """The traced module."""
        return self.folder / "module.ts"

    @property
    def exported(self) -> Path:
        """The module as torch.export's program."""
        return self.folder / "module.pt2"

    @property
    def onnx(self) -> Path:
        """The module as ONNX: input "input", output "output"."""
        return self.folder / "module.onnx"

    @property
    def input_file(self) -> Path:
        """float32 [1, C, H, W]: what every peer is given."""
        return self.folder / "input.npy"

    @property
    def reference_file(self) -> Path:
        """What the module computes from the input."""
        return self.folder / "reference.npy"

    @property
    def calibration_file(self) -> Path:
        """float32 [samples, C, H, W]."""
        return self.folder / "calibration.npy"

    def input(self) -> np.ndarray:
        return np.load(self.input_file)

    def calibration(self) -> list[np.ndarray]:
        """Calibration samples, each with a batch dimension of 1."""
        return [sample[None] for sample in np.load(self.calibration_file)]

    def output_folder(self, peer: str, variant: str) -> Path:
        """A folder, made if missing, for one peer's model."""
        folder = self.folder / f"{peer}-{variant}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


Runner = Callable[[np.ndarray], np.ndarray]
"""A loaded model: takes the input, returns the output, both float32 in the PyTorch module's shapes."""


class Peer(Protocol):
    """What a module `peer_*` offers.

    `NAME`: how tables call it. `RUNTIME`: modules that running imports. `DISTRIBUTION`: whose version is reported.
    """

    NAME: str
    RUNTIME: tuple[str, ...]
    DISTRIBUTION: str
    VARIANTS: tuple[Variant, ...]

    @staticmethod
    def convert(job: Job, variant: str, target: Path) -> Path:
        """Write the model below the folder `target`; its path (a file, or a folder whose files all belong to it)."""
        ...

    @staticmethod
    def load(path: Path, variant: str, threads: int) -> Runner:
        """The model on exactly `threads` threads."""
        ...
