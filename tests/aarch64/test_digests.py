"""int8 networks give the same bits on every CPU: all instruction sets here, and the machine that made the digests.

`EDGENET_TEST_NETWORKS` names a folder that another machine wrote with `python -m tests.aarch64.networks`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.harness import TARGETS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    given = os.environ.get("EDGENET_TEST_NETWORKS")
    if given:
        return Path(given)
    from tests.aarch64.networks import write

    folder = tmp_path_factory.mktemp("networks")
    write(folder)
    return folder


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_outputs_are_the_same_bits(networks, target):
    command = [sys.executable, "-m", "tests.aarch64.digests", str(networks)]
    environment = {**os.environ, "EDGENET_ISA": target.name}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    expected = json.loads((networks / "digests.json").read_text())
    assert len(set(expected.values())) == 5
    assert json.loads(done.stdout) == expected
