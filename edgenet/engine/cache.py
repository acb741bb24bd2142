"""The kernel cache: compiled kernels on disk, keyed by their sources, the compilers' versions and the instruction set.

It lies in `EDGENET_CACHE`, else `XDG_CACHE_HOME/edgenet`, else `~/.cache/edgenet`. A kernel is one file, written under
a temporary name and renamed, so that processes can share it. When the cache cannot be used or trusted (see
`edgenet.engine.trust`), kernels are compiled for this process alone and a warning says so.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgenet.engine import bundle, loader, trust
from edgenet.engine.loader import Code, LoadedKernel
from edgenet.errors import EngineError
from edgenet.kernels.digest import sha256
from edgenet.kernels.isa import InstructionSet, host

if TYPE_CHECKING:
    from subprocess import Popen

    from edgenet.engine.blocks import Block

Progress = Callable[[str, int, int], None]
OLDEST_NUMBA = (0, 62)
"""The first numba whose LLVM takes the code that kernels are made of."""
INTERRUPT_SECONDS = 0.1
"""How long an interrupt may go unnoticed: one that comes just before a wait begins does not end it."""
_loaded: dict[tuple[str, str], LoadedKernel] = {}
_lock = threading.Lock()
_warned = False


def _forget() -> None:
    """In a forked child: a lock may be held by a thread that does not exist."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)


def folder() -> Path:
    """Where compiled kernels are kept. Raises OSError when nothing says where the home folder is."""
    named = os.environ.get("EDGENET_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if base.startswith("~"):
        raise OSError("this user has no home folder")
    return Path(base) / "edgenet"


def has_compiler() -> bool:
    """Whether kernels can be compiled here: numba is installed and not older than `OLDEST_NUMBA`."""
    from importlib.util import find_spec

    if find_spec("numba") is None:
        return False
    parts = [name.split("-")[1].split(".")[:2] for name in compiler_versions().split(", ") if name.startswith("numba-")]
    versions = [tuple(map(int, each)) for each in parts if all(map(str.isdigit, each))]
    return not versions or max(versions) >= OLDEST_NUMBA


@cache
def compiler_versions() -> str:
    """Versions of the compilers by the names of their metadata's folders, which is cheaper than reading them."""
    found = {
        name
        for place in sys.path
        if os.path.isdir(place)
        for name in os.listdir(place)
        if name.startswith(("numba-", "llvmlite-")) and name.endswith((".dist-info", ".egg-info"))
    }
    return ", ".join(sorted(found))


def _by_compiled_for(names: Iterable[str], target: InstructionSet) -> dict[InstructionSet, list[str]]:
    """Names of kernels of `target` by the instruction set that they are compiled for (see `table.compiled_for`)."""
    from edgenet.kernels.table import compiled_for

    found: dict[InstructionSet, list[str]] = {}
    for name in names:
        found.setdefault(compiled_for(name, target), []).append(name)
    return found


def path_of(name: str, target: InstructionSet) -> Path:
    """File of a kernel in the cache. Raises OSError when there is no place for one (see `folder`)."""
    from edgenet.kernels.table import compiled_for

    target = compiled_for(name, target)
    return folder() / target.name / _file_name(name, target)


def _file_name(name: str, target: InstructionSet) -> str:
    from edgenet.kernels.table import fingerprint

    key = sha256(f"{fingerprint(name, target)} {compiler_versions()}".encode()).hexdigest()[:20]
    return f"{name}-{key}.kernel"


def _warn(reason: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"The kernel cache cannot be used ({reason}); kernels are compiled anew in every process. "
            "Set EDGENET_CACHE to a writable folder of your own.",
            stacklevel=4,
        )


def cached(names: Iterable[str], target: InstructionSet) -> dict[str, Block]:
    """Blocks of those kernels that are in the cache, trusted and whole."""
    found: dict[str, Block] = {}
    try:
        trust.check_folder(folder())
    except trust.Untrusted as reason:
        _warn(str(reason))
    except OSError:
        pass
    else:
        for owner, own in _by_compiled_for(names, target).items():
            found |= _cached(own, owner)
    return found


def _cached(names: Iterable[str], target: InstructionSet) -> dict[str, Block]:
    """`cached` of kernels that are compiled for `target`, in a folder that is trusted."""
    from edgenet.engine.blocks import parse

    found: dict[str, Block] = {}
    place = folder() / target.name
    try:
        trust.check_folder(place)
    except trust.Untrusted as reason:
        _warn(str(reason))
        return found
    except OSError:
        return found
    for name in names:
        try:
            found[name] = parse(trust.read(f"{place}/{_file_name(name, target)}"), name, target)
        except trust.Untrusted as reason:
            _warn(str(reason))
        except (OSError, ValueError):
            continue
    return found


def _to_disk(block: bytes, name: str, target: InstructionSet) -> None:
    try:
        trust.write(path_of(name, target), [block])
    except trust.Untrusted as reason:
        _warn(str(reason))
    except OSError as error:
        _warn(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))


