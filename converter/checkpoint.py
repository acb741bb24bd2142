"""What a user hands over to be converted - a module, a program, a file, a zoo name - as something to export."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from edgenet.errors import ConversionError
from edgenet.graph import Preprocessing

from . import zoo
from .zoo.registry import ENTRIES
from .zoo.weights import load_weights, unwrap

PROGRAM_SUFFIX = ".pt2"


@dataclass(frozen=True)
class Checkpoint:
    """Something that can be exported: `exportable` with the `example` inputs to trace it with (None for programs).

    `source` names it without its folder, `arch` the network that its weights were loaded into (or its class);
    `preprocessing` is what the zoo knows about it.
    """

    exportable: nn.Module | ExportedProgram | Path
    example: tuple[Tensor, ...] | None
    source: str
    arch: str
    preprocessing: Preprocessing | None = None


def open_checkpoint(source: Any, arch: str | None = None, example_inputs: Sequence[Any] | None = None) -> Checkpoint:
    """The checkpoint behind an nn.Module, an ExportedProgram, the path of a .pt2 file, a state dict (mapping or path of
    a .pth or .safetensors file) with `arch`, or the name of a zoo network.

    `arch` is a zoo name or "package.module:factory", a function or class that needs no arguments and gives the module;
    beside a module or program it only names the network, and a zoo name brings its preprocessing.
    Without `example_inputs` the module's own `input_size` (as zoo networks have it) is used. Raises ConversionError.
    """
    example = None if example_inputs is None else _tensors(example_inputs)
    if isinstance(source, nn.Module):
        return _from_module(source, example, type(source).__name__, arch or type(source).__name__)
    if isinstance(source, ExportedProgram):
        return Checkpoint(source, None, "ExportedProgram", arch or "", _preprocessing(arch))
    if isinstance(source, Mapping):
        return _from_weights(unwrap(source), "state dict", arch, example)
    if not isinstance(source, str | Path):
        raise ConversionError(
            f"A {type(source).__name__} cannot be converted. Pass a module, an exported program, a path or a zoo name."
        )
    path = Path(source)
    if path.is_file():
        if path.suffix == PROGRAM_SUFFIX:
            return Checkpoint(path, None, path.name, arch or "", _preprocessing(arch))
        return _from_weights(read_weights(path), path.name, arch, example)
    if str(source) in ENTRIES:
        weights = zoo.find_weights(str(source))
        origin = weights.name if weights else "random weights"
        return _from_module(zoo.build(str(source), weights=weights), example, origin, str(source))
    if path.is_dir():
        raise ConversionError(f"{path} is a folder. Pass the checkpoint file in it.")
    raise ConversionError(
        f"There is neither a file {source} nor a network of that name. Known networks: {', '.join(zoo.names())}."
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a .pth or .safetensors file. No code from the file is run. Raises ConversionError."""
    if path.suffix != ".safetensors":
        return zoo.read_state_dict(path)
    try:
        from safetensors.torch import load_file  # pyright: ignore[reportMissingImports]  # optional
    except ImportError:
        raise ConversionError("Reading .safetensors files needs a package: pip install safetensors.") from None
    try:
        return unwrap(load_file(path), str(path))
    except ConversionError:
        raise
    except Exception as error:
        raise ConversionError(f"{path} is not a readable safetensors file; it may be truncated.") from error


def _tensors(example_inputs: Sequence[Any]) -> tuple[Tensor, ...]:
    """Example inputs as float32 tensors; a single array counts as one input."""
    if isinstance(example_inputs, Tensor) or hasattr(example_inputs, "__array__"):
        example_inputs = (example_inputs,)
    try:
        return tuple(torch.as_tensor(value) for value in example_inputs)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConversionError(
            "example_inputs must be a tuple of the tensors that the module's forward takes."
        ) from error


def _preprocessing(arch: str | None, shape: Sequence[int] = ()) -> Preprocessing | None:
    """What the zoo knows about network `arch`, for a picture input of `shape` (N, C, H, W) where that is given."""
    if arch not in ENTRIES:
        return None
    if len(shape) != 4 or shape[2] != shape[3]:
        return zoo.info(arch).preprocessing
    return zoo.info(arch, in_channels=shape[1], resolution=shape[2]).preprocessing


def _from_module(module: nn.Module, example: tuple[Tensor, ...] | None, source: str, arch: str) -> Checkpoint:
    if example is None:
        size = getattr(module, "input_size", None)
        if not isinstance(size, list | tuple) or not all(isinstance(n, int) for n in size):
            raise ConversionError("Pass example_inputs: a tuple of the tensors that the module's forward takes.")
        example = (torch.zeros(1, *size),)
    return Checkpoint(module, example, source, arch, _preprocessing(arch, example[0].shape if example else ()))


def _from_weights(
    state: Mapping[str, Tensor], source: str, arch: str | None, example: tuple[Tensor, ...] | None
) -> Checkpoint:
    if arch is None:
        raise ConversionError(
            f"{source} holds weights only. Name their network with arch: one of {', '.join(zoo.names())}, "
            "or package.module:factory."
        )
    if arch in ENTRIES:
        return _from_module(_zoo_network(arch, state), example, source, arch)
    module = build_factory(arch)
    load_weights(module, state)
    return _from_module(module.eval(), example, source, arch)


def _zoo_network(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    """Zoo network `name` with the weights in `state`, with as many classes and input channels as they have."""
    try:
        return zoo.build(name, weights=state)
    except ConversionError:
        options = _head_options(name, state)
        if not options:
            raise
    return zoo.build(name, weights=state, **options)


def _head_options(name: str, state: Mapping[str, Tensor]) -> dict[str, int]:
    """`num_classes` and `in_channels` of a zoo network's weights where they differ from the default, as after
    fine-tuning on other classes."""
    wanted = zoo.build(name).state_dict()
    differing = [key for key, value in state.items() if key in wanted and value.shape != wanted[key].shape]
    weights = [key for key in wanted if wanted[key].dim() > 1]
    options: dict[str, int] = {}
    for key in differing:
        if state[key].dim() == 0:
            continue
        if key == weights[0] and state[key].dim() == wanted[key].dim():
            options["in_channels"] = int(state[key].shape[1])
        elif state[key].shape[1:] == wanted[key].shape[1:] and key.rsplit(".", 1)[0] == weights[-1].rsplit(".", 1)[0]:
            options["num_classes"] = int(state[key].shape[0])
    return options


def build_factory(arch: str) -> nn.Module:
    """The module that "package.module:factory" makes; modules of the current folder are found too."""
    module_name, _, attribute = arch.partition(":")
    if not module_name or not attribute:
        raise ConversionError(
            f"There is no network named {arch}. Use one of {', '.join(zoo.names())}, or package.module:factory."
        )
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        factory: Any = importlib.import_module(module_name)
    except Exception as error:
        raise ConversionError(f"The module {module_name} of --arch {arch} cannot be imported: {error}.") from error
    finally:
        sys.path.remove(folder)
    for part in attribute.split("."):
        if not hasattr(factory, part):
            raise ConversionError(f"{module_name} has no {attribute}. Name a function or class that gives the module.")
        factory = getattr(factory, part)
    try:
        module = factory if isinstance(factory, nn.Module) else factory()
    except Exception as error:
        raise ConversionError(f"{arch}() failed: {error}. It must need no arguments.") from error
    if not isinstance(module, nn.Module):
        raise ConversionError(f"{arch} gave a {type(module).__name__}, not an nn.Module.")
    return module
