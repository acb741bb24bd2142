"""What every operation declares: attributes, input roles, shape rule, cost, reference arithmetic, equality class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from edgenet.graph import Node, Tensor


class OperationError(ValueError):
    """Inputs or attributes that an operation does not accept. The message names the operation and the reason."""


class Attribute(NamedTuple):
    """One attribute: its kind ("int", "ints", "float", "floats", "bool", "string", "activation"), default and bounds.

    `length` fixes the number of entries of a list; `choices` the allowed strings; `minimum`/`maximum` bound numbers
    and list entries. Floats are finite. `required` attributes have no default.
    """

    kind: str
    default: Any = None
    required: bool = False
    length: int | None = None
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    nullable: bool = False


@dataclass(frozen=True)
class Cost:
    """Work of one node for one run: FLOPs (multiply and add both counted), parameters, bytes read and written."""

    flops: int = 0
    macs: int = 0
    parameters: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.flops + other.flops,
            self.macs + other.macs,
            self.parameters + other.parameters,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
        )


class Equality(NamedTuple):
    """How closely implementations must match the reference: `relative` to the largest magnitude; 0 means bit-exact."""

    relative: float

    @property
    def exact(self) -> bool:
        return self.relative == 0


EXACT = Equality(0.0)


class Operation(ABC):
    """One operation of the graph. Instances are stateless and registered in `edgenet.ops.OPERATIONS` by name."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    required: ClassVar[tuple[str, ...]] = ("x",)
    optional: ClassVar[tuple[str, ...]] = ()
    constants: ClassVar[tuple[str, ...]] = ()
    """Roles that must be constants."""
    variadic: ClassVar[bool] = False
    """Inputs are x0, x1, ... instead of `required`."""
    attributes: ClassVar[dict[str, Attribute]] = {}
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    """Element types of input x (or x0, or a) that the reference computes."""
    equality: ClassVar[dict[str, Equality]] = {"float32": Equality(1e-5), "int8": EXACT}

    @abstractmethod
    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        """Shape of the output. Raises OperationError when inputs and attributes do not fit."""

    @abstractmethod
    def reference(
        self, node: Node, arrays: Mapping[str, np.ndarray], types: Mapping[str, Tensor], output: Tensor
    ) -> np.ndarray:
        """The arithmetic in plain NumPy: `arrays` by role, `types` the tensors by role, `output` its type."""

    def cost(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> Cost:
        """Work for one sample (BATCH counted as 1)."""
        return memory_cost(inputs, output)

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:  # noqa: B027 - most have none
        """Further conditions on dtypes and quantization. Raises OperationError."""


def element_count(shape: tuple[int, ...]) -> int:
    """Number of elements, a symbolic batch counted as 1."""
    count = 1
    for size in shape:
        count *= max(size, 1) if size != 0 else 0
    return count


def byte_count(tensor: Tensor) -> int:
    """Bytes of a tensor, a symbolic batch counted as 1."""
    return element_count(tensor.shape) * {"float32": 4, "float16": 2, "int8": 1, "int32": 4}[tensor.dtype]


def memory_cost(
    inputs: Mapping[str, Tensor], output: Tensor, flops: int = 0, macs: int = 0, parameters: int = 0
) -> Cost:
    """A Cost whose bytes are those of all inputs and the output."""
    return Cost(flops, macs, parameters, sum(byte_count(t) for t in inputs.values()), byte_count(output))
