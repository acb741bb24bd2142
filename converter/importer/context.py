"""The graph under construction: emits nodes, keeps the torch-to-stored axes, names nodes after the user's modules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from edgenet.dtypes import BATCH
from edgenet.graph import Graph, Node, Quantization, Tensor
from edgenet.ops import OPERATIONS, OperationError, node_types, validate_node, with_defaults

from .registry import Unsupported, operator_name
from .values import Constant, Value, channels_last

SAMPLES = 1_000_000_007
"""Stands for the number of samples in sizes such as `samples * heads`: a prime, larger than any other factor."""
FRAME = re.compile(r'File "([^"]+)", line (\d+), in [^\n]*\n?([^\n]*)')


def module_path(node: fx.Node) -> tuple[str, bool]:
    """Path of the innermost module that ran `node`, and whether that is a layer of torch itself."""
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return "", False
    path, kind = list(stack.values())[-1][:2]
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    path = re.sub(r"@\d+", "", str(path)).removeprefix("L['self'].").removeprefix("L__self___")
    return ("", False) if path.startswith("_empty") else (path, kind.startswith("torch.nn.modules"))


def source_line(node: fx.Node) -> str:
    """`file.py:12: code` of the user's innermost python line that ran `node`; empty when unknown."""
    found = ""
    for path, line, code in FRAME.findall(node.meta.get("stack_trace") or ""):
        if "/torch/" not in path.replace("\\", "/"):
            file = path.replace("\\", "/").rsplit("/", 1)[-1]
            found = f"{file}:{line}: {code.strip()}".rstrip(": ")
    return found


