"""The module that trains: an int8 graph run with torch, its weights kept in float32 and rounded in every pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from edgenet.converter.passes.rewrite import copy_graph
from edgenet.converter.quantize.executor import last_uses
from edgenet.converter.quantize.float_ops import FLOAT, Call
from edgenet.converter.quantize.int8_ops import INT8, centered, requantize, single
from edgenet.converter.quantize.int8_ops import quantize as quantize_input
from edgenet.converter.quantize.lowering import lower, lowering, real_function
from edgenet.converter.quantize.placement import LAYERS, Placement
from edgenet.converter.quantize.straight_through import straight
from edgenet.errors import InputError
from edgenet.graph import Graph, Node, Preprocessing, Quantization
from edgenet.graph import Tensor as Type
from edgenet.ops import constant_value, infer_shapes, with_defaults
from edgenet.ops.arithmetic import build_table
from edgenet.ops.base import element_count

from .attributes import layer_attributes, live_attributes
from .layers import integer_layer
from .ranges import MovingRanges

TRAINED = {"weight", "bias", "slope"}
"""Roles of the constants that are trained."""


class QATModule(nn.Module):
    """See `edgenet.converter.prepare_qat`, which makes it.

    `weights` holds the parameters by the name they had in the float module ("/" for "."), batch norms folded in.
    """

    steps: Tensor

    def __init__(
        self, source: Graph, placement: Placement, ranges: MovingRanges, freeze_after: int, learn_scales: bool = False
    ):
        super().__init__()
        self.ranges, self.freeze_after = ranges, freeze_after
        self.facts: dict[str, str] = {}
        self.preprocessing: Preprocessing | None = None
        self._source, self._placement = copy_graph(source), placement
        self._quantizations = ranges.quantizations()
        self._low = lowering(self._source, placement, self._quantizations)
        self._nodes = [with_defaults(node) for node in self._low.graph.nodes]
        self._groups = {int8: placement.group[name] for name, int8 in self._low.int8.items()}
        self._types: dict[tuple[tuple[int, ...], ...], dict[str, Type]] = {}
        trained = {
            name
            for node in source.nodes
            for role, name in node.inputs.items()
            if role in TRAINED and name in source.constants
        }
        self.weights, self.constants = nn.ParameterDict(), nn.Module()
        for name in source.constants:
            value = torch.from_numpy(constant_value(source, name).copy())
            if name in trained:
                self.weights[_key(name)] = nn.Parameter(value)
            else:
                self.constants.register_buffer(_key(name), value)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.log_scales: nn.Parameter | None = None
        if learn_scales:
            scales = [math.log(self._quantizations[name].scale[0]) for name in ranges.rows]
            self.log_scales = nn.Parameter(torch.tensor(scales, dtype=torch.float32))
        self._released = last_uses(self._low.graph)
        self.register_load_state_dict_post_hook(_refresh)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Outputs for the float32 inputs of the float module; several as a tuple."""
        graph = self._low.graph
        if len(inputs) != len(graph.inputs):
            raise InputError(f"The module takes {len(graph.inputs)} inputs, not {len(inputs)}.")
        observing = self.training and int(self.steps) < self.freeze_after
        self.ranges.forget()
        if self.log_scales is not None:
            self._take_learned_scales()
        types = self._typed(tuple(tuple(x.shape) for x in inputs))
        scales = self._scales(types)
        values: dict[str, Tensor] = dict(zip(graph.inputs, inputs, strict=True))
        for node, done in zip(self._nodes, self._released, strict=True):
            values[node.output] = self._run(node, values, types, scales, observing)
            for name in done:
                del values[name]
        if observing:
            self.ranges.update()
            self.steps += 1
            self.refresh()
        found = tuple(values[name] for name in graph.outputs)
        return found[0] if len(found) == 1 else found

    def freeze(self) -> None:
        """Leave the ranges of activations as they are from now on."""
        self.steps.fill_(self.freeze_after)

    def graph(self) -> Graph:
        """The int8 graph that computes what this module computes in eval mode."""
        if self.log_scales is not None:
            self._take_learned_scales()
        self._store_weights(tuple(self._source.constants))
        return copy_graph(lower(self._source, self._placement, self._quantizations))

    def refresh(self) -> None:
        """Take over ranges that have changed."""
        self._set_quantizations(self.ranges.quantizations())

    def _set_quantizations(self, found: Mapping[str, Quantization]) -> None:
        self._quantizations.update(found)
        tensors = self._low.graph.tensors
        for name, group in self._groups.items():
            tensors[name] = replace(tensors[name], quantization=self._quantizations[group])
        self._types.clear()

    def _take_learned_scales(self) -> None:
        """Zero points stay those of the ranges: a learned scale stretches the range about zero."""
        assert self.log_scales is not None, "checked by the caller"
        scales = self.log_scales.detach().exp().tolist()
        found = {
            name: replace(self._quantizations[name], scale=(scales[row],)) for name, row in self.ranges.rows.items()
        }
        if found != self._quantizations:
            self._set_quantizations(found)

    def _scales(self, types: Mapping[str, Type]) -> dict[str, Tensor]:
        """Scale of each group, float64. The gradient of a learned one is divided by sqrt(127 * elements), as in LSQ."""
        if self.log_scales is None:
            return {name: torch.tensor(q.scale[0], dtype=torch.float64) for name, q in self._quantizations.items()}
        counts = {group: element_count(types[name].shape) for name, group in self._groups.items()}
        found = {}
        for name, row in self.ranges.rows.items():
            fixed = torch.tensor(self._quantizations[name].scale[0], dtype=torch.float64)
            slope = self.log_scales[row].double()
            slope = (slope - slope.detach()) * (fixed / math.sqrt(127 * counts.get(name, 1)))
            found[name] = fixed.to(slope.device) + slope
        return found

    def _typed(self, shapes: tuple[tuple[int, ...], ...]) -> dict[str, Type]:
        if shapes not in self._types:
            graph = self._low.graph
            self._types[shapes] = infer_shapes(graph, dict(zip(graph.inputs, shapes, strict=True)))
        return self._types[shapes]

    def _constant(self, name: str) -> Tensor:
        """A constant of the float32 graph."""
        key = _key(name)
        return self.weights[key] if key in self.weights else self.constants.get_buffer(key)

    def _store_weights(self, names: Iterable[str]) -> None:
        """Put the weights among these constants as they are now into the float32 graph."""
        for name in names:
            if _key(name) in self.weights:
                self._source.constants[name] = self.weights[_key(name)].detach().cpu().numpy().copy()

    def _run(
        self,
        node: Node,
        values: Mapping[str, Tensor],
        types: Mapping[str, Type],
        scales: Mapping[str, Tensor],
        observing: bool,
    ) -> Tensor:
        """The result of one node of the int8 graph."""
        low, output = self._low, types[node.output]
        origin = low.origins.get(node.name)

        def scale(name: str) -> Tensor:
            if name in self._groups:
                return scales[self._groups[name]]
            quantization = types[name].quantization
            assert quantization is not None, "an int8 constant has a quantization"
            return torch.tensor(quantization.scale[0], dtype=torch.float64)

        roles = {role: types[name] for role, name in node.inputs.items()}
        x = {role: values[name] for role, name in node.inputs.items() if name in values}
        call = Call(node, x, roles, output)
        if observing and output.quantization is not None:
            call = replace(call, observe=self._observer(node, origin, output.quantization))
        if node.operation == "dequantize":
            return centered(call, "x") * single(scale(node.inputs["x"]))
        if node.operation == "table":
            assert origin is not None, "tables come from float32 nodes"
            return self._table(call, origin, scale)
        if node.operation in LAYERS and "multiplier" in node.inputs:
            assert origin is not None, "layers come from float32 nodes"
            return self._layer(call, origin, scale)
        if output.quantization is not None:
            live = live_attributes(node, origin, scale, output.quantization)
            call = replace(call, node=replace(node, attributes={**node.attributes, **live}))
        int8 = next(iter(roles.values())).dtype == "int8"
        for role, name in node.inputs.items():
            if name in low.graph.constants:
                device = values[next(n for n in node.inputs.values() if n in values)].device
                x[role] = torch.from_numpy(low.graph.constants[name]).to(device) if int8 else self._constant(name)
        if node.operation == "quantize":
            return quantize_input(call)
        return (INT8 if int8 else FLOAT)[node.operation](replace(call, x={role: x[role] for role in node.inputs}))

    def _observer(self, node: Node, origin: Node | None, quantization: Quantization) -> Any:
        """What notes the values of a node's int8 result before they are rounded."""
        activation = (origin.attributes.get("activation") if origin else None) or {}
        clamp = activation if activation.get("kind") == "clamp" else {}
        bounds = {"low": clamp.get("min"), "high": clamp.get("max")}
        return partial(self.ranges.see, self._groups[node.output], scale=quantization.scale[0], **bounds)

    def _layer(self, call: Call, origin: Node, scale: Any) -> Tensor:
        """conv2d or linear with an int8 input."""
        node = call.node
        weight = self._constant(origin.inputs["weight"])
        bias = self._constant(origin.inputs["bias"]) if "bias" in origin.inputs else None
        step_in = scale(node.inputs["x"]).to(weight.device)
        step_out = None if call.output.quantization is None else scale(node.output)
        stored, whole, scales = integer_layer(weight, bias, step_in, step_out)
        live, step = layer_attributes(node, origin, scale, call.output.quantization)
        factors = (step_in * scales / step).float()
        x = {**call.x, "weight": stored, "bias": whole, "multiplier": factors}
        return INT8[node.operation](replace(call, node=replace(node, attributes={**node.attributes, **live}), x=x))

    def _table(self, call: Call, origin: Node, scale: Any) -> Tensor:
        """A function of one tensor: the table's values, with the gradient of the function."""
        node, x, (source, result) = call.node, call.x["x"], (call.types["x"], call.output)
        assert source.quantization is not None, "a table reads int8"
        assert result.quantization is not None, "a table writes int8"
        self._store_weights(origin.inputs.values())
        _, function = real_function(self._low, origin)
        table = torch.from_numpy(build_table(function, source.quantization, result.quantization)).to(x.device)
        stored = INT8["table"](replace(call, x={"x": x, "table": table}))
        if not (torch.is_grad_enabled() or call.observe):
            return stored
        real = centered(call, "x") * single(scale(node.inputs["x"]))
        roles = {
            role: self._constant(name) if name in self._source.constants else real
            for role, name in origin.inputs.items()
        }
        curve = FLOAT[origin.operation](Call(with_defaults(origin), roles, {}, call.output))
        rounded = requantize(call, curve / single(scale(node.output)))
        return straight(rounded, stored) if rounded.requires_grad else stored


def _key(name: str) -> str:
    """A constant's name as the key of a parameter."""
    return name.replace(".", "/")


def _refresh(module: Any, keys: Any) -> None:
    module.refresh()
