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
from importlib.util import find_spec
from pathlib import Path

from edgenet.engine import bundle, loader
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


def _stored(name: str, target: InstructionSet) -> bytes | None:
    """The block of a kernel from a bundle, or from the cache if it is whole and ours."""
    bundled = bundle.find(name, target)
    try:
        if bundled is not None:
            loader.parse(bundled, name, target.name)
            return bundled
    except (ValueError, KeyError):
        raise EngineError(f"The kernel {name} in the kernel bundle is damaged; make the bundle anew.") from None
    try:
        path = path_of(name, target)
        if hasattr(os, "getuid") and path.stat().st_uid not in (os.getuid(), 0):
            return None
        block = path.read_bytes()
        loader.parse(block, name, target.name)
    except (OSError, ValueError, KeyError):
        return None
    return block


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


def blocks(names: Iterable[str], target: InstructionSet, progress: Progress | None = None) -> dict[str, bytes]:
    """Blocks of kernels by name: from a bundle, else from the cache, else compiled now (and cached).

    `progress(stage, done, total)` is called while kernels are compiled. Raises EngineError.
    """
    found: dict[str, bytes] = {}
    missing = []
    for name in names:
        block = _stored(name, target)
        if block is None:
            missing.append(name)
        else:
            found[name] = block
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
        for name, block in blocks(new, target, progress).items():
            _loaded[target.name, name] = loader.load(block, name, target.name)
        return {name: _loaded[target.name, name] for name in names}


def _compile_missing(
    missing: list[str], target: InstructionSet, found: dict[str, bytes], progress: Progress | None
) -> None:
    if find_spec("numba") is None:
        raise EngineError(
            f"The kernels for {target.name} are not compiled, and numba is not installed. Install numba, or make a "
            f"kernel bundle on another machine with `edgenet warmup --target {target.name} -o kernels.bundle`, copy it "
            "here and set EDGENET_KERNELS to its path."
        )
    done = 0

    def built(name: str, block: bytes) -> None:
        nonlocal done
        found[name] = block
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


def make_bundle(
    path: str | os.PathLike[str], targets: Iterable[InstructionSet], progress: Progress | None = None
) -> int:
    """Write every kernel of `targets` into one file (a kernel bundle); returns how many. Raises EngineError."""
    return bundle.write(path, {target: blocks(kernels(target), target, progress) for target in targets})


def warmup(progress: Progress | None = None, target: InstructionSet | None = None) -> int:
    """Compile every kernel of the instruction set (default: this CPU's) into the cache. Returns how many there are."""
    target = target or host()
    return len(blocks(kernels(target), target, progress))
