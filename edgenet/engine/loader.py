"""Maps compiled kernels into memory, writable first and executable after, and calls them by address."""

from __future__ import annotations

import ctypes
import json
import mmap
from typing import NamedTuple

from edgenet.errors import EngineError
from edgenet.kernels.digest import sha256
from edgenet.kernels.isa import InstructionSet, architecture
from edgenet.kernels.table import fingerprint

_libc = ctypes.CDLL(None, use_errno=True)
_PROT_READ, _PROT_EXEC = 1, 4
_DIGEST_BYTES = 32
ENTRY_TYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
"""C type of a kernel's entry point: slots, begin, end, thread. Calling it releases the interpreter lock."""


class Stale(ValueError):
    """A block that is whole, but made from other sources than those installed."""


class Block(NamedTuple):
    """A compiled kernel that was checked: its bytes, and in them the entry offset, the slots and the code."""

    content: bytes
    name: str
    entry: int
    slots: dict[str, str]
    code: memoryview


class LoadedKernel(NamedTuple):
    """A kernel in executable memory: its entry address, and the names and kinds of its slots in order."""

    name: str
    address: int
    slots: dict[str, str]
    memory: mmap.mmap


def parse(block: bytes, name: str, target: InstructionSet) -> Block:
    """The contents of a block that holds kernel `name` for `target`, made from the sources that are installed.

    Raises Stale for a block made from others, ValueError with the reason for one that is damaged or another kernel's.
    Only what passes may be executed.
    """
    view = memoryview(block)
    start = block.find(b"\n", _DIGEST_BYTES) + 1
    if not start or sha256(view[_DIGEST_BYTES:]).digest() != block[:_DIGEST_BYTES]:
        raise ValueError("damaged")
    header, code = json.loads(block[_DIGEST_BYTES:start]), view[start:]
    if header.get("kernel") != name or header.get("target") != target.name:
        raise ValueError("the code of another kernel or CPU")
    if header.get("fingerprint") != fingerprint(name, target):
        raise Stale("made by another version of edgenet")
    if header["size"] != len(code) or not 0 <= header["entry"] < len(code):
        raise ValueError("damaged")
    return Block(block, name, header["entry"], header["slots"], code)


def load(block: Block) -> LoadedKernel:
    """Put the code of a block into executable memory, which is never writable at the same time.

    Raises EngineError when the system refuses.
    """
    _, name, entry, slots, code = block
    memory = mmap.mmap(-1, len(code))
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    _flush_instructions(address, len(code))
    size = -(-len(code) // mmap.PAGESIZE) * mmap.PAGESIZE
    if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), _PROT_READ | _PROT_EXEC):
        raise EngineError(
            "The system does not allow executable memory (mprotect failed), which edgenet's kernels need."
        )
    return LoadedKernel(name, address + entry, slots, memory)


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