class Importer:
    """State of one import. Handlers use `emit` and the layout methods; `current` is the fx node being converted."""

    def __init__(self, batch: Any):
        self.graph = Graph()
        self.batch = batch
        self.current: fx.Node | None = None
        self._layouts: dict[tuple[str, tuple[int, ...]], str] = {}
        self._constants: dict[tuple[int, str], tuple[torch.Tensor, str]] = {}
        self._names: set[str] = set()

    def is_batch(self, size: Any) -> bool:
        """Whether a size (int or SymInt) is the number of samples."""
        return str(size) == str(self.batch)

    @property
    def single(self) -> bool:
        """Whether the program is for one sample alone."""
        return isinstance(self.batch, int) and self.batch == 1

    def node_name(self) -> str:
        """Module path of the current fx node (with the operator's name when it belongs to no layer)."""
        assert self.current is not None, "set by the walk over the program"
        path, layer = module_path(self.current)
        operator = operator_name(self.current.target)
        return path if layer and path else f"{path}.{operator}" if path else operator

    def emit(
        self,
        operation: str,
        inputs: Mapping[str, str],
        attributes: Mapping[str, Any] | None = None,
        part: str = "",
        dtype: str = "float32",
        quantization: Quantization | None = None,
    ) -> str:
        """Append a validated node and return the name of its output. Unsupported when it does not fit its inputs.

        `part` is added to the name of a node that only prepares or finishes the layer's own; `dtype` and
        `quantization` are the output's.
        """
        assert self.current is not None, "set by the walk over the program"
        graph, base = self.graph, self.node_name() + (f".{part}" if part else "")
        name, suffix = base, 0
        while name in self._names:
            suffix += 1
            name = f"{base}.{suffix}"
        node = Node(operation, name, dict(inputs), "", dict(attributes or {}), source_line(self.current))
        types = node_types(graph, node)
        try:
            shape = tuple(OPERATIONS[operation].infer(with_defaults(node), types))
            output = Tensor(graph.unique_name(name), shape, dtype, quantization)
            node.output = output.name
            validate_node(node, types, output, graph.constants)
        except OperationError as error:
            raise Unsupported(f"{str(error).rstrip('.')}; change the layer's arguments or its input") from None
        self._names.add(name)
        graph.tensors[output.name] = output
        graph.nodes.append(node)
        return output.name

    def constant(self, constant: Constant, array: np.ndarray, form: str) -> str:
        """Graph constant holding `array`, which is `constant` in the form named `form`; made once for each form.

        Where `constant` has scales for axis 0 of `array`, they become the quantization of the (float32) constant.
        """
        key = (id(constant.tensor), form)  # names are not unique; the entry keeps the tensor, and so its id
        if key not in self._constants:
            scales = constant.scales
            quantization = None
            if scales is not None and len(scales) in (1, len(array)) and form != "matrix":
                quantization = Quantization(tuple(scales.double().expand(len(array)).tolist()), 0, 0)
            array = np.asarray(array, np.float32)
            self._constants[key] = constant.tensor, self.graph.add_constant(constant.name, array, quantization)
        return self._constants[key][1]

    def made(self, tensor: torch.Tensor) -> Constant:
        """`tensor` as the constant that the current operator makes."""
        assert self.current is not None, "set by the walk over the program"
        return Constant(tensor, self.current.name)

    def number(self, value: float) -> str:
        """Graph constant of shape (1,)."""
        return self.graph.add_constant(f"{self.node_name()}.constant", np.asarray([value], np.float32))

    def shape(self, value: Value) -> tuple[int, ...]:
        """Shape in torch's axis order, the batch as BATCH; pending broadcasts are not included."""
        stored = self.graph.tensors[value.name].shape
        return tuple(stored[value.axes.index(axis)] for axis in range(value.rank))

    def axis(self, value: Value, dim: int) -> int:
        """Stored axis of torch axis `dim` (may be negative). Unsupported for the batch."""
        dim %= value.rank
        if dim == 0:
            raise Unsupported("it works along the batch axis; keep samples independent")
        return value.axes.index(dim)

    def arrange(self, value: Value, axes: Sequence[int]) -> Value:
        """`value` stored with `axes`, by a permute node if it is stored otherwise."""
        axes = tuple(axes)
        if value.axes == axes:
            return value
        if axes[0] != value.axes[0]:
            raise Unsupported("it moves the batch axis; keep samples on axis 0")
        key = (value.name, tuple(value.axes.index(axis) for axis in axes))
        if key not in self._layouts:
            self._layouts[key] = self.emit("permute", {"x": value.name}, {"order": list(key[1])}, "permute")
        return Value(self._layouts[key], axes)

    def channels_last(self, value: Value) -> Value:
        """`value` with torch axis 1 stored last."""
        return self.arrange(value, channels_last(value.rank))

    def last(self, value: Value, dim: int) -> Value:
        """`value` with torch axis `dim` stored last, the other axes in the order they have."""
        stored = self.axis(value, dim)
        return self.arrange(value, (*value.axes[:stored], *value.axes[stored + 1 :], value.axes[stored]))

    def images(self, value: Any, rank: int = 4) -> Value:
        """`value` as NHWC (rank 3 as NLC). Unsupported for another rank: a missing batch axis, or 3-D data."""
        if not isinstance(value, Value) or value.rank != rank:
            raise Unsupported(f"its input must have {rank} axes with the batch first")
        return self.channels_last(value)

    def lift(self, value: Value) -> Value:
        """A rank-3 [N, L, C] value as [N, 1, L, C], for the two-dimensional operations."""
        value = self.images(value, 3)
        channels = self.graph.tensors[value.name].shape[-1]
        return Value(self.emit("reshape", {"x": value.name}, {"shape": [0, 1, -1, channels]}, "lift"), (0, 2, 3, 1))

    def lower(self, name: str) -> Value:
        """The [N, 1, L, C] tensor `name` as a rank-3 value [N, L, C]."""
        channels = self.graph.tensors[name].shape[-1]
        return Value(self.emit("reshape", {"x": name}, {"shape": [0, -1, channels]}, "lower"), (0, 2, 1))

    def extent(self, size: Any) -> int:
        """A size as a number, the number of samples counted as `SAMPLES` where it is not fixed."""
        if isinstance(size, int):
            return size
        try:
            return int(size.node.expr.subs({self.batch.node.expr: SAMPLES}))
        except (AttributeError, TypeError):
            raise Unsupported("a size depends on more than the number of samples; use numbers") from None

    def dimension(self, size: Any) -> int:
        """A size argument as int, BATCH for the batch. Unsupported for a size computed from the batch."""
        if isinstance(size, int):
            return size
        if self.is_batch(size):
            return BATCH
        raise Unsupported("a size depends on the number of samples; keep samples on axis 0")


def parameter(value: Any, role: str) -> Constant:
    """`value` as a constant. Unsupported when it is computed from the network's input."""
    if not isinstance(value, Constant):
        raise Unsupported(f"its {role} is computed at run time; make it a parameter or buffer")
    return value


def array(constant: Constant) -> np.ndarray:
    """The constant as float32 NumPy array in torch's layout."""
    return constant.tensor.detach().to(torch.float32).cpu().numpy()
