"""The kernel cache: compiled kernels on disk, keyed by their sources, the compilers' versions and the instruction set.

It lies in `EDGENET_CACHE`, else `XDG_CACHE_HOME/edgenet`, else `~/.cache/edgenet`. A kernel is one file, written under
a temporary name and renamed, so that processes can share it. When the cache cannot be used, kernels are compiled for
this process alone and a warning says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgenet.engine import loader
from edgenet.engine.loader import LoadedKernel
from edgenet.errors import EngineError
from edgenet.kernels.isa import InstructionSet, host
from edgenet.kernels.table import kernel, kernels, source_digest

Progress = Callable[[str, int, int], None]
_loaded: dict[tuple[str, str], LoadedKernel] = {}
_lock = threading.Lock()
_warned = False


def folder() -> Path:
    """Where compiled kernels are kept."""
    named = os.environ.get("EDGENET_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edgenet"


def _compiler_versions() -> str:
    found = []
    for package in ("numba", "llvmlite"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join(found)


def path_of(name: str, target: InstructionSet) -> Path:
    """File of a kernel in the cache."""
    row = kernel(name, target)
    text = f"{source_digest(row.module)} {row} {_compiler_versions()} {target}"
    return folder() / target.name / f"{name}-{sha256(text.encode()).hexdigest()[:20]}.kernel"


def _warn(error: OSError) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"The kernel cache {folder()} cannot be used ({error.strerror or error}); kernels are compiled anew in "
            "every process. Set EDGENET_CACHE to a writable folder.",
            stacklevel=4,
        )


def _from_disk(name: str, target: InstructionSet) -> LoadedKernel | None:
    try:
        path = path_of(name, target)
        if hasattr(os, "getuid") and path.stat().st_uid not in (os.getuid(), 0):
            return None
        return loader.load(path.read_bytes(), name, target.name)
    except (OSError, ValueError, KeyError):
        return None


def _to_disk(block: bytes, name: str, target: InstructionSet) -> None:
    path = path_of(name, target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(block)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        _warn(error)


def _build(names: list[str], target: InstructionSet, built: Callable[[str, bytes], None]) -> None:
    """Compile kernels in one process of its own; `built` receives each block as soon as it is ready."""
    command = [sys.executable, "-m", "edgenet.kernels.build", target.name, *names]
    package = str(Path(__file__).parents[2])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    for variable in ("NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK", "NUMBA_OPT"):
        environment.pop(variable, None)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None, "a pipe was asked for"
        assert process.stderr is not None, "a pipe was asked for"
        errors: list[bytes] = []
        drain = threading.Thread(target=lambda: errors.append(process.stderr.read()))  # type: ignore[union-attr]  # a pipe
        drain.start()
        for name in names:
            size = process.stdout.read(8)
            block = process.stdout.read(int.from_bytes(size, "little")) if len(size) == 8 else b""
            if not block:
                drain.join()
                last = errors[0].decode(errors="replace").strip().splitlines() or ["no message"]
                process.kill()
                raise EngineError(f"The kernel {name} could not be compiled for {target.name}: {last[-1]}")
            built(name, block)
        drain.join()


def load_kernels(
    names: Iterable[str], target: InstructionSet, progress: Progress | None = None
) -> dict[str, LoadedKernel]:
    """Kernels by name in executable memory: from this process, else from the cache, else compiled now (and cached).

    `progress(stage, done, total)` is called while kernels are compiled. Raises EngineError.
    """
    names = list(dict.fromkeys(names))
    with _lock:
        missing = []
        for name in names:
            if (target.name, name) not in _loaded:
                found = _from_disk(name, target)
                if found is None:
                    missing.append(name)
                else:
                    _loaded[target.name, name] = found
        if missing:
            _compile_missing(missing, target, progress)
        return {name: _loaded[target.name, name] for name in names}


def _compile_missing(missing: list[str], target: InstructionSet, progress: Progress | None) -> None:
    done = 0

    def built(name: str, block: bytes) -> None:
        nonlocal done
        _loaded[target.name, name] = loader.load(block, name, target.name)
        _to_disk(block, name, target)
        done += 1
        if progress:
            progress("compiling kernels", done, len(missing))

    if progress:
        progress("compiling kernels", 0, len(missing))
    workers = max(1, min(len(missing) // 2, len(os.sched_getaffinity(0)), 4))
    with ThreadPoolExecutor(workers) as pool:
        for result in [pool.submit(_build, missing[i::workers], target, built) for i in range(workers)]:
            result.result()


def warmup(progress: Progress | None = None, target: InstructionSet | None = None) -> int:
    """Compile every kernel of the instruction set (default: this CPU's) into the cache. Returns how many there are."""
    target = target or host()
    names = list(kernels(target))
    load_kernels(names, target, progress)
    return len(names)
