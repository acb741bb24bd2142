"""The library that hides features of this CPU from a program."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgenet.kernels.isa import cpu_flags

SOURCE = Path(__file__).parents[2] / "bench" / "peers" / "as_older_cpu.c"
PROGRAM = """
try:
    from numpy._core._multiarray_umath import __cpu_features__ as features
except ImportError:  # numpy 1
    from numpy.core._multiarray_umath import __cpu_features__ as features
print(sorted(name for name, here in features.items() if here))
"""


@pytest.mark.skipif("cpuid_fault" not in cpu_flags(), reason="this CPU cannot refuse CPUID")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_a_program_sees_avx2_and_not_avx512(tmp_path):
    library = tmp_path / "as_older_cpu.so"
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library), "EDGENET_ISA": "avx2"}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert "'AVX2'" in found
    assert "AVX512" not in found
