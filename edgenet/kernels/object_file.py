"""From an ELF object file to one position-independent block of machine code with its constants.

The code generator is asked for position-independent code without external symbols, so every relocation left is relative
and lies within the block: it is applied here once, and the block runs wherever it is mapped (at a page boundary).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edgenet.errors import EngineError

PAGE = 4096

_X86_RELATIVE = (2, 4)  # R_X86_64_PC32, R_X86_64_PLT32
_ARM_PAGE = 275  # R_AARCH64_ADR_PREL_PG_HI21
_ARM_CALL = (282, 283)  # R_AARCH64_JUMP26, R_AARCH64_CALL26
_ARM_LOW12 = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}  # ADD and LDST{8,16,32,64,128} of the low 12 bits: shift


@dataclass(frozen=True)
class _Section:
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


def _sections(data: bytes) -> list[_Section]:
    (table,) = struct.unpack_from("<Q", data, 0x28)
    entry, count, names = struct.unpack_from("<HHH", data, 0x3A)
    raw = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * entry) for i in range(count)]
    start = raw[names][4]

    def name(offset: int) -> str:
        return data[start + offset : data.index(b"\0", start + offset)].decode()

    return [_Section(name(s[0]), s[1], s[2], s[4], s[5], s[6], s[7], max(s[8], 1)) for s in raw]


def _symbols(data: bytes, sections: list[_Section]) -> list[tuple[str, int, int]]:
    """(name, section, value) of each symbol."""
    table = next(s for s in sections if s.kind == 2)
    strings, found = sections[table.link].offset, []
    for offset in range(table.offset, table.offset + table.size, 24):
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", data, offset)
        found.append((data[strings + name : data.index(b"\0", strings + name)].decode(), section, value))
    return found


def _relocate(code: bytearray, kind: int, place: int, target: int) -> None:
    """Apply one relocation at offset `place`; `target` is the offset of the symbol plus the addend."""
    if kind in _X86_RELATIVE:
        struct.pack_into("<i", code, place, target - place)
        return
    (word,) = struct.unpack_from("<I", code, place)
    if kind == _ARM_PAGE:
        pages = (target // PAGE - place // PAGE) & 0x1FFFFF
        word = (word & 0x9F00001F) | ((pages & 3) << 29) | ((pages >> 2) << 5)
    elif kind in _ARM_LOW12:
        word = (word & ~(0xFFF << 10)) | (((target & 0xFFF) >> _ARM_LOW12[kind]) << 10)
    elif kind in _ARM_CALL:
        word = (word & 0xFC000000) | (((target - place) >> 2) & 0x03FFFFFF)
    else:
        raise EngineError(f"The code generator left a relocation of kind {kind}, which cannot be linked.")
    struct.pack_into("<I", code, place, word)


def link(data: bytes, entry: str) -> tuple[bytes, int]:
    """The allocated sections of the object as one block, and the offset of function `entry` in it.

    Raises EngineError when the object needs anything outside the block, or writable data.
    """
    sections = _sections(data)
    symbols = _symbols(data, sections)
    used = {s.info for s in sections if s.kind == 4 and sections[s.info].name.startswith(".text")}
    wanted = [i for i, s in enumerate(sections) if s.name.startswith((".text", ".rodata")) and s.size]
    code, start = bytearray(), {}
    for i in sorted(wanted, key=lambda i: not sections[i].name.startswith(".text")):
        section = sections[i]
        code.extend(b"\0" * (-len(code) % max(section.align, 64)))
        start[i] = len(code)
        code.extend(data[section.offset : section.offset + section.size])
    for section in (s for s in sections if s.kind == 4 and s.info in start):
        for offset in range(section.offset, section.offset + section.size, 24):
            place, info, addend = struct.unpack_from("<QQq", data, offset)
            name, home, value = symbols[info >> 32]
            if home not in start:
                raise EngineError(f"A kernel refers to {name or sections[home].name}, which lies outside of its code.")
            _relocate(code, info & 0xFFFFFFFF, start[section.info] + place, start[home] + value + addend)
    if not used <= set(start):
        raise EngineError("A kernel has relocations in a section that is not loaded.")
    found = [start[home] + value for name, home, value in symbols if name == entry and home in start]
    if not found:
        raise EngineError(f"The object has no function {entry}.")
    return bytes(code), found[0]
