"""Kernel bundles: compiled kernels for one or more instruction sets in one file, for machines without a compiler.

A bundle is code. It is read only from where the user points (`use()`, which `--kernels` calls, or `EDGENET_KERNELS`) or
from `kernels.bundle` beside the package, and only if nobody else can change it (see `edgenet.engine.trust`). Never part
of a model file.

The file: MAGIC, the length of the index (8 bytes, little-endian), the SHA-256 of the index (32 bytes), the index
(JSON), the blocks (see `edgenet.kernels.build`), each with its own digest. The index holds `edgenet`, the version that
made it, and `kernels`: instruction set -> kernel name -> [offset, size], offsets counted from the first block.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgenet import __version__
from edgenet.engine import trust
from edgenet.errors import EngineError
from edgenet.kernels.digest import sha256
from edgenet.kernels.isa import InstructionSet, available, host

if TYPE_CHECKING:
    from edgenet.engine.blocks import Block

MAGIC = b"EDGENET-KERNELS\n"
_HEAD = len(MAGIC) + 8 + 32
_LARGEST_INDEX = 1 << 22
_BESIDE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kernels.bundle")
_used: list[str] = []
_opened: dict[str, Bundle] = {}


class Bundle:
    """An opened bundle. Raises EngineError when the file cannot be trusted or is damaged."""

    def __init__(self, path: str):
        import json

        self.path = path
        self.stale = False
        head = self._read(0, _HEAD)
        size = int.from_bytes(head[len(MAGIC) : len(MAGIC) + 8], "little")
        if not head.startswith(MAGIC) or len(head) < _HEAD or size > _LARGEST_INDEX:
            raise EngineError(f"{path} is not a kernel bundle; make one with `edgenet warmup --target NAME -o FILE`.")
        index = self._read(_HEAD, size)
        if sha256(index).digest() != head[-32:]:
            raise EngineError(f"The kernel bundle {path} is damaged; copy it again or make it anew.")
        self._start = _HEAD + size
        content = json.loads(index)
        self.version: str = content["edgenet"]
        self._index: dict[str, dict[str, list[int]]] = content["kernels"]

    def _read(self, offset: int, size: int) -> bytes:
        try:
            trust.check_folder(os.path.dirname(os.path.realpath(self.path)))
            return trust.read(self.path, offset, size)
        except trust.Untrusted as reason:
            raise EngineError(f"A kernel bundle is code, and this one is not safe to run: {reason}") from None
        except OSError as error:
            raise EngineError(f"The kernel bundle {self.path} cannot be read: {error.strerror}.") from None

    @property
    def targets(self) -> list[str]:
        """Instruction sets that the bundle has kernels for."""
        return list(self._index)

    def block(self, name: str, target: InstructionSet) -> Block | None:
        """The block of a kernel, checked; None when the bundle lacks it or has it from other sources (with a warning).

        Raises EngineError for a damaged one.
        """
        from edgenet.engine import blocks
        from edgenet.kernels.table import compiled_for

        entry = self._index.get(target.name, {}).get(name)
        if entry is None:
            return None
        try:
            return blocks.parse(self._read(self._start + entry[0], entry[1]), name, compiled_for(name, target))
        except blocks.Stale:
            if not self.stale:
                self.stale = True
                warnings.warn(f"{self.describe_stale()}; its kernels are not used.", stacklevel=6)
            return None
        except ValueError as reason:
            raise EngineError(
                f"The kernel {name} in the kernel bundle {self.path} is bad ({reason}); copy it again or make it anew."
            ) from None

    def describe_stale(self) -> str:
        """That the bundle does not belong to the edgenet that is installed, as the beginning of a sentence."""
        return (
            f"The kernel bundle {self.path} was made by another version of edgenet ({self.version}) than this one "
            f"({__version__})"
        )


def use(path: str | os.PathLike[str]) -> None:
    """Take kernels from this bundle first, for the rest of the process. Raises EngineError."""
    place = os.path.abspath(path)
    _opened[place] = Bundle(place)
    if place in _used:
        _used.remove(place)
    _used.insert(0, place)


def bundles() -> list[Bundle]:
    """The bundles in use, that of `EDGENET_KERNELS`, and the one beside the package. Raises EngineError."""
    places = list(_used)
    named = os.environ.get("EDGENET_KERNELS")
    if named:
        places.append(os.path.abspath(named))
    if os.path.exists(_BESIDE):
        places.append(_BESIDE)
    for place in places:
        if place not in _opened:
            _opened[place] = Bundle(place)
    return [_opened[place] for place in dict.fromkeys(places)]


def identities() -> list[tuple[Any, ...]]:
    """Place, size and times of the bundles that kernels are taken from. Raises EngineError, OSError."""
    found = []
    for each in bundles():
        status = os.stat(each.path)
        found.append((each.path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return found


def find(name: str, target: InstructionSet) -> Block | None:
    """The block of a kernel from the first bundle that has it. Raises EngineError for a bundle that cannot be used."""
    return next((block for each in bundles() if (block := each.block(name, target)) is not None), None)


def best_target(has_compiler: Callable[[], bool]) -> InstructionSet:
    """The instruction set to run on: `host()`, or without a compiler the most capable one that a bundle has.

    Raises EngineError.
    """
    wanted = host()
    found = bundles()
    if not found or any(wanted.name in each.targets for each in found):
        return wanted
    if has_compiler() or os.environ.get("EDGENET_ISA"):
        warnings.warn(
            f"The kernel bundle {found[0].path} has kernels for {', '.join(found[0].targets)}, not for {wanted.name}.",
            stacklevel=3,
        )
        return wanted
    usable = [target for target in available() if any(target.name in each.targets for each in found)]
    if not usable:
        raise EngineError(
            f"The kernel bundle {found[0].path} has kernels for {', '.join(found[0].targets)}; "
            f"this CPU needs {wanted.name}."
        )
    return usable[-1]


def write(path: str | os.PathLike[str], kernels: Mapping[InstructionSet, Mapping[str, Block]]) -> int:
    """Write blocks, by instruction set and kernel name, as a bundle; returns how many. A failure leaves nothing.

    What several instruction sets share is written once.
    """
    import json
    import tempfile

    index: dict[str, dict[str, list[int]]] = {}
    places: dict[bytes, int] = {}
    offset = 0
    for target, named in kernels.items():
        for name, block in named.items():
            place = places.setdefault(block.content, offset)
            index.setdefault(target.name, {})[name] = [place, len(block.content)]
            if place == offset:
                offset += len(block.content)
    text = json.dumps({"edgenet": __version__, "kernels": index}).encode()
    destination = os.path.abspath(path)
    folder, file_name = os.path.split(destination)
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{file_name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(MAGIC + len(text).to_bytes(8, "little") + sha256(text).digest() + text)
                file.writelines(places)
            os.chmod(temporary, 0o644)
            os.replace(temporary, destination)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise EngineError(f"The kernel bundle {destination} cannot be written: {error.strerror}.") from None
    return sum(map(len, index.values()))
