"""Intel's matrix registers (AMX): products of whole tiles of bytes, summed exactly in int32.

Eight registers of up to 16 rows of 64 bytes. Here 0 to 3 hold the sums of two rows by two columns of tiles, or of four
by one, 4 and 5 tiles of x (unsigned bytes: a pixel a row, 64 of its depth), 6 and 7 those of the weights (16 groups of
four: a group a row, 16 output channels). Sources: Intel 64 and IA-32 Architectures Software Developer's Manual,
`TDPBUSD`; Intel 64 and IA-32 Architectures Optimization Reference Manual, chapter on AMX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd import TO_L1, emit_prefetch
from edgenet.kernels.simd_types import I8, I64, call_intrinsic, constant_int, items
from edgenet.kernels.table_int8 import TILE_BYTES, TILE_ROWS

_X, _WEIGHTS = 4, 6
"""The first registers of their kind."""
_AHEAD = 2048
"""Bytes before they are needed that weights are asked for."""


def _call(builder: ir.IRBuilder, name: str, arguments: list[ir.Value]) -> None:
    call_intrinsic(builder, f"llvm.x86.{name}", ir.VoidType(), arguments)


def _bytes_at(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.inttoptr(address, I8.as_pointer())


@intrinsic
def configure_tiles(typingctx: Any, shapes: Any) -> Any:
    """configure_tiles(shapes): give the registers the shapes at this address (64 bytes, as `ldtilecfg` reads them)."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        _call(builder, "ldtilecfg", [_bytes_at(builder, args[0])])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def release_tiles(typingctx: Any) -> Any:
    """Give the registers back, which every kernel does before it returns: threads that use none switch faster."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        _call(builder, "tilerelease", [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic(prefer_literal=True)
def clear_sum_tiles(typingctx: Any) -> Any:
    """clear_sum_tiles(): all sums are 0."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        for register in range(_X):
            _call(builder, "tilezero", [I8(register)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic(prefer_literal=True)
def store_sum_tiles(typingctx: Any, rows: Any, columns: Any, address: Any, below: Any) -> Any:
    """store_sum_tiles(rows, columns, address, below): the sums, line by line, `columns` vectors each.

    Those of each tile row begin `below` bytes behind the one before. The products that end first are stored first.
    """
    high, wide = constant_int(rows), constant_int(columns)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        starts = [builder.add(args[2], builder.mul(args[3], I64(row))) for row in range(high)]
        for column in range(wide):
            for row, start in enumerate(starts):
                place = _bytes_at(builder, builder.add(start, I64(TILE_BYTES * column)))
                _call(builder, "tilestored64", [I8(row * wide + column), place, I64(TILE_BYTES * wide)])
        return context.get_dummy_value()

    return types.void(rows, columns, types.int64, types.int64), codegen


def _product(builder: ir.IRBuilder, row: int, column: int, columns: int) -> None:
    _call(builder, "tdpbusd", [I8(row * columns + column), I8(_X + row % 2), I8(_WEIGHTS + column)])


class _Step:
    """What a step of 64 of the depth does: `places` of the rows of tiles of x, `offset` behind each, and weights."""

    def __init__(self, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]):
        self.high, self.wide = (constant_int(kind) for kind in sig.args[:2])
        self.builder, (places, offset, self.stride, self.weights) = builder, args[2:6]
        self.rows = [builder.add(place, offset) for place in items(builder, places, sig.args[2])[: self.high]]

    def load_x(self, row: int) -> None:
        place = _bytes_at(self.builder, self.rows[row])
        _call(self.builder, "tileloadd64", [I8(_X + row % 2), place, self.stride])

    def load_weight(self, column: int) -> None:
        place = _bytes_at(self.builder, self.builder.add(self.weights, I64(TILE_ROWS * TILE_BYTES * column)))
        _call(self.builder, "tileloadd64", [I8(_WEIGHTS + column), place, I64(TILE_BYTES)])

    def product(self, row: int, column: int) -> None:
        _product(self.builder, row, column, self.wide)

    def ask_ahead(self, row: int) -> None:
        """Ask for a row's share of the weights `_AHEAD` bytes behind these."""
        share = TILE_ROWS // self.high
        lines = range(row * share, (row + 1) * share)
        emit_prefetch(self.builder, self.builder.add(self.weights, I64(_AHEAD)), lines, TO_L1)


def _of_a_step(emit: Callable[[_Step], None]) -> Any:
    """An intrinsic (rows, columns, places, offset, x_stride, weights), which gives nothing."""

    def typed(typingctx: Any, rows: Any, columns: Any, places: Any, offset: Any, x_stride: Any, weights: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
            emit(_Step(builder, sig, args))
            return context.get_dummy_value()

        return types.void(rows, columns, places, *[types.int64] * 3), codegen

    typed.__name__ = emit.__name__.lstrip("_")
    return intrinsic(prefer_literal=True)(typed)


def _load_tiles(step: _Step) -> None:
    for number in range(2):
        if number < step.high:
            step.load_x(number)
        if number < step.wide:
            step.load_weight(number)


def _multiply_and_load_tiles(step: _Step) -> None:
    for column in range(step.wide):
        for row in range(step.high):
            step.product(row, column)
            if column == step.wide - 1:
                step.load_x(row)
        step.load_weight(column)


def _multiply_column_of_tiles(step: _Step) -> None:
    step.load_weight(0)
    for row in range(step.high):
        step.load_x(row)
        step.product(row, 0)
        step.ask_ahead(row)


load_tiles = _of_a_step(_load_tiles)
"""load_tiles(rows, columns, places, offset, x_stride, weights): tiles of x and weights for 64 of the depth.

A tile row of x begins `offset` behind each of the first `rows` places; the columns of weights follow each other.
"""
multiply_and_load_tiles = _of_a_step(_multiply_and_load_tiles)
"""`multiply_tiles`, then `load_tiles`, each load as soon as its register has served."""
multiply_column_of_tiles = _of_a_step(_multiply_column_of_tiles)
"""Sums += x @ weights for 64 of the depth, of any number of rows by one column; weights further on are asked for."""


@intrinsic(prefer_literal=True)
def multiply_tiles(typingctx: Any, rows: Any, columns: Any) -> Any:
    """multiply_tiles(rows, columns): sums += x @ weights."""
    high, wide = constant_int(rows), constant_int(columns)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        for column in range(wide):
            for row in range(high):
                _product(builder, row, column, wide)
        return context.get_dummy_value()

    return types.void(rows, columns), codegen
