"""The program cache: what is stored runs with the same bits; what is damaged, foreign, outdated or unsafe never."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

import edgenet
from edgenet.dtypes import BATCH
from edgenet.engine import bundle, program_cache, trust
from edgenet.graph import Graph, Node, Tensor
from edgenet.kernels.isa import INSTRUCTION_SETS, host
from edgenet.ops import infer_shapes
from edgenet.prepare import prepare as preparation
from tests.engine.networks import separable

X = np.random.default_rng(0).standard_normal((3, 12, 12, 24)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs are stored."""
    monkeypatch.setattr(program_cache, "folder", lambda: tmp_path)
    return tmp_path / "programs"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A network's file."""
    separable().save(tmp_path / "m.edgenet")
    return str(tmp_path / "m.edgenet")


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for each plan that is prepared from here on."""
    found: list[str] = []
    real = preparation.prepare

    def prepare(*arguments, **keywords):
        found.append("prepared")
        return real(*arguments, **keywords)

    monkeypatch.setattr(preparation, "prepare", prepare)
    return found


@pytest.mark.parametrize("memory", ["fast", "low"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_stored_program_gives_the_same_bits_without_preparing(folder, path, prepared, threads, memory):
    expected = edgenet.load(path, threads, memory=memory).run(X[:1])
    assert len(list(folder.iterdir())) == 1
    prepared.clear()
    model = edgenet.load(path, threads, memory=memory)
    for _ in range(3):
        np.testing.assert_array_equal(model.run(X[:1]), expected)
    assert not prepared
    assert model._graph is None


def test_all_that_needs_more_than_the_program_works(folder, path, prepared):
    first = edgenet.load(path, 2)
    expected = first.run(X)
    info = first.plan_info()
    prepared.clear()
    model = edgenet.load(path, 2)
    np.testing.assert_array_equal(model.run(X), expected)
    assert prepared == ["prepared"], "three samples have a plan of their own"
    assert model.plan_info() == info
    assert model.summary() == first.summary()
    assert model.profile(X[:1], repeats=1).total_ms > 0
    assert model.arena_bytes() == first.arena_bytes()
    assert model.graph.outputs == first.graph.outputs
    np.testing.assert_array_equal(model.run(X[:1]), expected[:1])
    model.close()
    np.testing.assert_array_equal(model.run(X[:1]), expected[:1])
    with pytest.raises(edgenet.InputError, match="shape"):
        model.run(X[0])


def test_a_closed_file_is_not_needed(folder, path):
    """The model goes on with the file that it opened, whatever lies at its path later."""
    edgenet.load(path, 1).warm()
    model = edgenet.load(path, 1)
    expected = list(edgenet.load(path, 1).graph.nodes)
    separable(depth=1).save(path)
    assert [node.name for node in model.graph.nodes] == [node.name for node in expected]


def test_views_are_stored_too(folder, tmp_path):
    """An output that no step writes."""
    graph = Graph()
    graph.tensors["x"] = Tensor("x", (BATCH, 4, 4, 8))
    graph.inputs, graph.outputs = ["x"], ["y"]
    graph.tensors["y"] = Tensor("y", ())
    graph.nodes.append(Node("reshape", "y", {"x": "x"}, "y", {"shape": [0, 128]}))
    graph.tensors.update(infer_shapes(graph))
    graph.save(tmp_path / "v.edgenet")
    x = np.random.default_rng(1).standard_normal((1, 4, 4, 8)).astype(np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(edgenet.load(tmp_path / "v.edgenet", 1).run(x), x.reshape(1, 128))


def _damaged(content: bytes) -> dict[str, bytes]:
    rng = random.Random(0)
    found = {"empty": b"", "junk": b"junk" * 5000, "longer": content + b"\0", "a page longer": content + bytes(4096)}
    for size in (1, 31, 64, 4096, len(content) // 2, len(content) - 4096, len(content) - 1):
        found[f"the first {size} bytes"] = content[:size]
    for place in (
        0,
        16,
        17,
        20,
        25,
        31,
        40,
        64,
        70,
        len(content) - 5000,
        *(rng.randrange(64, len(content)) for _ in range(60)),
    ):
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        found[f"a bit of byte {place}"] = bytes(changed)
    swapped = bytearray(content)
    place = next(at for at in range(8192 + 64, len(content), 8) if content[at : at + 8] != content[at + 64 : at + 72])
    swapped[place : place + 8] = content[place + 64 : place + 72]
    swapped[place + 64 : place + 72] = content[place : place + 8]
    found["two words exchanged"] = bytes(swapped)
    found["a zero page"] = content[:4160] + bytes(4096) + content[8256:]
    return found


def test_what_is_damaged_is_never_run(folder, path, monkeypatch):
    expected = edgenet.load(path, 1).run(X[:1])
    [stored] = folder.iterdir()
    content = stored.read_bytes()
    adopted = []
    real = program_cache.adopt
    monkeypatch.setattr(program_cache, "adopt", lambda *arguments: adopted.append(1) or real(*arguments))
    monkeypatch.setattr(program_cache, "store", lambda *arguments: None)
    for name, bad in _damaged(content).items():
        assert bad != content, name
        stored.write_bytes(bad)
        model = edgenet.load(path, 1)
        assert not model._prepared, name
    assert not adopted
    np.testing.assert_array_equal(model.run(X[:1]), expected)
    stored.write_bytes(content)
    assert edgenet.load(path, 1)._prepared
    assert adopted


def test_a_damaged_program_is_replaced(folder, path, prepared):
    expected = edgenet.load(path, 1).run(X[:1])
    [stored] = folder.iterdir()
    stored.write_bytes(stored.read_bytes()[:-4096])
    np.testing.assert_array_equal(edgenet.load(path, 1).run(X[:1]), expected)
    prepared.clear()
    np.testing.assert_array_equal(edgenet.load(path, 1).run(X[:1]), expected)
    assert not prepared


def test_the_program_of_another_key_is_not_run(folder, path, tmp_path):
    edgenet.load(path, 1).warm()
    [stored] = folder.iterdir()
    other = str(tmp_path / "other.edgenet")
    separable(depth=2).save(other)
    os.replace(stored, program_cache.path_of(edgenet.load(other, 1)._key))
    assert not edgenet.load(other, 1)._prepared


def test_what_a_program_is_made_from_is_in_its_key(path, monkeypatch):
    file = edgenet.mapped.open_file(path)
    target = host()
    options = (1, True, "fast", [])
    keys = [program_cache.key(file, target, options)]

    def add(*arguments) -> None:
        keys.append(program_cache.key(*arguments))

    for field in ("st_mtime_ns", "st_ctime_ns", "st_ino", "st_dev"):
        status = {name: getattr(file.status, name) for name in dir(file.status) if name.startswith("st_")}
        add(file._replace(status=type("Status", (), {**status, field: status[field] + 1})), target, options)
    separable(depth=2).save(path)
    add(edgenet.mapped.open_file(path), target, options)
    for other in INSTRUCTION_SETS.values():
        if other != target:
            add(file, other, options)
    add(file, target, (2, True, "fast", []))
    add(file, target, (1, False, "fast", []))
    add(file, target, (1, True, "low", []))
    add(file, target, (1, True, "fast", [("kernels.bundle", 1, 2, 3, 4)]))
    monkeypatch.setattr(program_cache, "compiler_versions", lambda: "numba-9")
    add(file, target, options)
    monkeypatch.setattr(program_cache, "_package", lambda: [("engine/program.py", 1, 2)])
    add(file, target, options)
    assert len(set(keys)) == len(keys)


def test_every_source_that_makes_programs_is_in_the_key():
    names = {name for name, _, _ in program_cache._package()}
    assert {"/model.py", "engine/link.py", "kernels/gemm_f32.py", "ops/conv.py", "prepare/prepare.py"} <= names


def test_a_bundle_is_in_the_key(folder, path, tmp_path, monkeypatch):
    known = edgenet.load(path, 1)._key
    used = type("Bundle", (), {"path": path, "targets": [host().name]})
    monkeypatch.setattr(bundle, "bundles", lambda: [used])
    assert edgenet.load(path, 1)._key != known


def test_a_changed_file_is_prepared_anew(folder, path):
    first = edgenet.load(path, 1).run(X[:1])
    separable(depth=2).save(path)
    second = edgenet.load(path, 1).run(X[:1])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(second, edgenet.load(separable(depth=2), 1).run(X[:1]))


@pytest.mark.parametrize("what", ["file", "folder", "parent"])
def test_what_others_may_change_is_not_run(folder, path, what):
    edgenet.load(path, 1).warm()
    [stored] = folder.iterdir()
    os.chmod({"file": stored, "folder": folder, "parent": folder.parent}[what], 0o777)
    with pytest.warns(UserWarning, match=r"not run: .*changed by every user"):
        assert not edgenet.load(path, 1)._prepared
    os.chmod({"file": stored, "folder": folder, "parent": folder.parent}[what], 0o700)
    assert edgenet.load(path, 1)._prepared


def test_what_belongs_to_another_user_is_not_run(folder, path, monkeypatch):
    edgenet.load(path, 1).warm()
    [stored] = folder.iterdir()
    if os.getuid() == 0:
        os.chown(stored, 4242, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 4242)
        monkeypatch.setattr(trust, "_package_owner", lambda: 4242)
    with pytest.warns(UserWarning, match="not run: .*another user"):
        assert not edgenet.load(path, 1)._prepared


def test_nothing_is_stored_where_others_may_write(folder, path):
    os.chmod(folder.parent, 0o777)
    with pytest.warns(UserWarning, match="not run"):
        edgenet.load(path, 1).run(X[:1])
    assert not folder.exists()


def test_the_oldest_programs_make_room(folder, path, monkeypatch):
    for threads in (1, 2, 3):
        edgenet.load(path, threads).warm()
    oldest, *others = sorted(folder.iterdir(), key=lambda each: each.stat().st_mtime_ns)
    sizes = [each.stat().st_size for each in (oldest, *others)]
    assert len(sizes) == 3
    monkeypatch.setattr(program_cache, "MOST_TOGETHER", sum(sizes) - min(sizes) // 2)
    others[1].unlink()
    edgenet.load(path, 3).warm()
    assert set(folder.iterdir()) == set(others)


def test_nothing_is_removed_where_others_may_write(folder, path, monkeypatch):
    folder.mkdir()
    (folder / "theirs").write_bytes(bytes(10_000))
    monkeypatch.setattr(program_cache, "MOST_TOGETHER", 5000)
    folder.chmod(0o777)
    with pytest.warns(UserWarning, match="not run"):
        edgenet.load(path, 1).warm()
    assert [each.name for each in folder.iterdir()] == ["theirs"]


def test_large_programs_are_not_stored(folder, path, monkeypatch):
    monkeypatch.setattr(program_cache, "MOST_BYTES", 1000)
    edgenet.load(path, 1).warm()
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_no_error(folder, path):
    folder.write_bytes(b"")
    np.testing.assert_array_equal(edgenet.load(path, 1).run(X[:1]), edgenet.load(separable(), 1).run(X[:1]))
    assert folder.read_bytes() == b""


def test_only_single_samples_of_the_declared_size_are_stored(folder, path):
    model = edgenet.load(path, 1)
    model._link({"x": X.shape}, None)
    assert not folder.exists()
    model.run(X[:1])
    assert folder.exists()


def test_int8_and_samplewise_networks(folder, tmp_path, prepared):
    pytest.importorskip("torch")
    from edgenet.converter.quantize import quantize

    quantize(separable(), [X]).save(tmp_path / "q.edgenet")
    expected = edgenet.load(tmp_path / "q.edgenet", 2).run(X)
    prepared.clear()
    model = edgenet.load(tmp_path / "q.edgenet", 2)
    np.testing.assert_array_equal(model.run(X[:1]), expected[:1])
    assert not prepared
    np.testing.assert_array_equal(model.run(X), expected)
