"""The kernel cache: what is damaged, foreign, outdated or open to others is never run."""

import _thread
import grp
import io
import os
import pwd
import signal
import stat
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import edgenet
from edgenet.engine import cache, loader, trust
from edgenet.engine.blocks import parse
from edgenet.engine.team import ENGINE_KERNELS
from edgenet.errors import EngineError
from edgenet.kernels import table
from edgenet.kernels.isa import host
from edgenet.kernels.table import kernel
from tests.engine import blocks
from tests.engine.blocks import DAMAGED, NAME
from tests.engine.networks import separable


@pytest.fixture(scope="module")
def good():
    return blocks.good()


@pytest.fixture
def stored(good, tmp_path, monkeypatch):
    """A cache of one kernel in a new folder; its path."""
    monkeypatch.setenv("EDGENET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_warned", False)
    cache._to_disk(good, NAME, host())
    return cache.path_of(NAME, host())


@pytest.fixture
def builds(good, monkeypatch):
    """Names of the kernels that are compiled from here on; the compiler is a copy of the good block."""
    names = []

    def build(wanted, target, built, running):
        names.extend(wanted)
        for name in wanted:
            built(name, good)

    monkeypatch.setattr(cache, "_build", build)
    return names


def test_an_interrupt_ends_compiling(tmp_path):
    """One that reaches this process alone, as from a supervisor: a Ctrl-C ends the compilers by itself."""
    pytest.importorskip("numba", reason="needs the compiler")
    environment = {**os.environ, "EDGENET_CACHE": str(tmp_path)}
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # background jobs ignore it
    command = [sys.executable, "-c", f"{code}; from edgenet.cli import main; raise SystemExit(main(['warmup']))"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 120
        threads = Path(f"/proc/{process.pid}/task")
        while process.poll() is None and time.monotonic() < until:
            found = [child for thread in threads.iterdir() for child in (thread / "children").read_text().split()]
            if found:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert not any(Path(f"/proc/{child}").exists() for child in found)


@pytest.fixture
def ended(monkeypatch):
    """Whether each compiler was ended, and no name left to it. A compiler waits until it is killed, or for a minute."""
    ended = []

    def build(names, target, built, running):
        killed = threading.Event()
        running.append(SimpleNamespace(kill=killed.set))
        ended.append(killed.wait(60) and not names)

    monkeypatch.setattr(cache, "_build", build)
    monkeypatch.setattr(cache, "has_compiler", lambda: True)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    return ended


def test_an_interrupt_between_the_starts_of_two_compilers_ends_the_first(ended, monkeypatch):
    class Pool(futures.ThreadPoolExecutor):
        def submit(self, work, names, target, built, running):
            if running:
                raise KeyboardInterrupt
            task = super().submit(work, names, target, built, running)
            while not running:
                time.sleep(0.01)
            return task

    monkeypatch.setattr(futures, "ThreadPoolExecutor", Pool)
    with pytest.raises(KeyboardInterrupt):
        cache._compile_missing(list(table.kernels(host()))[:4], host(), {}, None)
    assert ended == [True]


def test_an_interrupt_that_does_not_end_a_wait_ends_the_compilers(ended):
    """`interrupt_main` acts as a signal that comes just before the main thread begins to wait."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.5, _thread.interrupt_main)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            cache._compile_missing(list(table.kernels(host()))[:4], host(), {}, None)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert ended == [True, True]


def test_a_refused_kernel_ends_the_compiler():
    pytest.importorskip("numba", reason="needs the compiler")
    ended = []

    def refuse(name, block):
        raise EngineError("refused")

    def build():
        with pytest.raises(EngineError, match="refused"):
            cache._build(deque([NAME]), host(), refuse, [])
        ended.append(True)

    thread = threading.Thread(target=build, daemon=True)
    thread.start()
    thread.join(120)
    assert ended


def test_a_good_file_is_used(stored, builds):
    assert cache.blocks([NAME], host())[NAME].kernel.name == NAME
    assert builds == []
    assert stat.S_IMODE(stored.stat().st_mode) & 0o022 == 0
    assert stat.S_IMODE(stored.parent.stat().st_mode) & 0o022 == 0


@pytest.mark.parametrize("state", [*DAMAGED, "outdated"])
def test_a_bad_file_is_replaced_and_never_run(state, good, stored, builds):
    bad = blocks.outdated(good) if state == "outdated" else DAMAGED[state](good)
    assert bad != good
    stored.write_bytes(bad)
    assert cache.blocks([NAME], host())[NAME].content == good
    assert builds == [NAME]
    assert stored.read_bytes() == good
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]


def test_other_sources_have_another_file(stored, builds, monkeypatch):
    monkeypatch.setattr(table, "fingerprint", lambda name, target: "other")
    assert cache.path_of(NAME, host()) != stored
    cache.blocks([NAME], host())
    assert builds == [NAME]


def test_other_compilers_have_another_file(stored, monkeypatch):
    assert "numba-" in cache.compiler_versions()
    monkeypatch.setattr(cache, "compiler_versions", lambda: "numba-9.dist-info")
    assert cache.path_of(NAME, host()) != stored


@pytest.mark.parametrize("place", ["file", "folder", "cache"])
def test_what_everyone_may_change_is_not_used(place, stored, builds):
    {"file": stored, "folder": stored.parent, "cache": stored.parents[1]}[place].chmod(0o777)
    with pytest.warns(UserWarning, match="every user"):
        cache.blocks([NAME], host())
    assert builds == [NAME]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        cache.blocks([NAME], host())


def test_what_belongs_to_another_user_is_not_used(stored, builds, monkeypatch):
    if os.getuid() == 0:
        os.chown(stored, 4242, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 4242)
        monkeypatch.setattr(trust, "_package_owner", lambda: 4242)
    with pytest.warns(UserWarning, match="another user"):
        cache.blocks([NAME], host())
    assert builds == [NAME]


def test_files_of_root_and_of_the_package_owner_are_used(tmp_path, monkeypatch):
    status = os.stat(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 4)
    monkeypatch.setattr(trust, "_package_owner", lambda: 5)
    for owner in (0, 4, 5):
        trust._check("file", os.stat_result([*status[:4], owner, *status[5:]]))
    with pytest.raises(trust.Untrusted, match=r"another user \(number 6\)"):
        trust._check("file", os.stat_result([*status[:4], 6, *status[5:]]))


@pytest.mark.parametrize(
    ("name", "members", "private"), [("me", [], True), ("me", ["me"], True), ("me", ["you"], False), ("us", [], False)]
)
def test_what_a_group_may_change_is_not_used(tmp_path, monkeypatch, name, members, private):
    """But for a group that is one user's alone, and root's."""
    status = os.stat(tmp_path)
    monkeypatch.setattr(grp, "getgrgid", lambda number: grp.struct_group((name, "x", number, members)))
    monkeypatch.setattr(pwd, "getpwuid", lambda number: pwd.struct_passwd(("me", "x", number, 7, "", "/", "/bin/sh")))
    for mode, group, allowed in ((0o664, 7, private), (0o664, 0, True), (0o644, 7, True)):
        changed = os.stat_result([stat.S_IFREG | mode, *status[1:5], group, *status[6:]])
        if allowed:
            trust._check("file", changed)
        else:
            with pytest.raises(trust.Untrusted, match="a group of users; use `chmod g-w`"):
                trust._check("file", changed)


def test_a_pipe_is_no_file_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(trust.Untrusted, match="not a regular file"):
        trust.read(tmp_path / "pipe")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(trust.Untrusted, match="not a regular file"):
        trust.read(tmp_path)


def test_an_unusable_folder_gives_a_warning(builds, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGENET_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(cache, "_warned", False)
    with pytest.warns(UserWarning, match="cannot be used"):
        assert cache.blocks([NAME], host())[NAME].kernel.name == NAME
    assert builds == [NAME]


def test_without_a_home_folder_kernels_are_compiled(builds, monkeypatch):
    for name in ("EDGENET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(cache, "_warned", False)
    with pytest.warns(UserWarning, match="no home folder"):
        cache.blocks([NAME], host())
    assert builds == [NAME]


def test_writers_do_not_disturb_readers(good, stored):
    stop, found = threading.Event(), []

    def write():
        while not stop.is_set():
            cache._to_disk(good, NAME, host())

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    found = [cache.cached([NAME], host()) for _ in range(200)]
    stop.set()
    for writer in writers:
        writer.join()
    assert all(found)
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]


def test_memory_is_never_writable_and_executable(good):
    kernel = loader.load([parse(good, NAME, table.compiled_for(NAME, host())).kernel])[0]
    with open("/proc/self/maps") as file:
        ranges = [line.split()[:2] for line in file]
    spans = {rights for span, rights in ranges if _inside(kernel.address, span)}
    assert spans == {"r-xs"}  # mmap.mmap(-1) maps shared memory


def _inside(address, span):
    first, last = (int(end, 16) for end in span.split("-"))
    return first <= address < last


def test_the_instruction_cache_is_flushed_on_arm(good, monkeypatch):
    """`__clear_cache` of libgcc is there on every CPU; on x86 it does nothing."""
    called = []
    real = loader.ctypes.CDLL
    monkeypatch.setattr(loader, "architecture", lambda: "aarch64")
    monkeypatch.setattr(loader.ctypes, "CDLL", lambda name: called.append(name) or real(name))
    assert loader.load([parse(good, NAME, table.compiled_for(NAME, host())).kernel])[0].address
    assert called == ["libgcc_s.so.1"]


def test_a_kernel_that_does_not_exist():
    with pytest.raises(EngineError, match="no kernel"):
        kernel("f32_nothing", host())


def test_a_model_runs_from_an_empty_cache_that_cannot_be_written(tmp_path, monkeypatch):
    """The blocks that the processes of the compiler return are used without the disk."""
    model = edgenet.load(separable(), 1)
    x = np.ones((1, 12, 12, 24), np.float32)
    expected = model.run(x)
    names = {step.kernel for step in model.plan().steps}
    names |= set(ENGINE_KERNELS)
    known = {name: block.content for name, block in cache.blocks(names, host()).items()}
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGENET_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "_loaded", {})
    monkeypatch.setattr(cache, "_warned", False)
    monkeypatch.setattr(cache, "_build", lambda names, _, built, running: [built(name, known[name]) for name in names])
    with pytest.warns(UserWarning, match="compiled anew"):
        np.testing.assert_array_equal(edgenet.load(separable(), 1).run(x), expected)


def test_compiling_shows_a_line_on_a_terminal(builds, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("EDGENET_CACHE", str(tmp_path / "new"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    cache.blocks([NAME], host())
    lines = sys.stderr.getvalue().split("\r")
    assert lines[1] == "edgenet: compiling kernels 0/1"
    assert lines[-1] == ""
    assert lines[-2].strip() == ""


@pytest.mark.parametrize(
    ("installed", "usable"),
    [
        ("llvmlite-0.44.0.dist-info, numba-0.61.2.dist-info", False),
        ("llvmlite-0.45.0.dist-info, numba-0.62.0.dist-info", True),
        ("numba-0.61.2.egg-info, numba-0.68.1.dist-info", True),
        ("numba-1.0.dist-info", True),
        ("", True),
    ],
)
def test_a_numba_that_is_too_old_is_no_compiler(installed, usable, monkeypatch, tmp_path):
    """Where metadata tells no version, numba counts as new enough; of two, the newer one counts."""
    monkeypatch.setattr(cache, "compiler_versions", lambda: installed)
    assert cache.has_compiler() is usable
    if not usable:
        monkeypatch.setenv("EDGENET_CACHE", str(tmp_path))
        oldest = ".".join(map(str, cache.OLDEST_NUMBA))
        with pytest.raises(EngineError, match=f"pip install 'numba>={oldest}'"):
            cache.blocks([NAME], host())


def test_the_oldest_numba_is_the_one_that_is_required():
    required = Path(__file__).parents[2].joinpath("pyproject.toml").read_text()
    assert f'"numba>={".".join(map(str, cache.OLDEST_NUMBA))}"' in required
