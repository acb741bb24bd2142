"""From a kernel written in Python to a block of machine code that runs without numba.

A kernel is a function of integers (addresses, sizes; annotated `int`) and `float` scalars that returns nothing and
neither allocates nor raises. Its first three parameters are `begin`, `end` (the units of work to do) and `thread`;
every further parameter is one 64-bit slot of the step record, in order. The block's entry point has the C signature
`void entry(const int64_t *slots, int64_t begin, int64_t end, int64_t thread)`.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable

if "numba" not in sys.modules:
    os.environ["NUMBA_OPT"] = "0"  # LLVM's passes run once, for the selected instruction set, in `optimised_module`

import llvmlite.binding as llvm
from numba.core import types

from edgenet.errors import EngineError
from edgenet.kernels import inlining
from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.object_file import link
from edgenet.kernels.subroutine import take_called, text_of, typed_ir

ENTRY = "edgenet_entry"
LEADING = ("begin", "end", "thread")
_TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}
inlining.install()


def parameters(function: Callable[..., None]) -> dict[str, str]:
    """Names and kinds ("int" or "float") of a kernel's parameters."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        kind = parameter.annotation if isinstance(parameter.annotation, str) else parameter.annotation.__name__
        if kind not in ("int", "float"):
            raise EngineError(f"Parameter {name} of {function.__name__} must be annotated int or float.")
        found[name] = kind
    return found


def _wrapper(name: str, kinds: dict[str, str]) -> str:
    """The entry point: reads the slots and calls the native function."""
    lines = [
        f'define void @{ENTRY}(ptr noalias readonly %slots, i64 %begin, i64 %end, i64 %thread) "no-builtins" {{',
        "  %result = alloca ptr",
        "  %exception = alloca ptr",
    ]
    arguments = ["ptr %result", "ptr %exception", "i64 %begin", "i64 %end", "i64 %thread"]
    for slot, kind in enumerate(list(kinds.values())[len(LEADING) :]):
        llvm_type = {"int": "i64", "float": "float"}[kind]
        lines.append(f"  %place{slot} = getelementptr i64, ptr %slots, i64 {slot}")
        lines.append(f"  %slot{slot} = load {llvm_type}, ptr %place{slot}")
        arguments.append(f"{llvm_type} %slot{slot}")
    lines += [f'  %status = call i32 @"{name}"({", ".join(arguments)})', "  ret void", "}"]
    return "\n".join(lines)


def machine(target: InstructionSet) -> llvm.TargetMachine:
    """LLVM's code generator for an instruction set."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(_TRIPLES[target.architecture]).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="small"
    )


def _parsed(text: str, code_generator: llvm.TargetMachine, entry: str = "") -> llvm.ModuleRef:
    """A module for the code generator's machine: LLVM IR of numba, to be inlined wherever it is called, then `entry`.

    Attributes are written into the text: older llvmlites set them on what a function returns.
    """
    text = re.sub(r'^target (datalayout|triple) = ".*"$', "", text, flags=re.MULTILINE)
    text = re.sub(r"^(define .*\))", r'\1 alwaysinline "no-builtins"', text, flags=re.MULTILINE)
    head = f'target datalayout = "{code_generator.target_data}"\ntarget triple = "{code_generator.triple}"'
    return llvm.parse_assembly(f"{head}\n{text}{entry}")


def optimised_module(
    function: Callable[..., None], target: InstructionSet
) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    """The kernel with its entry point as optimised LLVM IR."""
    kinds = parameters(function)
    if tuple(kinds)[: len(LEADING)] != LEADING:
        raise EngineError(f"The first parameters of {function.__name__} must be {', '.join(LEADING)}.")
    scalar = {"int": types.int64, "float": types.float32}
    compiled = typed_ir(function, tuple(scalar[kind] for kind in kinds.values()), types.void)
    name = compiled.fndesc.llvm_func_name
    code_generator = machine(target)
    module = _parsed(text_of(compiled), code_generator, _wrapper(name, kinds))
    for text in take_called().values():
        module.link_in(_parsed(text, code_generator))
    for item in (*module.functions, *module.global_variables):
        if not item.is_declaration and item.name != ENTRY:
            item.linkage = "internal"
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = False
    tuning.slp_vectorization = False
    tuning.loop_unrolling = False
    builder = llvm.create_pass_builder(code_generator, tuning)
    passes = builder.getModulePassManager()
    passes.run(module, builder)
    return module, code_generator


def compile_kernel(function: Callable[..., None], target: InstructionSet) -> tuple[bytes, int]:
    """Machine code of a kernel for `target`, and the offset of its entry point.

    Raises EngineError if it cannot stand alone.
    """
    module, code_generator = optimised_module(function, target)
    return link(code_generator.emit_object(module), ENTRY)


def assembly(function: Callable[..., None], target: InstructionSet) -> str:
    """The kernel's assembly, for reading."""
    module, code_generator = optimised_module(function, target)
    return code_generator.emit_assembly(module)
