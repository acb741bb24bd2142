"""Recurrent layers over a sequence of fixed length, unrolled: LSTM, GRU and the plain RNN."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from .activation import activate
from .arithmetic import binary
from .context import Importer, parameter
from .convolution import apply_linear
from .layout import cut, join, stacked, take
from .moved import Moved
from .moved_operators import RECURRENT
from .registry import Unsupported, handles
from .values import Constant, Value

MOST_STEPS = 1024
"""Steps of all layers and directions of one module that are unrolled."""
State = tuple[Any, ...]
"""What is handed from one step to the next, an activation or, before the first step, a constant [1, H] each."""
Step = Callable[[Value, State], State]
"""(inputs of a step, multiplied by their weights, and the state) to the new state; the first of it is the output."""


def _linear(importer: Importer, x: Any, weight: torch.Tensor, bias: torch.Tensor | None, name: str) -> Any:
    """x @ weight.T + bias; a constant x gives a constant."""
    if isinstance(x, Constant):
        return importer.made(torch.nn.functional.linear(x.tensor, weight, bias))
    named = None if bias is None else Constant(bias, f"{name}.bias")
    return apply_linear(importer, x, Constant(weight, name), named, "linear")


def _add(importer: Importer, x: Value, other: Any) -> Value:
    """x + other, a constant of zeros left out."""
    if isinstance(other, Constant) and not other.tensor.any():
        return x
    return binary(importer, "add", x, other)


def _multiply(importer: Importer, x: Value, other: Any) -> Any:
    """x * other; a constant of zeros stays one."""
    if isinstance(other, Constant) and not other.tensor.any():
        return other
    return binary(importer, "mul", x, other)


def _lstm(importer: Importer, weight: torch.Tensor, name: str) -> Step:
    """Gates in the order input, forget, output, cell: c = f * c + i * g, h = o * tanh(c)."""
    width = weight.shape[1]

    def step(x: Value, state: State) -> State:
        hidden, cell = state
        gates = _add(importer, x, _linear(importer, hidden, weight, None, name))
        opened = activate(importer, cut(importer, gates, 1, 0, 3 * width), "sigmoid")
        new = activate(importer, cut(importer, gates, 1, 3 * width, None), "tanh")
        into, keep, out = (cut(importer, opened, 1, i * width, (i + 1) * width) for i in range(3))
        cell = _add(importer, binary(importer, "mul", into, new), _multiply(importer, keep, cell))
        return binary(importer, "mul", out, activate(importer, cell, "tanh")), cell

    return step


def _gru(importer: Importer, weight: torch.Tensor, bias: torch.Tensor, name: str) -> Step:
    """n = tanh(x + r * (h W + b)), h = n + z * (h - n); r and z as the gates of an LSTM."""
    width = weight.shape[1]
    gates, new = weight[: 2 * width].clone(), weight[2 * width :].clone()

    def step(x: Value, state: State) -> State:
        (hidden,) = state
        both = _add(importer, cut(importer, x, 1, 0, 2 * width), _linear(importer, hidden, gates, None, name))
        both = activate(importer, both, "sigmoid")
        reset, update = cut(importer, both, 1, 0, width), cut(importer, both, 1, width, None)
        inner = _multiply(importer, reset, _linear(importer, hidden, new, bias, f"{name}.new"))
        new_state = activate(importer, _add(importer, cut(importer, x, 1, 2 * width, None), inner), "tanh")
        difference = binary(importer, "sub", hidden, new_state)
        return (binary(importer, "add", new_state, binary(importer, "mul", update, difference)),)

    return step


def _plain(importer: Importer, weight: torch.Tensor, name: str, tanh: bool) -> Step:
    """h = tanh(x + h W), or relu."""

    def step(x: Value, state: State) -> State:
        total = _add(importer, x, _linear(importer, state[0], weight, None, name))
        return (activate(importer, total, "tanh") if tanh else activate(importer, total, "clamp", min=0.0, max=None),)

    return step


def _layer(importer: Importer, kind: str, x: Value, parameters: Sequence[Constant]) -> tuple[Value, Step]:
    """What a layer in one direction multiplies x [N, T, I] or [N, I] by, with its bias, and its step."""
    tensors = [constant.tensor.detach().float() for constant in parameters]
    weight, recurrent = tensors[:2]
    width, name = recurrent.shape[1], parameters[1].name
    zeros = torch.zeros(len(recurrent))
    bias, recurrent_bias = tensors[2:] if len(tensors) == 4 else (zeros, zeros)
    if kind == "lstm":
        order = torch.arange(4 * width).view(4, width)[[0, 1, 3, 2]].flatten()
        weight, recurrent, bias = weight[order], recurrent[order], (bias + recurrent_bias)[order]
        step = _lstm(importer, recurrent, name)
    elif kind == "gru":
        step = _gru(importer, recurrent, recurrent_bias[2 * width :].clone(), name)
        bias = bias + torch.cat([recurrent_bias[: 2 * width], zeros[:width]])
    else:
        bias = bias + recurrent_bias
        step = _plain(importer, recurrent, name, kind == "rnn_tanh")
    return _linear(importer, x, weight, bias, parameters[0].name), step


def _direction(
    importer: Importer, kind: str, x: Value, parameters: Sequence[Constant], state: State, reverse: bool
) -> tuple[Value, State]:
    """Outputs [N, T, H] and last state of one layer in one direction."""
    inputs, step = _layer(importer, kind, x, parameters)
    length = importer.shape(x)[1]
    outputs: list[Value] = []
    for time in reversed(range(length)) if reverse else range(length):
        state = step(take(importer, inputs, 1, time), state)
        outputs.append(state[0])
    return stacked(importer, outputs[::-1] if reverse else outputs, 1), state


def _start(importer: Importer, initial: Any, place: int) -> Any:
    """The initial state of a layer in a direction: an activation [N, H], or a constant [1, H]."""
    if isinstance(initial, Constant):
        return importer.made(initial.tensor[place].detach().float().clone())
    if not isinstance(initial, Moved) or initial.groups != ((1,), (0,), (2,)):
        raise Unsupported("its initial state must be [layers, samples, features]")
    return take(importer, initial.value, 1, place)


def _unrolled(importer: Importer, kind: str, a: Mapping[str, Any], initial: Sequence[Any]) -> list[Any]:
    """[outputs, last state, ...] as torch returns them.

    `initial`: a constant [layers * directions, 1, H] each, or an activation with samples on axis 1.
    """
    x, directions = a["input"], 2 if a["bidirectional"] else 1
    if not isinstance(x, Value) or x.rank != 3 or not a["batch_first"]:
        raise Unsupported("its input must have samples on axis 0; use batch_first=True")
    if a["train"] and a["dropout"]:
        raise Unsupported("dropout in training mode; export the module in eval mode")
    count = (4 if a["has_biases"] else 2) * directions * a["num_layers"]
    if len(a["params"]) != count:
        raise Unsupported("projections are not converted; use proj_size=0")
    if importer.shape(x)[1] * directions * a["num_layers"] > MOST_STEPS:
        raise Unsupported(f"more than {MOST_STEPS} steps of all layers; use a shorter sequence")
    parameters = [parameter(value, "weight") for value in a["params"]]
    each = count // (directions * a["num_layers"])
    last: list[State] = []
    for layer in range(a["num_layers"]):
        results = []
        for direction in range(directions):
            place = layer * directions + direction
            state = tuple(_start(importer, start, place) for start in initial)
            own = parameters[place * each : (place + 1) * each]
            output, state = _direction(importer, kind, x, own, state, reverse=direction == 1)
            results.append(output)
            last.append(state)
        x = join(importer, results, 2) if directions > 1 else results[0]
    states = [stacked(importer, [state[i] for state in last], 1) for i in range(len(initial))]
    return [x, *(Moved(state, ((1,), (0,), (2,))) for state in states)]


def _cell(importer: Importer, kind: str, a: Mapping[str, Any]) -> State:
    """The new state of a cell, for one step."""
    states = a["hx"] if kind == "lstm" else [a["hx"]]
    if not all(isinstance(x, Value) for x in (a["input"], *states)):
        raise Unsupported("its input and its state must have samples on axis 0")
    given = [a[key] for key in ("w_ih", "w_hh", "b_ih", "b_hh") if a[key] is not None]
    inputs, step = _layer(importer, kind, a["input"], [parameter(value, "weight") for value in given])
    return step(inputs, tuple(states))


def _register(kind: str) -> None:
    @handles(f"{kind}_cell")
    def cell(importer: Importer, a: Mapping[str, Any]) -> Any:
        state = _cell(importer, kind, a)
        return list(state) if kind == "lstm" else state[0]

    @handles(kind)
    def recurrent(importer: Importer, a: Mapping[str, Any]) -> list[Any]:
        return _unrolled(importer, kind, a, a["hx"] if kind == "lstm" else [a["hx"]])


for _name in RECURRENT:
    _register(_name)
