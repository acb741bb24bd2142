"""The kernel cache: damaged files, unusable folders, other versions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgenet.engine import cache, loader
from edgenet.errors import EngineError
from edgenet.kernels.isa import host
from edgenet.kernels.table import kernel

NAME = "serve"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


LOAD = f"from edgenet.engine.cache import *; print(load_kernels([{NAME!r}], host())[{NAME!r}].address > 0)"


def test_a_damaged_file_is_compiled_anew(tmp_path):
    assert run(LOAD, EDGENET_CACHE=str(tmp_path)).stdout.strip() == "True"
    (path,) = list(tmp_path.rglob("*.kernel"))
    good = path.read_bytes()
    for bad in (b"", good[:-1], good[:-1] + bytes([good[-1] ^ 1]), b"{}\n", good.replace(b"serve", b"servf")):
        path.write_bytes(bad)
        assert run(LOAD, EDGENET_CACHE=str(tmp_path)).stdout.strip() == "True"
        assert path.read_bytes() == good
    assert not list(tmp_path.rglob(".new-*"))


def test_an_unusable_folder_gives_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    result = run(LOAD, EDGENET_CACHE=str(tmp_path / "file" / "below"))
    assert result.stdout.strip() == "True"
    assert "cannot be used" in result.stderr


def test_a_kernel_that_does_not_exist():
    with pytest.raises(EngineError, match="no kernel"):
        kernel("f32_nothing", host())


def test_a_block_of_another_kernel_is_refused():
    cache.load_kernels([NAME], host())
    block = Path(cache.path_of(NAME, host())).read_bytes()
    with pytest.raises(ValueError, match="another"):
        loader.parse(block, "execute", host().name)
