"""How the units of a matrix product divide its pixels and panels (see `edgenet.prepare.partition`)."""

from numba import njit


@njit(inline="always")
def unit_place(unit, blocks, spans, by_panel):
    """Block of pixels and span of panels of a unit; `by_panel`: the blocks of a span follow each other."""
    if by_panel != 0:
        return unit % blocks, unit // blocks
    return unit // spans, unit % spans


@njit(inline="always")
def block_start(pixels, block, blocks, quantum):
    """First pixel of a block: equal shares, rounded down to whole quanta; the last block ends with the pixels."""
    if block == blocks:
        return pixels
    return pixels * block // blocks // quantum * quantum
