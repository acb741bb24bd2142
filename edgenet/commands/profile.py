"""`edgenet profile`: the measured time of each layer."""

from __future__ import annotations

import argparse
import json

from edgenet.commands.console import add_json, add_running, emit, open_model, positive, read_inputs, refuse_unused


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .edgenet file")
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="*", help="pictures, .npy or .npz arrays (default: random numbers)"
    )
    parser.add_argument("--batch", type=positive, metavar="N", help="batch of the random numbers (default 1)")
    parser.add_argument("--repeats", type=positive, default=20, metavar="N", help="runs measured (default 20)")
    add_running(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.inputs:
        refuse_unused(arguments, ("batch",), "for random numbers, and here inputs are given")
    model = open_model(arguments.model, arguments.threads)
    batch = arguments.batch or 1
    inputs = read_inputs(model, arguments.inputs) if arguments.inputs else (model.example_inputs(batch),)
    profile = model.profile(*inputs, repeats=arguments.repeats)
    emit(arguments, json.loads(profile.to_json()), str(profile))
    return 0
