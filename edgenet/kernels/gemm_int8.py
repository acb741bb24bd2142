"""int8 matrix products: pointwise convolutions and linear layers.

The tile: `rows` pixels times `columns` vectors of output channels, kept in registers over the whole depth. Weights are
packed in panels [int32 bias][float32 multiplier][depth in groups][columns * lanes][group]; the last panel is only as
many vectors wide as it needs. A pointwise layer whose last channels fill no more than half a vector has a panel of half
a vector for them, where that saves time (see `InstructionSet.narrow_lanes`). The bias holds the input's zero point.
Where a group is not four bytes, a unit widens its pixels to int16 in the thread's scratch first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_int8 import finish
from edgenet.kernels.partition import block_start, unit_place
from edgenet.kernels.places import row_places
from edgenet.kernels.simd import lane_count, lines_of, load_row_f32, prefetch_l1, repeat, store
from edgenet.kernels.simd_bytes import register_bytes
from edgenet.kernels.simd_int8 import load_row_i32, load_widened, outer_dot
from edgenet.kernels.simd_outer import by_lane, dots_of_a_turn, outer_dots
from edgenet.kernels.simd_types import row_lanes, target
from edgenet.kernels.subroutine import subroutine
from edgenet.kernels.tuples import least, places_along, sequence

_AHEAD = 1024
"""Bytes between the weights in use and those asked for, where x is widened."""


def accumulator(columns: int, ahead: int = 0) -> Any:
    """tile += x @ weights over `groups` of depth: rows are the addresses of x, weights a row of `columns` a group.

    `ahead`: how many bytes before they are needed weights are asked for (0: not at all).
    """
    turn = dots_of_a_turn()
    lines = lines_of(max(columns, 1)) * turn
    width = row_lanes(columns)
    asks = ahead != 0 and not by_lane()

    @njit(inline="always")
    def accumulate(tile, rows, groups, weights):
        whole = groups - groups % turn
        for k in range(0, whole, turn):
            if asks:
                prefetch_l1(weights + k * width * 4 + ahead, lines)
            tile = outer_dots(tile, rows, k, weights + k * width * 4, turn)
        for k in range(whole, groups):
            tile = outer_dot(tile, rows, k, load_row_i32(weights, k * width, columns))
        return tile

    return accumulate


def row_widener() -> Any:
    """Widens `count` bytes to int16; reads and writes whole registers."""

    @njit(inline="always")
    def widen_row(source, destination, count):
        step = register_bytes() // 2
        for i in range(0, count, step):
            store(load_widened(source + i), destination + 2 * i, 0)

    return widen_row


def over_pixels(tile: Any, rows: int, second: int, whole_tiles: Any = None) -> Any:
    """Calls `tile(job, pixel, last, height)` until the pixels first..last-1 are done.

    Heights are `rows`, `second` (half of `rows`, or one less) and 1; rows of a tile behind the last pixel repeat it.
    `whole_tiles(job, pixel, last, height)`: all tiles of `rows`, which follow each other and fit, if not one by one.
    """
    halves = rows == 2 * second

    @njit(inline="always")
    def one_by_one(job, pixel, last, height):
        for place in range(pixel, last, height):
            tile(job, place, last, height)

    def of_height(body: Any, height: int) -> Any:
        def tiles_of_height(arguments):
            job, pixel, last = arguments
            body(job, pixel, last, height)

        return subroutine(tiles_of_height)

    tall = of_height(whole_tiles or one_by_one, rows)
    short, single = of_height(tile, second), of_height(tile, 1)

    @njit(inline="always")
    def rest(job, pixel, last):
        """Tiles of `second` or 1 pixels until `rows` divides what is left."""
        while pixel < last and (last - pixel) % rows != 0:
            if last - pixel > 1:
                short((job, pixel, last))
            else:
                single((job, pixel, last))
            pixel += second
        return pixel

    @njit(inline="always")
    def whole_first(job, first, last):
        whole = first + (last - first) // rows * rows
        if first < whole:
            tall((job, first, whole))
        rest(job, whole, last)

    @njit(inline="always")
    def whole_last(job, first, last):
        pixel = rest(job, first, last)
        if pixel < last:
            tall((job, pixel, last))

    return whole_first if halves else whole_last


@njit(inline="always")
def first_output(target, output, place, pixel):
    """Address of a pixel's first channel in y, and `place` as `finish` takes it from there."""
    plain, _, settings = output
    w, channel, missing, count = place
    stored_float = 0
    if plain == 0:
        _, _, _, _, _, _, _, _, stored_float = settings
    return target[0] + pixel * target[1] + (channel << (2 * stored_float)), (w, 0, missing, count)


