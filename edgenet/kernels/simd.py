"""Vector operations for kernels. Kernels are plain Python over these names; only the simd files emit LLVM IR.

Addresses are byte addresses (int64); indices count elements of the type named by the operation. Vectors have the width
of the selected instruction set. Operations named elementwise take vectors, rows (tuples of vectors) and tiles (tuples
of rows), and broadcast scalars to all lanes and rows over the rows of a tile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_types import (
    ELEMENTS,
    F32,
    I8,
    I32,
    I64,
    Vector,
    call_intrinsic,
    constant_int,
    f32v,
    i32v,
    items,
    load_vector,
    pack,
    pointer,
    row_of,
    row_shape,
    shuffle_mask,
    splat,
    store_vector,
    target,
    vector_suffix,
)

_READ, _DATA, TO_L2, TO_L1 = 0, 1, 2, 3
"""LLVM's codes of a prefetch."""
_LINE_BYTES = 64
Emit = Callable[[ir.IRBuilder, list[ir.Value]], ir.Value]


def _scalar_load(element: ir.Type, result: types.Type, name: str, extend: bool = False) -> Any:
    def load(typingctx: Any, address: types.Type, index: types.Type) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
            value = builder.load(pointer(builder, args[0], element, args[1]), align=1)
            if not extend:
                return value
            return builder.zext(value, I32) if target().stored_unsigned else builder.sext(value, I32)

        return result(types.int64, types.int64), codegen

    load.__name__, load.__doc__ = name, f"{name}(address, index): one element."
    return intrinsic(load)


load_scalar_f32 = _scalar_load(F32, types.float32, "load_scalar_f32")
load_scalar_i32 = _scalar_load(I32, types.int32, "load_scalar_i32")
load_scalar_i64 = _scalar_load(I64, types.int64, "load_scalar_i64")
load_scalar_byte = _scalar_load(I8, types.int32, "load_scalar_byte", extend=True)


def _scalar_store(element: ir.Type, kind: types.Type, name: str) -> Any:
    def store(typingctx: Any, value: types.Type, address: types.Type, index: types.Type) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
            value = builder.trunc(args[0], element) if element is I8 else args[0]
            builder.store(value, pointer(builder, args[1], element, args[2]), align=1)
            return context.get_dummy_value()

        return types.void(kind, types.int64, types.int64), codegen

    store.__name__, store.__doc__ = name, f"{name}(value, address, index): one element."
    return intrinsic(store)


store_scalar_f32 = _scalar_store(F32, types.float32, "store_scalar_f32")
store_scalar_i32 = _scalar_store(I32, types.int32, "store_scalar_i32")
store_scalar_byte = _scalar_store(I8, types.int32, "store_scalar_byte")


@intrinsic(prefer_literal=True)
def lane_count(typingctx: Any) -> Any:
    """32-bit lanes of a vector, as a compile-time constant."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return I64(target().lanes)

    return types.int64(), codegen


@intrinsic
def load_f32(typingctx: Any, address: Any, index: Any) -> Any:
    """load_f32(address, index): the vector of float32 that begins at element `index`."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return load_vector(builder, args[0], sig.return_type.llvm, args[1])

    return f32v()(types.int64, types.int64), codegen


@intrinsic
def load_f64(typingctx: Any, address: Any, index: Any) -> Any:
    """load_f64(address, index): as many float64 as a vector of float32 has lanes, from element `index` on."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return load_vector(builder, args[0], sig.return_type.llvm, args[1])

    return Vector("f64", target().lanes)(types.int64, types.int64), codegen


@intrinsic(prefer_literal=True)
def load_row_f32(typingctx: Any, address: Any, index: Any, columns: Any) -> Any:
    """load_row_f32(address, index, columns): `columns` adjacent vectors of float32; for 0, the narrow one."""
    count, vector = row_shape(constant_int(columns), "f32")

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        place = builder.ptrtoint(pointer(builder, args[0], F32, args[1]), I64)
        values = [load_vector(builder, place, vector.llvm, j * vector.lanes) for j in range(count)]
        return pack(context, builder, sig.return_type, values)

    return row_of(vector, count)(types.int64, types.int64, columns), codegen


@intrinsic
def store(typingctx: Any, value: Any, address: Any, index: Any) -> Any:
    """store(vector, address, index): store a vector of any type at element `index`."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        store_vector(builder, args[0], args[1], args[2])
        return context.get_dummy_value()

    return types.void(value, types.int64, types.int64), codegen


@intrinsic
def splat_f32(typingctx: Any, value: Any) -> Any:
    """splat_f32(scalar): a vector with the scalar in every lane."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return splat(builder, args[0], target().lanes)

    return f32v()(types.float32), codegen


@intrinsic
def splat_i32(typingctx: Any, value: Any) -> Any:
    """splat_i32(scalar): a vector with the int32 in every lane."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return splat(builder, args[0], target().lanes)

    return i32v()(types.int32), codegen


@intrinsic(prefer_literal=True)
def repeat(typingctx: Any, value: Any, count: Any) -> Any:
    """repeat(value, count): a tuple of `count` copies."""
    times = constant_int(count)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return pack(context, builder, sig.return_type, [args[0]] * times)

    return row_of(value, times)(value, count), codegen


