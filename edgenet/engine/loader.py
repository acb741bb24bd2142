"""Maps compiled kernels into memory, writable first and executable after, and calls them by address."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable
from typing import NamedTuple

from edgenet.errors import EngineError
from edgenet.kernels.isa import architecture

_libc = ctypes.CDLL(None, use_errno=True)
_PROT_READ, _PROT_EXEC = 1, 4
_PAGE = 4096
"""Where code begins: it addresses its constants by such pages on Arm."""
ENTRY_TYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
"""C type of a kernel's entry point: slots, begin, end, thread. Calling it releases the interpreter lock."""


class Code(NamedTuple):
    """A kernel's machine code, checked: the offset of its entry point, names and kinds of its slots in order."""

    name: str
    entry: int
    slots: dict[str, str]
    code: memoryview | bytes


class LoadedKernel(NamedTuple):
    """A kernel in executable memory: the address of its entry point, and what was loaded."""

    name: str
    address: int
    slots: dict[str, str]
    code: Code
    memory: mmap.mmap


def load(kernels: Iterable[Code]) -> list[LoadedKernel]:
    """Put kernels into executable memory, which is never writable at the same time.

    Raises EngineError when the system refuses.
    """
    kernels = list(kernels)
    places, end = [], 0
    for each in kernels:
        places.append(end)
        end += -(-len(each.code) // _PAGE) * _PAGE
    if not kernels:
        return []
    memory = mmap.mmap(-1, end)
    for each, place in zip(kernels, places, strict=True):
        memory[place : place + len(each.code)] = each.code
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    _flush_instructions(address, end)
    size = -(-end // mmap.PAGESIZE) * mmap.PAGESIZE
    if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), _PROT_READ | _PROT_EXEC):
        raise EngineError(
            "The system does not allow executable memory (mprotect failed), which edgenet's kernels need."
        )
    return [
        LoadedKernel(each.name, address + place + each.entry, each.slots, each, memory)
        for each, place in zip(kernels, places, strict=True)
    ]


def _flush_instructions(address: int, size: int) -> None:
    """Make code that was just written visible to the instruction fetch; x86 does so by itself."""
    if architecture() != "aarch64":
        return
    try:
        flush = ctypes.CDLL("libgcc_s.so.1")["__clear_cache"]
    except (OSError, AttributeError):
        raise EngineError(
            "Running kernels on Arm needs libgcc_s.so.1; install it (Debian: apt install libgcc-s1)."
        ) from None
    flush(ctypes.c_void_p(address), ctypes.c_void_p(address + size))


def libc_address(name: str) -> int:
    """Address of a function of the C library."""
    found = ctypes.cast(getattr(_libc, name), ctypes.c_void_p).value
    assert found is not None, "ctypes raises AttributeError for an unknown function"
    return found