def _build(
    names: deque[str], target: InstructionSet, built: Callable[[str, bytes], None], running: list[Popen[bytes]]
) -> None:
    """Compile kernels in one process of its own, taking names while there are any; `built` receives each block.

    The process is added to `running`, so that others can end it.
    """
    import subprocess

    command = [sys.executable, "-m", "edgenet.kernels.build", target.name]
    package = str(Path(__file__).parents[2])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    for variable in ("NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK", "NUMBA_OPT"):
        environment.pop(variable, None)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        running.append(process)
        assert process.stdin is not None, "a pipe was asked for"
        assert process.stdout is not None, "a pipe was asked for"
        assert process.stderr is not None, "a pipe was asked for"
        errors: list[bytes] = []
        drain = threading.Thread(target=lambda: errors.append(process.stderr.read()))  # type: ignore[union-attr]  # a pipe
        drain.start()
        try:
            while True:
                try:
                    name = names.popleft()
                except IndexError:
                    break
                with suppress(BrokenPipeError):
                    process.stdin.write(f"{name}\n".encode())
                    process.stdin.flush()
                size = process.stdout.read(8)
                block = process.stdout.read(int.from_bytes(size, "little")) if len(size) == 8 else b""
                if not block:
                    drain.join()
                    last = errors[0].decode(errors="replace").strip().splitlines() or ["no message"]
                    raise EngineError(f"The kernel {name} could not be compiled for {target.name}: {last[-1]}")
                built(name, block)
        except BaseException:
            names.clear()
            process.kill()  # else it would wait for names, and `drain` for its end
            raise
        process.stdin.close()
        drain.join()


def blocks(names: Iterable[str], target: InstructionSet, progress: Progress | None = None) -> dict[str, Block]:
    """Blocks of kernels by name: from a bundle, else from the cache, else compiled now (and cached).

    `progress(stage, done, total)` is called while kernels are compiled. Raises EngineError.
    """
    names = list(names)
    found = {name: block for name in names if (block := bundle.find(name, target)) is not None}
    found |= cached([name for name in names if name not in found], target)
    missing = [name for name in names if name not in found]
    if missing:
        _compile_missing(missing, target, found, progress)
    return found


def load_kernels(
    names: Iterable[str], target: InstructionSet, progress: Progress | None = None
) -> dict[str, LoadedKernel]:
    """Kernels by name in executable memory, loaded once in a process (see `blocks`). Raises EngineError."""
    names = list(dict.fromkeys(names))
    with _lock:
        new = [name for name in names if (target.name, name) not in _loaded]
        if new:
            added = loader.load(block.kernel for block in blocks(new, target, progress).values())
            _loaded.update(((target.name, kernel.name), kernel) for kernel in added)
        return {name: _loaded[target.name, name] for name in names}


def adopt(kernels: Iterable[Code], target: InstructionSet) -> list[LoadedKernel]:
    """These kernels in executable memory; those that this process has loaded already are taken as they are."""
    kernels = list(kernels)
    with _lock:
        new = [each for each in kernels if (target.name, each.name) not in _loaded]
        _loaded.update(((target.name, kernel.name), kernel) for kernel in loader.load(new))
        return [_loaded[target.name, each.name] for each in kernels]


def _compile_missing(
    missing: list[str], target: InstructionSet, found: dict[str, Block], progress: Progress | None
) -> None:
    if not has_compiler():
        stale = [each.describe_stale() for each in bundle.bundles() if each.stale]
        cause = stale[0] if stale else f"The kernels for {target.name} are not compiled"
        oldest = ".".join(map(str, OLDEST_NUMBA))
        raise EngineError(
            f"{cause}, and numba {oldest} or newer is not installed: pip install 'numba>={oldest}', or "
            f"make a kernel bundle on another machine with `edgenet warmup --target {target.name} -o kernels.bundle`, "
            "copy it here and name it with --kernels or EDGENET_KERNELS."
        )
    from concurrent.futures import ThreadPoolExecutor, wait

    from edgenet.engine.blocks import parse
    from edgenet.kernels.table import compiled_for, slowest_first

    if progress is None and sys.stderr is not None and sys.stderr.isatty():
        progress = progress_line
    done = 0

    def built(name: str, block: bytes) -> None:
        nonlocal done
        try:
            found[name] = parse(block, name, compiled_for(name, target))
        except ValueError as reason:
            raise EngineError(
                f"The compiled kernel {name} cannot be used ({reason}); start this program again."
            ) from None
        _to_disk(block, name, target)
        done += 1
        if progress:
            progress("compiling kernels", done, len(missing))

    if progress:
        progress("compiling kernels", 0, len(missing))
    workers = max(1, min(len(missing) // 2, len(os.sched_getaffinity(0)), 4))
    names, running = deque(slowest_first(missing, target)), []
    with ThreadPoolExecutor(workers) as pool:
        try:  # around starting them, too: with the first compiler running, an interrupt may come before the second's
            for task in [pool.submit(_build, names, target, built, running) for _ in range(workers)]:
                while wait([task], INTERRUPT_SECONDS).not_done:
                    pass
                task.result()
        except BaseException:  # an interrupt, too: the pool would wait until all is compiled
            names.clear()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.kill()
            raise


def progress_line(stage: str, done: int, total: int) -> None:
    """Progress on one line of stderr, which is wiped at the end."""
    text = f"edgenet: {stage} {done}/{total}"
    sys.stderr.write("\r" + (text if done < total else " " * len(text) + "\r"))
    sys.stderr.flush()


def make_bundle(
    path: str | os.PathLike[str], targets: Iterable[InstructionSet], progress: Progress | None = None
) -> int:
    """Write every kernel of `targets` into one file (a kernel bundle); returns how many. Raises EngineError."""
    from edgenet.kernels.table import kernels

    return bundle.write(path, {target: blocks(kernels(target), target, progress) for target in targets})


def warmup(progress: Progress | None = None, target: InstructionSet | None = None) -> int:
    """Compile every kernel of the instruction set (default: this CPU's) into the cache. Returns how many there are."""
    from edgenet.kernels.table import kernels

    target = target or host()
    return len(blocks(kernels(target), target, progress))
