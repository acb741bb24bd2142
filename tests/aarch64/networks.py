"""Five int8 networks of the zoo on small pictures, and what this machine makes of them: `... networks FOLDER`.

Each NAME has NAME.edgenet and its input NAME.npy in the folder; digests.json holds the SHA-256 of each output.
Needs torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from tests.aarch64.digests import digests

NAMES = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_lite0", "resnet18")
SIZE = 64


def write(folder: Path) -> None:
    """Write the networks, with random weights and calibrated on random pictures, and their digests."""
    import torch

    from edgenet.converter import zoo
    from edgenet.converter.importer import import_module
    from edgenet.converter.passes import optimize
    from edgenet.converter.quantize import quantize
    from tests.quantize.plain import PLAIN

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    for name in NAMES:
        example = torch.randn(2, 3, SIZE, SIZE)
        module = zoo.randomize_batchnorm(zoo.build(name), example=example).eval()
        graph = optimize(import_module(module, (example[:1],)))
        picture = np.random.default_rng(0).standard_normal((1, 3, SIZE, SIZE), dtype=np.float32)
        quantize(graph, [example.numpy()], options=PLAIN).save(folder / f"{name}.edgenet")
        np.save(folder / f"{name}.npy", picture)
    (folder / "digests.json").write_text(json.dumps(digests(folder), indent=1) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
