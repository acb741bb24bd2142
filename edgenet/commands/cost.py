"""`edgenet cost`: what a layer costs on paper, before there is a network. Networks: `edgenet inspect --cost`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgenet.commands.console import add_json, emit, positive, refuse_unused, table
from edgenet.errors import InputError

if TYPE_CHECKING:
    from edgenet.bench.calculator import Figures

KERNEL = 3
WINDOW = ("kernel", "stride", "padding")
WEIGHTS = ("no_bias", "precision")
LAYERS = {
    "conv": ("filters", *WINDOW, "groups", "dilation", *WEIGHTS),
    "depthwise": (*WINDOW, *WEIGHTS),
    "pointwise": ("filters", *WEIGHTS),
    "separable": ("filters", *WINDOW, *WEIGHTS),
    "linear": ("filters", *WEIGHTS),
    "batch_norm": (),
    "max_pool": (*WINDOW, "precision"),
    "avg_pool": (*WINDOW, "precision"),
    "softmax": (),
}
"""Kinds of layers with the options that they have."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layer", choices=tuple(LAYERS), help="kind of layer")
    parser.add_argument(
        "--input", required=True, metavar="HxWxC", help="height x width x channels; a number of features"
    )
    parser.add_argument("--filters", type=positive, metavar="N", help="output channels D2, or output features")
    parser.add_argument("--kernel", type=positive, metavar="F", help="size F of the kernel (default 3)")
    parser.add_argument("--stride", type=positive, metavar="N", help="stride (default 1; pooling: the kernel's size)")
    parser.add_argument("--padding", type=int, metavar="N", help="padding on each side (default 0)")
    parser.add_argument("--groups", type=positive, metavar="N", help="groups of conv (default 1)")
    parser.add_argument("--dilation", type=positive, metavar="N", help="dilation of conv (default 1)")
    parser.add_argument("--no-bias", action="store_true", help="without bias")
    parser.add_argument("--precision", choices=("float32", "int8"), help="sets the bytes (default float32)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    rows = figures(arguments)
    ratio = rows[-2].flops / rows[-1].flops if arguments.layer == "separable" else None
    text = cost_table(rows)
    if ratio is not None:
        kernel = arguments.kernel or KERNEL
        text += (
            f"\nseparable / standard: {ratio:.4f} of the FLOPs "
            f"(1/{arguments.filters} + 1/{kernel}^2 = {1 / arguments.filters + 1 / kernel**2:.4f})"
        )
    emit(arguments, {"layers": [row.json() for row in rows], "ratio": ratio}, text)
    return 0


def figures(arguments: argparse.Namespace) -> list[Figures]:
    """The layer's figures; for a separable convolution those of its parts, their sum, and the standard one's."""
    from edgenet.bench import calculator

    own = LAYERS[arguments.layer]
    refuse_unused(arguments, [name for name in LAYERS["conv"] if name not in own], f"not for {arguments.layer}")
    if arguments.precision == "int8":
        refuse_unused(arguments, ("no_bias",), "for float32; a layer in int8 always has a bias")
    try:
        size = tuple(int(part) for part in arguments.input.lower().split("x"))
    except ValueError:
        raise InputError(f"{arguments.input!r} is not a size such as 14x14x512, or a number of features.") from None
    layer, kernel, padding = arguments.layer, arguments.kernel or KERNEL, arguments.padding or 0
    if min(size) < 1 or padding < 0:
        raise InputError("Sizes must be at least 1, the padding at least 0.")
    if layer in ("conv", "pointwise", "separable", "linear") and arguments.filters is None:
        raise InputError(f"Name the output channels of {layer} with --filters.")
    filters, stride, bias, precision = (
        arguments.filters or 1, arguments.stride or 1, not arguments.no_bias, arguments.precision or "float32",
    )  # fmt: skip
    if layer == "conv":
        options = (arguments.groups or 1, arguments.dilation or 1, bias, precision)
        return [calculator.convolution(size, filters, kernel, stride, padding, *options)]
    if layer == "depthwise":
        return [calculator.depthwise(size, kernel, stride, padding, bias, precision)]
    if layer == "pointwise":
        return [calculator.pointwise(size, filters, bias, precision)]
    if layer == "separable":
        first = calculator.depthwise(size, kernel, stride, padding, bias, precision)
        second = calculator.pointwise(first.output, filters, bias, precision)
        pair = calculator.separable(size, filters, kernel, stride, padding, bias, precision)
        standard = calculator.convolution(size, filters, kernel, stride, padding, 1, 1, bias, precision, "standard")
        return [first, second, pair, standard]
    if layer == "linear":
        return [calculator.linear(size, filters, bias, precision)]
    if layer == "batch_norm":
        return [calculator.batch_norm(size, mode) for mode in calculator.BATCH_NORM]
    if layer == "softmax":
        return [calculator.softmax(size)]
    return [calculator.pooling(size, kernel, arguments.stride, padding, layer.removesuffix("_pool"), precision)]


def cost_table(rows: list[Figures]) -> str:
    """The figures as text, one row a layer."""
    headers = ["layer", "output", "parameters", "MACs", "FLOPs", "bytes read", "bytes written", "FLOPs/byte"]
    body = []
    for row in rows:
        counts = (row.parameters, row.macs, row.flops, row.bytes_read, row.bytes_written)
        body.append(
            [row.name, "x".join(map(str, row.output)), *(f"{count:,}" for count in counts), f"{row.intensity:.2f}"]
        )
    return table(headers, body)
