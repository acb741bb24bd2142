"""Kernels are the same machine code as with numba's own inlining of functions."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

KERNELS = ("any_copy", "f32_sum_parts", "f32_dw5s1_8")
_NUMBAS_OWN = "from edgenet.kernels import inlining; inlining.install = lambda: None; "
_BUILD = "from edgenet.kernels import build; build.main()"


def _assembly(program: str, target: str) -> str:
    command = [sys.executable, "-c", program, "--assembly", target, *KERNELS]
    environment = os.environ | {"NUMBA_OPT": "0"}  # as `kernels.compile` sets it before numba is imported
    return subprocess.run(command, capture_output=True, check=True, text=True, env=environment).stdout


@pytest.mark.parametrize("target", ["avx2", "cortex-a72"])
def test_machine_code_is_that_of_numbas_own_inlining(target):
    expected = _assembly(_NUMBAS_OWN + _BUILD, target)
    assert len(expected) > 10_000
    assert _assembly(_BUILD, target) == expected
