"""Atomic operations and calls of native functions, for the executor and the thread team.

Addresses are byte addresses.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba.core import types
from numba.extending import intrinsic

from edgenet.kernels.simd_types import I64, call_intrinsic, constant_int, pack, pointer, target

_ORDER = "seq_cst"


@intrinsic
def load_word(typingctx: Any, address: Any) -> Any:
    """load_word(address): the int64 there."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return builder.load(pointer(builder, args[0], I64))

    return types.int64(types.int64), codegen


@intrinsic(prefer_literal=True)
def load_words(typingctx: Any, address: Any, count: Any) -> Any:
    """load_words(address, count): the tuple of `count` int64 there."""
    times = constant_int(count)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        words = [builder.load(pointer(builder, args[0], I64, number)) for number in range(times)]
        return pack(context, builder, sig.return_type, words)

    return types.UniTuple(types.int64, times)(types.int64, count), codegen


@intrinsic
def atomic_load(typingctx: Any, address: Any) -> Any:
    """atomic_load(address): in the one order that all threads see."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return builder.load_atomic(pointer(builder, args[0], I64), _ORDER, 8)

    return types.int64(types.int64), codegen


@intrinsic
def atomic_store(typingctx: Any, address: Any, value: Any) -> Any:
    """atomic_store(address, value): in the one order that all threads see."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        builder.store_atomic(args[1], pointer(builder, args[0], I64), _ORDER, 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def atomic_add(typingctx: Any, address: Any, value: Any) -> Any:
    """atomic_add(address, value): the value before."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return builder.atomic_rmw("add", pointer(builder, args[0], I64), args[1], _ORDER)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def atomic_exchange(typingctx: Any, address: Any, value: Any) -> Any:
    """atomic_exchange(address, value): the value before."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        return builder.atomic_rmw("xchg", pointer(builder, args[0], I64), args[1], _ORDER)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def compare_exchange(typingctx: Any, address: Any, expected: Any, value: Any) -> Any:
    """compare_exchange(address, expected, value): the value before; stored only if it was `expected`."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        pair = builder.cmpxchg(pointer(builder, args[0], I64), args[1], args[2], _ORDER, _ORDER)
        return builder.extract_value(pair, 0)

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def pause(typingctx: Any) -> Any:
    """Tell the CPU that this is a waiting loop."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        if target().architecture == "x86_64":
            call_intrinsic(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
        else:
            call_intrinsic(builder, "llvm.aarch64.hint", ir.VoidType(), [ir.IntType(32)(1)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def call_entry(typingctx: Any, function: Any, slots: Any, begin: Any, end: Any, thread: Any) -> Any:
    """call_entry(function, slots, begin, end, thread): run a kernel by its address."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer(), I64, I64, I64])
        builder.call(
            builder.inttoptr(args[0], kind.as_pointer()), [builder.inttoptr(args[1], I64.as_pointer()), *args[2:]]
        )
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), codegen


@intrinsic
def call_c(typingctx: Any, function: Any, a: Any, b: Any) -> Any:
    """call_c(function, a, b): call a C function of two 64-bit arguments and an int result."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        kind = ir.FunctionType(ir.IntType(32), [I64, I64])
        result = builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return builder.sext(result, I64)

    return types.int64(types.int64, types.int64, types.int64), codegen


_FUTEX = {"x86_64": 202, "aarch64": 98}
"""Linux's number of the system call `futex`."""
_WAIT_PRIVATE, _WAKE_PRIVATE, _EVERYBODY = 128, 129, 2**31 - 1


def _futex(builder: ir.IRBuilder, syscall: ir.Value, address: ir.Value, operation: int, value: ir.Value) -> None:
    kind = ir.FunctionType(I64, [I64] * 5)
    number = I64(_FUTEX[target().architecture])
    function = builder.inttoptr(syscall, kind.as_pointer())
    builder.call(function, [number, address, I64(operation), value, I64(0)])


@intrinsic
def futex_wait(typingctx: Any, syscall: Any, address: Any, expected: Any) -> Any:
    """futex_wait(syscall, address, expected): sleep until woken, unless the 32-bit word is not `expected` any more.

    `syscall` is the address of the C library's function of that name. May return without cause.
    """

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        _futex(builder, args[0], args[1], _WAIT_PRIVATE, args[2])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def futex_wake(typingctx: Any, syscall: Any, address: Any) -> Any:
    """futex_wake(syscall, address): wake all threads that sleep there."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        _futex(builder, args[0], args[1], _WAKE_PRIVATE, I64(_EVERYBODY))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


__all__ = [
    "atomic_add",
    "atomic_exchange",
    "atomic_load",
    "atomic_store",
    "call_c",
    "call_entry",
    "compare_exchange",
    "futex_wait",
    "futex_wake",
    "load_word",
    "pause",
]
