"""Arithmetic on tuples of int64, one entry per row of a tile: pixel numbers, coordinates, addresses.

Each operation takes tuples and plain integers, which count for every entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_types import I64, constant_int, items, pack

Emit = Callable[[ir.IRBuilder, list[ir.Value]], ir.Value]


def _each(name: str, arity: int, emit: Emit) -> Any:
    def typed(kinds: tuple[Any, ...]) -> Any:
        result = next((kind for kind in kinds if isinstance(kind, types.BaseTuple)), None)
        if result is None:
            return None
        given = tuple(kind if isinstance(kind, types.BaseTuple) else types.int64 for kind in kinds)

        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
            columns = [
                items(builder, arg, kind) if isinstance(kind, types.BaseTuple) else [arg] * len(result)
                for kind, arg in zip(sig.args, args, strict=True)
            ]
            values = [emit(builder, list(entry)) for entry in zip(*columns, strict=True)]
            return pack(context, builder, sig.return_type, values)

        return result(*given), codegen

    functions: dict[int, Callable[..., Any]] = {
        2: lambda typingctx, a, b: typed((a, b)),
        3: lambda typingctx, a, b, c: typed((a, b, c)),
    }
    function = functions[arity]
    function.__name__ = name
    return intrinsic(function)


def _minimum(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    return builder.select(builder.icmp_signed("<", v[0], v[1]), v[0], v[1])


def _within(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    return builder.zext(builder.icmp_unsigned("<", v[0], v[1]), I64)


def _choose(builder: ir.IRBuilder, v: list[ir.Value]) -> ir.Value:
    return builder.select(builder.icmp_signed("!=", v[0], I64(0)), v[1], v[2])


each_add = _each("each_add", 2, lambda builder, v: builder.add(v[0], v[1]))
each_multiply = _each("each_multiply", 2, lambda builder, v: builder.mul(v[0], v[1]))
each_minimum = _each("each_minimum", 2, _minimum)
each_shift_right = _each("each_shift_right", 2, lambda builder, v: builder.ashr(v[0], v[1]))
"""Arithmetic shift: floor(a / 2**n)."""
each_and = _each("each_and", 2, lambda builder, v: builder.and_(v[0], v[1]))
each_within = _each("each_within", 2, _within)
"""each_within(a, n): 1 where 0 <= a < n, else 0."""
each_choose = _each("each_choose", 3, _choose)
"""each_choose(condition, a, b): a where the condition is not 0, else b."""


@intrinsic(prefer_literal=True)
def sequence(typingctx: Any, first: Any, step: Any, count: Any) -> Any:
    """sequence(first, step, count): the tuple (first, first + step, ...)."""
    times = constant_int(count)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        values = [builder.add(args[0], builder.mul(args[1], I64(i))) for i in range(times)]
        return pack(context, builder, sig.return_type, values)

    return types.UniTuple(types.int64, times)(types.int64, types.int64, count), codegen


@intrinsic
def opaque(typingctx: Any, value: Any) -> Any:
    """The same integer, about which LLVM knows nothing.

    Addresses computed from it stay sums, where LLVM would make each a variable of the loop, in more registers than
    there are.
    """

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", args, False)

    return types.int64(types.int64), codegen


def _scalar(name: str, comparison: str) -> Any:
    def choose(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
            return builder.select(builder.icmp_signed(comparison, args[0], args[1]), args[0], args[1])

        return types.int64(types.int64, types.int64), codegen

    choose.__name__, choose.__doc__ = name, f"{name}(a, b) of two integers."
    return intrinsic(choose)


least = _scalar("least", "<")
greatest = _scalar("greatest", ">")
