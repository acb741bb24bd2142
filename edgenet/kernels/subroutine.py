"""Parts of a kernel that numba compiles apart, each once, while the kernel only calls them.

The time that numba takes grows faster than the code of a function does, and a kernel has a tile for every height and
width. LLVM inlines the calls, also what they return: a kernel's machine code has none. What kernels share, such as the
tiles of matrix products, is made by a cached function, so that numba compiles it once in a process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba.core import compiler, types
from numba.core.errors import TypingError
from numba.core.registry import cpu_target
from numba.extending import intrinsic

_called: dict[str, str] = {}


def typed_ir(
    function: Callable[..., Any], arguments: tuple[types.Type, ...], returned: types.Type | None = None
) -> compiler.CompileResult:
    """The function, which neither allocates nor raises, as numba lowers it, not optimised.

    `returned`: what it must return; None for whatever it does.
    """
    flags = compiler.Flags()
    flags.no_compile = True
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    flags.nrt = False
    typing, target = cpu_target.typing_context, cpu_target.target_context
    return compiler.compile_extra(typing, target, function, arguments, returned, flags, {})


def text_of(compiled: compiler.CompileResult) -> str:
    """The LLVM IR of a function."""
    return str(compiled.library._final_module)


def take_called() -> dict[str, str]:
    """LLVM IR of the subroutines that were lowered since this was last asked, by their names in it."""
    taken = _called.copy()
    _called.clear()
    return taken


def subroutine(function: Callable[[Any], Any]) -> Any:
    """Makes `function` callable from kernels, compiled apart.

    Its only argument is a tuple, and so is what it returns, if anything; they hold scalars, vectors and tuples of such.
    """
    known: dict[tuple[types.Type, ...], tuple[Any, dict[str, str]]] = {}

    def made(arguments: tuple[types.Type, ...]) -> tuple[Any, dict[str, str]]:
        """Numba's description of the function for these types, and the LLVM IR of it and of what it calls."""
        if arguments not in known:
            before = take_called()
            compiled = typed_ir(function, arguments)
            own = take_called() | {compiled.fndesc.llvm_func_name: text_of(compiled)}
            _called.update(before)
            known[arguments] = (compiled.fndesc, own)
        return known[arguments]

    @intrinsic
    def call(typingctx: Any, job: Any) -> Any:
        job = types.unliteral(job)
        description, texts = made((job,))

        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
            _called.update(texts)
            _, value = context.call_internal_no_propagate(builder, description, sig, args)
            return value

        return description.restype(job), codegen

    call.made = made
    return call


def straight_line(turn: Any, last: Any, most: int) -> Any:
    """Makes a loop of at most `most` turns whose turns follow each other in the code: straight_line(state, turns).

    `turn` and `last` are subroutines of one state, a tuple: turns - 1 times the state becomes turn(state), then
    last(state) ends the loop. `turns` is at least 1.
    """

    @intrinsic
    def call(typingctx: Any, state: Any, turns: Any) -> Any:
        state = types.unliteral(state)
        (next_description, texts), (last_description, last_texts) = turn.made((state,)), last.made((state,))
        if next_description.restype != state:
            raise TypingError(f"A turn makes {next_description.restype} of {state}.")

        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
            _called.update(texts | last_texts)
            value, count = args
            turn_signature, last_signature = state(state), types.none(state)
            end = builder.append_basic_block("end")
            for number in range(1, most):
                over, go_on = builder.append_basic_block("over"), builder.append_basic_block("go_on")
                builder.cbranch(builder.icmp_signed("==", count, count.type(number)), over, go_on)
                builder.position_at_end(over)
                context.call_internal_no_propagate(builder, last_description, last_signature, [value])
                builder.branch(end)
                builder.position_at_end(go_on)
                _, value = context.call_internal_no_propagate(builder, next_description, turn_signature, [value])
            context.call_internal_no_propagate(builder, last_description, last_signature, [value])
            builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.none(state, types.int64), codegen

    return call
