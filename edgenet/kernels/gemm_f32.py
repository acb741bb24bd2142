"""float32 matrix products: pointwise convolutions and linear layers.

The tile: `rows` pixels times `columns` vectors of output channels, kept in registers over the whole depth.
Weights are packed in panels of `columns` vectors: [panel][bias, then depth rows][columns * lanes]; the last panel is
only as many vectors wide as it needs. A pointwise layer whose last channels fill no more than half a vector may have a
panel of half a vector for them (see `InstructionSet.narrow_lanes`); where registers are few, last channels that fill no
more than a vector make the panel before them a vector wider (see `table_float.wide_tile`); where they are many, panels
of one vector begin with taller tiles (see `table_float.tall_rows`). The epilogue adds the residual and applies the
activation. A number of pixels that `rows` does not divide begins with tiles of `rows - 1` pixels; a last single pixel
is a tile of its own in products of activations. While a tile is summed, its share of the next panel is brought near; a
single pixel asks for weights of its own panel shortly before it reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_f32 import finish, finisher_along
from edgenet.kernels.partition import block_start, unit_place
from edgenet.kernels.places import row_places
from edgenet.kernels.simd import lane_count, lines_of, load_row_f32, outer_fma, prefetch_l2, repeat
from edgenet.kernels.simd_outer import TURN, by_lane, outer_fmas
from edgenet.kernels.simd_types import row_lanes, target
from edgenet.kernels.subroutine import subroutine
from edgenet.kernels.table_float import tall_rows, wide_tile
from edgenet.kernels.tuples import least, places_along, sequence

LINE_BYTES = 64
_AHEAD = 4096
"""Bytes from the weights that a single pixel reads to those that it asks for: one page, where hardware starts anew."""


MOST_SHARES, FEW_SHARES = 8, 4
"""Tiles that bring the next panel near, each a share of it, at most: of layers, whose smallest usual images, 7x7, make
nine; and where a panel may meet fewer.
"""
_HALF_ROWS = 8
"""Pixels of a tile of half a vector: as many sums as products are under way at a time. A last tile repeats its last."""


def accumulator_ahead(columns: int, lines: int) -> Any:
    """`accumulator` that asks for `lines` cache lines of what lies at `ahead` with each turn."""
    step = row_lanes(columns)

    @njit(inline="always")
    def accumulate(tile, rows, depth, weights, ahead):
        whole = depth - depth % TURN
        for k in range(0, whole, TURN):
            prefetch_l2(ahead + k // TURN * lines * LINE_BYTES, lines)
            tile = outer_fmas(tile, rows, k, weights + k * step * 4, TURN)
        for k in range(whole, depth):
            tile = outer_fma(tile, rows, k, load_row_f32(weights, k * step, columns))
        return tile

    return accumulate


def accumulator(columns: int) -> Any:
    """tile += x @ weights over `depth`: rows are addresses of x, weights a row of `columns` for each k."""
    accumulate_ahead = accumulator_ahead(columns, 0)

    @njit(inline="always")
    def accumulate(tile, rows, depth, weights):
        return accumulate_ahead(tile, rows, depth, weights, weights)

    return accumulate


@njit(inline="always")
def left_by_tall_tiles(pixels, tall, rows):
    """Of so many pixels, those behind the tiles of `tall`: as few as tiles of `rows` and `rows - 1` make up."""
    left = pixels % tall
    while (rows - left % rows) % rows * (rows - 1) > left and left + tall <= pixels:
        left += tall
    return left


@njit(inline="always")
def tiles_before(pixel, rows):
    """The number of a block's first tile, if blocks consist of tiles of `rows` pixels and one smaller."""
    return (pixel + rows - 1) // rows