@cache
def row_product(rows: int, second: int, columns: int, widened: bool) -> Any:
    """The pixels first..last-1 of one panel; the rows of x lie `x_stride` bytes apart, pixel `base` at `x`."""
    accumulate = accumulator(columns, _AHEAD if widened else 0)
    width = row_lanes(columns)

    @njit(inline="always")
    def tile(job, pixel, last, height):
        source, target, output, place = job
        x, x_stride, base, groups = source
        w = place[0]
        sums = repeat(load_row_i32(w, 0, columns), height)
        places = row_places(x - base * x_stride, x_stride, pixel, last, height)
        sums = accumulate(sums, places, groups, w + 8 * width)
        out = row_places(target[0], target[1], pixel, last, height)
        finish(sums, load_row_f32(w, width, columns), out, place, output)

    @njit(inline="always")
    def whole_tiles(job, pixel, last, height):
        source, target, output, place = job
        x, x_stride, base, groups = source
        w = place[0]
        x += (pixel - base) * x_stride
        out, place = first_output(target, output, place, pixel)
        for _ in range(pixel, last, height):
            sums = repeat(load_row_i32(w, 0, columns), height)
            sums = accumulate(sums, sequence(x, x_stride, height), groups, w + 8 * width)
            rows_of_y = places_along(out, target[1], height)
            finish(sums, load_row_f32(w, width, columns), rows_of_y, place, output)
            x += height * x_stride
            out += height * target[1]

    return over_pixels(tile, rows, second, whole_tiles)


def of_whole_vectors(wide: Any, single: Any, columns: int) -> Any:
    """Calls `wide`, the product of a panel of `columns` vectors, or `single`, of one: what `count` channels need."""
    lanes = target().lanes

    @njit(inline="always")
    def whole_vectors(source, rows_of_y, output, w, channel, count, first, last):
        job = (source, rows_of_y, output, (w, channel, count % lanes != 0 and count < columns * lanes, count))
        if columns == 1 or count > lanes:
            wide(job, first, last)
        else:
            single(job, first, last)

    return whole_vectors


def _panel_product(rows: int, second: int, columns: int, widened: bool) -> Any:
    """`row_product` of one panel, or of two if the last channels have one of half a vector."""
    lanes, half = target().lanes, target().narrow_lanes
    wide, single = row_product(rows, second, columns, widened), row_product(rows, second, 1, widened)
    whole_vectors = of_whole_vectors(wide, single, columns)
    if half == lanes:
        return whole_vectors
    narrow = row_product(rows, second, 0, widened)

    @njit(inline="always")
    def split(source, rows_of_y, output, w, channel, count, first, last):
        rest = 0
        if count < columns * lanes and count % lanes <= half:
            rest = count % lanes
        whole = count - rest
        if whole != 0:
            whole_vectors(source, rows_of_y, output, w, channel, whole, first, last)
        if rest != 0:
            w += whole * (8 + source[3] * 4)
            job = (source, rows_of_y, output, (w, channel + whole, rest < half, rest))
            narrow(job, first, last)

    return split


def pointwise(rows: int, second: int, columns: int, group: int) -> Callable[..., None]:
    """y[p, n] = requantized(sum_k x[p, k] w[n, k] + bias[n]) with residual and activation.

    Unit: see `partition`. `groups` is the depth in groups, `scratch_stride` the bytes of a widened row, `scratch_bytes`
    a thread's scratch.
    """
    product = _panel_product(rows, second, columns, group != 4)
    widened = group != 4
    widen_row = row_widener()

    def kernel(
        begin: int,
        end: int,
        thread: int,
        x: int,
        x_stride: int,
        y: int,
        y_stride: int,
        residual: int,
        weights: int,
        scratch: int,
        scratch_stride: int,
        scratch_bytes: int,
        pixels: int,
        depth: int,
        groups: int,
        channels: int,
        blocks: int,
        spans: int,
        span: int,
        by_panel: int,
        quantum: int,
        plain: int,
        smallest: int,
        largest: int,
        low: float,
        high: float,
        zero: int,
        residual_zero: int,
        residual_multiplier: float,
        output_multiplier: float,
        activation: int,
        as_float: int,
    ):
        lanes = lane_count()
        width = columns * lanes
        panels = (channels + width - 1) // width
        panel_bytes = width * (8 + groups * 4)
        settings = (
            y, residual, low, high, residual_zero, residual_multiplier, output_multiplier, activation, as_float,
        )  # fmt: skip
        output = (plain, (zero, smallest, largest), settings)
        own = scratch + thread * scratch_bytes
        for unit in range(begin, end):
            block, part = unit_place(unit, blocks, spans, by_panel)
            first = block_start(pixels, block, blocks, quantum)
            last = block_start(pixels, block + 1, blocks, quantum)
            if widened:
                for pixel in range(first, last):
                    widen_row(x + pixel * x_stride, own + (pixel - first) * scratch_stride, depth)
                source = (own, scratch_stride, first, groups)
            else:
                source = (x, x_stride, 0, groups)
            for panel in range(part * span, least(part * span + span, panels)):
                w = weights + panel * panel_bytes
                channel = panel * width
                product(source, (y, y_stride), output, w, channel, channels - channel, first, last)

    return kernel
