"""Maps compiled kernels into memory, writable first and executable after, and calls them by address."""

from __future__ import annotations

import ctypes
import json
import mmap
from dataclasses import dataclass
from hashlib import sha256

from edgenet.errors import EngineError

_libc = ctypes.CDLL(None, use_errno=True)
_PROT_READ, _PROT_EXEC = 1, 4
ENTRY_TYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
"""C type of a kernel's entry point: slots, begin, end, thread. Calling it releases the interpreter lock."""


@dataclass(frozen=True)
class LoadedKernel:
    """A kernel in executable memory: its entry address, and the names and kinds of its slots in order."""

    name: str
    address: int
    slots: dict[str, str]
    memory: mmap.mmap


def parse(block: bytes, name: str, target: str) -> tuple[dict[str, object], bytes]:
    """Header and code of a block. Raises ValueError when it is damaged or another kernel's."""
    line, _, code = block.partition(b"\n")
    header = json.loads(line)
    if header["kernel"] != name or header["target"] != target or header["size"] != len(code):
        raise ValueError("another kernel's block, or a truncated one")
    if header["sha256"] != sha256(code).hexdigest() or not 0 <= header["entry"] < len(code):
        raise ValueError("damaged code")
    return header, code


def load(block: bytes, name: str, target: str) -> LoadedKernel:
    """Put the code of a block into executable memory.

    Raises ValueError for a bad block, EngineError when the system refuses.
    """
    header, code = parse(block, name, target)
    memory = mmap.mmap(-1, len(code))
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    size = -(-len(code) // mmap.PAGESIZE) * mmap.PAGESIZE
    if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), _PROT_READ | _PROT_EXEC):
        raise EngineError(
            "The system does not allow executable memory (mprotect failed), which edgenet's kernels need."
        )
    slots = header["slots"]
    assert isinstance(slots, dict), "written by edgenet.kernels.build"
    return LoadedKernel(name, address + int(str(header["entry"])), slots, memory)


def libc_address(name: str) -> int:
    """Address of a function of the C library."""
    found = ctypes.cast(getattr(_libc, name), ctypes.c_void_p).value
    assert found is not None, "ctypes raises AttributeError for an unknown function"
    return found