@intrinsic(prefer_literal=True)
def addresses(typingctx: Any, first: Any, stride: Any, count: Any) -> Any:
    """addresses(first, stride, count): the tuple (first, first + stride, ...), in bytes."""
    times = constant_int(count)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        values = [builder.add(args[0], builder.mul(args[1], I64(i))) for i in range(times)]
        return pack(context, builder, sig.return_type, values)

    return row_of(types.int64, times)(types.int64, types.int64, count), codegen


def _is_leaf(kind: types.Type) -> bool:
    return not isinstance(kind, types.BaseTuple)


def _depth(kind: types.Type) -> int:
    return 0 if _is_leaf(kind) else 1 + _depth(kind.dtype)  # type: ignore[attr-defined]  # UniTuple


def _lanes_of(kind: types.Type) -> int:
    while isinstance(kind, types.BaseTuple):
        kind = kind.dtype  # type: ignore[attr-defined]  # UniTuple
    return kind.lanes if isinstance(kind, Vector) else 0


def _map(
    context: Any, builder: ir.IRBuilder, result: types.Type, kinds: list[types.Type], args: list[ir.Value], emit: Emit
) -> ir.Value:
    """Apply `emit` to every leaf; shallower operands are reused for each element of the deeper ones."""
    if _is_leaf(result):
        return emit(builder, args)
    depth, values = _depth(result), []
    for i in range(len(result)):  # type: ignore[arg-type]  # UniTuple
        inner = [builder.extract_value(a, i) if _depth(k) == depth else a for k, a in zip(kinds, args, strict=True)]
        inner_kinds = [k.dtype if _depth(k) == depth else k for k in kinds]  # type: ignore[attr-defined]  # UniTuple
        values.append(_map(context, builder, result.dtype, inner_kinds, inner, emit))  # type: ignore[attr-defined]
    return pack(context, builder, result, values)


def _replace_leaf(kind: types.Type, leaf: types.Type) -> types.Type:
    return leaf if _is_leaf(kind) else row_of(_replace_leaf(kind.dtype, leaf), len(kind))  # type: ignore


_SCALARS = {
    "f32": types.float32,
    "f64": types.float64,
    "i32": types.int32,
    "i16": types.int16,
    "i8": types.int8,
}


def elementwise(name: str, arity: int, emit: Emit, result_element: str | None = None) -> Any:
    """Make an elementwise operation of `arity` operands from the emitter of one vector; scalars become vectors."""

    def typed(typingctx: Any, kinds: tuple[types.Type, ...]) -> Any:
        shape = max(kinds, key=_depth)
        lanes = max(_lanes_of(kind) for kind in kinds)
        if lanes == 0:
            return None
        if _depth(shape) == 0:
            shape = next(kind for kind in kinds if isinstance(kind, Vector))
        leaf = shape
        while not _is_leaf(leaf):
            leaf = leaf.dtype  # type: ignore[attr-defined]  # UniTuple
        result = shape if result_element is None else _replace_leaf(shape, Vector(result_element, lanes))
        scalar = _SCALARS[leaf.element]  # type: ignore[attr-defined]  # a Vector
        given = tuple(scalar if isinstance(kind, types.Number | types.IntegerLiteral) else kind for kind in kinds)

        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
            wide = [
                splat(builder, arg, lanes) if isinstance(kind, types.Number) else arg
                for kind, arg in zip(sig.args, args, strict=True)
            ]
            return _map(context, builder, sig.return_type, list(sig.args), wide, emit)

        return result(*given), codegen

    functions: dict[int, Callable[..., Any]] = {
        1: lambda typingctx, a: typed(typingctx, (a,)),
        2: lambda typingctx, a, b: typed(typingctx, (a, b)),
        3: lambda typingctx, a, b, c: typed(typingctx, (a, b, c)),
        4: lambda typingctx, a, b, c, d: typed(typingctx, (a, b, c, d)),
    }
    function = functions[arity]
    function.__name__ = name
    return intrinsic(function)


