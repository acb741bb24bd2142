"""Kernel bundles: a machine without numba runs from one; damaged, foreign and outdated ones are refused."""

import os
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest

import edgenet
from edgenet.engine import bundle, cache
from edgenet.engine.team import ENGINE_KERNELS
from edgenet.errors import EngineError
from edgenet.kernels import table
from edgenet.kernels.isa import by_name, host
from tests.engine import blocks
from tests.engine.blocks import DAMAGED, NAME
from tests.engine.networks import separable

FOREIGN = by_name("cortex-a72")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.edgenet"
    separable().save(path)
    np.save(path.with_name("x.npy"), np.ones((1, 12, 12, 24), np.float32))
    return path


@pytest.fixture(scope="module")
def kernels(tmp_path_factory, model):
    """A bundle of the kernels that the model needs, and of one for another CPU, made as `make_bundle` makes one."""
    names = edgenet.load(model).plan().kernels() | set(ENGINE_KERNELS)
    path = tmp_path_factory.mktemp("bundle") / "kernels.bundle"
    content = {FOREIGN: cache.blocks([NAME], FOREIGN), host(): cache.blocks(names, host())}
    assert bundle.write(path, content) == len(names) + 1
    return path


@pytest.fixture
def bare(tmp_path):
    """The interpreter of a virtual environment that has numpy and edgenet, and no other package."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for source in Path(np.__file__).parents[1].glob("numpy*"):
        if source.name in ("numpy", "numpy.libs"):
            (packages / source.name).symlink_to(source)
    (packages / "edgenet").mkdir()
    for source in Path(edgenet.__file__).parent.iterdir():
        (packages / "edgenet" / source.name).symlink_to(source)
    return folder / "bin" / "python"


def run(python, model, *arguments, **environment):
    """What `edgenet run` does on the machine without numba: (exit code, stdout, stderr)."""
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("EDGENET_KERNELS", "PYTHON"))
    }
    variables |= {"EDGENET_CACHE": str(python.parent / "empty"), **environment}
    command = [str(python), "-m", "edgenet", "run", str(model), str(model.with_name("x.npy")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=python.parent, check=False)
    return done.returncode, done.stdout, done.stderr


def test_an_environment_with_only_numpy_runs_a_model(bare, model, kernels):
    listing = subprocess.run([bare, "-c", "import numba"], capture_output=True, text=True, check=False)
    assert "No module named 'numba'" in listing.stderr
    expected = run(bare, model, EDGENET_KERNELS=str(kernels))
    assert expected[0] == 0, expected
    assert run(bare, model, "--kernels", kernels) == expected
    (beside,) = bare.parents[1].glob("lib/python*/site-packages/edgenet")
    (beside / "kernels.bundle").write_bytes(kernels.read_bytes())
    assert run(bare, model) == expected


def test_without_numba_and_bundle_it_says_what_to_do(bare, model):
    code, out, message = run(bare, model)
    assert (code, out, message.count("\n")) == (1, "", 1)
    assert f"edgenet warmup --target {host().name} -o" in message
    assert "--kernels" in message


def test_a_bundle_that_is_missing_or_bad_is_one_sentence(bare, model, kernels, tmp_path):
    bad = tmp_path / "bad.bundle"
    bad.write_bytes(kernels.read_bytes()[:-1000])
    for place, text in ((bad, "bad (damaged)"), (tmp_path / "missing", "cannot be read")):
        code, out, message = run(bare, model, "--kernels", place)
        assert (code, out, message.count("\n")) == (1, "", 1)
        assert text in message


def test_the_container_is_checked(kernels, tmp_path):
    good = kernels.read_bytes()
    bad = tmp_path / "bad.bundle"
    for place in (0, 20, 40, 80):
        bad.write_bytes(blocks.flipped(good, place))
        with pytest.raises(EngineError, match=r"damaged|not a kernel bundle"):
            bundle.Bundle(str(bad))
    for size in (0, 10, 40, 60, 100):
        bad.write_bytes(good[:size])
        with pytest.raises(EngineError, match=r"damaged|not a kernel bundle"):
            bundle.Bundle(str(bad))


def with_block(path, content):
    """A bundle whose kernel NAME has these bytes."""
    block = cache.blocks([NAME], host())[NAME]
    bundle.write(path, {host(): {NAME: block._replace(content=content)}})
    return bundle.Bundle(str(path))


@pytest.mark.parametrize("state", DAMAGED)
def test_a_bad_kernel_is_refused(state, tmp_path):
    opened = with_block(tmp_path / "b", DAMAGED[state](blocks.good()))
    with pytest.raises(EngineError, match="is bad"):
        opened.block(NAME, host())


def test_kernels_of_another_version_are_not_used(tmp_path):
    opened = with_block(tmp_path / "b", blocks.outdated(blocks.good()))
    with pytest.warns(UserWarning, match="another version"):
        assert opened.block(NAME, host()) is None
    assert opened.stale


def test_kernels_of_another_cpu_are_not_used(kernels):
    opened = bundle.Bundle(str(kernels))
    assert opened.targets == [FOREIGN.name, host().name]
    assert opened.block(NAME, FOREIGN).content != opened.block(NAME, host()).content
    assert opened.block("execute", FOREIGN) is None


@pytest.mark.parametrize("place", ["file", "folder"])
def test_what_everyone_may_change_is_refused(place, kernels, tmp_path):
    shared = tmp_path / "folder" / "shared.bundle"
    shared.parent.mkdir()
    shared.write_bytes(kernels.read_bytes())
    (shared if place == "file" else shared.parent).chmod(0o777)
    with pytest.raises(EngineError, match="chmod"):
        bundle.Bundle(str(shared))


def test_a_bundle_that_changes_while_in_use_is_checked_again(kernels, tmp_path):
    path = tmp_path / "b"
    path.write_bytes(kernels.read_bytes())
    opened = bundle.Bundle(str(path))
    path.write_bytes(path.read_bytes()[:-1000])
    last = max(opened._index[host().name], key=lambda name: opened._index[host().name][name])
    with pytest.raises(EngineError, match="is bad"):
        opened.block(last, host())
    path.chmod(0o666)
    with pytest.raises(EngineError, match="chmod"):
        opened.block(NAME, host())


@pytest.fixture
def fresh(monkeypatch):
    """No bundle in use."""
    monkeypatch.setattr(bundle, "_used", [])
    monkeypatch.setattr(bundle, "_opened", {})
    monkeypatch.delenv("EDGENET_KERNELS", raising=False)
    monkeypatch.delenv("EDGENET_ISA", raising=False)


def test_without_a_compiler_the_best_instruction_set_of_the_bundle_is_used(fresh, tmp_path):
    block = cache.blocks([NAME], host())[NAME]
    every = edgenet.kernels.isa.available()
    assert bundle.best_target(lambda: False) == host()
    for target in every:
        bundle.write(tmp_path / target.name, {FOREIGN: {NAME: block}, target: {NAME: block}})
        bundle._used.clear()
        bundle.use(tmp_path / target.name)
        assert bundle.best_target(lambda: False) == target


def test_a_bundle_for_other_cpus_only(fresh, tmp_path):
    block = cache.blocks([NAME], host())[NAME]
    other = next(
        target for target in map(by_name, ("cortex-a72", "x86-64")) if target.architecture != host().architecture
    )
    bundle.write(tmp_path / "b", {other: {NAME: block}})
    bundle.use(tmp_path / "b")
    with pytest.raises(EngineError, match=f"kernels for {other.name}; this CPU needs"):
        bundle.best_target(lambda: False)
    with pytest.warns(UserWarning, match="not for"):
        assert bundle.best_target(lambda: True) == host()


def test_warmup_writes_a_bundle_for_several_cpus(monkeypatch, tmp_path, capsys):
    """The command with a kernel table of one row."""
    from edgenet.cli import main

    real = table.kernels
    monkeypatch.setattr(table, "kernels", lambda target: {NAME: real(target)[NAME]})
    path = tmp_path / "kernels.bundle"
    arguments = ["--target", "cortex-a72", "--target", "cortex-a76", "--target", "x86-64-v3", "-o", str(path), "--json"]
    assert main(["warmup", *arguments]) == 0
    assert '"kernels": 3' in capsys.readouterr().out
    opened = bundle.Bundle(str(path))
    assert opened.targets == ["neon", "neon_dotprod", "avx2"]
    assert all(opened.block(NAME, by_name(name)) is not None for name in opened.targets)
