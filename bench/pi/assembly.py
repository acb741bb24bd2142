"""The inner loops of a kernel's Arm assembly, and the way from one round of an inner loop to the next.

A kernel's time lies in one block that multiplies (or, without products, moves) the most. Either that block is a loop of
its own, and the rest of the work on a tile lies on the way around from the loop back to it; or it is unrolled, and the
way around is all there is.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from edgenet.errors import EngineError

_LABEL = re.compile(r"^(\.LBB\w+|edgenet_entry):")
_BRANCH = re.compile(r"^(b|b\.\w+|cbn?z|tbn?z)\s+(?:.*,\s*)?(\.LBB\w+)$")
_REGISTER_BYTES = {"q": 16, "d": 8, "s": 4, "h": 2, "b": 1, "x": 8, "w": 4}
_ELEMENT_BYTES = {"b": 1, "h": 2, "s": 4, "d": 8}
_PRODUCTS = {"fmla": 4, "sdot": 16, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8}


@dataclass
class Block:
    """Instructions without a branch but at their end, and the labels that may follow."""

    instructions: list[str] = field(default_factory=list)
    successors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Round:
    """One round of a kernel: `loop` as often as the depth takes (empty: unrolled), and `way`, once."""

    loop: tuple[str, ...]
    way: tuple[str, ...]


def parse(text: str) -> dict[str, Block]:
    """The blocks of the function `edgenet_entry` by label, in order."""
    found: dict[str, Block] = {}
    label, block, ended = "", Block(), True
    for line in text.splitlines():
        opening = _LABEL.match(line)
        instruction = " ".join(line.split("//")[0].split())
        if line.startswith(".Lfunc_end"):
            break
        if not opening and (not found or not instruction or instruction.startswith(".")):
            continue
        if opening or ended:  # a block begins; control falls into it unless the one before ends elsewhere
            label = opening[1] if opening else label + "'"
            before, block, ended = block, found.setdefault(label, Block()), False
            if before.instructions and before.instructions[-1].split()[0] not in ("b", "ret", "br"):
                before.successors.append(label)
        if not opening:
            block.instructions.append(instruction)
            branch = _BRANCH.match(instruction)
            if branch:
                block.successors.append(branch[2])
            ended = branch is not None or instruction.split()[0] in ("ret", "br")
    return found


def products(instruction: str) -> int:
    """Multiply-adds of one instruction."""
    name, _, operands = instruction.partition(" ")
    if name in ("smull", "smull2", "smlal", "smlal2") and operands.split(",")[0].endswith(".4s"):
        return 4
    return _PRODUCTS.get(name, 0)


def bytes_accessed(instruction: str, kind: str) -> int:
    """Bytes that a load (`kind` "ld") or store ("st") moves; 0 for other instructions and for the stack."""
    name, _, operands = instruction.partition(" ")
    if not name.startswith(kind) or "[sp" in operands:
        return 0
    listed = re.match(r"^\{([^}]*)\}(\[\d+\])?", operands)
    if listed:
        arrangements = re.findall(r"v\d+\.(\d*)(\w)", listed[1])
        if listed[2] or name.endswith("r"):
            return sum(_ELEMENT_BYTES[element] for _, element in arrangements)
        return sum(int(count) * _ELEMENT_BYTES[element] for count, element in arrangements)
    if name.rstrip("b").endswith("r") and name.endswith("b"):
        return 1
    size = _REGISTER_BYTES.get(operands[0], 0)
    return 2 * size if name[2:].startswith("p") or name[2:].startswith("np") else size


def _total(block: Block, measure: Callable[[str], int]) -> int:
    return sum(measure(instruction) for instruction in block.instructions)


def _stored(instruction: str) -> int:
    return bytes_accessed(instruction, "st")


def loops(blocks: dict[str, Block]) -> list[str]:
    """Labels of the blocks that are loops of their own."""
    return [label for label, block in blocks.items() if label in block.successors]


def scalings(instruction: str) -> int:
    """1 for a multiplication of float32 vectors."""
    return int(instruction.startswith("fmul ") and ".4s" in instruction)


def way_around(blocks: dict[str, Block], start: str, stored: int, scaled: int = 0) -> tuple[str, ...]:
    """Instructions of the shortest way from the end of block `start` back to its beginning.

    Block and way together store `stored` bytes, what a tile has: that tells a tile's usual way from those that store a
    part; and they have at least `scaled` multiplications of float32 vectors, which a layer's epilogue needs. Each block
    on the way runs once. Raises EngineError when there is no such way.
    """
    begin = (start, _total(blocks[start], _stored), min(scaled, _total(blocks[start], scalings)))
    best = {begin: 0}
    queue: list[tuple[int, tuple[str, int, int], tuple[str, ...]]] = [(0, begin, ())]
    while queue:
        cost, (label, done, multiplied), path = heapq.heappop(queue)
        for successor in blocks[label].successors:
            if successor == start:
                if (done, multiplied) == (stored, scaled) and path:
                    return tuple(line for name in path for line in blocks[name].instructions)
                continue
            block = blocks[successor]
            multiplications = min(scaled, multiplied + _total(block, scalings))
            place = (successor, done + _total(block, _stored), multiplications)
            reached = cost + len(block.instructions)
            if place[1] <= stored and reached < best.get(place, 1 << 30):
                best[place] = reached
                heapq.heappush(queue, (reached, place, (*path, successor)))
    raise EngineError(
        f"The kernel's code has no way around {start} that stores {stored} bytes and scales {scaled} vectors."
    )


def multiplying_round(blocks: dict[str, Block], stored: int, scaled: int = 0) -> Round:
    """The round of the block with the most products, with a way as for `way_around`. Raises EngineError without one."""
    multiplying = [name for name in blocks if _total(blocks[name], products)]
    for label in sorted(multiplying, key=lambda n: (-_total(blocks[n], products), len(blocks[n].instructions))):
        try:
            around, body = way_around(blocks, label, stored, scaled), tuple(blocks[label].instructions)
        except EngineError:
            continue
        return Round(body, around) if label in blocks[label].successors else Round((), body + around)
    raise EngineError(
        f"The kernel's code has no round with products that stores {stored} bytes and scales {scaled} vectors."
    )


def remainder_loop(blocks: dict[str, Block], products_a_turn: int) -> tuple[str, ...]:
    """The shortest loop of this many products a turn; empty if there is none."""
    found = [
        blocks[label].instructions for label in loops(blocks) if _total(blocks[label], products) == products_a_turn
    ]
    return tuple(min(found, key=len, default=[]))


def moving_loop(blocks: dict[str, Block], kind: str, own: bool = False) -> tuple[str, ...]:
    """Instructions of one turn of the loop without products that stores ("st") or loads ("ld") the most bytes a turn.

    `own`: only blocks that are loops of their own count. Raises EngineError when there is none.
    """

    def moved(label: str, what: str) -> int:
        return _total(blocks[label], lambda instruction: bytes_accessed(instruction, what))

    def rank(label: str) -> tuple[int, int, bool, int]:
        other = "ld" if kind == "st" else "st"
        alone = label in blocks[label].successors
        return moved(label, kind), moved(label, other), alone, -len(blocks[label].instructions)

    for label in sorted(blocks, key=rank, reverse=True):
        block = blocks[label]
        if _total(block, products) or moved(label, kind) == 0:
            continue
        if label in block.successors:
            return tuple(block.instructions)
        if not own:
            try:
                return (*block.instructions, *way_around(blocks, label, moved(label, "st")))
            except EngineError:
                continue
    raise EngineError("The kernel's code has no loop that moves data.")