def emit_fma(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    """v[0] * v[1] + v[2], rounded once where the CPU has the instruction."""
    if not target().fma:
        return builder.fadd(builder.fmul(v[0], v[1]), v[2])
    return call_intrinsic(builder, f"llvm.fma.{vector_suffix(v[0].type)}", v[0].type, v)


def _extreme(comparison: str, arm: str) -> Emit:
    def emit(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
        if target().architecture == "aarch64":
            return call_intrinsic(builder, f"llvm.{arm}.{vector_suffix(v[0].type)}", v[0].type, v)
        return builder.select(builder.fcmp_ordered(comparison, v[0], v[1]), v[0], v[1])

    return emit


def _absolute(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    return call_intrinsic(builder, f"llvm.fabs.{vector_suffix(v[0].type)}", v[0].type, v)


def _square_root(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    return call_intrinsic(builder, f"llvm.sqrt.{vector_suffix(v[0].type)}", v[0].type, v)


fma = elementwise("fma", 3, emit_fma)
"""fma(a, b, c) = a * b + c, rounded once where the CPU has the instruction."""
negative_fma = elementwise("negative_fma", 3, lambda builder, v: emit_fma(builder, [builder.fneg(v[0]), *v[1:]]))
"""negative_fma(a, b, c) = c - a * b, rounded as fma."""
add = elementwise("add", 2, lambda builder, v: builder.fadd(v[0], v[1]))
subtract = elementwise("subtract", 2, lambda builder, v: builder.fsub(v[0], v[1]))
multiply = elementwise("multiply", 2, lambda builder, v: builder.fmul(v[0], v[1]))
divide = elementwise("divide", 2, lambda builder, v: builder.fdiv(v[0], v[1]))
minimum = elementwise("minimum", 2, _extreme("<", "minimum"))
maximum = elementwise("maximum", 2, _extreme(">", "maximum"))
absolute = elementwise("absolute", 1, _absolute)
square_root = elementwise("square_root", 1, _square_root)


def emit_clamp(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    """The first of the vectors in `v` between the second and the third."""
    return _extreme("<", "minimum")(builder, [v[2], _extreme(">", "maximum")(builder, [v[1], v[0]])])


clamp = elementwise("clamp", 3, emit_clamp)
"""clamp(x, low, high); NaN stays NaN."""


def emit_prefetch(builder: ir.IRBuilder, address: ir.Value, lines: range, locality: int) -> None:
    """Ask for these cache lines counted from an address: any address will do."""
    for line in lines:
        place = builder.inttoptr(builder.add(address, I64(line * _LINE_BYTES)), I8.as_pointer())
        settings = [I32(value) for value in (_READ, locality, _DATA)]
        call_intrinsic(builder, "llvm.prefetch.p0", ir.VoidType(), [place, *settings])


def _prefetch(name: str, level: str, locality: int) -> Any:
    def ask(typingctx: Any, address: Any, lines: Any) -> Any:
        count = constant_int(lines)

        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
            emit_prefetch(builder, args[0], range(count), locality)
            return context.get_dummy_value()

        return types.void(types.int64, lines), codegen

    ask.__name__ = name
    ask.__doc__ = f"{name}(address, lines): ask for cache lines in the {level} cache; any address will do."
    return intrinsic(prefer_literal=True)(ask)


def lines_of(columns: int) -> int:
    """Cache lines (rounded up) of a row of `columns` vectors of the selected instruction set; for factories."""
    return -(-columns * target().lanes * 4 // _LINE_BYTES)


prefetch_l1 = _prefetch("prefetch_l1", "first-level", TO_L1)
prefetch_l2 = _prefetch("prefetch_l2", "second-level", TO_L2)


@intrinsic
def outer_fma(typingctx: Any, tile: Any, rows: Any, index: Any, row: Any) -> Any:
    """outer_fma(tile, rows, index, row): tile[m] += float32 at element `index` of address rows[m], times row."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        tile_kind, row_kind = sig.args[0], sig.args[3]
        weights, out = items(builder, args[3], row_kind), []
        places = items(builder, args[1], sig.args[1])
        for place, sums in zip(places, items(builder, args[0], tile_kind), strict=True):
            x = splat(builder, builder.load(pointer(builder, place, F32, args[2]), align=4), row_kind.dtype.lanes)
            values = [
                emit_fma(builder, [x, w, s]) for w, s in zip(weights, items(builder, sums, row_kind), strict=True)
            ]
            out.append(pack(context, builder, row_kind, values))
        return pack(context, builder, tile_kind, out)

    return tile(tile, rows, types.int64, row), codegen


@intrinsic
def load_tile_f32(typingctx: Any, rows: Any, index: Any, like: Any) -> Any:
    """load_tile_f32(rows, index, like): a tile shaped as `like`, row m from element `index` of address rows[m]."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        kind = sig.return_type
        vector, out = kind.dtype.dtype, []
        for place in items(builder, args[0], sig.args[0]):
            start = builder.ptrtoint(pointer(builder, place, F32, args[1]), I64)
            vectors = [load_vector(builder, start, vector.llvm, j * vector.lanes) for j in range(len(kind.dtype))]
            out.append(pack(context, builder, kind.dtype, vectors))
        return pack(context, builder, kind, out)

    return like(rows, types.int64, like), codegen


@intrinsic
def store_tile_f32(typingctx: Any, tile: Any, rows: Any, index: Any) -> Any:
    """store_tile_f32(tile, rows, index): row m of the tile to element `index` of address rows[m]."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        for place, row in zip(items(builder, args[1], sig.args[1]), items(builder, args[0], sig.args[0]), strict=True):
            start = builder.ptrtoint(pointer(builder, place, F32, args[2]), I64)
            for j, vector in enumerate(items(builder, row, sig.args[0].dtype)):
                store_vector(builder, vector, start, j * vector.type.count)
        return context.get_dummy_value()

    return types.void(tile, rows, types.int64), codegen


__all__ = [name for name in globals() if not name.startswith("_") and name not in ("Any", "Callable", "annotations")]
_ = (ELEMENTS, shuffle_mask)
