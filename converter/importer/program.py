"""The walk over an exported program: constants, inputs, a handler per operator, outputs; all problems in one error."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from edgenet.dtypes import BATCH
from edgenet.errors import ConversionError
from edgenet.graph import Graph, Tensor

from . import (  # noqa: F401  # their handlers register themselves
    activation,
    arithmetic,
    comparisons,
    convolution,
    einsum,
    extremes,
    filled,
    layout,
    masks,
    moved,
    moved_operators,
    normalization,
    padding,
    passthrough,
    pooling,
    products,
    quantized,
    recurrent,
    reductions,
    resizing,
    selection,
    unfolding,
)
from .context import Importer, module_path, source_line
from .local_response import LocalResponse, match
from .moved import Moved
from .registry import HANDLERS, Unsupported, operator_name
from .values import Constant, Value, channels_last, plain

IGNORED = {"sym_size", "sym_numel", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size"}
PENDING = {"add", "sub", "subtract", "rsub", "mul", "multiply", "div", "divide", "true_divide", "clone", "contiguous"}
"""Operators that accept a pending broadcast."""
CONSTANT_FIRST = {
    *PENDING,
    "addmm",
    "addcmul",
    "addcdiv",
    "expand",
    "expand_as",
    "repeat",
    "tile",
    "matmul",
    "mm",
    "bmm",
    "baddbmm",
    "einsum",
    "where",
    "masked_fill",
    "maximum",
    "minimum",
    *comparisons.BOOLEAN,
    "to",
    "_to_copy",
    "type_as",
    *layout.SHAPES,
    *filled.LIKE,
    *filled.SIZED,
}
"""Operators whose first argument may be a constant."""
INLINED = {"wrap_with_autocast": 4, "wrap_with_set_grad_enabled": 1}
"""Blocks that a module computes under a setting, and which of their arguments is the graph of the block."""
READS = {"item", "_local_scalar_dense"}
"""Operators that make a number of a tensor, which must be a constant."""
NOTHING = object()
"""Result of a node that could not be converted."""


class _Walk:
    def __init__(self, program: ExportedProgram):
        self.program = program
        self.values: dict[fx.Node, Any] = {}
        self.problems: list[str] = []
        self.replaced: dict[fx.Node, LocalResponse] = {}
        self.skipped: set[fx.Node] = set()
        for node in program.graph.nodes:
            found = match(node)
            if found:
                self.replaced[node] = found
                self.skipped.update(found.inner)
        self.samples = self._batch()
        self.importer = Importer(self.samples)

    def _inputs(self) -> list[fx.Node]:
        names = set(self.program.graph_signature.user_inputs)
        nodes = [n for n in self.program.graph.nodes if n.op == "placeholder" and n.name in names]
        return [n for n in nodes if isinstance(n.meta.get("val"), torch.Tensor)]

    def _batch(self) -> Any:
        inputs = self._inputs()
        if not inputs or any(n.meta["val"].dim() < 2 for n in inputs):
            raise ConversionError("Every input must be a tensor with samples on axis 0 and at least one more axis.")
        if any(n.meta["val"].dtype != torch.float32 for n in inputs):
            raise ConversionError("Every input must be float32; convert the module and its inputs with .float().")
        sizes = {str(n.meta["val"].shape[0]) for n in inputs}
        if len(sizes) > 1:
            raise ConversionError("All inputs must have the same number of samples on axis 0.")
        return inputs[0].meta["val"].shape[0]

    def problem(self, node: fx.Node, reason: str) -> None:
        path, source = module_path(node)[0], source_line(node)
        where = ", ".join(part for part in (f"in {path}" if path else "in the module itself", source) if part)
        self.problems.append(f"{node.target} ({where}): {reason}.")

    def constants(self) -> None:
        signature, state = self.program.graph_signature, self.program.state_dict
        for spec in signature.input_specs:
            if spec.kind == InputKind.USER_INPUT or spec.target is None:
                continue
            tensor = state.get(spec.target, self.program.constants.get(spec.target))
            node = next(n for n in self.program.graph.nodes if n.name == spec.arg.name)
            self.values[node] = Constant(tensor, spec.target) if isinstance(tensor, torch.Tensor) else NOTHING

    def inputs(self) -> None:
        importer = self.importer
        for node in self._inputs():
            sizes = node.meta["val"].shape
            name = importer.graph.unique_name(node.name)
            try:
                shape = (BATCH, *(importer.dimension(size) for size in sizes[1:]))
            except Unsupported:
                shape = (BATCH, BATCH)
            if BATCH in shape[1:]:
                raise ConversionError("Only the batch may have a dynamic size; export with fixed other sizes.")
            importer.graph.tensors[name] = Tensor(name, shape)
            importer.graph.inputs.append(name)
            value = Value(name, plain(len(shape)))
            importer.current = node
            self.values[node] = importer.arrange(value, channels_last(4)) if value.rank == 4 else value

    def resolve(self, argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            if argument in self.values:
                return self.values[argument]
            return argument.meta.get("val")
        if isinstance(argument, list | tuple):
            return [self.resolve(entry) for entry in argument]
        return argument

    def arguments(self, node: fx.Node) -> dict[str, Any]:
        """Arguments by schema name, defaults filled in."""
        schema = node.target._schema  # type: ignore[union-attr]  # ATen operators only
        bound = {}
        for i, declared in enumerate(schema.arguments):
            if i < len(node.args):
                bound[declared.name] = self.resolve(node.args[i])
            elif declared.name in node.kwargs:
                bound[declared.name] = self.resolve(node.kwargs[declared.name])
            else:
                bound[declared.name] = declared.default_value
        return bound

    def evaluate(self, node: fx.Node) -> Any:
        """The value of an operator on constants alone, computed by torch. Unsupported if it draws random numbers."""
        random = torch.Tag.nondeterministic_seeded in node.target.tags  # type: ignore[union-attr]  # ATen operators only
        if random and self.arguments(node).get("train") is not False:
            raise Unsupported("it draws random numbers, which a file cannot hold; leave it out of the module")

        def concrete(argument: Any) -> Any:
            value = self.resolve(argument)
            return value.tensor if isinstance(value, Constant) else value

        args = [
            [concrete(e) for e in entry] if isinstance(entry, list | tuple) else concrete(entry) for entry in node.args
        ]
        with torch.no_grad():
            result = node.target(*args, **{k: concrete(v) for k, v in node.kwargs.items()})  # type: ignore[operator]  # call_function
        if isinstance(result, torch.Tensor):
            return Constant(result, node.name)
        if isinstance(result, tuple | list):
            return [Constant(r, f"{node.name}.{i}") for i, r in enumerate(result)]
        return result if isinstance(result, int | float) else None

    def convert(self, node: fx.Node) -> Any:
        name = operator_name(node.target)
        if node.target is operator.getitem:
            whole, index = self.resolve(node.args[0]), node.args[1]
            if whole is NOTHING:
                return NOTHING
            if not isinstance(whole, list) or not isinstance(index, int) or index >= len(whole):
                raise Unsupported("only the first result of this operator is converted; do not use the others")
            return whole[index]
        used = [self.values[n] for n in node.all_input_nodes if n in self.values]
        aten = isinstance(node.target, torch._ops.OpOverload)
        if used and name in quantized.ON_CONSTANTS and isinstance(used[0], Constant):
            return HANDLERS[name](self.importer, self.arguments(node))
        symbolic = any(isinstance(n.meta.get("val"), torch.SymInt) for n in node.all_input_nodes)
        if used and all(isinstance(v, Constant) for v in used) and aten and not symbolic:
            return self.evaluate(node)
        if not used and aten and not symbolic and isinstance(node.meta.get("val"), torch.Tensor):
            return self.evaluate(node)
        if node not in self.replaced and (not aten or name not in HANDLERS):
            raise Unsupported("it has no conversion; replace it with supported operators or move it out of the module")
        if any(v is NOTHING or (isinstance(v, list) and NOTHING in v) for v in used):
            return NOTHING
        moves = self.moves(node, name)
        if moves or name not in PENDING:
            for source in node.all_input_nodes:
                if source in self.values:
                    self.values[source] = self.broadcast(self.values[source])
        if node in self.replaced:
            return self.local_response(self.replaced[node])
        if moves:
            return moved_operators.convert(self.importer, name, self.arguments(node))
        if name not in CONSTANT_FIRST and node.args and isinstance(self.resolve(node.args[0]), Constant):
            raise Unsupported("it makes a constant as large as the batch; use broadcasting or add it to the input")
        return HANDLERS[name](self.importer, self.arguments(node))

    def moves(self, node: fx.Node, name: str) -> bool:
        """Whether an operand has its samples elsewhere than on axis 0, or the operator moves them from there."""
        used = [self.values.get(source) for source in node.all_input_nodes]
        if any(isinstance(v, Moved) for v in used):
            return True
        first = used[0] if used else None
        if not isinstance(first, Value):
            return False
        if name == "stack":
            return self.arguments(node)["dim"] in (0, -1 - first.rank)
        if name in layout.PERMUTES:
            return layout.permuted(name, first.rank, self.arguments(node))[0] != 0
        if name not in layout.SHAPES:
            return False
        sizes = node.meta["val"].shape
        return not sizes or not self.importer.is_batch(sizes[0])

    def broadcast(self, value: Any) -> Any:
        """`value` without a pending broadcast."""
        pending = isinstance(value, Value) and value.expanded is not None
        return selection.broadcast(self.importer, value) if pending else value

    def local_response(self, found: LocalResponse) -> Value:
        if not isinstance(self.values[found.x], Value):
            raise Unsupported("its input has samples elsewhere; keep samples on axis 0")
        x = self.importer.channels_last(self.values[found.x])
        attributes = {"size": found.size, "alpha": found.alpha, "beta": found.beta, "k": found.k}
        return Value(self.importer.emit("local_response_norm", {"x": x.name}, attributes), x.axes)

    def check(self, node: fx.Node, result: Any) -> None:
        """The inferred shape must be torch's, and a batch that the module fixes the number of samples."""
        value = node.meta.get("val")
        if isinstance(result, Moved) and not result.expanded and isinstance(value, torch.Tensor):
            found, wanted = moved.sizes_of(self.importer, result), [self.importer.extent(size) for size in value.shape]
            if found != wanted:
                raise Unsupported(f"the conversion gives shape {tuple(found)}, torch {tuple(value.shape)}")
        if not isinstance(result, Value) or result.expanded or not isinstance(value, torch.Tensor):
            return
        if value.dtype not in (torch.float32, torch.bool) and operator_name(node.target) != "quantize_per_tensor":
            raise Unsupported("its result is not float32; convert the module with .float()")
        sizes = (*value.shape[:1], self.samples)
        if all(isinstance(size, int) for size in sizes) and sizes[0] != sizes[-1]:
            raise Unsupported("it changes the number of samples; keep samples on axis 0, each on its own")
        if tuple(value.shape)[1:] != self.importer.shape(result)[1:]:
            raise Unsupported(f"the conversion gives shape {self.importer.shape(result)}, torch {tuple(value.shape)}")

    def block(self, outer: fx.GraphModule, node: fx.Node, name: str) -> list[Any]:
        """The results of a block's own graph, a submodule of `outer`. Unsupported if it asks for another precision."""
        place = INLINED[name]
        if name == "wrap_with_autocast" and node.args[2]:
            raise Unsupported("it computes in another precision; convert without autocast")
        module = getattr(outer, str(node.args[place].target))  # type: ignore[union-attr]  # a graph
        inputs = [inner for inner in module.graph.nodes if inner.op == "placeholder"]
        for inner, argument in zip(inputs, node.args[place + 1 :], strict=True):
            self.values[inner] = self.resolve(argument)
        self.nodes(module)
        result = next(inner for inner in module.graph.nodes if inner.op == "output")
        return [self.resolve(argument) for argument in result.args[0]]

    def needed(self, graph: fx.Graph) -> set[fx.Node]:
        """The nodes of a graph that its results depend on."""
        found: set[fx.Node] = set()
        waiting = [node for node in graph.nodes if node.op == "output"]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting.extend(node.all_input_nodes)
        return found

    def nodes(self, module: fx.GraphModule) -> None:
        """Convert the nodes of the program, or of a block in it."""
        needed = self.needed(module.graph)
        for node in module.graph.nodes:
            name = operator_name(node.target) if node.op == "call_function" else ""
            if node.op == "get_attr":
                tensor: Any = module
                for part in str(node.target).split("."):
                    tensor = getattr(tensor, part)
                self.values[node] = Constant(tensor, str(node.target)) if isinstance(tensor, torch.Tensor) else NOTHING
            if node.op != "call_function" or name in IGNORED or node in self.skipped:
                continue
            number = isinstance(node.meta.get("val"), torch.SymInt | torch.SymBool | int | float | bool)
            if number and name not in READS:
                continue
            if node not in needed:
                continue
            self.importer.current = node
            try:
                result = self.block(module, node, name) if name in INLINED else self.convert(node)
                self.check(node, result)
            except Unsupported as error:
                self.problem(node, str(error))
                result = NOTHING
            self.values[node] = result

    def outputs(self) -> None:
        importer, graph = self.importer, self.importer.graph
        final = next(n for n in self.program.graph.nodes if n.op == "output")
        flat: list[Any] = list(final.args[0])  # type: ignore[arg-type]  # exported programs return a tuple
        specs = self.program.graph_signature.output_specs  # others are new values of buffers and of inputs
        returned = [n for n, spec in zip(flat, specs, strict=True) if spec.kind == OutputKind.USER_OUTPUT]
        results = [n for n in returned if isinstance(n, fx.Node) and isinstance(n.meta.get("val"), torch.Tensor)]
        for node in results:
            importer.current = node
            value = self.broadcast(self.values.get(node))
            if isinstance(value, Moved):
                self.problem(node, "an output has its samples elsewhere; keep samples on axis 0")
                continue
            if not isinstance(value, Value):
                if value is not NOTHING:
                    self.problem(node, "an output does not depend on the input; return it separately")
                continue
            if graph.tensors[value.name].dtype != "float32":
                self.problem(node, "an output is int8; dequantize it")
                continue
            if node.meta["val"].dtype == torch.bool:
                self.problem(node, "an output is a truth value; return it with .float()")
                continue
            name = importer.arrange(value, plain(value.rank)).name
            if name in graph.inputs or name in graph.outputs:
                name = importer.emit("slice", {"x": name}, {"axis": value.rank - 1})
            graph.outputs.append(name)


def import_program(program: ExportedProgram) -> Graph:
    """The graph of an exported program, as exported: no rewrites are applied.

    ConversionError lists every operator that cannot be converted: operator, module path, source line, what to do.
    """
    walk = _Walk(program)
    walk.constants()
    walk.inputs()
    walk.nodes(program.graph_module)
    if not walk.problems:
        walk.outputs()
    if walk.problems:
        lines = "\n".join(f"- {problem}" for problem in walk.problems)
        raise ConversionError(f"{len(walk.problems)} operations cannot be converted. Change these lines:\n{lines}")
    return walk.importer.graph
