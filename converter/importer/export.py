"""From a module, an ExportedProgram or a .pt2 file to an ExportedProgram without mutation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram

from edgenet.errors import ConversionError

from ..eval_mode import eval_mode, uncompiled
from .program_file import check_program_file
from .quantized import register_operators

ALIASING = {"dropout", "feature_dropout", "alpha_dropout"}
"""Operators that return their input unchanged at inference although their schema does not say so."""


def export(module: nn.Module | ExportedProgram | str | Path, example_inputs: Sequence[Any] | None) -> ExportedProgram:
    """The program to import, of any batch size where the module allows it.

    A module is exported in eval mode and left as it was. ConversionError when it cannot be exported.
    """
    if isinstance(module, ExportedProgram):
        program = module
    elif isinstance(module, nn.Module):
        if example_inputs is None:
            raise ConversionError("Pass example_inputs: a tuple of the tensors that the module's forward takes.")
        program = _export_module(uncompiled(module), tuple(example_inputs))
    else:
        path = Path(module)
        if not path.is_file():
            raise ConversionError(f"There is no file {path}. Pass an nn.Module, an ExportedProgram or a .pt2 file.")
        check_program_file(path)
        try:
            register_operators()
            program = torch.export.load(path)
        except Exception as error:
            raise ConversionError(f"{path.name} is no .pt2 file that this torch can load: {_first(error)}") from error
    return program if _mutates_plainly(program.graph) else program.run_decompositions({})


def _first(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def _export_module(module: nn.Module, inputs: tuple[Any, ...]) -> ExportedProgram:
    """The module's program, traced by running it: torch 2.6 would read bytecode, for a few modules in a process."""
    if len({x.shape[0] for x in inputs if _batched(x)}) > 1:
        raise ConversionError("All example inputs must have the same number of samples on axis 0.")
    try:
        with eval_mode(module):
            try:
                two = tuple(torch.cat([x, x]) if _batched(x) and x.shape[0] == 1 else x for x in inputs)
                dim = Dim("batch")
                dynamic = tuple({0: dim} if _batched(x) else None for x in inputs)
                return torch.export.export(module, two, dynamic_shapes=_nest(module, dynamic), strict=False)
            except Exception:  # the batch is specialised somewhere: the example's own size is the next best
                return torch.export.export(module, inputs, strict=False)
    except Exception as error:
        raise ConversionError(
            f"torch.export cannot trace this module: {_first(error).rstrip('.')}. "
            "Remove control flow that depends on tensor values, or pass an ExportedProgram."
        ) from error


def _batched(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.dim() > 0


def _nest(module: nn.Module, dynamic: tuple[Any, ...]) -> Any:
    """dynamic_shapes in the structure torch wants for a forward that takes *args."""
    code = module.forward.__code__ if hasattr(module.forward, "__code__") else None
    variadic = code is not None and bool(code.co_flags & 0x04) and code.co_argcount <= 1
    return (dynamic,) if variadic else dynamic


def _returns_alias(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return node.op == "call_function"
    return schema.name.split("::")[-1] in ALIASING or any(r.alias_info is not None for r in schema.returns)


def _mutates_plainly(graph: fx.Graph) -> bool:
    """Whether each in-place operator changes a tensor that nothing else can see afterwards."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.is_mutable:
            continue
        changed = node.args[0] if node.args else None
        if not isinstance(changed, fx.Node) or changed.op != "call_function":
            return False
        if _returns_alias(changed) and not changed.target._schema.is_mutable:  # type: ignore[union-attr]  # call_function
            return False
        for user in changed.users:
            if user is not node and (order[user] > order[node] or _returns_alias(user)):
                return False
    return True
