"""From nodes to steps: what a lowering works with, and the registry of lowerings by operation.

A lowering is a function `(node, lowering)` that adds the node's steps. It chooses the kernel; the kernel assumes.
Kernels see memory as the graph defines it: channels-last, dense but for `prepare.strides`. int8 values lie in memory as
they are, or as value + 128 where the instruction set asks for it (`InstructionSet.stored_unsigned`): `Lowering.stored`
converts zero points and bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from edgenet.errors import EngineError
from edgenet.graph import Graph, Node, Tensor
from edgenet.kernels.isa import InstructionSet
from edgenet.kernels.table import kernel
from edgenet.ops import constant_value
from edgenet.prepare.constants import Constants
from edgenet.prepare.memory_limits import check_packed
from edgenet.prepare.plan import Operand, Packed, Scratch, Step, Value

Fact = TypeVar("Fact")
LowerFunction = Callable[[Node, "Lowering"], None]
LOWERINGS: dict[str, LowerFunction] = {}
ELEMENT_BYTES = {"float32": 4, "int8": 1, "float16": 2, "int32": 4}
IMAGE_CHANNELS = 4
"""Up to so many input channels a convolution reads whole kernel rows of a padded copy of its input."""


def lowers(*operations: str) -> Callable[[LowerFunction], LowerFunction]:
    """Register a lowering for operations."""

    def register(function: LowerFunction) -> LowerFunction:
        for operation in operations:
            LOWERINGS[operation] = function
        return function

    return register


@dataclass(frozen=True)
class View:
    """Rows of another tensor: `offset` bytes behind its start.

    Channels-last pixels lie `pixel_bytes` apart, channels-first planes `plane_bytes`.
    """

    base: str
    offset: int
    plane_bytes: int = 0
    pixel_bytes: int = 0


class Lowering:
    """Collects the steps of a plan. `tensors` have concrete shapes.

    `winograd` allows algorithms with fewer products in float32, `int8_algorithms` in int8, where they take memory.
    `most_packed`: bytes that packed data may have (see `prepare.memory_limits`).
    `cache`: bytes of the cache that each thread has of its own, if known.
    `spread`: the tensors whose pixels do not follow each other directly, with the bytes from one to the next.
    """

    def __init__(
        self,
        graph: Graph,
        tensors: dict[str, Tensor],
        target: InstructionSet,
        threads: int,
        packed: Constants,
        most_packed: int,
        winograd: bool = True,
        int8_algorithms: bool = True,
        cache: int = 0,
    ):
        self.graph, self.tensors, self.target, self.threads = graph, tensors, target, threads
        self.winograd, self.int8_algorithms, self.cache = winograd, int8_algorithms, cache
        self.steps: list[Step] = []
        self.root: dict[str, str] = {}
        self._packed, self._most_packed = packed, most_packed
        self._used: set[Hashable] = set()
        self._used_bytes = 0
        self._views: dict[str, View] = {}
        self.spread: dict[str, int] = {}
        self.node: Node | None = None
        self._temporaries = 0
        self._lasting: tuple[str, int] | None = None
        self._known: dict[Hashable, Any] = {}

    def once(self, key: Hashable, find: Callable[[], Fact]) -> Fact:
        """What `find` gives, asked for once in a plan; `key` must tell everything that it depends on."""
        if key not in self._known:
            self._known[key] = find()
        return self._known[key]

    def run(self, node: Node) -> None:
        """Add the steps of a node (whose attributes are complete). Raises EngineError when no kernel serves it."""
        self.node = node
        try:
            lower = LOWERINGS[node.operation]
        except KeyError:
            raise EngineError(f"{node.name}: there is no kernel for the operation {node.operation}.") from None
        lower(node, self)

    def shape(self, name: str) -> tuple[int, ...]:
        """Concrete shape of a tensor."""
        return self.tensors[name].shape

    def size(self, name: str) -> int:
        """Number of elements of a tensor."""
        return int(np.prod(self.tensors[name].shape, dtype=np.int64))

    def dtype(self, name: str) -> str:
        """Element type of a tensor."""
        return self.tensors[name].dtype

    def pixel_bytes(self, name: str) -> int:
        """Bytes from one pixel of a channels-last tensor to the next (see `prepare.strides`)."""
        if name in self._views:
            return self._views[name].pixel_bytes
        return self.spread.get(name) or self.tensors[name].shape[-1] * ELEMENT_BYTES[self.tensors[name].dtype]

    def row_bytes(self, name: str) -> int:
        """Bytes from one row of a channels-last image to the next."""
        return math.prod(self.tensors[name].shape[2:-1]) * self.pixel_bytes(name)

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is a constant of the graph."""
        return name in self.graph.constants

    def constant(self, name: str) -> np.ndarray:
        """A constant as stored."""
        return self.graph.constants[name]

    def float_constant(self, name: str) -> np.ndarray:
        """A constant as float32, whatever its storage."""
        return constant_value(self.graph, name)

    def read(self, name: str, offset: int = 0) -> Operand | Packed:
        """Address of a tensor that the step reads; a constant is passed in its stored form (int8 as `stored` says)."""
        if self.is_constant(name):
            return self.packed(("constant", name), lambda: self._stored_array(name))
        view = self._views.get(name)
        return Operand(name, offset) if view is None else Operand(view.base, view.offset + offset)

    def _stored_array(self, name: str) -> np.ndarray:
        array = self.constant(name)
        if array.dtype == np.int8 and self.dtype(name) == "int8" and self.target.stored_unsigned:
            return (array.astype(np.int16) + 128).astype(np.uint8)
        return array.astype(np.float32) if array.dtype == np.float16 else array

    def write(self, name: str, offset: int = 0) -> Operand:
        """Address of a tensor that the step writes."""
        view = self._views.get(name)
        base, start = (name, 0) if view is None else (view.base, view.offset)
        return Operand(base, start + offset, write=True)

    def view(self, name: str, tensor: Tensor, view: View) -> str:
        """Let `name`, of the type `tensor`, stand for rows of another tensor until it is given another meaning."""
        self.tensors[name], self._views[name] = replace(tensor, name=name), view
        return name

    def plane_bytes(self, name: str) -> int:
        """Bytes from one plane of a channels-first image to the next."""
        if name in self._views:
            return self._views[name].plane_bytes
        _, _, height, width = self.shape(name)
        return height * width * ELEMENT_BYTES[self.dtype(name)]

    def alias(self, output: str, source: str) -> None:
        """`output` is the same memory as `source` (a reshape)."""
        if self.is_constant(source):
            raise EngineError(f"{output} is a view of a constant; such nodes are folded at conversion.")
        self.root[output] = source

    def temporary(self, size: int) -> str:
        """Name of a buffer of `size` bytes, alive from its first to its last use; a new one, but see `lasting`."""
        if self._lasting is None:
            self._temporaries += 1
            name = f"temporary.{self._temporaries}"
        else:
            prefix, number = self._lasting
            self._lasting = prefix, number + 1
            name = f"temporary.{prefix}.{number}"
            size = max([size, *self.tensors[name].shape] if name in self.tensors else [size])
        self.tensors[name] = Tensor(name, (size,), "int8")
        return name

    @contextmanager
    def lasting(self, prefix: str) -> Iterator[None]:
        """Each time with the same prefix (if it is not ""), temporaries are the same buffers, in their order."""
        self._lasting = (prefix, 0) if prefix else None
        try:
            yield
        finally:
            self._lasting = None

    def scratch(self, bytes_per_thread: int) -> Scratch:
        """Scratch memory for each thread, a multiple of 64 bytes. A step has one (see `edgenet.prepare.plan`)."""
        if bytes_per_thread % 64:
            raise EngineError("Scratch sizes are multiples of 64 bytes.")
        return Scratch(bytes_per_thread)

    def packed(self, key: Hashable, make: Callable[[], np.ndarray], size: int = 0) -> Packed:
        """Constant data made once for all plans of a model; `key` must tell everything that `make` depends on.

        `size`: its bytes, about, where they may be many times those of what it is made from. Raises ModelFormatError
        when this plan has more such data than `prepare.memory_limits` allows.
        """
        if key not in self._packed:
            check_packed(self._used_bytes + size, self._most_packed)
            self._packed[key] = np.asarray(make())  # arithmetic on an array of no dimensions gives a scalar
        found = self._packed[key]
        if key not in self._used:
            self._used.add(key)
            self._used_bytes += found.nbytes
            check_packed(self._used_bytes, self._most_packed)
        return Packed(found)

    def stored(self, value: int) -> int:
        """An int8 value (zero point, bound) as it lies in memory."""
        return value + 128 if self.target.stored_unsigned else value

    def zero_point(self, name: str) -> int:
        """Zero point of an int8 tensor, as it lies in memory."""
        quantization = self.tensors[name].quantization
        return self.stored(quantization.zero_point if quantization else 0)

    def step(self, kernel_name: str, units: int, grain: int = 1, **slots: Value) -> None:
        """Add a step of the current node. EngineError where it would compute a tensor without values."""
        node = self.node
        assert node is not None, "run() sets the node"
        if units < 1 or min(self.tensors[node.output].shape, default=1) < 1:
            raise EngineError(f"{node.name}: its output would have no values.")
        row = kernel(kernel_name, self.target)
        self.steps.append(
            Step(kernel_name, units, max(1, grain), slots, node.name, node.operation, node.output, vector=row.vector)
        )


def odd_lines(size: int) -> int:
    """`size` bytes and more, an odd number of cache lines: rows so far apart fall into different sets of caches."""
    return (-(-size // 64) | 1) * 64


def activation_bounds(activation: dict[str, Any] | None) -> tuple[float, float]:
    """Bounds of a clamp activation; infinite where open, and both for None. Raises EngineError for another kind."""
    if activation is None:
        return -np.inf, np.inf
    if activation["kind"] != "clamp":
        raise EngineError(f"The activation {activation['kind']} is not a clamp.")
    low, high = activation.get("min"), activation.get("max")
    return (-np.inf if low is None else low), (np.inf if high is None else high)