def lines_ahead(height: int, columns: int, most_shares: int = MOST_SHARES) -> tuple[int, int]:
    """Cache lines that a tile asks for with each turn, and how many (at most `most_shares`) ask for a panel.

    A tile of one pixel asks for as many as it reads. Products by lane ask for nothing.
    """
    if by_lane():
        return 0, 1
    lines = lines_of(max(columns, 1)) * TURN
    share = lines if height == 1 else -(-lines // most_shares)
    return share, -(-lines // share)


def accumulator_along(height: int, columns: int, lines: int = 0) -> Any:
    """`accumulator_ahead` of `height` rows that lie `stride` bytes apart, the first at `place`."""
    step = row_lanes(columns)

    @njit(inline="always")
    def accumulate_along(tile, place, stride, depth, weights, ahead):
        whole = depth - depth % TURN
        for k in range(0, whole, TURN):
            prefetch_l2(ahead + k // TURN * lines * LINE_BYTES, lines)
            tile = outer_fmas(tile, places_along(place, stride, height), 0, weights + k * step * 4, TURN)
            place += TURN * 4
        for k in range(whole, depth):
            row = load_row_f32(weights, k * step, columns)
            tile = outer_fma(tile, places_along(place, stride, height), 0, row)
            place += 4
        return tile

    if not by_lane():
        return accumulate_along
    accumulate = accumulator_ahead(columns, lines)

    @njit(inline="always")
    def accumulate_rows(tile, place, stride, depth, weights, ahead):
        return accumulate(tile, sequence(place, stride, height), depth, weights, ahead)

    return accumulate_rows


@cache
def _part_tile(height: int, columns: int, most_shares: int = MOST_SHARES) -> Any:
    """A tile that may reach behind the last pixel."""
    (lines, shares), step = lines_ahead(height, columns, most_shares), row_lanes(columns)
    accumulate = accumulator_ahead(columns, lines)

    @subroutine
    def part_tile(arguments):
        operands, epilogue, w, depth, pixel, last, channel, missing, count, number = arguments
        x, x_stride, y, y_stride, residual, residual_stride, following = operands
        low, high, activation = epilogue
        sums = repeat(load_row_f32(w, 0, columns), height)
        rows = row_places(x, x_stride, pixel, last, height)
        share = depth // TURN * lines * LINE_BYTES
        ahead = w + _AHEAD if height == 1 else following + number % shares * share
        sums = accumulate(sums, rows, depth, w + step * 4, ahead)
        out = row_places(y, y_stride, pixel, last, height)
        before = row_places(residual, residual_stride, pixel, last, height)
        finish(sums, out, before, channel, missing, count, low, high, activation)

    return part_tile


@cache
def _whole_tiles(height: int, columns: int, most_shares: int) -> Any:
    """The pixels pixel..last-1, whose number `height` divides: what differs from tile to tile are few addresses."""
    (lines, shares), step = lines_ahead(height, columns, most_shares), row_lanes(columns)
    accumulate, finish_along = accumulator_along(height, columns, lines), finisher_along(height)

    @subroutine
    def whole_tiles(arguments):
        operands, epilogue, w, depth, pixel, last, channel, missing, count, number = arguments
        x, x_stride, y, y_stride, residual, residual_stride, following = operands
        low, high, activation = epilogue
        place, out = x + pixel * x_stride, y + pixel * y_stride + channel * 4
        before, residual_step = 0, 0
        if residual != 0:
            before = residual + pixel * residual_stride + channel * 4
            residual_step = height * residual_stride
        share = depth // TURN * lines * LINE_BYTES
        ahead = following + number % shares * share
        for _ in range(pixel, last, height):
            sums = repeat(load_row_f32(w, 0, columns), height)
            sums = accumulate(sums, place, x_stride, depth, w + step * 4, ahead)
            finish_along(sums, out, y_stride, before, residual_stride, missing, count, low, high, activation)
            place += height * x_stride
            out += height * y_stride
            before += residual_step
            ahead += share
            if ahead >= following + shares * share:
                ahead = following

    return whole_tiles


def pixel_rows(
    rows: int, columns: int, single_pixels: bool = True, most_shares: int = MOST_SHARES, tall: int = 0
) -> Any:
    """The pixels first..last-1 of one panel, in tiles of `rows - 1` until `rows` divides the rest.

    `single_pixels`: with a tile for one pixel alone, as the products of activations may have it. `most_shares`: see
    `lines_ahead`. `tall`: rows of taller tiles that come first, more than `rows`, or 0 for none.
    operands: (x, x_stride, y, y_stride, residual, residual_stride, address of the panel that follows, or any);
    epilogue: (low, high, activation); `w`: the panel; `count` output channels from `channel` on, `missing` if they do
    not fill the panel's vectors.
    """
    less = max(rows - 1, 1)
    taller = _whole_tiles(tall, columns, most_shares) if tall else None
    whole = _whole_tiles(rows, columns, most_shares) if rows > 1 else None
    short = _part_tile(less, columns, most_shares)
    single = _part_tile(1, columns, most_shares) if single_pixels else short

    @njit(inline="always")
    def pixel_by_pixel(operands, epilogue, w, depth, first, last, channel, missing, count):
        for pixel in range(first, last):
            single((operands, epilogue, w, depth, pixel, last, channel, missing, count, 0))

    @njit(inline="always")
    def panel(operands, epilogue, w, depth, first, last, channel, missing, count):
        pixel = first
        if tall:
            pixel = last - left_by_tall_tiles(last - first, tall, rows)
            if pixel > first:
                number = tiles_before(first, tall)
                taller((operands, epilogue, w, depth, first, pixel, channel, missing, count, number))
        number = tiles_before(pixel, rows)
        while pixel < last and (last - pixel) % rows != 0:
            if single_pixels and last - pixel == 1:
                single((operands, epilogue, w, depth, pixel, last, channel, missing, count, number))
            else:
                short((operands, epilogue, w, depth, pixel, last, channel, missing, count, number))
            pixel += less
            number += 1
        if pixel < last:
            whole((operands, epilogue, w, depth, pixel, last, channel, missing, count, number))

    return panel if rows > 1 else pixel_by_pixel


def panel_product(
    rows: int, columns: int, single_pixels: bool = True, most_shares: int = MOST_SHARES, tall: int = 0
) -> Any:
    """One panel of up to `columns` vectors: `pixel_rows` of exactly as many vectors as it has channels for.

    `tall`: rows of taller tiles of one vector.
    """
    options = (single_pixels, most_shares)
    four = pixel_rows(rows, 4, *options) if columns >= 4 else None
    three = pixel_rows(rows, 3, *options) if columns >= 3 else None
    two = pixel_rows(rows, 2, *options) if columns >= 2 else None
    one = pixel_rows(rows, 1, *options, tall)

    @njit(inline="always")
    def narrow(operands, epilogue, w, depth, first, last, channel, missing, count, vectors):
        if columns >= 2:
            if vectors == 2:
                two(operands, epilogue, w, depth, first, last, channel, missing, count)
            else:
                one(operands, epilogue, w, depth, first, last, channel, missing, count)
        else:
            one(operands, epilogue, w, depth, first, last, channel, missing, count)

    if columns < 3:

        @njit(inline="always")
        def product(operands, epilogue, w, depth, first, last, channel, count):
            lanes = lane_count()
            vectors = least((count + lanes - 1) // lanes, columns)
            missing = count < vectors * lanes
            narrow(operands, epilogue, w, depth, first, last, channel, missing, count, vectors)

    else:

        @njit(inline="always")
        def product(operands, epilogue, w, depth, first, last, channel, count):
            lanes = lane_count()
            vectors = least((count + lanes - 1) // lanes, columns)
            missing = count < vectors * lanes
            if vectors == 4:
                four(operands, epilogue, w, depth, first, last, channel, missing, count)
            elif vectors == 3:
                three(operands, epilogue, w, depth, first, last, channel, missing, count)
            else:
                narrow(operands, epilogue, w, depth, first, last, channel, missing, count, vectors)

    return product


def _with_half(rows: int, columns: int) -> Any:
    """`panel_product` for layers whose last channels have a panel of half a vector, where they fit and if `halves`."""
    lanes, half = target().lanes, target().narrow_lanes
    product = panel_product(rows, columns, single_pixels=False, tall=tall_rows(target()))
    if half == lanes:

        @njit(inline="always")
        def undivided(operands, epilogue, w, depth, first, last, channel, count, halves):
            product(operands, epilogue, w, depth, first, last, channel, count)

        return undivided
    width = columns * lanes
    several, single = _part_tile(_HALF_ROWS, 0), _part_tile(1, 0)

    @njit(inline="always")
    def split(operands, epilogue, w, depth, first, last, channel, count, halves):
        rest = 0
        if halves != 0 and count < width and count % lanes <= half:
            rest = count % lanes
        whole = count - rest
        if whole != 0:
            product(operands, epilogue, w, depth, first, last, channel, whole)
        if rest != 0:
            w += (depth + 1) * whole * 4
            channel += whole
            pixel = first
            while pixel < last:
                if last - pixel == 1:
                    single((operands, epilogue, w, depth, pixel, last, channel, rest < half, rest, 0))
                else:
                    several((operands, epilogue, w, depth, pixel, last, channel, rest < half, rest, 0))
                pixel += _HALF_ROWS

    return split


def _with_wide(rows: int, columns: int, wide_rows: int, wide_columns: int) -> Any:
    """`panel_product` for layers whose last panel may be a vector wider, in tiles of its own."""
    lanes = target().lanes
    width = columns * lanes
    product = panel_product(rows, columns, single_pixels=False)
    wide = pixel_rows(wide_rows, wide_columns, single_pixels=False)

    @njit(inline="always")
    def joined(operands, epilogue, w, depth, first, last, channel, count, halves):
        if width < count <= width + lanes:
            wide(operands, epilogue, w, depth, first, last, channel, count < width + lanes, count)
        else:
            product(operands, epilogue, w, depth, first, last, channel, count)

    return joined


def pointwise(rows: int, columns: int) -> Callable[..., None]:
    """y[p, n] = activation(sum_k x[p, k] w[n, k] + bias[n] + residual[p, n]). Unit: see `partition`."""
    wide = wide_tile(target())
    product = _with_wide(rows, columns, *wide) if wide else _with_half(rows, columns)
    joins = wide is not None

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        x_stride: int,
        y: int,
        y_stride: int,
        residual: int,
        residual_stride: int,
        weights: int,
        pixels: int,
        depth: int,
        channels: int,
        blocks: int,
        spans: int,
        span: int,
        by_panel: int,
        quantum: int,
        low: float,
        high: float,
        activation: int,
        halves: int,
    ):
        width = columns * lane_count()
        panels = (channels + width - 1) // width
        if joins and channels > width and 0 < channels % width <= lane_count():
            panels -= 1
        epilogue = (low, high, activation)
        for unit in range(begin, end):
            block, part = unit_place(unit, blocks, spans, by_panel)
            first = block_start(pixels, block, blocks, quantum)
            last = block_start(pixels, block + 1, blocks, quantum)
            for panel in range(part * span, least(part * span + span, panels)):
                w = weights + panel * (depth + 1) * width * 4
                following = w
                if panel + 1 < panels:
                    following = w + (depth + 1) * width * 4
                operands = (x, x_stride, y, y_stride, residual, residual_stride, following)
                channel = panel * width
                product(operands, epilogue, w, depth, first, last, channel, channels - channel, halves)

    return kernel
