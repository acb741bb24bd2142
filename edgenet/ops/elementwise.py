"""Elementwise operations: activations, PReLU, broadcasting arithmetic, lookup tables, changes of quantization."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgenet.graph import Node, Tensor
from edgenet.ops.arithmetic import activate, centered, requantize, zero_point
from edgenet.ops.base import Attribute, Cost, Operation, OperationError, element_count, memory_cost

Q_RANGE = {
    "q_min": Attribute("int", -128, minimum=-128, maximum=127),
    "q_max": Attribute("int", 127, minimum=-128, maximum=127),
}
MULTIPLIER = Attribute("float", None, nullable=True, minimum=0)


class _SameShape(Operation):
    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        return inputs["x"].shape

    def cost(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> Cost:
        return memory_cost(inputs, output, element_count(output.shape))


class Activation(_SameShape):
    """The activation named by its attribute, elementwise."""

    name = "activation"
    attributes = {"activation": Attribute("activation", required=True)}

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        return activate(arrays["x"], node.attributes["activation"])


class PReLU(_SameShape):
    """x where x >= 0, else slope * x; slope [C] or [1] over the last axis."""

    name = "prelu"
    required = ("x", "slope")
    constants = ("slope",)

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        if inputs["slope"].shape not in ((1,), inputs["x"].shape[-1:]):
            raise OperationError(f"prelu slope {inputs['slope'].shape} does not fit {inputs['x'].shape}.")
        return inputs["x"].shape

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        x = arrays["x"]
        return np.where(x >= 0, x, x * arrays["slope"])


class Table(_SameShape):
    """y = table[x + 128], or table[c, x + 128] over the last axis."""

    name = "table"
    required = ("x", "table")
    constants = ("table",)
    dtypes = ("int8",)

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        if inputs["table"].shape not in ((256,), (inputs["x"].shape[-1], 256)):
            raise OperationError(f"table has shape {inputs['table'].shape}, not (256,) or (channels, 256).")
        return inputs["x"].shape

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        if inputs["table"].dtype != "int8" or output.dtype != "int8":
            raise OperationError("table maps int8 to int8.")

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        x, table = arrays["x"].astype(np.intp) + 128, arrays["table"]
        return table[x] if table.ndim == 1 else table[np.arange(table.shape[0]), x]


def broadcast_shape(node: Node, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """NumPy's broadcast of two shapes; the symbolic batch broadcasts with itself and 1. OperationError if none fits."""
    rank = max(len(a), len(b))
    out = []
    for p, q in zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True):
        if p != q and 1 not in (p, q):
            raise OperationError(f"{node.operation} cannot broadcast {a} with {b}.")
        out.append(q if p == 1 else p)
    return tuple(out)


