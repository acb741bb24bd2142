"""Instruction sets: what this CPU offers, and what the code generator may use.

An `InstructionSet` is everything kernels and the code generator need to know of a CPU: vector width, LLVM's CPU name
and features, and how 8-bit products are summed. `EDGENET_ISA` caps the choice, so that one machine can run every path
it contains. Nothing here imports numba.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from typing import Final, NamedTuple

from edgenet.errors import EngineError


class InstructionSet(NamedTuple):
    """One target of the kernels.

    `bits` is the width of a vector register; `registers` their number. `dot` names the exact instruction that sums
    8-bit products into int32: "vnni512" and "vnni" (`vpdpbusd`, unsigned times signed), "madd16" (`vpmaddwd` on widened
    values; where that is exact, `vpmaddubsw`, see `kernels.pairs_int8`), "sdot" (Arm dot product), "smull" (Arm
    widening multiply), "generic" (plain vector arithmetic).
    `stored_unsigned` tells that int8 activations lie in memory as value + 128, `matrix_registers` that int8 products of
    whole tiles are made in registers of their own (see `kernels.simd_matrix`). `extends` names the instruction set that
    this one adds int8 instructions to: kernels which do not use them are taken from it (see `table.compiled_for`).
    """

    name: str
    architecture: str
    bits: int
    registers: int
    cpu: str
    features: str
    needs: tuple[str, ...]
    dot: str
    stored_unsigned: bool = False
    fma: bool = True
    matrix_registers: bool = False
    extends: str = ""

    @property
    def lanes(self) -> int:
        """32-bit lanes of one vector register."""
        return self.bits // 32

    @property
    def narrow_lanes(self) -> int:
        """Lanes of the narrowest part of a register that may take no more than its share of the time of the whole.

        Most CPUs execute 512 bits in two turns, or on two pipelines at once, and 256 in one turn on either.
        """
        return self.lanes // 2 if self.bits == 512 else self.lanes

    @property
    def has_wide_pipelines(self) -> bool:
        """Whether narrow parts save no time: both pipelines are as wide as the registers.

        That is so in all CPUs with matrix registers; others do not tell.
        """
        return self.matrix_registers


_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18
"""Linux's numbers of the system call, of what is asked of it, and of the state that matrix registers keep."""
_AVX2_FEATURES: Final = "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt,+sse4.2,+ssse3"
_AVX512_FEATURES: Final = _AVX2_FEATURES + ",+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512cd,-prefer-256-bit"
_AVX512_NEEDS: Final = ("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl")
_AVX512_VNNI: Final = InstructionSet(
    "avx512_vnni",
    "x86_64",
    512,
    32,
    "x86-64-v4",
    _AVX512_FEATURES + ",+avx512vnni",
    (*_AVX512_NEEDS, "avx512_vnni"),
    "vnni512",
    stored_unsigned=True,
    extends="avx512",
)

INSTRUCTION_SETS: Final[dict[str, InstructionSet]] = {
    target.name: target
    for target in (
        InstructionSet("portable", "x86_64", 128, 16, "x86-64", "", (), "generic", fma=False),
        InstructionSet(
            "avx2", "x86_64", 256, 16, "x86-64-v3", _AVX2_FEATURES, ("avx2", "fma"), "madd16", stored_unsigned=True
        ),
        InstructionSet(
            "avx_vnni",
            "x86_64",
            256,
            16,
            "x86-64-v3",
            _AVX2_FEATURES + ",+avxvnni",
            ("avx2", "fma", "avx_vnni"),
            "vnni",
            stored_unsigned=True,
            extends="avx2",
        ),
        InstructionSet(
            "avx512", "x86_64", 512, 32, "x86-64-v4", _AVX512_FEATURES, _AVX512_NEEDS, "madd16", stored_unsigned=True
        ),
        _AVX512_VNNI,
        _AVX512_VNNI._replace(
            name="avx512_amx",
            features=_AVX512_VNNI.features + ",+amx-tile,+amx-int8",
            needs=(*_AVX512_VNNI.needs, "amx_tile", "amx_int8"),
            matrix_registers=True,
            extends=_AVX512_VNNI.name,
        ),
        InstructionSet("neon", "aarch64", 128, 32, "cortex-a72", "+neon", (), "smull"),
        InstructionSet("neon_dotprod", "aarch64", 128, 32, "cortex-a76", "+neon,+dotprod", ("asimddp",), "sdot"),
    )
}
"""Every instruction set, per architecture from the least to the most capable."""


def architecture() -> str:
    """This machine's architecture: "x86_64" or "aarch64"."""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


@cache
def cpu_flags() -> frozenset[str]:
    """Feature flags of this CPU in the spelling of Linux's /proc/cpuinfo; empty where that file does not exist."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip().lower() in ("flags", "features"):
                    return frozenset(value.split())
    except OSError:
        pass
    return frozenset()


@cache
def matrix_registers_granted() -> bool:
    """Ask Linux for the use of matrix registers, for all threads of this process; whether it agrees.

    It does not where a thread's signal stack is too small for them.
    """
    return ctypes.CDLL(None, use_errno=True).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0


def available() -> list[InstructionSet]:
    """Instruction sets that this CPU can run, least capable first.

    Raises EngineError on an unsupported architecture and in a 32-bit program.
    """
    here, flags = architecture(), cpu_flags()
    if sys.maxsize <= 2**32:
        raise EngineError(
            "This Python is a 32-bit program, and edgenet needs a 64-bit one; on a Raspberry Pi, install the 64-bit "
            "Raspberry Pi OS."
        )
    found = [t for t in INSTRUCTION_SETS.values() if t.architecture == here and flags.issuperset(t.needs)]
    if found and found[-1].matrix_registers and not matrix_registers_granted():
        found.pop()
    if not found:
        raise EngineError(f"edgenet has no kernels for the architecture {here!r}; it runs on x86-64 and 64-bit Arm.")
    return found


CPU_NAMES: Final = {
    "x86-64": "portable",
    "x86-64-v3": "avx2",
    "x86-64-v4": "avx512",
    "sapphirerapids": "avx512_amx",
    "cortex-a53": "neon",
    "cortex-a72": "neon",
    "cortex-a76": "neon_dotprod",
}
"""Compilers' names of CPUs (Raspberry Pi 3: cortex-a53, 4: cortex-a72, 5: cortex-a76) by their instruction set."""


def by_name(name: str) -> InstructionSet:
    """The instruction set called `name`, or that of a CPU (see CPU_NAMES). Raises EngineError when there is none."""
    try:
        return INSTRUCTION_SETS[CPU_NAMES.get(name, name)]
    except KeyError:
        raise EngineError(f"Unknown instruction set {name!r}; choose one of {', '.join(INSTRUCTION_SETS)}.") from None


def host() -> InstructionSet:
    """The instruction set to use here: the most capable one, or the one `EDGENET_ISA` names.

    Raises EngineError when `EDGENET_ISA` names one that this CPU cannot run.
    """
    choices = available()
    wanted = os.environ.get("EDGENET_ISA", "").strip()
    if not wanted:
        return choices[-1]
    target = by_name(wanted.lower())
    if target not in choices:
        raise EngineError(
            f"EDGENET_ISA={wanted} needs CPU features that this machine lacks; "
            f"it can run {', '.join(t.name for t in choices)}."
        )
    return target
