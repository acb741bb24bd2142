"""SHA-256 of the outputs of a folder of networks (see `networks`), as JSON: `python -m tests.aarch64.digests FOLDER`.

Needs what edgenet needs at run time, and nothing else.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np

import edgenet


def digests(folder: Path) -> dict[str, str]:
    """Digest of the output of each network on one thread and on two."""
    found = {}
    for path in sorted(folder.glob("*.edgenet")):
        for threads in (1, 2):
            output = edgenet.load(path, threads).run(np.load(path.with_suffix(".npy")))
            assert np.isfinite(output).all()
            assert output.std() > 0
            found[f"{path.stem}, {threads} threads"] = sha256(output.tobytes()).hexdigest()
    return found


if __name__ == "__main__":
    print(json.dumps(digests(Path(sys.argv[1]))))
