"""Arithmetic on tuples of int64, one entry per row of a tile: pixel numbers, coordinates, addresses.

Each operation takes tuples and plain integers, which count for every entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_types import I64, constant_int, items, pack, target, unknown

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


_SCALES = (0, 1, 2, 4, 8)
"""Multiples of a register that x86 adds to another one as it loads."""


def _reached(bases: list[int], number: int) -> int | None:
    """The first of the bases from which a load reaches this number, if any does."""
    return next((base for base in bases if number - base in _SCALES), None)


def _bases(count: int) -> list[int]:
    """Few of the numbers below `count`, from which loads reach all of them, each reached from one before it."""
    bases = [0]
    for number in range(count):
        if _reached(bases, number) is None:
            missing = [n for n in range(number, count) if _reached(bases, n) is None]
            found = [b for b in range(number + 1) if number - b in _SCALES and _reached(bases, b) is not None]
            bases.append(max([*found, number], key=lambda base: sum(n - base in _SCALES for n in missing)))
    return bases


@intrinsic(prefer_literal=True)
def places_along(typingctx: Any, first: Any, step: Any, count: Any) -> Any:
    """places_along(first, step, count): the addresses (first, first + step, ...), for one load each.

    On x86 few of them are computed, and the others are what loads add to these.
    """
    times = constant_int(count)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        first, step = args[:2]
        if target().architecture == "x86_64":
            known: dict[int, ir.Value] = {}

            def place(number: int) -> ir.Value:
                base = _reached(list(known), number)
                start, steps = (first, number) if base is None else (known[base], number - base)
                return builder.add(start, builder.mul(step, I64(steps)))

            for base in _bases(times):
                known[base] = unknown(builder, place(base))
            values = [place(number) for number in range(times)]
        else:
            values = [builder.add(first, builder.mul(step, I64(number))) for number in range(times)]
        return pack(context, builder, sig.return_type, values)

    return types.UniTuple(types.int64, times)(types.int64, types.int64, count), codegen


@intrinsic(prefer_literal=True)
def choose_at_ends(typingctx: Any, condition: Any, a: Any, b: Any, ends: Any) -> Any:
    """choose_at_ends(condition, a, b, ends): `a`, or `b` where the condition of one of the `ends` at an end is 0."""
    count = constant_int(ends)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        conditions, values = (items(builder, args[i], sig.args[i]) for i in (0, 1))
        for i in range(len(values)):
            if i < count or i >= len(values) - count:
                values[i] = _choose(builder, [conditions[i], values[i], args[2]])
        return pack(context, builder, sig.return_type, values)

    return a(condition, a, types.int64, ends), codegen


@intrinsic
def opaque(typingctx: Any, value: Any) -> Any:
    """The same integer, about which LLVM knows nothing.

    Addresses computed from it stay sums, where LLVM would make each a variable of the loop, in more registers than
    there are.
    """

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return unknown(builder, args[0])

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
