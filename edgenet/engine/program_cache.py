"""The program cache: linked programs with their packed weights and kernels on disk, ready to be read and run.

A network that was prepared once starts without reading its graph, packing weights or linking kernels. Programs lie in
`programs` beside the kernel cache. What a program was made from is its key: the model file (its checksum, its place
and times in the file system), the files of the installed package, the instruction set, the options. A program holds
code: it is run only if nobody else could change it (see `edgenet.engine.trust`), if it is whole, and if its key is the
one looked for; in every other case the network is prepared anew. The oldest programs give way to new ones.

The file: MAGIC, the size of the header (8 bytes, little-endian), from byte 32 on the digest of all else (`_digest`);
the header (`marshal`: numbers, texts and lists); the program's words, the code of its kernels and its constants, each
of them from a multiple of 64 bytes on; zeros up to whole pages behind the digest.
"""

from __future__ import annotations

import marshal
import os
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgenet.engine import trust
from edgenet.engine.cache import adopt, compiler_versions, folder
from edgenet.engine.loader import Code
from edgenet.engine.program import Linked, Port, Program
from edgenet.kernels.digest import sha256
from edgenet.kernels.isa import InstructionSet
from edgenet.memory import address_of, working_memory

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from edgenet.engine.loader import LoadedKernel
    from edgenet.mapped import MappedFile

