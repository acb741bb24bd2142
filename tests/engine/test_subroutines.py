"""What numba compiles apart is part of each kernel that calls it, whichever kernels were compiled before."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

KERNELS = ("f32_pw_6x16", "f32_winograd_6x16", "s8_pw_6x16", "s8_strassen_6x16")
"""The first two share tiles, the last two as well."""


def _run(*arguments: str, given: bytes = b"") -> bytes:
    command = [sys.executable, "-m", "edgenet.kernels.build", *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


def _blocks(names: tuple[str, ...]) -> dict[str, bytes]:
    output = io.BytesIO(_run("avx2", given="".join(f"{name}\n" for name in names).encode()))
    return {name: output.read(int.from_bytes(output.read(8), "little")) for name in names}


def test_blocks_do_not_depend_on_the_kernels_compiled_before():
    forward, backward = _blocks(KERNELS), _blocks(KERNELS[::-1])
    assert forward == backward
    assert all(len(block) > 4096 for block in forward.values())


@pytest.mark.parametrize(
    ("target", "name"), [("avx2", "s8_strassen_6x16"), ("avx512_vnni", "s8_conv_14x32"), ("cortex-a72", "f32_pw_8x8")]
)
def test_calls_are_inlined(target, name):
    lines = _run("--assembly", target, name).decode().split("\n")
    instructions = [line.split()[0] for line in lines if line.startswith("\t") and not line.startswith("\t.")]
    assert len(instructions) > 1000
    assert not {"call", "callq", "bl", "blr"} & set(instructions)
