"""Vectors, and tuples of vectors, as ordinary values in Numba code; the helpers that emit LLVM IR for them.

A `Vector` value is one LLVM vector. A row is a tuple of vectors, a tile a tuple of rows. A process generates code for
one instruction set, chosen once by `select_target`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import register_model

from edgenet.errors import EngineError
from edgenet.kernels.isa import InstructionSet

I1, I8, I16, I32, I64, F32, F64 = (
    ir.IntType(1),
    ir.IntType(8),
    ir.IntType(16),
    ir.IntType(32),
    ir.IntType(64),
    ir.FloatType(),
    ir.DoubleType(),
)
ELEMENTS: dict[str, ir.Type] = {"f32": F32, "f64": F64, "i8": I8, "i16": I16, "i32": I32}
ELEMENT_BYTES = {"f32": 4, "f64": 8, "i8": 1, "i16": 2, "i32": 4}

_selected: InstructionSet | None = None


def select_target(target: InstructionSet) -> None:
    """Generate code for `target` in this process.

    A process has one target: EngineError if another was selected before.
    """
    global _selected
    if _selected is not None and _selected != target:
        raise EngineError(f"This process already generates code for {_selected.name}.")
    _selected = target


def target() -> InstructionSet:
    """The instruction set that code is generated for."""
    if _selected is None:
        raise EngineError("No instruction set is selected for code generation.")
    return _selected


class Vector(types.Type):
    """Numba type of a vector: `element` is "f32", "f64", "i32", "i16" or "i8"."""

    def __init__(self, element: str, lanes: int):
        self.element, self.lanes = element, lanes
        super().__init__(name=f"{element}x{lanes}")

    @property
    def key(self) -> tuple[str, int]:
        return self.element, self.lanes

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(ELEMENTS[self.element], self.lanes)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """A vector is passed and stored as the LLVM vector itself."""

    def __init__(self, dmm: Any, fe_type: Vector):
        super().__init__(dmm, fe_type, fe_type.llvm)


def f32v() -> Vector:
    """The float32 vector of the selected instruction set."""
    return Vector("f32", target().lanes)


def i32v() -> Vector:
    """The int32 vector of the selected instruction set."""
    return Vector("i32", target().lanes)


def row_lanes(columns: int) -> int:
    """Lanes of a row of `columns` vectors; a row of 0 is one narrow vector (see `InstructionSet.narrow_lanes`)."""
    return columns * target().lanes or target().narrow_lanes


def row_shape(columns: int, element: str) -> tuple[int, Vector]:
    """How many vectors a row of `columns` has, and which (see `row_lanes`)."""
    return max(columns, 1), Vector(element, target().lanes if columns else target().narrow_lanes)


def row_of(vector: types.Type, count: int) -> types.Type:
    """Type of a tuple of `count` values."""
    return types.UniTuple(vector, count)


def constant_int(value: types.Type) -> int:
    """The Python int behind a compile-time integer argument; TypeError if it is not constant."""
    if isinstance(value, types.IntegerLiteral):
        return int(value.literal_value)
    raise TypeError(f"a compile-time integer is needed, not {value}")


def pointer(
    builder: ir.IRBuilder, address: ir.Value, element: ir.Type, index: ir.Value | int | None = None
) -> ir.Value:
    """Pointer to `element` number `index` counted from the byte address."""
    base = builder.inttoptr(address, element.as_pointer())
    if index is None:
        return base
    return builder.gep(base, [I64(index) if isinstance(index, int) else index])


def load_vector(builder: ir.IRBuilder, address: ir.Value, vector: ir.VectorType, index: ir.Value | int = 0) -> ir.Value:
    """Unaligned load of a vector whose first lane is element `index` from the byte address."""
    place = pointer(builder, address, vector.element, index)
    return builder.load(builder.bitcast(place, vector.as_pointer()), align=1)


def store_vector(builder: ir.IRBuilder, value: ir.Value, address: ir.Value, index: ir.Value | int = 0) -> None:
    """Unaligned store of a vector at element `index` from the byte address."""
    place = pointer(builder, address, value.type.element, index)
    builder.store(value, builder.bitcast(place, value.type.as_pointer()), align=1)


def splat(builder: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    """A vector with `scalar` in every lane."""
    vector = ir.VectorType(scalar.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, I32(0))
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), shuffle_mask([0] * lanes))


def shuffle_mask(lanes: list[int]) -> ir.Constant:
    """The constant lane selection of a `shufflevector`."""
    return ir.Constant(ir.VectorType(I32, len(lanes)), lanes)


def join(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The lanes of `a`, then those of `b`, as one vector."""
    return builder.shuffle_vector(a, b, shuffle_mask(list(range(2 * a.type.count))))


def interleave_halves(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> list[ir.Value]:
    """The elements of a and b in turn, from the lower and from the upper halves of the 128-bit lanes."""
    count = a.type.count
    per_lane = 128 // a.type.element.width
    halves = []
    for start in (0, per_lane // 2):
        places = [q + start + i for q in range(0, count, per_lane) for i in range(per_lane // 2)]
        halves.append(builder.shuffle_vector(a, b, shuffle_mask([p + count * side for p in places for side in (0, 1)])))
    return halves


def call_intrinsic(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Value]) -> ir.Value:
    """Call the LLVM intrinsic `name`."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def keep_together(builder: ir.IRBuilder, values: list[ir.Value], in_memory: bool = False) -> list[ir.Value]:
    """The values (x86 registers), none of which is used before all are there: LLVM cannot sort it otherwise.

    It is an assembler statement without instructions. `in_memory`: nor does it move loads from behind it before it.
    """
    if len(values) == 1:
        return values
    kinds, count = [value.type for value in values], len(values)
    register = f"={'v' if target().bits == 512 else 'x'}"
    places = ",".join([register] * count + [str(i) for i in range(count)] + ["~{memory}"] * in_memory)
    signature = ir.FunctionType(ir.LiteralStructType(kinds), kinds)
    made = builder.asm(signature, "", places, values, True)
    return [builder.extract_value(made, i) for i in range(count)]


def unknown(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """The address, of which LLVM does not know that it is the same: what it loads there, it loads once more."""
    return builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [address], False)


def vector_suffix(kind: ir.VectorType) -> str:
    """LLVM's overload suffix of a vector type, for example "v8f32"."""
    element = "f32" if isinstance(kind.element, ir.FloatType) else f"i{kind.element.width}"
    return f"v{kind.count}{element}"


def changed_where(
    builder: ir.IRBuilder, condition: ir.Value, values: list[ir.Value], change: Callable[[ir.Value], ir.Value]
) -> list[ir.Value]:
    """`change` of each value if the condition holds, else the values; a branch decides, so that no work is in vain."""
    before = builder.block
    with builder.if_then(condition):
        changed = [change(value) for value in values]
        inside = builder.block
    found = []
    for value, other in zip(values, changed, strict=True):
        phi = builder.phi(value.type)
        phi.add_incoming(value, before)
        phi.add_incoming(other, inside)
        found.append(phi)
    return found


def items(builder: ir.IRBuilder, value: ir.Value, kind: types.Type) -> list[ir.Value]:
    """The elements of a tuple value."""
    if not isinstance(kind, types.BaseTuple):
        raise TypeError(f"a tuple is needed, not {kind}")
    return [builder.extract_value(value, i) for i in range(len(kind))]


def pack(context: Any, builder: ir.IRBuilder, kind: types.Type, values: list[ir.Value]) -> ir.Value:
    """A tuple value of type `kind`."""
    return context.make_tuple(builder, kind, values)