MAGIC = b"EDGENET-PROGRAM\n"
_DIGEST, _HEAD = 32, 64
_PAGE = 4096
_LINE = 64
_MARSHAL = 4
"""Version of the header's encoding."""
MOST_BYTES = 64 << 20
"""Larger programs are not stored."""
MOST_TOGETHER = 256 << 20
"""Bytes that all programs together may take."""
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_ARRAYS = ("words", "places", "bases", "offsets")
"""The program's arrays that the file holds."""
Inputs = dict[str, tuple[tuple[int, ...], str]]
"""Declared shape (dimension 0 may be BATCH) and element type of each input."""
_ODD = np.arange(1, 2 * (_PAGE // 8), 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
"""Factors of a page's words in its sum."""


class Stored(NamedTuple):
    """A program from the cache, what the network declares of its inputs, whether it takes samples one by one."""

    linked: Linked
    inputs: Inputs
    samplewise: bool


def key(file: MappedFile, target: InstructionSet, options: Hashable) -> str:
    """What a program is made from, as a digest. Raises OSError when the package does not lie in folders."""
    status = file.status
    parts = (
        file.content[:_HEAD],
        (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
        _package(),
        compiler_versions(),
        target,
        options,
    )
    return sha256(repr(parts).encode()).hexdigest()


def _package() -> list[tuple[str, int, int]]:
    """Name, size and time of every source file that a program is made by."""
    found = []
    for part in ("", "engine", "kernels", "ops", "prepare"):
        with os.scandir(os.path.join(_PACKAGE, part)) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    status = entry.stat()
                    found.append((f"{part}/{entry.name}", status.st_size, status.st_mtime_ns))
    return sorted(found)


def place() -> str:
    """Where programs are kept. Raises OSError as `cache.folder` does."""
    return os.path.join(folder(), "programs")


def path_of(name: str) -> str:
    """File of the program with this key."""
    return os.path.join(place(), f"{name[:32]}.program")


def find(name: str, target: InstructionSet) -> Stored | None:
    """The stored program with this key and its kernels, loaded; None without one that may be run."""
    try:
        trust.check_folder(folder())
        trust.check_folder(place())
        content = trust.load(path_of(name), working_memory)
        return _parse(content, name, target)
    except trust.Untrusted as reason:
        warnings.warn(f"A stored program is not run: {reason}", stacklevel=4)
    except (OSError, ValueError):
        pass
    return None


def _digest(head: Any, content: Any) -> bytes:
    """SHA-256 over what precedes the digest and a sum of each page, where every word has a factor of its own."""
    sums = np.frombuffer(content, np.uint64).reshape(-1, _PAGE // 8) @ _ODD
    return sha256(bytes(head) + sums.tobytes()).digest()


def _parse(content: np.ndarray, name: str, target: InstructionSet) -> Stored:
    """Raises ValueError for what is damaged or another program."""
    view = content.data
    size = int.from_bytes(view[len(MAGIC) : len(MAGIC) + 8], "little")
    whole = len(view) > _HEAD and (len(view) - _HEAD) % _PAGE == 0 and size <= len(view) - _HEAD
    if not whole or view[: len(MAGIC)] != MAGIC or _digest(view[:_DIGEST], view[_HEAD:]) != view[_DIGEST:_HEAD]:
        raise ValueError("damaged")
    try:
        header = marshal.loads(view[_HEAD : _HEAD + size])
    except (EOFError, TypeError):
        raise ValueError("damaged") from None
    if header["key"] != name:
        raise ValueError("another program")
    body = view[_HEAD + size :]
    arrays = [np.frombuffer(body, np.int64, count, offset) for offset, count in header["arrays"]]
    codes = [
        Code(kernel, entry, slots, body[offset : offset + count])
        for kernel, entry, slots, offset, count in header["kernels"]
    ]
    kernels = adopt(codes, target)
    program = Program(
        **header["numbers"],
        **dict(zip(_ARRAYS, arrays, strict=True)),
        patches=header["patches"],
        inputs=[Port(*port) for port in header["inputs"]],
        outputs=[Port(*port) for port in header["outputs"]],
    )
    base = address_of(np.frombuffer(body, np.uint8))
    used = [kernel.address for kernel in kernels[: header["used"]]]
    addresses = [*(base + offset for offset in header["constants"]), *used]
    return Stored(Linked(program, addresses, (content, kernels)), header["declared"], header["samplewise"])


def store(name: str, linked: Linked, engine: Iterable[LoadedKernel], inputs: Inputs, samplewise: bool) -> None:
    """Keep a program under its key, with the `engine` kernels that run it. What cannot be kept is left out."""
    constants, used = linked.owners
    if sum(array.nbytes for array in constants) > MOST_BYTES:
        return
    known = {kernel.name for kernel in used}
    kernels = [*used, *(kernel for kernel in engine if kernel.name not in known)]
    program, body = linked.program, _Body()
    header = {
        "key": name,
        "declared": inputs,
        "samplewise": samplewise,
        "numbers": {field: getattr(program, field) for field in ("threads", "steps", "arena_bytes", "counters")},
        "arrays": [(body.add(array), len(array)) for array in (getattr(program, field) for field in _ARRAYS)],
        "kernels": [
            (each.name, each.code.entry, each.slots, body.add(each.code.code), len(each.code.code)) for each in kernels
        ],
        "used": len(used),
        "constants": [body.add(array) for array in constants],
        "patches": program.patches,
        "inputs": [tuple(port) for port in program.inputs],
        "outputs": [tuple(port) for port in program.outputs],
    }
    text = marshal.dumps(header, _MARSHAL)
    text += bytes(-len(text) % _LINE)
    content = b"".join([text, *body.pieces])
    content += bytes(-len(content) % _PAGE)
    head = (MAGIC + len(text).to_bytes(8, "little")).ljust(_DIGEST, b"\0")
    try:
        _make_room(_HEAD + len(content))
        trust.write(path_of(name), [head, _digest(head, content), content])
    except (OSError, trust.Untrusted):
        return


class _Body:
    """What follows the header: pieces that begin at cache lines."""

    def __init__(self) -> None:
        self.pieces: list[Any] = []
        self.size = 0

    def add(self, piece: np.ndarray | bytes | memoryview) -> int:
        """Append a piece; its offset."""
        content = (
            np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data if isinstance(piece, np.ndarray) else piece
        )
        offset = self.size
        self.pieces += [content, bytes(-len(content) % _LINE)]
        self.size += len(content) + -len(content) % _LINE
        return offset


def _make_room(size: int) -> None:
    """Remove the oldest programs until `size` bytes more would fit. Raises OSError, Untrusted."""
    try:
        trust.check_folder(folder())
        trust.check_folder(place())
        with os.scandir(place()) as entries:
            kept = sorted((e.stat().st_mtime_ns, e.stat().st_size, e.path) for e in entries)
    except FileNotFoundError:
        return
    together = size + sum(each for _, each, _ in kept)
    for _, each, path in kept:
        if together <= MOST_TOGETHER:
            break
        os.unlink(path)
        together -= each
