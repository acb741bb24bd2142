"""int8 matrix products by one step of Strassen's algorithm: seven exact products of half the size instead of eight.

Winograd's form of it (Knuth, The Art of Computer Programming 2, section 4.6.4). Two tiles of pixels and two panels of
output channels make a square, and the depth is halved:

    [C11 C12]   [A11 A12] [B11 B12]      first row of A and C: the first tile of pixels, second row: the next;
    [C21 C22] = [A21 A22] [B21 B22]      first column of B and C: the first panel, second column: the next.

    S1 = A21 + A22    T1 = B12 - B11    U = A11 B11 + S2 T2
    S2 = S1 - A11     T2 = B22 - T1     V = U + S1 T1           C11 = A11 B11 + A12 B21    C12 = V + S4 B22
    S3 = A11 - A21    T3 = B22 - B12    W = U + S3 T3           C21 = W + A22 T4           C22 = W + V - U
    S4 = A12 - S2     T4 = B21 - T2

Where a product takes int16, sums of four int8 values are as good operands as one: the results are exact. A unit widens
its pixels and makes their sums once, those of two panels' weights once for all of its pixels. The panels are those of
`gemm_int8`, whose tiles also do what no square covers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from edgenet.kernels.epilogue_int8 import finish
from edgenet.kernels.gemm_int8 import accumulator, of_whole_vectors, row_product, row_widener
from edgenet.kernels.partition import block_start
from edgenet.kernels.places import row_places
from edgenet.kernels.simd import lane_count, load_row_f32, store
from edgenet.kernels.simd_bytes import register_bytes
from edgenet.kernels.simd_convert import int_add, int_subtract
from edgenet.kernels.simd_int8 import load_i16, load_row_i32, load_sums, load_widened, no_sums, store_sums
from edgenet.kernels.subroutine import subroutine
from edgenet.kernels.tuples import least


@njit(inline="always")
def _widen_and_sum(upper, lower, half, row, below, sums, spread):
    """A pixel of the first tile and one of the second as int16, at `row` and `below` bytes behind it, and S1 to S4.

    These have `half` values each and lie `spread` bytes apart. Writes whole registers.
    """
    step = register_bytes() // 2
    for k in range(0, half, step):
        a11, a12 = load_widened(upper + k), load_widened(upper + half + k)
        a21, a22 = load_widened(lower + k), load_widened(lower + half + k)
        store(a11, row, k)
        store(a12, row, half + k)
        store(a21, row + below, k)
        store(a22, row + below, half + k)
        s1 = int_add(a21, a22)
        s2 = int_subtract(s1, a11)
        store(s1, sums, k)
        store(s2, sums + spread, k)
        store(int_subtract(a11, a21), sums + 2 * spread, k)
        store(int_subtract(a12, s2), sums + 3 * spread, k)


@njit(inline="always")
def _sum_weights(one, two, quarter, sums, spread):
    """T1 to T4 of two panels' weights, `quarter` bytes each, `spread` bytes apart."""
    second = quarter // 2
    for k in range(0, second, register_bytes() // 2):
        b12, b22 = load_i16(two, k), load_i16(two, second + k)
        t1 = int_subtract(b12, load_i16(one, k))
        t2 = int_subtract(b22, t1)
        store(t1, sums, k)
        store(t2, sums + spread, k)
        store(int_subtract(b22, b12), sums + 2 * spread, k)
        store(int_subtract(load_i16(one, second + k), t2), sums + 3 * spread, k)


def _pair_product(rows: int, columns: int) -> Any:
    """All squares of a block times one pair of panels; each of the seven products for all squares, then the next.

    pixels: (widened rows, their stride, S1 to S4 of the first square, stride of their rows); panels: (first, second,
    T1 to T4, bytes from one of them to the next, half of the depth in groups); target: (first row of y, stride).
    `tiles` is room for three tiles a square.
    """
    accumulate = accumulator(columns)

    @subroutine
    def add_product(arguments):
        """The sums at `to` = the sums at `start`, or none if it is 0, + a product."""
        start, to, a, a_stride, groups, weights = arguments
        sums = no_sums(rows, columns)
        if start != 0:
            sums = load_sums(start, rows, columns)
        store_sums(accumulate(sums, row_places(a, a_stride, 0, rows, rows), groups, weights), to)

    @njit(inline="always")
    def finish_sums(sums, target, place, output):
        bias = load_row_i32(place[0], 0, columns)
        scale = load_row_f32(place[0], columns * lane_count(), columns)
        finish(int_add(sums, bias), scale, row_places(target[0], target[1], 0, rows, rows), place, output)

    @subroutine
    def finish_product(arguments):
        """The rows of `target` = the sums at `start` + a product + the bias of the panel of `place`, requantized."""
        start, a, a_stride, groups, weights, target, place, output = arguments
        sums = load_sums(start, rows, columns)
        sums = accumulate(sums, row_places(a, a_stride, 0, rows, rows), groups, weights)
        finish_sums(sums, target, place, output)

    @subroutine
    def finish_last(arguments):
        """The rows of `target` = the sums at `v` and `w` - those at `u` + the bias, requantized."""
        u, v, w, target, place, output = arguments
        sums = int_add(load_sums(v, rows, columns), load_sums(w, rows, columns))
        finish_sums(int_subtract(sums, load_sums(u, rows, columns)), target, place, output)

    @subroutine
    def pair_product(arguments):
        pixels, panels, target, output, squares, channel, tiles = arguments
        a, a_stride, s, s_stride = pixels
        one, two, t, t_spread, groups = panels
        y, y_stride = target
        width = columns * lane_count()
        half, quarter, size = groups * 4, groups * width * 4, rows * width * 4
        place_one, place_two = (one, channel, False, width), (two, channel + width, False, width)
        b11, b12 = one + 8 * width, two + 8 * width
        below = rows * a_stride
        s1, s2, s3, s4 = s, s + rows * s_stride, s + 2 * rows * s_stride, s + 3 * rows * s_stride
        for square in range(squares):
            u = tiles + square * 3 * size
            add_product((0, u, a + square * 2 * below, a_stride, groups, b11))
        for square in range(squares):
            u = tiles + square * 3 * size
            upper = (y + square * 2 * rows * y_stride, y_stride)
            a12 = a + square * 2 * below + half
            finish_product((u, a12, a_stride, groups, b11 + quarter, upper, place_one, output))
        for square in range(squares):
            u = tiles + square * 3 * size
            add_product((u, u, s2 + square * 4 * rows * s_stride, s_stride, groups, t + t_spread))
        for square in range(squares):
            u = tiles + square * 3 * size
            add_product((u, u + size, s1 + square * 4 * rows * s_stride, s_stride, groups, t))
        for square in range(squares):
            v = tiles + (square * 3 + 1) * size
            upper = (y + square * 2 * rows * y_stride, y_stride)
            finish_product(
                (v, s4 + square * 4 * rows * s_stride, s_stride, groups, b12 + quarter, upper, place_two, output)
            )
        for square in range(squares):
            u = tiles + square * 3 * size
            add_product((u, u + 2 * size, s3 + square * 4 * rows * s_stride, s_stride, groups, t + 2 * t_spread))
        for square in range(squares):
            u = tiles + square * 3 * size
            w = u + 2 * size
            lower = (y + (square * 2 + 1) * rows * y_stride, y_stride)
            a22 = a + (square * 2 + 1) * below + half
            finish_product((w, a22, a_stride, groups, t + 3 * t_spread, lower, place_one, output))
            finish_last((u, u + size, w, lower, place_two, output))

    return pair_product


def strassen(rows: int, second: int, columns: int) -> Callable[..., None]:
    """y[p, n] = requantized(sum_k x[p, k] w[n, k] + bias[n]) with residual and activation; `depth` is a multiple of 8.

    Unit: one of `spans` spans of `span` pairs of panels, for a block of pixels; blocks begin at multiples of `quantum`.
    A thread's scratch holds T1 to T4 of a pair of panels (`weight_sums_stride` bytes each), three tiles a square, a
    block's pixels (`scratch_stride` bytes each), and S1 to S4 of them (`sums_stride` bytes a row).
    """
    pair_product = _pair_product(rows, columns)
    product = of_whole_vectors(row_product(rows, second, columns, True), row_product(rows, second, 1, True), columns)
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
        sums_stride: int,
        weight_sums_stride: int,
        scratch_bytes: int,
        pixels: int,
        depth: int,
        channels: int,
        blocks: int,
        spans: int,
        span: int,
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
        width = columns * lane_count()
        groups = depth // 2
        panel_bytes = width * (8 + groups * 4)
        pairs = (channels + 2 * width - 1) // (2 * width)
        quarter = groups // 2 * width * 4
        settings = (
            y, residual, low, high, residual_zero, residual_multiplier, output_multiplier, activation, as_float,
        )  # fmt: skip
        output = (plain, (zero, smallest, largest), settings)
        weight_sums = scratch + thread * scratch_bytes
        tiles = weight_sums + 4 * weight_sums_stride
        prepared = -1
        for unit in range(begin, end):
            block, part = unit // spans, unit % spans
            first = block_start(pixels, block, blocks, quantum)
            last = block_start(pixels, block + 1, blocks, quantum)
            squares = (last - first) // (2 * rows)
            rest = first + squares * 2 * rows
            widened = tiles + squares * 3 * rows * width * 4
            sums = widened + (last - first) * scratch_stride
            if block != prepared:
                for number in range(squares * rows):
                    pixel = number // rows * 2 * rows + number % rows
                    upper = x + (first + pixel) * x_stride
                    row, below = widened + pixel * scratch_stride, rows * scratch_stride
                    place = sums + (number // rows * 4 * rows + number % rows) * sums_stride
                    _widen_and_sum(upper, upper + rows * x_stride, depth // 2, row, below, place, rows * sums_stride)
                for pixel in range(rest, last):
                    widen_row(x + pixel * x_stride, widened + (pixel - first) * scratch_stride, depth)
                prepared = block
            for pair in range(part * span, least(part * span + span, pairs)):
                channel = pair * 2 * width
                w = weights + pair * 2 * panel_bytes
                start = first
                if channel + 2 * width <= channels:
                    _sum_weights(w + 8 * width, w + panel_bytes + 8 * width, quarter, weight_sums, weight_sums_stride)
                    taken = (widened, scratch_stride, sums, sums_stride)
                    panels = (w, w + panel_bytes, weight_sums, weight_sums_stride, groups // 2)
                    target = (y + first * y_stride, y_stride)
                    pair_product((taken, panels, target, output, squares, channel, tiles))
                    start = rest
                source = (widened, scratch_stride, first, groups)
                stop = least(channel + 2 * width, channels)
                while channel < stop and start < last:
                    product(source, (y, y_stride), output, w, channel, channels - channel, start, last)
                    channel += width
                    w += panel_bytes

    return kernel
