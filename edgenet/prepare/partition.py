"""How a matrix product is divided into units of work.

A unit is a block of pixels times a span of panels of output channels. Where the weights outweigh the input, the blocks
of a span follow each other, so that a thread streams its share of the weights once; else the spans of a block do, so
that a thread reads and writes its own rows of the image, which it has in its cache from the step before. Several
threads keep to their own rows, too, where weights come from a slower cache anyway, and faster than they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

_LEAST_WORK = 4_000
"""Multiply-add instructions of a unit below which handing it out shows in its time (about a microsecond)."""
_LEAST_WORK_ALONE = 60_000
"""The same where one thread does all: no other waits for its last unit, and each begins with a cold panel."""
_MOST_WORK = 100_000
_UNITS_PER_THREAD = 32
_MANY_TILES = 128
"""Tiles of each thread from which on it costs little that blocks are large and begin with a whole tile."""
OWN_ROWS = 6
"""With several threads, weights must outweigh the input so many times before each thread reads all of the input."""
_LEAST_TILES, _MOST_TILES, _BLOCK_BYTES = 4, 16, 24 << 10
"""Tiles of a block that stays in the first-level cache while all panels pass, and the input that fits there.

Where there are many tiles, twice as many are a block at most.
"""
_KEPT, _LARGE_BLOCK = 0.7, 0.25
"""Shares of a thread's own cache: weights of more do not stay in it, and the input of a large block takes no more."""
_WORK_A_BYTE = 0.6
"""Multiply-add instructions of a thread for each byte of weights from which on these come in time from a slower cache
though each thread reads all of them.
"""
_EVEN_BLOCKS = 4
"""Blocks of each thread from which on it costs little that all threads have as many (or where blocks are large).

A thread's part of the pixels then ends where it does in other layers, and so its rows are in its cache.
"""


@dataclass(frozen=True)
class Partition:
    """Blocks of pixels, spans of `span` panels, their order, and the pixels that block borders are multiples of.

    Each of the `groups` of a convolution has spans of its own.
    """

    blocks: int
    spans: int
    span: int
    by_panel: int
    quantum: int
    groups: int = 1

    @property
    def units(self) -> int:
        """Units of work."""
        return self.blocks * self.spans * self.groups

    def most_pixels(self, pixels: int) -> int:
        """Pixels of the largest block."""
        return min(pixels, -(-pixels // self.blocks) + self.quantum - 1)

    def slots(self) -> dict[str, int]:
        """The kernels' slots."""
        return {
            "blocks": self.blocks,
            "spans": self.spans,
            "span": self.span,
            "by_panel": self.by_panel,
            "quantum": self.quantum,
        }


def _full(pixels: int, blocks: int, rows: int, second: int) -> bool:
    """Whether tiles of `rows` and `second` pixels make up every one of so many blocks."""
    return all(-(-count // rows) * second <= count for count in (pixels // blocks, -(-pixels // blocks)))


def partition(
    pixels: int,
    rows: int,
    second: int,
    panels: int,
    work: int,
    x_bytes: int,
    weights_bytes: int,
    threads: int,
    most_pixels: int = 1 << 30,
    groups: int = 1,
    cache: int = 0,
) -> Partition:
    """Divide `pixels` in tiles of `rows` (or `second`), and the `panels` of each of `groups`.

    `work` is the instructions of a tile times a panel. `second` is half of `rows` (borders of blocks then lie on whole
    tiles, or halves if there are few) or one less (any border will do, since tiles of both heights make up every number
    of pixels, but whole ones take less time). Where a unit prepares its pixels, `most_pixels` limits a block (at least
    a tile), and the spans are as wide as the number of threads allows. `cache`: the bytes of the cache that each thread
    has of its own, if known.
    """
    tiles = -(-pixels // rows)
    many_tiles = tiles >= _MANY_TILES * threads
    quantum = 1
    if rows == 2 * second:
        quantum = rows if tiles >= 4 * threads else second
        tiles = -(-pixels // quantum)
        work = work * quantum // rows
    elif many_tiles:
        quantum = rows
    prepares = most_pixels < 1 << 30
    wanted = tiles * panels * groups * work // (_UNITS_PER_THREAD * threads)
    wanted = min(max(wanted, _LEAST_WORK if threads > 1 else _LEAST_WORK_ALONE), _MOST_WORK)
    outgrows = not prepares and weights_bytes > _KEPT * cache > 0
    own_work = tiles * panels * groups * work / threads
    in_time = threads > 1 and tiles >= _LEAST_TILES * threads and own_work >= _WORK_A_BYTE * weights_bytes
    heavy = weights_bytes > x_bytes * (OWN_ROWS if threads > 1 else 1) and not (outgrows and in_time)
    if heavy and not prepares:
        block = min(tiles, max(1, wanted // work))
        return Partition(-(-tiles // block), panels, 1, 1, quantum, groups)
    block = min(tiles, max(1, most_pixels // rows))
    if not heavy:
        fitting = _BLOCK_BYTES * pixels // (rows * max(1, x_bytes))
        block = min(
            block, min(max(fitting, _LEAST_TILES), _MOST_TILES * (2 if many_tiles else 1)), max(1, wanted // work)
        )
        if outgrows:
            block = max(block, min(-(-tiles // threads), int(_LARGE_BLOCK * cache * tiles) // max(1, x_bytes)))
    blocks = -(-tiles // block)
    span = min(panels, max(1, wanted // (block * work)))
    spans = -(-panels // span) * groups
    many = blocks >= _EVEN_BLOCKS * threads or tiles >= _LEAST_TILES * (blocks + threads) or spans == 1
    if blocks % threads and many:
        less = blocks - blocks % threads
        even = (less + threads,) if prepares else (less + threads, less)
        possible = [count for count in even if 0 < count <= tiles and _full(pixels, count, rows, second)]
        blocks = possible[0] if possible else blocks
    if prepares:
        span = max(span, min(panels, -(-panels * blocks * groups // (4 * threads))))
    return Partition(blocks, -(-panels // span), span, 0, quantum, groups)
