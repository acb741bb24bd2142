"""Intel's matrix registers (AMX): products of whole tiles of bytes, summed exactly in int32.

Eight registers of up to 16 rows of 64 bytes. Here 0 to 3 hold the sums of two rows by two columns of tiles, 4 and 5 the
tiles of x (unsigned bytes: a pixel a row, 64 of its depth), 6 and 7 those of the weights (16 groups of four: a group a
row, 16 output channels). Sources: Intel 64 and IA-32 Architectures Software Developer's Manual, `TDPBUSD`; Intel 64 and
IA-32 Architectures Optimization Reference Manual, chapter on AMX.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_types import I8, I64, call_intrinsic, constant_int
from edgenet.kernels.table_int8 import TILE_BYTES, TILE_ROWS

_X, _WEIGHTS = 4, 6
"""The first registers of their kind."""


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

    Those of the second tile row begin `below` bytes behind the first. The products that end first are stored first.
    """
    high, wide = constant_int(rows), constant_int(columns)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        starts = [args[2], builder.add(args[2], args[3])][:high]
        for column in range(wide):
            for row, start in enumerate(starts):
                place = _bytes_at(builder, builder.add(start, I64(TILE_BYTES * column)))
                _call(builder, "tilestored64", [I8(2 * row + column), place, I64(TILE_BYTES * wide)])
        return context.get_dummy_value()

    return types.void(rows, columns, types.int64, types.int64), codegen


def _product(builder: ir.IRBuilder, row: int, column: int) -> None:
    _call(builder, "tdpbusd", [I8(2 * row + column), I8(_X + row), I8(_WEIGHTS + column)])


class _Operands:
    """Loads of a step's tiles of x and of the weights, from the arguments of `load_tiles`."""

    def __init__(self, builder: ir.IRBuilder, args: list[ir.Value]):
        self.builder, (x, below, self.stride, self.weights) = builder, args
        self.rows = [x, builder.add(x, below)]

    def x(self, row: int) -> None:
        place = _bytes_at(self.builder, self.rows[row])
        _call(self.builder, "tileloadd64", [I8(_X + row), place, self.stride])

    def weight(self, column: int) -> None:
        place = _bytes_at(self.builder, self.builder.add(self.weights, I64(TILE_ROWS * TILE_BYTES * column)))
        _call(self.builder, "tileloadd64", [I8(_WEIGHTS + column), place, I64(TILE_BYTES)])


@intrinsic(prefer_literal=True)
def load_tiles(typingctx: Any, rows: Any, columns: Any, x: Any, below: Any, x_stride: Any, weights: Any) -> Any:
    """load_tiles(rows, columns, x, below, x_stride, weights): tiles of x and weights for 64 of the depth.

    The second of two tile rows begins `below` bytes behind the first; the columns of weights follow each other.
    """
    high, wide = constant_int(rows), constant_int(columns)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        operands = _Operands(builder, args[2:])
        for number in range(2):
            if number < high:
                operands.x(number)
            if number < wide:
                operands.weight(number)
        return context.get_dummy_value()

    return types.void(rows, columns, *[types.int64] * 4), codegen


@intrinsic(prefer_literal=True)
def multiply_and_load_tiles(
    typingctx: Any, rows: Any, columns: Any, x: Any, below: Any, x_stride: Any, weights: Any
) -> Any:
    """`multiply_tiles`, then `load_tiles`, each load as soon as its register has served."""
    high, wide = constant_int(rows), constant_int(columns)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        operands = _Operands(builder, args[2:])
        for column in range(wide):
            for row in range(high):
                _product(builder, row, column)
                if column == wide - 1:
                    operands.x(row)
            operands.weight(column)
        return context.get_dummy_value()

    return types.void(rows, columns, *[types.int64] * 4), codegen


@intrinsic(prefer_literal=True)
def multiply_tiles(typingctx: Any, rows: Any, columns: Any) -> Any:
    """multiply_tiles(rows, columns): sums += x @ weights."""
    high, wide = constant_int(rows), constant_int(columns)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        for column in range(wide):
            for row in range(high):
                _product(builder, row, column)
        return context.get_dummy_value()

    return types.void(rows, columns), codegen
