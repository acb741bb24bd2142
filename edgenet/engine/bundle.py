"""Kernel bundles: compiled kernels for one or more instruction sets in one file, for machines without a compiler.

A bundle is code. It is read only from where the user points: `EDGENET_KERNELS`, `use()`, or `kernels.bundle` beside the
package; a file that every user of the machine may change is refused. Never part of a model file.

The file: MAGIC, the length of the index (8 bytes, little-endian), the SHA-256 of the index (32 bytes), the index
(JSON), the blocks. The index maps instruction set to kernel name to [digest, offset, size], offsets counted from the
first block.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from edgenet.errors import EngineError
from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table import kernel, source_digest

MAGIC = b"EDGENET-KERNELS\n"
_LARGEST_INDEX = 1 << 22
_used: list[Path] = []
_opened: dict[Path, Bundle] = {}


def digest(name: str, target: InstructionSet) -> str:
    """What a kernel is made from: its sources, its row of the table and the instruction set."""
    row = kernel(name, target)
    return sha256(f"{source_digest(row.module)} {row} {target}".encode()).hexdigest()


class Bundle:
    """An opened bundle. Raises EngineError when the file cannot be trusted or is damaged."""

    def __init__(self, path: Path):
        self.path = path
        try:
            _refuse_shared(path)
            self._data = path.read_bytes()
        except OSError as error:
            raise EngineError(f"The kernel bundle {path} cannot be read: {error.strerror}.") from None
        head = len(MAGIC) + 40
        size = int.from_bytes(self._data[len(MAGIC) : len(MAGIC) + 8], "little")
        index = self._data[head : head + size]
        if not self._data.startswith(MAGIC) or size > _LARGEST_INDEX or len(index) != size:
            raise EngineError(f"{path} is not a kernel bundle; make one with `edgenet warmup --target NAME -o FILE`.")
        if sha256(index).digest() != self._data[len(MAGIC) + 8 : head]:
            raise EngineError(f"The kernel bundle {path} is damaged; make it anew.")
        self._index: dict[str, dict[str, list[int | str]]] = json.loads(index)
        self._start = head + size

    @property
    def targets(self) -> list[str]:
        """Instruction sets that the bundle has kernels for."""
        return list(self._index)

    def block(self, name: str, target: InstructionSet) -> bytes | None:
        """The block of a kernel, or None when the bundle lacks it or has that of other sources."""
        entry = self._index.get(target.name, {}).get(name)
        if entry is None or entry[0] != digest(name, target):
            return None
        offset, size = self._start + int(entry[1]), int(entry[2])
        return self._data[offset : offset + size]


def _refuse_shared(path: Path) -> None:
    """OSError when the file is missing; EngineError when anyone on the machine may change it or replace it."""
    for place in (path, path.resolve().parent):
        mode = place.stat().st_mode
        sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
        if mode & stat.S_IWOTH and not sticky:
            raise EngineError(
                f"{place} may be changed by every user of this machine; a kernel bundle is code. Use `chmod o-w`."
            )


def use(path: str | os.PathLike[str]) -> None:
    """Take kernels from this bundle first, for the rest of the process. Raises EngineError."""
    place = Path(path)
    _opened[place] = Bundle(place)
    if place not in _used:
        _used.insert(0, place)


def find(name: str, target: InstructionSet) -> bytes | None:
    """The block of a kernel from the bundles in use, that of `EDGENET_KERNELS`, or the one beside the package."""
    places = list(_used)
    named = os.environ.get("EDGENET_KERNELS")
    if named:
        places.append(Path(named))
    beside = Path(__file__).parents[1] / "kernels.bundle"
    if beside.exists():
        places.append(beside)
    for place in places:
        if place not in _opened:
            _opened[place] = Bundle(place)
        found = _opened[place].block(name, target)
        if found is not None:
            return found
    return None


def write(path: str | os.PathLike[str], kernels: Mapping[InstructionSet, Mapping[str, bytes]]) -> int:
    """Write blocks, by instruction set and kernel name, as a bundle; returns how many. A failure leaves nothing."""
    index: dict[str, dict[str, list[int | str]]] = {}
    blocks: list[bytes] = []
    offset = 0
    for target, named in kernels.items():
        for name, data in named.items():
            index.setdefault(target.name, {})[name] = [digest(name, target), offset, len(data)]
            blocks.append(data)
            offset += len(data)
    text = json.dumps(index).encode()
    destination = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(MAGIC + len(text).to_bytes(8, "little") + sha256(text).digest() + text)
                file.writelines(blocks)
            os.chmod(temporary, 0o644)
            os.replace(temporary, destination)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise EngineError(f"The kernel bundle {destination} cannot be written: {error.strerror}.") from None
    return len(blocks)
