"""Kernels that an instruction set takes from the one it extends: which they are, and that their code is the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgenet.engine import bundle
from edgenet.engine.blocks import Block
from edgenet.engine.loader import Code
from edgenet.kernels.isa import INSTRUCTION_SETS
from edgenet.kernels.table import compiled_for, kernels

EXTENDED = [target for target in INSTRUCTION_SETS.values() if target.extends]
extended_grid = pytest.mark.parametrize("target", EXTENDED, ids=lambda t: t.name)


@extended_grid
def test_kernels_without_int8_and_those_of_the_same_int8_are_taken(target):
    base = INSTRUCTION_SETS[target.extends]
    for name, row in kernels(target).items():
        owner = compiled_for(name, target)
        assert kernels(owner)[name] == row
        assert set(owner.needs) <= set(target.needs)
        if row.dtype != "int8" and name in kernels(base):
            assert owner == compiled_for(name, base) != target
        elif row.dtype == "int8":
            assert (owner.dot, owner.stored_unsigned) == (target.dot, target.stored_unsigned)
    assert compiled_for("f32_add", target).name == {512: "avx512", 256: "avx2"}[target.bits]
    assert (compiled_for("s8_add", target) == target) == (target.name != "avx512_amx")


@extended_grid
def test_what_extends_nothing_has_kernels_of_its_own(target):
    base = INSTRUCTION_SETS[target.extends]
    while base.extends:
        base = INSTRUCTION_SETS[base.extends]
    assert all(compiled_for(name, base) == base for name in kernels(base))


def _assembly(target: str) -> str:
    names = ("any_gather", "f32_add", "f32_mean")
    command = [sys.executable, "-m", "edgenet.kernels.build", "--assembly", target, *names]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("base", "target"), [("avx2", "avx_vnni"), ("avx512", "avx512_vnni")])
def test_the_same_code_is_made_for_both(base, target):
    assert INSTRUCTION_SETS[target].extends == base
    assert _assembly(base) == _assembly(target) != ""


def test_a_bundle_holds_shared_code_once(tmp_path):
    block = Block(b"code" * 1000, Code("f32_add", 0, {}, memoryview(b"")))
    other = Block(b"more" * 1000, Code("s8_add", 0, {}, memoryview(b"")))
    content = {EXTENDED[0]: {"f32_add": block, "s8_add": other}, EXTENDED[1]: {"f32_add": block}}
    assert bundle.write(tmp_path / "b", content) == 3
    assert 8000 < (tmp_path / "b").stat().st_size < 9000
