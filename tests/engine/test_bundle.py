"""Kernel bundles: a machine without numba runs from one; damaged, foreign and shared files are refused."""

import os
import subprocess
import sys

import pytest

from edgenet.engine import bundle, cache
from edgenet.errors import EngineError
from edgenet.kernels.isa import host
from tests.engine.networks import separable

RUN = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "numba" else real(name, package)
import numpy as np, edgenet
try:
    print(edgenet.load(sys.argv[1], 1).run(np.ones((1, 12, 12, 24), np.float32)).sum())
except edgenet.EdgenetError as error:
    print("error:", error)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.edgenet"
    separable().save(str(path))
    return str(path)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory, model):
    """A bundle of the kernels that the model needs, made as `make_bundle` makes one of all kernels."""
    import edgenet

    names = {step.kernel for step in edgenet.load(model, 1).plan().steps} | {"execute", "serve"}
    path = tmp_path_factory.mktemp("bundle") / "kernels.bundle"
    assert bundle.write(path, {host(): cache.blocks(names, host())}) == len(names)
    return path


def run(model, tmp_path, **environment):
    variables = {**os.environ, "EDGENET_CACHE": str(tmp_path / "empty"), **environment}
    command = [sys.executable, "-c", RUN, model]
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False).stdout.strip()


def test_runs_without_numba(model, kernels, tmp_path):
    assert float(run(model, tmp_path, EDGENET_KERNELS=str(kernels))) != 0


def test_without_numba_and_bundle_it_says_what_to_do(model, tmp_path):
    message = run(model, tmp_path)
    assert "edgenet warmup --target" in message
    assert "\n" not in message


def test_a_damaged_bundle_is_refused(model, kernels, tmp_path):
    good = kernels.read_bytes()
    bad = tmp_path / "bad.bundle"
    for place in (0, 20, 40, 80, len(good) // 2):
        bad.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        assert run(model, tmp_path, EDGENET_KERNELS=str(bad)).startswith("error:")
    bad.write_bytes(good[: len(good) // 2])
    assert run(model, tmp_path, EDGENET_KERNELS=str(bad)).startswith("error:")
    assert "cannot be read" in run(model, tmp_path, EDGENET_KERNELS=str(tmp_path / "missing"))


def test_a_file_that_everyone_may_change_is_refused(kernels, tmp_path):
    shared = tmp_path / "shared.bundle"
    shared.write_bytes(kernels.read_bytes())
    shared.chmod(0o666)
    with pytest.raises(EngineError, match="chmod"):
        bundle.Bundle(shared)


def test_kernels_of_other_sources_are_not_taken(kernels, monkeypatch):
    opened = bundle.Bundle(kernels)
    assert opened.targets == [host().name]
    assert opened.block("execute", host()) is not None
    monkeypatch.setattr(bundle, "source_digest", lambda module: "other")
    assert opened.block("execute", host()) is None