class _Binary(Operation):
    required = ("a", "b")
    dtypes = ("float32", "int8")
    multipliers: tuple[str, ...] = ("multiplier_a", "multiplier_b")

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        return broadcast_shape(node, inputs["a"].shape, inputs["b"].shape)

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        kinds = {inputs["a"].dtype, inputs["b"].dtype, output.dtype}
        if len(kinds) != 1:
            raise OperationError(f"{node.operation} needs one dtype for its inputs and output, not {sorted(kinds)}.")
        if kinds == {"int8"} and any(node.attributes.get(key) is None for key in self.multipliers):
            raise OperationError(f"an int8 {node.operation} needs {', '.join(self.multipliers)}.")
        activation = node.attributes.get("activation")
        if kinds == {"int8"} and activation and activation["kind"] != "clamp":
            raise OperationError(f"an int8 {node.operation} can fuse only a clamp.")

    def cost(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> Cost:
        return memory_cost(inputs, output, element_count(output.shape))

    def real(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        raise OperationError(f"{self.name} has no real arithmetic.")

    def scaled(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        raise OperationError(f"{self.name} is float32 only.")

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        if types["a"].dtype == "float32":
            with np.errstate(all="ignore"):
                return activate(self.real(arrays["a"], arrays["b"]).astype(np.float32), node.attributes["activation"])
        a, b = centered(arrays["a"], types["a"]), centered(arrays["b"], types["b"])
        return requantize(self.scaled(node, a, b), output, node.attributes)


_SUM_ATTRIBUTES = {
    "activation": Attribute("activation", None, nullable=True),
    "multiplier_a": MULTIPLIER,
    "multiplier_b": MULTIPLIER,
    **Q_RANGE,
}


class Add(_Binary):
    """a + b; int8: f = float32(A(a)) * multiplier_a + float32(A(b)) * multiplier_b."""

    name = "add"
    attributes = _SUM_ATTRIBUTES

    def real(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a + b

    def scaled(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        first = a.astype(np.float32) * np.float32(node.attributes["multiplier_a"])
        return first + b.astype(np.float32) * np.float32(node.attributes["multiplier_b"])


class Sub(_Binary):
    """a - b; int8: f = float32(A(a)) * multiplier_a - float32(A(b)) * multiplier_b."""

    name = "sub"
    attributes = _SUM_ATTRIBUTES

    def real(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a - b

    def scaled(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        first = a.astype(np.float32) * np.float32(node.attributes["multiplier_a"])
        return first - b.astype(np.float32) * np.float32(node.attributes["multiplier_b"])


class Mul(_Binary):
    """a * b; int8: f = float32(A(a) * A(b)) * multiplier."""

    name = "mul"
    multipliers = ("multiplier",)
    attributes = {"activation": Attribute("activation", None, nullable=True), "multiplier": MULTIPLIER, **Q_RANGE}

    def real(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a * b

    def scaled(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a * b).astype(np.float32) * np.float32(node.attributes["multiplier"])


class Div(_Binary):
    """a / b, float32."""

    name = "div"
    dtypes = ("float32",)
    multipliers = ()
    attributes = {"activation": Attribute("activation", None, nullable=True)}

    def real(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a / b


class Mask(_Binary):
    """a where b is positive or negative, else 0 (also where b is NaN); float32."""

    name = "mask"
    dtypes = ("float32",)
    multipliers = ()
    attributes = {"activation": Attribute("activation", None, nullable=True)}

    def real(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(np.abs(b) > 0, a, np.float32(0))


class Quantize(_SameShape):
    """float32 to int8: round half to even of x * float32(inverse_scale), plus zero point; NaN gives the zero point."""

    name = "quantize"
    attributes = {"inverse_scale": Attribute("float", required=True, minimum=0)}

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        if output.dtype != "int8":
            raise OperationError("quantize writes int8.")

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        return requantize(arrays["x"] * np.float32(node.attributes["inverse_scale"]), output, {})


class Dequantize(_SameShape):
    """int8 to float32: float32(A(x)) * float32(scale)."""

    name = "dequantize"
    dtypes = ("int8",)

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        if output.dtype != "float32" or inputs["x"].quantization is None:
            raise OperationError("dequantize reads a quantized tensor and writes float32.")

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        quantization = types["x"].quantization
        assert quantization is not None, "checked by Dequantize.check"
        scale = np.float32(quantization.scale[0])
        return centered(arrays["x"], types["x"]).astype(np.float32) * scale


class Requantize(_SameShape):
    """int8 to int8 of another scale: float32(A(x)) * multiplier."""

    name = "requantize"
    dtypes = ("int8",)
    attributes = {"multiplier": Attribute("float", required=True, minimum=0)}

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        if output.dtype != "int8":
            raise OperationError("requantize writes int8.")

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        f = centered(arrays["x"], types["x"]).astype(np.float32) * np.float32(node.attributes["multiplier"])
        return requantize(f, output, {})


class Concat(Operation):
    """Join the inputs along `axis`; int8 ones of another quantization are rescaled by their entry of `multipliers`."""

    name = "concat"
    variadic = True
    dtypes = ("float32", "int8")
    attributes = {
        "axis": Attribute("int", required=True, minimum=1, maximum=7),
        "multipliers": Attribute("floats", None, nullable=True, minimum=0),
        **Q_RANGE,
    }

    def infer(self, node: Node, inputs: Mapping[str, Tensor]) -> tuple[int, ...]:
        shapes, axis = [t.shape for t in inputs.values()], node.attributes["axis"]
        first = shapes[0]
        if axis >= len(first) or any(
            len(s) != len(first) or s[:axis] != first[:axis] or s[axis + 1 :] != first[axis + 1 :] for s in shapes
        ):
            raise OperationError(f"concat along axis {axis} needs equal other sizes, not {shapes}.")
        return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])

    def check(self, node: Node, inputs: Mapping[str, Tensor], output: Tensor) -> None:
        if any(t.dtype != output.dtype for t in inputs.values()):
            raise OperationError("concat needs one dtype for its inputs and output.")
        multipliers = node.attributes.get("multipliers")
        if output.dtype == "int8" and (multipliers is None or len(multipliers) != len(inputs)):
            raise OperationError("an int8 concat needs one multiplier for each input.")

    def reference(self, node, arrays, types, output):  # type: ignore[no-untyped-def]  # as in Operation
        parts = list(arrays.values())
        if output.dtype == "int8":
            for i, (role, scale) in enumerate(zip(arrays, node.attributes["multipliers"], strict=True)):
                if scale != 1.0 or zero_point(types[role]) != zero_point(output):
                    f = centered(parts[i], types[role]).astype(np.float32) * np.float32(scale)
                    parts[i] = requantize(f, output, node.attributes)
        return np.concatenate(parts, axis=node.attributes["axis"])
